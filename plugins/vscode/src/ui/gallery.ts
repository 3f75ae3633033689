// The gallery: what the daemon has kept, newest first.

import * as vscode from "vscode";

import type { App } from "../app";
import type { Connection } from "../client/connection";
import { Failure, toFailure } from "../client/failure";
import { fetchPicture, type Kept, recent } from "../client/library";
import { Run } from "../run";
import { failureWords } from "../text/words";
import type { FromGallery, Item, ToGallery } from "../webview/messages";
import { again, cannotRepeat, details } from "./view";
import { Panel } from "./webview";

/** What a click does with a picture once it is shown. */
const AFTER_SHOWING: Partial<Record<FromGallery["kind"], string>> = {
  insert: "imgd.insertShown",
  save: "imgd.saveShown",
};

/** Makes the gallery and its command. */
export function galleryPanel(app: App): void {
  const known = new Map<string, Kept>();
  let next = "";
  /** Whether further pages were asked for: a gallery that was leafed through is not renewed behind the person's back. */
  let isLeafed = false;
  const load = async (token: string) => {
    panel.post({ kind: "busy" });
    isLeafed = token !== "";
    try {
      await app.withDaemon(async (connection) => {
        const page = await recent(connection, token);
        next = page.next;
        if (token === "") {
          known.clear();
        }
        const items = await toItems(connection, page.pictures);
        page.pictures.forEach((kept) => known.set(keyOf(kept), kept));
        panel.post({ kind: "items", items, isMore: next !== "", isFirst: token === "" });
      });
    } catch (error) {
      panel.post({ kind: "failed", words: failureWords(toFailure(error)) });
    }
  };
  const pick = (key: string) => {
    const kept = known.get(key);
    if (kept === undefined) {
      throw new Failure("IMAGE_NOT_FOUND", "this picture is not in the gallery any more", {
        hint: "refresh the gallery",
      });
    }
    return kept;
  };
  app.command("imgd.galleryAction", async (message: FromGallery) => {
    switch (message.kind) {
      case "ready":
      case "refresh":
        return load("");
      case "more":
        return load(next);
      case "generate":
        return vscode.commands.executeCommand("imgd.generate");
      case "copyPrompt":
        return vscode.env.clipboard.writeText(pick(message.key).prompt);
      case "again":
        return vscode.commands.executeCommand("imgd.drawRequest", pick(message.key).prompt, again(pick(message.key)));
      default: {
        await showKept(app, pick(message.key));
        const command = AFTER_SHOWING[message.kind];
        return command ? vscode.commands.executeCommand(command) : app.showPanel();
      }
    }
  });
  const panel = new Panel<ToGallery, FromGallery>(app.context, "gallery", "imgd gallery", async (message) =>
    vscode.commands.executeCommand("imgd.galleryAction", message),
  );
  app.context.subscriptions.push(
    app.runs.onDidDraw(() => {
      if (panel.isOpen && !isLeafed) {
        app.afterwards(load(""));
      }
    }),
  );
  app.command("imgd.gallery", async () => {
    const wasOpen = panel.isOpen;
    panel.show(vscode.ViewColumn.Active, false);
    if (wasOpen) {
      await load("");
    }
  });
}

/** Puts a kept picture into the panel, as a run that is at its end. */
export async function showKept(app: App, kept: Kept): Promise<Run> {
  const run = new Run(kept.prompt, again(kept), cannotRepeat(kept));
  run.picture = await app.withDaemon((connection) => fetchPicture(connection, kept.jobId, kept.index));
  app.runs.show(run);
  return run;
}

function keyOf(kept: Kept): string {
  return `${kept.jobId}/${kept.index}`;
}

/** Pictures with their thumbnails, fetched over one connection at once. One that is gone meanwhile is left out. */
async function toItems(connection: Connection, pictures: Kept[]): Promise<Item[]> {
  const items = pictures.map(async (kept): Promise<Item | undefined> => {
    try {
      const { bytes } = await fetchPicture(connection, kept.jobId, kept.index, true);
      const time = new Date(kept.finishedMs).toLocaleString();
      return {
        key: keyOf(kept),
        prompt: kept.prompt,
        details: [...details(kept.settings, undefined, kept.sizeBytes), ["Made", time]],
        thumbnail: new Uint8Array(bytes),
        cannotRepeat: cannotRepeat(kept) ?? "",
      };
    } catch (error) {
      if (toFailure(error).reason === "IMAGE_NOT_FOUND" || toFailure(error).reason === "JOB_NOT_FOUND") {
        return undefined;
      }
      throw error;
    }
  });
  return (await Promise.all(items)).filter((item) => item !== undefined);
}
