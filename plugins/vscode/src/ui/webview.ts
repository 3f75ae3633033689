// A webview of ours: made when it is wanted, told things, and listened to.

import * as vscode from "vscode";

import { page } from "./page";

/** A panel that is there at most once. `Out` goes into it, `In` comes out of it. */
export class Panel<Out, In> {
  private panel: vscode.WebviewPanel | undefined;

  /** `name`: of script and style sheet in `dist/webview`. */
  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly name: string,
    private readonly title: string,
    private readonly heard: (message: In) => Promise<unknown>,
  ) {}

  get isOpen(): boolean {
    return this.panel !== undefined;
  }

  /** Opens it beside what is there, or brings it to the front. The editor keeps the focus where `keepsFocus`. */
  show(column: vscode.ViewColumn, keepsFocus: boolean): void {
    if (this.panel !== undefined) {
      if (!this.panel.visible || !keepsFocus) {
        this.panel.reveal(undefined, keepsFocus);
      }
      return;
    }
    const folder = vscode.Uri.joinPath(this.context.extensionUri, "dist/webview");
    const place = { viewColumn: column, preserveFocus: keepsFocus };
    const panel = vscode.window.createWebviewPanel(`imgd.${this.name}`, this.title, place, {
      enableScripts: true,
      enableForms: false,
      localResourceRoots: [folder],
    });
    const { webview } = panel;
    const uri = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(folder, file)).toString();
    panel.iconPath = vscode.Uri.joinPath(this.context.extensionUri, "media/icon.png");
    webview.onDidReceiveMessage((message: In) => this.heard(message));
    panel.onDidDispose(() => (this.panel = undefined));
    webview.html = page({
      title: this.title,
      cspSource: webview.cspSource,
      scriptUri: uri(`${this.name}.js`),
      styleUri: uri("style.css"),
    });
    this.panel = panel;
  }

  /** Tells the page something; nobody hears it where there is none. */
  post(message: Out): void {
    void this.panel?.webview.postMessage(message);
  }
}
