// What the commands ask a person.

import * as vscode from "vscode";

import type { App } from "../app";
import { shortModel } from "../text/words";

const MODEL: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon("server"), tooltip: "Choose the model" };
const FORGET: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon("clear-all"),
  tooltip: "Forget the prompts below",
};

/** Asks for a prompt; earlier ones are below it. `undefined` where the person gave it up. */
export async function askPrompt(app: App, title: string, value = ""): Promise<string | undefined> {
  const { model, keepNothing, history } = app.settings();
  const box = vscode.window.createQuickPick();
  const update = () => {
    const typed = box.value.trim();
    const earlier = app.history.prompts.filter((prompt) => prompt !== typed);
    box.items = [
      ...(typed ? [{ label: typed, description: "draw this" }] : []),
      ...earlier.map((label) => ({ label, description: "earlier" })),
    ];
  };
  box.title = `${title}: ${model ? shortModel(model) : "the default model"}`;
  box.placeholder = "What the picture shows, e.g. a red apple";
  box.buttons = [MODEL, FORGET];
  box.ignoreFocusOut = true;
  box.value = value;
  update();
  const prompt = await new Promise<string | undefined>((resolve) => {
    box.onDidChangeValue(update);
    box.onDidTriggerButton(async (button) => {
      if (button === FORGET) {
        await app.history.clear();
        update();
      } else {
        box.hide();
        await vscode.commands.executeCommand("imgd.chooseModel");
      }
    });
    box.onDidAccept(() => {
      resolve(box.selectedItems[0]?.label ?? (box.value.trim() || undefined));
      box.hide();
    });
    box.onDidHide(() => resolve(undefined));
    box.show();
  });
  box.dispose();
  if (prompt !== undefined && !keepNothing) {
    await app.history.add(prompt, history);
  }
  return prompt;
}

/** Asks how much of a picture is to change; `undefined` where the person gave it up. */
export async function askStrength(value: number): Promise<number | undefined> {
  const text = await vscode.window.showInputBox({
    title: "Strength",
    prompt: "How much of the picture may change: 0.3 changes details, 0.6 much, 1 everything",
    value: String(value),
    ignoreFocusOut: true,
    validateInput: (text) => (toStrength(text) === undefined ? "A number from 0 to 1, such as 0.6" : undefined),
  });
  return text === undefined ? undefined : toStrength(text);
}

/** A strength as a person writes it, with a point or a comma. */
function toStrength(text: string): number | undefined {
  const number = Number(text.trim().replace(",", "."));
  return text.trim() !== "" && number >= 0 && number <= 1 ? number : undefined;
}
