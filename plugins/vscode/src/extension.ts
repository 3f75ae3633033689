// The extension's beginning: everything is registered, and nothing is done before a command asks for it.

import type { ExtensionContext } from "vscode";

import { App } from "./app";
import { daemonCommands } from "./commands/daemon";
import { generateCommands } from "./commands/generate";
import { insertCommands } from "./commands/insert";
import { pictureCommands } from "./commands/picture";
import { galleryPanel } from "./ui/gallery";
import { previewPanel } from "./ui/panel";
import { statusBar } from "./ui/statusBar";

/** VS Code calls it with the first command. */
export function activate(context: ExtensionContext): void {
  const app = new App(context);
  previewPanel(app);
  galleryPanel(app);
  generateCommands(app);
  insertCommands(app);
  pictureCommands(app);
  daemonCommands(app);
  context.subscriptions.push(statusBar(app));
}
