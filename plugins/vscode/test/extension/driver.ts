// The packed extension in a stand-in for VS Code, with a daemon and a workspace of its own.

import { readdirSync, mkdirSync, realpathSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { join } from "node:path";

import { IMGCTL, makeHome } from "../support/home";
import { unpackExtension } from "../support/vsix";
import { Stub } from "./stub";
import { TextDocument, Uri } from "./values";

/** Unpacks the `.vsix` and activates what is in it. */
export function drive() {
  const home = makeHome();
  // The extension reads the environment of its process, as in VS Code.
  for (const [name, value] of Object.entries(home.env)) {
    process.env[name] = value;
  }
  delete process.env["IMGD_SOCKET"];
  const stub = new Stub();
  const module = stub.module();
  const loader = Module as unknown as { _load(name: string, ...rest: unknown[]): unknown };
  const load = loader._load;
  loader._load = (name, ...rest) => (name === "vscode" ? module : load(name, ...rest));
  const folder = join(home.folder, "extension");
  unpackExtension(folder);
  const extension = createRequire(__filename)(join(folder, "dist/extension.js")) as {
    activate(context: unknown): void;
  };
  const context = stub.context(folder);
  extension.activate(context);
  const workspace = join(realpathSync(home.folder), "workspace");
  mkdirSync(join(workspace, "docs"), { recursive: true });
  stub.folders = [{ uri: Uri.file(workspace) }];
  stub.settings.set("imgd.imgctlPath", IMGCTL);
  return {
    home,
    stub,
    workspace,
    /** A document in the folder `docs` of the workspace, with the cursor where `|` is, or `|` and `|` around what is selected. */
    open(name: string, languageId: string, marked: string): TextDocument {
      const [before = "", selected, after] = marked.split("|");
      const text = [before, selected, after].join("");
      const end = before.length + (after === undefined ? 0 : (selected?.length ?? 0));
      return stub.open(new TextDocument(Uri.file(join(workspace, "docs", name)), languageId, text), before.length, end);
    },
    /** The pictures in a folder of the workspace. */
    pictures: (folder = "docs") =>
      readdirSync(join(workspace, folder))
        .filter((name) => name.endsWith(".png"))
        .sort(),
    end() {
      context.subscriptions.forEach((one) => one.dispose());
      home.end();
    },
  };
}
