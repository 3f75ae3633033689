// A stand-in for VS Code: what the extension calls, with a person whose answers the test gives.

import { writeFileSync } from "node:fs";

import { Disposable, EventEmitter, Position, Selection, TextDocument, ThemeIcon, Uri, WorkspaceEdit } from "./values";

type Action = (...argv: never[]) => unknown;

/** A webview: what went into it, and a way to speak for its page. */
export interface FakePanel {
  type: string;
  html: string;
  options: Record<string, unknown>;
  posted: Record<string, unknown>[];
  say(message: unknown): unknown;
  dispose(): void;
}

/** The stand-in, and what the test sees and says. */
export class Stub {
  readonly commands = new Map<string, Action>();
  readonly foreign: [string, unknown[]][] = [];
  readonly settings = new Map<string, unknown>();
  readonly messages: { kind: "error" | "information"; text: string; detail?: string; actions: string[] }[] = [];
  readonly statusTexts: string[] = [];
  readonly panels: FakePanel[] = [];
  readonly changes = new EventEmitter<{ document: TextDocument; contentChanges: object[] }>();
  readonly status = new EventEmitter<string>();
  clipboard = "";
  /** What the person types as a prompt; `undefined` gives it up. */
  prompt: string | undefined;
  /** The prompts that the box offered. */
  offered: string[] = [];
  strength: string | undefined;
  saveTo: string | undefined;
  /** Which of a message's actions, or of a list's entries, the person takes. */
  answer: (actions: string[]) => string | undefined = () => undefined;
  editor: { document: TextDocument; selection: Selection } | undefined;
  folders: { uri: Uri }[] | undefined;
  private readonly memory = new Map<string, unknown>();

  /** Opens a document with a selection, or a cursor. */
  open(document: TextDocument, begin: number, end = begin): TextDocument {
    this.editor = { document, selection: new Selection(document.positionAt(begin), document.positionAt(end)) };
    return document;
  }

  /** Somebody types. */
  edit(document: TextDocument, offset: number, text: string): void {
    document.text = document.text.slice(0, offset) + text + document.text.slice(offset);
    this.changes.fire({ document, contentChanges: [{ rangeOffset: offset, rangeLength: 0, text }] });
  }

  run = async (name: string, ...argv: unknown[]): Promise<unknown> => {
    const action = this.commands.get(name);
    if (action === undefined) {
      this.foreign.push([name, argv]);
      return undefined;
    }
    return action(...(argv as never[]));
  };

  panel(type: string): FakePanel {
    return this.panels.find((panel) => panel.type === type) ?? this.fail(`no panel ${type}`);
  }

  fail(why: string): never {
    throw new Error(why);
  }

  /** The context that `activate` gets. */
  context(extensionPath: string) {
    const globalState = {
      get: (key: string, otherwise?: unknown) => this.memory.get(key) ?? otherwise,
      update: async (key: string, value: unknown) => void this.memory.set(key, value),
    };
    return { extensionPath, extensionUri: Uri.file(extensionPath), subscriptions: [] as Disposable[], globalState };
  }

  private say(kind: "error" | "information") {
    return async (text: string, ...rest: (string | { detail?: string })[]) => {
      const actions = rest.filter((one) => typeof one === "string");
      const detail = rest.find((one) => typeof one === "object")?.detail ?? "";
      this.messages.push({ kind, text, detail, actions });
      return this.answer(actions);
    };
  }

  private makePanel(type: string, title: string, options: Record<string, unknown>) {
    const heard = new EventEmitter<unknown>();
    const disposed = new EventEmitter<void>();
    const listeners: ((message: unknown) => unknown)[] = [];
    const panel: FakePanel = {
      type,
      html: "",
      options,
      posted: [],
      say: (message) => Promise.all(listeners.map((listener) => listener(message))),
      dispose: () => disposed.fire(),
    };
    this.panels.push(panel);
    const webview = {
      cspSource: "https://resources",
      asWebviewUri: (uri: Uri) => `https://resources${uri.path}`,
      postMessage: async (message: Record<string, unknown>) => panel.posted.push(message),
      onDidReceiveMessage: (listener: (message: unknown) => unknown) => (
        listeners.push(listener),
        heard.event(() => undefined)
      ),
      set html(text: string) {
        panel.html = text;
      },
    };
    return { title, webview, visible: true, reveal: () => undefined, onDidDispose: disposed.event };
  }

  private makeQuickPick() {
    const [accepted, hidden, changed, pressed] = [1, 2, 3, 4].map(() => new EventEmitter<void>());
    const box = {
      items: [] as { label: string }[],
      selectedItems: [] as { label: string }[],
      value: "",
      onDidAccept: accepted?.event,
      onDidHide: hidden?.event,
      onDidChangeValue: changed?.event,
      onDidTriggerButton: pressed?.event,
      hide: () => hidden?.fire(),
      dispose: () => undefined,
      show: () => {
        this.offered = box.items.map(({ label }) => label);
        if (this.prompt === undefined) return box.hide();
        // What is typed; a prompt that the box has already is taken as it is.
        if (box.value !== this.prompt) {
          box.value = this.prompt;
          changed?.fire();
        }
        box.selectedItems = box.items.slice(0, 1);
        accepted?.fire();
      },
    };
    return box;
  }

  /** The module `vscode`. */
  module() {
    const stub = this;
    const never = new EventEmitter<never>().event;
    const window = {
      get activeTextEditor() {
        return stub.editor;
      },
      get visibleTextEditors() {
        return stub.editor ? [stub.editor] : [];
      },
      tabGroups: { activeTabGroup: { activeTab: undefined } },
      onDidChangeActiveTextEditor: never,
      setStatusBarMessage: (text: string) => (stub.statusTexts.push(text), new Disposable(() => undefined)),
      showInformationMessage: this.say("information"),
      showErrorMessage: this.say("error"),
      showInputBox: async ({ validateInput }: { validateInput(text: string): string | undefined }) =>
        stub.strength !== undefined && validateInput(stub.strength) ? stub.fail("refused") : stub.strength,
      showQuickPick: async (items: (string | { label: string })[]) => {
        const labels = items.map((item) => (typeof item === "string" ? item : item.label));
        return items[labels.indexOf(stub.answer(labels) ?? "")];
      },
      showSaveDialog: async () => (stub.saveTo ? Uri.file(stub.saveTo) : undefined),
      createQuickPick: () => stub.makeQuickPick(),
      createStatusBarItem: () => ({
        set text(text: string) {
          stub.statusTexts.push(text);
          stub.status.fire(text);
        },
        show: () => undefined,
        hide: () => stub.statusTexts.push("hidden"),
        dispose: () => undefined,
      }),
      createWebviewPanel: (type: string, title: string, _place: unknown, options: Record<string, unknown>) =>
        stub.makePanel(type, title, options),
    };
    const workspace = {
      get workspaceFolders() {
        return stub.folders;
      },
      getWorkspaceFolder: (uri: Uri) => stub.folders?.find((folder) => uri.path.startsWith(`${folder.uri.path}/`)),
      getConfiguration: (section: string) => ({
        get: (key: string) => stub.settings.get(`${section}.${key}`),
        inspect: () => undefined,
        update: async (key: string, value: unknown) => void stub.settings.set(`${section}.${key}`, value),
      }),
      onDidChangeTextDocument: this.changes.event,
      applyEdit: async (edit: WorkspaceEdit) => {
        for (const { uri, position, text } of edit.inserts) {
          const document = stub.editor?.document;
          if (document?.uri.toString() !== uri.toString()) return false;
          stub.edit(document, document.offsetAt(position), text);
        }
        return true;
      },
      fs: { writeFile: async (uri: Uri, bytes: Uint8Array) => writeFileSync(uri.fsPath, bytes) },
    };
    const commands = {
      registerCommand: (name: string, action: Action) => (
        this.commands.set(name, action),
        new Disposable(() => this.commands.delete(name))
      ),
      executeCommand: this.run,
    };
    const env = { clipboard: { writeText: async (text: string) => void (this.clipboard = text) } };
    const enums = {
      ViewColumn: { Beside: -2, Active: -1 },
      StatusBarAlignment: { Left: 1 },
      ConfigurationTarget: { Global: 1, Workspace: 2 },
    };
    return {
      window,
      workspace,
      commands,
      env,
      ...enums,
      Uri,
      Position,
      Selection,
      Disposable,
      EventEmitter,
      ThemeIcon,
      WorkspaceEdit,
    };
  }
}
