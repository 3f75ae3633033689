// Documents and folders: where pictures go, and places in texts that are edited meanwhile.

import { basename, dirname } from "node:path";
import * as vscode from "vscode";

import type { App } from "./app";
import { Failure } from "./client/failure";
import { pngSize } from "./recipe";
import type { Run } from "./run";
import { folderFor, save } from "./save";
import { paragraph, shifted } from "./text/anchor";
import { link, relativePath, styleOf } from "./text/link";
import { fileName, slug } from "./text/slug";

const EXTENSIONS: Record<string, string> = { IMAGE_FORMAT_JPEG: "jpg", IMAGE_FORMAT_WEBP: "webp" };

/** A place in a document. Dispose of it. `isBehindText`: what is put there gets a paragraph of its own. */
export class Anchor {
  private readonly listener: vscode.Disposable;

  constructor(
    readonly document: vscode.TextDocument,
    private offset: number,
    readonly isBehindText = false,
  ) {
    this.listener = vscode.workspace.onDidChangeTextDocument(({ document: changed, contentChanges }) => {
      if (changed === document) {
        for (const change of contentChanges) {
          this.offset = shifted(this.offset, {
            offset: change.rangeOffset,
            length: change.rangeLength,
            text: change.text,
          });
        }
      }
    });
  }

  get position(): vscode.Position {
    return this.document.positionAt(this.offset);
  }

  dispose(): void {
    this.listener.dispose();
  }
}

/** Fails where a link in the document could lead nowhere: it is not a file, or nobody knows how it writes links. */
export function requireLinkable(app: App, document: vscode.TextDocument): void {
  if (document.uri.scheme === "untitled") {
    throw new Failure(
      "OUTPUT_NOT_CREATED",
      "this document is not saved yet, so that a link has nothing to be relative to",
      {
        hint: "save it first",
      },
    );
  }
  if (document.uri.scheme !== "file") {
    throw new Failure(
      "OUTPUT_NOT_CREATED",
      `this document is no file on a disk (\`${document.uri.scheme}:\`): no picture can lie beside it`,
      {
        hint: "use “imgd: Generate Image…”, and save the picture where you like",
      },
    );
  }
  styleOf(document.languageId, app.settings(document.uri).linkStyle);
}

/** The folder for a picture: of `document` where it is for one, else of the workspace; `undefined` where there is none. */
export function pictureFolder(app: App, document?: vscode.Uri): string | undefined {
  const isFile = document?.scheme === "file";
  const first = vscode.workspace.workspaceFolders?.find((folder) => folder.uri.scheme === "file");
  const workspace = (isFile ? vscode.workspace.getWorkspaceFolder(document) : undefined) ?? first;
  const { outputFolder: configured } = app.settings(document);
  const places = {
    configured,
    document: isFile ? dirname(document.fsPath) : undefined,
    workspace: workspace?.uri.fsPath,
  };
  return folderFor(places, process.env);
}

/** The name that a run's picture gets. */
export function pictureName(run: Run, title = run.title): string {
  const { metadata } = pictureOf(run);
  const extension = EXTENSIONS[metadata.format] ?? "png";
  const upscale = metadata.settings?.upscale;
  return upscale
    ? `${slug(title)}-${slug(upscale.upscaler)}.${extension}`
    : fileName(title, metadata.settings?.seed ?? "0", extension);
}

/** Writes a run's picture, once: a second time it is where it was. */
export async function savePicture(app: App, run: Run, folder: string, name = pictureName(run)): Promise<string> {
  run.savedAt ??= await save(folder, name, pictureOf(run).bytes);
  app.runs.changed(run);
  return run.savedAt;
}

/** Writes a run's picture beside a document, and its link at the anchor. */
export async function insertPicture(app: App, run: Run, anchor: Anchor): Promise<void> {
  const { document } = anchor;
  requireLinkable(app, document);
  const folder = dirname(document.uri.fsPath);
  const file = await savePicture(app, run, pictureFolder(app, document.uri) ?? folder);
  const { position, isBehindText } = anchor;
  const line = document.lineAt(position.line).text;
  const isAlone = isBehindText || line.trim() === "";
  const text = link(styleOf(document.languageId, app.settings(document.uri).linkStyle), {
    path: relativePath(folder, file),
    alt: run.title || basename(file),
    isAlone,
    size: pngSize(pictureOf(run).bytes),
  });
  const edit = new vscode.WorkspaceEdit();
  edit.insert(document.uri, position, isBehindText ? paragraph(text, line, position.character) : text);
  if (!(await vscode.workspace.applyEdit(edit))) {
    throw new Failure(
      "OUTPUT_NOT_CREATED",
      `the link could not be written into \`${basename(document.uri.fsPath)}\`; the picture is in \`${file}\``,
    );
  }
}

function pictureOf(run: Run): NonNullable<Run["picture"]> {
  if (run.picture === undefined) {
    throw new Failure("IMAGE_NOT_FOUND", "there is no picture yet");
  }
  return run.picture;
}
