// What is done with a picture's file: edit, variation, upscale. The new picture goes beside it.

import { readFile, stat } from "node:fs/promises";
import { basename, dirname, extname } from "node:path";
import * as vscode from "vscode";

import type { App } from "../app";
import { ask } from "../client/connection";
import { Failure } from "../client/failure";
import type { GenerateRequest } from "../contract/imgd/v1/GenerateRequest";
import type { ListModelsResponse__Output as Models } from "../contract/imgd/v1/ListModelsResponse";
import { pictureName, savePicture } from "../documents";
import { recipe } from "../recipe";
import { Run } from "../run";
import { service, toRequest } from "../settings";
import { askPrompt, askStrength } from "../ui/ask";

/** The contract's limit for a picture that comes with a request. */
const MAX_FILE_BYTES = 16 << 20;

/** How much an edit may change unless the person says otherwise. */
const EDIT_STRENGTH = 0.6;

/** How much a variation of a picture changes whose recipe is not known. */
const LOOSE_STRENGTH = 0.5;

/** How far a variation's noise is from the picture's own. */
const VARIATION_STRENGTH = 0.2;

/** Registers the commands. Each takes the file that was clicked, else the picture in the active tab. */
export function pictureCommands(app: App): void {
  const command = (name: string, action: (app: App, file: string) => Promise<unknown>) =>
    app.command(name, async (clicked?: vscode.Uri) => action(app, fileOf(clicked)));
  command("imgd.edit", edit);
  command("imgd.variation", variation);
  command("imgd.upscale", upscale);
}

async function edit(app: App, file: string): Promise<string | undefined> {
  const input = await read(file);
  const prompt = await askPrompt(app, `Edit ${basename(file)}`, recipe(input)?.prompt);
  const strength = prompt === undefined ? undefined : await askStrength(EDIT_STRENGTH);
  if (prompt === undefined || strength === undefined) {
    return undefined;
  }
  return drawBeside(app, file, prompt, { ...ofPicture(app, prompt), input: { init_image: input, strength } });
}

/** With the recipe in the file, noise that is a little different; without, the picture redrawn by a prompt. */
async function variation(app: App, file: string): Promise<string | undefined> {
  const input = await read(file);
  const known = recipe(input);
  if (known?.seed !== undefined) {
    const request = { ...known, ...service(app.settings()), variation_strength: VARIATION_STRENGTH };
    return drawBeside(app, file, known.prompt ?? "", request, true);
  }
  const prompt = await askPrompt(app, `Variation of ${basename(file)}`);
  if (prompt === undefined) {
    return undefined;
  }
  return drawBeside(app, file, prompt, {
    ...ofPicture(app, prompt),
    input: { init_image: input, strength: LOOSE_STRENGTH },
  });
}

async function upscale(app: App, file: string): Promise<string | undefined> {
  const input = await read(file);
  const { upscalers } = await app.withDaemon((connection) =>
    ask<Models>((metadata, options, answer) => connection.model.ListModels({}, metadata, options, answer)),
  );
  if (upscalers.length === 0) {
    throw new Failure("MODEL_NOT_FOUND", "imgd has no upscaler", {
      hint: "put one, such as 4x-UltraSharp.safetensors, into ~/.local/share/imgd/upscalers; imgd.upscale then finds it",
    });
  }
  const names = upscalers.map((upscaler) => upscaler.name);
  const upscaler = names.length === 1 ? names[0] : await vscode.window.showQuickPick(names, { title: "Upscale with" });
  if (upscaler === undefined) {
    return undefined;
  }
  const settings = app.settings();
  const request = {
    ...(settings.keepNothing ? { private: true } : {}),
    input: { init_image: input },
    upscale: { upscaler },
  };
  return drawBeside(app, file, basename(file, extname(file)), request);
}

/** The settings' request without a size: the picture's own is taken. */
function ofPicture(app: App, prompt: string): GenerateRequest {
  const { width_px: _width, height_px: _height, ...request } = toRequest(app.settings(), prompt);
  return request;
}

async function drawBeside(
  app: App,
  file: string,
  title: string,
  request: GenerateRequest,
  canRepeat = false,
): Promise<string> {
  const run = new Run(
    title,
    request,
    canRepeat ? undefined : "It was made from a file: use the command on the file again.",
  );
  await app.draw(run);
  const variation = run.picture?.metadata.settings?.variation_seed;
  const name = pictureName(run);
  const extension = extname(name);
  const full = variation === undefined ? name : `${name.slice(0, -extension.length)}-${variation}${extension}`;
  const saved = await savePicture(app, run, dirname(file), full);
  app.afterwards(offer(saved));
  return saved;
}

async function offer(saved: string): Promise<void> {
  const chosen = await vscode.window.showInformationMessage(`imgd: drew ${basename(saved)}`, "Open");
  if (chosen) {
    await vscode.commands.executeCommand("vscode.open", vscode.Uri.file(saved));
  }
}

/** The file that was clicked, else that of the active tab. */
function fileOf(clicked: vscode.Uri | undefined): string {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input as { uri?: vscode.Uri } | undefined;
  const uri = clicked ?? input?.uri;
  if (uri === undefined || !/\.(png|jpe?g|webp)$/i.test(uri.path)) {
    throw new Failure("INVALID_FIELD", "this command is for a picture: a PNG, JPEG or WebP file", {
      hint: "click one in the explorer with the other mouse button, or open it",
    });
  }
  if (uri.scheme !== "file") {
    throw new Failure("INVALID_FIELD", `the picture is no file on a disk (\`${uri.scheme}:\`)`, {
      hint: "copy it into a folder first",
    });
  }
  return uri.fsPath;
}

async function read(file: string): Promise<Buffer> {
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) {
    throw new Failure("MESSAGE_TOO_LARGE", `\`${basename(file)}\` has more than 16 MiB`, {
      hint: "make it smaller first",
    });
  }
  return readFile(file);
}
