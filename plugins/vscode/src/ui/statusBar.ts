// The item in the status bar, while something is drawn.

import * as vscode from "vscode";

import type { App } from "../app";

/** Shows the run that was begun last; a click leads to the panel. */
export function statusBar(app: App): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("imgd.progress", vscode.StatusBarAlignment.Left, 0);
  item.name = "imgd";
  item.command = "imgd.showPanel";
  const listener = app.runs.onDidChange(() => {
    const { running } = app.runs;
    const run = running.at(-1);
    if (run === undefined) {
      item.hide();
      return;
    }
    const others = running.length > 1 ? ` (${running.length})` : "";
    item.text = `$(sync~spin) imgd: ${run.words}${others}`;
    item.tooltip = "imgd is drawing: show it, or cancel it there";
    item.accessibilityInformation = { label: `imgd: ${run.words}` };
    item.show();
  });
  return vscode.Disposable.from(item, listener);
}
