// "Generate Image…", "Generate from Selection", and drawing again.

import { basename } from "node:path";
import * as vscode from "vscode";

import type { App } from "../app";
import { Failure } from "../client/failure";
import type { GenerateRequest } from "../contract/imgd/v1/GenerateRequest";
import { Anchor, pictureFolder, savePicture } from "../documents";
import { Run } from "../run";
import { toRequest } from "../settings";
import { ofFrontMatter, ofSelection } from "../text/prompt";
import { askPrompt } from "../ui/ask";

const MARKUP = new Set(["markdown", "mdx", "quarto", "asciidoc"]);

/** Registers the commands. */
export function generateCommands(app: App): void {
  app.command("imgd.generate", async () => {
    const prompt = await askPrompt(app, "Generate image");
    return prompt === undefined ? undefined : drawAndSave(app, prompt, toRequest(app.settings(), prompt));
  });
  app.command("imgd.generateFromSelection", () => fromSelection(app));
  app.command("imgd.drawRequest", (title: string, request: GenerateRequest) => drawAndSave(app, title, request));
  app.command("imgd.drawAgain", async () => {
    const run = app.runs.shown;
    if (run === undefined || run.cannotRepeat !== undefined) {
      throw new Failure("INVALID_FIELD", run?.cannotRepeat ?? "nothing was drawn yet");
    }
    const { seed: _seed, variation_seed: _variation, ...request } = run.request;
    return drawAndSave(app, run.title, request);
  });
}

/** Draws and writes the picture into the folder for it; then tells of it. `undefined` where there is none for it. */
export async function drawAndSave(
  app: App,
  title: string,
  request: GenerateRequest,
  anchor?: Anchor,
): Promise<string | undefined> {
  const run = new Run(title, request);
  try {
    await app.draw(run);
  } catch (error) {
    anchor?.dispose();
    throw error;
  }
  const { workspaceFolders } = vscode.workspace;
  const document = anchor?.document.uri ?? (workspaceFolders?.length ? undefined : app.lastEditor?.document.uri);
  const folder = pictureFolder(app, document);
  const file = folder === undefined ? undefined : await savePicture(app, run, folder);
  app.afterwards(tell(app, run, anchor).finally(() => anchor?.dispose()));
  return file;
}

async function fromSelection(app: App): Promise<string | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    throw new Failure("INVALID_FIELD", "no text editor is open", {
      hint: "select some text in one, or use “imgd: Generate Image…”",
    });
  }
  const { document, selection } = editor;
  let prompt = ofSelection(document.getText(selection), MARKUP.has(document.languageId));
  let place = document.offsetAt(selection.end);
  if (prompt === "" && document.languageId !== "plaintext") {
    const found = ofFrontMatter(document.getText());
    prompt = found?.prompt ?? "";
    place = Math.max(place, found?.end ?? 0);
  }
  if (prompt === "") {
    throw new Failure("INVALID_FIELD", "nothing is selected, and the front matter has no prompt", {
      hint: "select the text to draw, or write `image_prompt: …` into the front matter",
    });
  }
  const request = toRequest(app.settings(document.uri), prompt);
  return drawAndSave(app, prompt, request, new Anchor(document, place, true));
}

/** Says that a picture is done, with what can be done with it. Ends when the person has answered. */
async function tell(app: App, run: Run, anchor?: Anchor): Promise<void> {
  const name = run.savedAt ? basename(run.savedAt) : undefined;
  const canInsert = (anchor ?? app.lastEditor) !== undefined;
  const actions = [name ? "Open" : "Save As…", ...(canInsert ? ["Insert Link"] : []), "Again"];
  const message = name ? `imgd: drew ${name}` : "imgd: the picture is done; it is in the panel, and nowhere else yet";
  const chosen = await vscode.window.showInformationMessage(message, ...actions);
  if (chosen === "Open" && run.savedAt) {
    await vscode.commands.executeCommand("vscode.open", vscode.Uri.file(run.savedAt));
  } else if (chosen === "Save As…") {
    app.runs.show(run);
    await vscode.commands.executeCommand("imgd.saveShown");
  } else if (chosen === "Insert Link") {
    if (anchor) {
      await vscode.commands.executeCommand("imgd.insertRun", run, anchor);
    } else {
      app.runs.show(run);
      await vscode.commands.executeCommand("imgd.insertShown");
    }
  } else if (chosen === "Again") {
    app.runs.show(run);
    await vscode.commands.executeCommand("imgd.drawAgain");
  }
}
