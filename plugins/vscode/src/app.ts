// What the commands share: settings, the daemon, the runs, and how failures are shown.

import { join } from "node:path";
import * as vscode from "vscode";

import { connect, type Connection } from "./client/connection";
import { draw } from "./client/drawing";
import { Failure, toFailure } from "./client/failure";
import { History } from "./history";
import { Run } from "./run";
import { Runs } from "./runs";
import { readSettings, type Settings } from "./settings";
import { failureWords, settingOf } from "./text/words";

/** The extension's inside. */
export class App {
  readonly runs = new Runs();
  readonly history: History;
  /** The editor that was last typed in: a webview that has the focus is none. */
  private editor = vscode.window.activeTextEditor;
  /** Shows the panel; set by who owns it. */
  showPanel: () => void = () => undefined;

  constructor(readonly context: vscode.ExtensionContext) {
    this.history = new History(context.globalState);
    context.subscriptions.push(
      this.runs,
      vscode.window.onDidChangeActiveTextEditor((editor) => {
        this.editor = editor ?? this.editor;
      }),
    );
  }

  /** The editor that a picture would go into; `undefined` where none is open. */
  get lastEditor(): vscode.TextEditor | undefined {
    const { activeTextEditor, visibleTextEditors: visible } = vscode.window;
    // One behind the gallery's tab is not visible, and is still where the person was.
    const last = this.editor?.document.isClosed ? undefined : this.editor;
    return activeTextEditor ?? visible.find((editor) => editor.document === last?.document) ?? last ?? visible[0];
  }

  /** Settings as they are for a document or a folder. */
  settings(scope?: vscode.Uri): Settings {
    const section = vscode.workspace.getConfiguration("imgd", scope);
    return readSettings((key) => section.get(key));
  }

  /** Runs `use` with a connection, and closes it. */
  async withDaemon<T>(use: (connection: Connection) => Promise<T>, autostart?: boolean): Promise<T> {
    const settings = this.settings();
    let starting: vscode.Disposable | undefined;
    const connecting = connect({
      protoFolder: join(this.context.extensionPath, "dist/proto"),
      socket: settings.socket,
      imgctl: settings.imgctlPath,
      autostart: autostart ?? settings.autostart,
      env: process.env,
      onStarting: () => {
        starting ??= vscode.window.setStatusBarMessage("$(sync~spin) starting imgd");
      },
    });
    const connection = await connecting.finally(() => starting?.dispose());
    try {
      return await use(connection);
    } finally {
      connection.close();
    }
  }

  /** Draws and shows it on the way. Fails as `draw` does. */
  async draw(run: Run): Promise<void> {
    this.runs.show(run);
    if (this.settings().previews) {
      this.showPanel();
    }
    try {
      const drawing = await this.withDaemon((connection) =>
        draw(connection, run.request, run.signal, (progress) => {
          run.take(progress);
          this.runs.changed(run);
        }),
      );
      run.picture = drawing.pictures[0];
      if (run.picture === undefined) {
        throw new Failure("INTERNAL", "imgd finished without a picture");
      }
    } catch (error) {
      run.failure = toFailure(error);
      throw run.failure;
    } finally {
      this.runs.changed(run);
    }
  }

  /** A command whose failures a person sees. Cancelling is none. */
  command<A extends unknown[]>(name: string, action: (...argv: A) => Promise<unknown>): void {
    const run = async (...argv: A) => {
      try {
        return await action(...argv);
      } catch (error) {
        await this.report(toFailure(error));
        return undefined;
      }
    };
    this.context.subscriptions.push(vscode.commands.registerCommand(name, run));
  }

  /** What goes on after a command has ended, such as a message that waits for its answer. */
  afterwards(what: Promise<unknown>): void {
    what.catch((error: unknown) => this.report(toFailure(error)));
  }

  private async report(failure: Failure): Promise<void> {
    if (failure.isCancelled) {
      vscode.window.setStatusBarMessage("imgd: cancelled", 3000);
      return;
    }
    const setting = settingOf(failure) ?? /\bimgd\.[a-zA-Z]+/.exec(`${failure.message} ${failure.hint ?? ""}`)?.[0];
    const action = setting ? ["Open Setting"] : [];
    const shown = vscode.window.showErrorMessage(failureWords(failure), ...action);
    // Not waited for: the message may stay for as long as it likes.
    void shown.then((chosen) => chosen && vscode.commands.executeCommand("workbench.action.openSettings", setting));
  }
}
