// The panel with the picture that is being drawn: previews, progress, and what to do with it.

import * as vscode from "vscode";

import type { App } from "../app";
import { Run } from "../run";
import type { FromPanel, ToPanel } from "../webview/messages";
import { runView } from "./view";
import { Panel } from "./webview";

/** Commands behind the panel's buttons. */
const COMMANDS: Partial<Record<FromPanel["kind"], string>> = {
  insert: "imgd.insertShown",
  save: "imgd.saveShown",
  again: "imgd.drawAgain",
  gallery: "imgd.gallery",
  generate: "imgd.generate",
};

/** Types of pictures' files, by the contract's names. */
const TYPES: Record<string, string> = { IMAGE_FORMAT_JPEG: "image/jpeg", IMAGE_FORMAT_WEBP: "image/webp" };

/** Makes the panel and has it follow the runs. */
export function previewPanel(app: App): void {
  /** The picture that the page has already, so that bytes travel once. */
  let sent: Buffer | undefined;
  const panel = new Panel<ToPanel, FromPanel>(app.context, "preview", "imgd", async ({ kind }) => {
    const run = app.runs.shown;
    if (kind === "ready") {
      sent = undefined;
      update();
    } else if (kind === "cancel" && run) {
      run.cancel();
      app.runs.changed(run);
    } else if (kind === "copyPrompt" && run) {
      await vscode.env.clipboard.writeText(run.title);
    } else if (kind === "open" && run?.savedAt) {
      await vscode.commands.executeCommand("vscode.open", vscode.Uri.file(run.savedAt));
    } else if (COMMANDS[kind]) {
      await vscode.commands.executeCommand(COMMANDS[kind]);
    }
  });
  const update = () => {
    const run = app.runs.shown;
    panel.post(run ? { kind: "run", run: runView(run) } : { kind: "nothing" });
    const bytes = run?.picture?.bytes ?? run?.preview;
    if (run && bytes && bytes !== sent) {
      sent = bytes;
      const type = TYPES[run.picture?.metadata.format ?? ""] ?? "image/png";
      // A copy with a buffer of its own: a slice of a larger one would travel with all of it.
      panel.post({ kind: "picture", bytes: new Uint8Array(bytes), type, isPreview: run.picture === undefined });
    }
  };
  const show = (keepsFocus: boolean) => panel.show(vscode.ViewColumn.Beside, keepsFocus);
  app.showPanel = () => show(true);
  app.context.subscriptions.push(
    app.runs.onDidChange((run: Run) => {
      if (run === app.runs.shown && panel.isOpen) {
        update();
      }
    }),
  );
  app.command("imgd.showPanel", async () => show(false));
}
