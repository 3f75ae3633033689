// "Insert Image at Cursor": a new picture, or one from the gallery; and what is in the panel, into a document or a file.

import { basename, join } from "node:path";
import * as vscode from "vscode";

import type { App } from "../app";
import { Failure } from "../client/failure";
import { recent } from "../client/library";
import { Anchor, insertPicture, pictureFolder, pictureName, requireLinkable, savePicture } from "../documents";
import { Run } from "../run";
import { toRequest } from "../settings";
import { ofSelection } from "../text/prompt";
import { askPrompt } from "../ui/ask";
import { showKept } from "../ui/gallery";

const NEW = "$(sparkle) Draw a new picture…";

/** Registers the commands. */
export function insertCommands(app: App): void {
  app.command("imgd.insertImage", async () => {
    const { document, selection } = editorOf(app);
    requireLinkable(app, document);
    await withAnchor(new Anchor(document, document.offsetAt(selection.end), !selection.isEmpty), async (anchor) => {
      const run = await choose(app, ofSelection(document.getText(selection), true));
      if (run) {
        await insertPicture(app, run, anchor);
      }
    });
  });
  app.command("imgd.insertRun", (run: Run, anchor: Anchor) =>
    withAnchor(anchor, () => insertPicture(app, run, anchor)),
  );
  app.command("imgd.insertShown", async () => {
    const { document, selection } = editorOf(app);
    const run = shown(app);
    await withAnchor(new Anchor(document, document.offsetAt(selection.end)), (anchor) =>
      insertPicture(app, run, anchor),
    );
  });
  app.command("imgd.saveShown", () => saveShown(app));
}

/** A picture to insert: selected text is drawn, else the person chooses. */
async function choose(app: App, selected: string): Promise<Run | undefined> {
  if (selected === "") {
    const pictures = (await app.withDaemon((connection) => recent(connection))).pictures.map((kept) => ({
      label: kept.prompt || "no prompt",
      description: `seed ${kept.settings.seed}`,
      detail: new Date(kept.finishedMs).toLocaleString(),
      kept,
    }));
    // Where there is nothing to choose from, nobody is asked.
    const items = [{ label: NEW, kept: undefined }, ...pictures];
    const chosen =
      pictures.length === 0
        ? items[0]
        : await vscode.window.showQuickPick(items, { title: "Insert image", matchOnDescription: true });
    if (chosen === undefined) {
      return undefined;
    }
    if (chosen.kept) {
      return showKept(app, chosen.kept);
    }
  }
  const prompt = await askPrompt(app, "Insert image", selected);
  if (prompt === undefined) {
    return undefined;
  }
  const run = new Run(prompt, toRequest(app.settings(), prompt));
  await app.draw(run);
  return run;
}

/** Writes the picture of the panel into its folder; where there is none, the person names a file. */
async function saveShown(app: App): Promise<string | undefined> {
  const run = shown(app);
  if (run.savedAt === undefined && pictureFolder(app) === undefined) {
    const proposed = vscode.Uri.file(join(process.env["HOME"] ?? "/", pictureName(run)));
    const target = await vscode.window.showSaveDialog({ defaultUri: proposed, title: "Save picture" });
    if (target === undefined) {
      return undefined;
    }
    await vscode.workspace.fs.writeFile(target, run.picture?.bytes ?? Buffer.alloc(0));
    run.savedAt = target.fsPath;
    app.runs.changed(run);
    return run.savedAt;
  }
  const file = await savePicture(app, run, pictureFolder(app) ?? "");
  vscode.window.setStatusBarMessage(`imgd: saved ${basename(file)}`, 5000);
  return file;
}

function editorOf(app: App): vscode.TextEditor {
  const editor = app.lastEditor;
  if (editor === undefined) {
    throw new Failure("INVALID_FIELD", "no text editor is open", { hint: "open the document that the picture is for" });
  }
  return editor;
}

function shown(app: App): Run {
  const run = app.runs.shown;
  if (run?.picture === undefined) {
    throw new Failure("IMAGE_NOT_FOUND", "there is no picture in the panel", {
      hint: "draw one with “imgd: Generate Image…”",
    });
  }
  return run;
}

async function withAnchor(anchor: Anchor, use: (anchor: Anchor) => Promise<void>): Promise<void> {
  try {
    await use(anchor);
  } finally {
    anchor.dispose();
  }
}
