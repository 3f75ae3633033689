// What is about the daemon itself: its status, its models, and cancelling.

import * as vscode from "vscode";

import type { App } from "../app";
import { ask } from "../client/connection";
import { toSecs } from "../client/drawing";
import { Failure, toFailure } from "../client/failure";
import type { GetStatusResponse__Output as Status } from "../contract/imgd/v1/GetStatusResponse";
import type { ListModelsResponse__Output as Models } from "../contract/imgd/v1/ListModelsResponse";
import { bytes, duration, failureWords, pictures, shortModel } from "../text/words";

const STARTED_BY: Record<string, string> = {
  STARTED_BY_HAND: "by hand",
  STARTED_BY_CLIENT: "by a client",
  STARTED_BY_SERVICE_MANAGER: "by the service manager",
};

/** Registers the commands. */
export function daemonCommands(app: App): void {
  app.command("imgd.cancel", () => cancel(app));
  app.command("imgd.status", () => showStatus(app));
  app.command("imgd.chooseModel", () => chooseModel(app));
}

async function cancel(app: App): Promise<void> {
  const { running } = app.runs;
  const all = { label: "All of them", runs: running };
  const items = [
    ...running.map((run) => ({ label: run.title || "no prompt", description: run.words, runs: [run] })),
    all,
  ];
  const chosen = running.length > 1 ? await vscode.window.showQuickPick(items, { title: "Cancel" }) : all;
  for (const run of chosen?.runs ?? []) {
    run.cancel();
    app.runs.changed(run);
  }
  if (running.length === 0) {
    vscode.window.setStatusBarMessage("imgd: nothing is being drawn", 3000);
  }
}

async function showStatus(app: App): Promise<void> {
  try {
    const { status, socket } = await app.withDaemon(async (connection) => connection, false);
    const detail = statusLines(status, socket).join("\n");
    const chosen = await vscode.window.showInformationMessage(
      `imgd ${status.version} is ready`,
      { modal: true, detail },
      "Gallery",
    );
    if (chosen) {
      await vscode.commands.executeCommand("imgd.gallery");
    }
  } catch (error) {
    const failure = toFailure(error);
    if (failure.reason !== "DAEMON_UNAVAILABLE") {
      throw failure;
    }
    const chosen = await vscode.window.showInformationMessage(failureWords(failure), "Start It");
    if (chosen) {
      await app.withDaemon(async () => undefined, true);
      await showStatus(app);
    }
  }
}

/** How the daemon is, a line a thing. */
export function statusLines(status: Status, socket: string): string[] {
  const { queue, memory, library } = status;
  const device = status.devices.find((device) => device.in_use);
  const models = status.models.map((model) => `${shortModel(model.name)} (${bytes(Number(model.memory_bytes))})`);
  const lines: [string, string | undefined][] = [
    [
      "Process",
      `${status.pid}, up ${duration(toSecs(status.uptime) ?? 0)}, started ${STARTED_BY[status.started_by] ?? "by somebody"}`,
    ],
    ["Socket", socket],
    ["Queue", queue ? `${queue.running} running, ${queue.waiting} waiting` : undefined],
    ["In memory", models.join(", ") || "no model"],
    [
      "Memory",
      memory ? `${bytes(Number(memory.available_bytes))} of ${bytes(Number(memory.total_bytes))} available` : undefined,
    ],
    ["Kept", library ? `${pictures(library.images)}, ${bytes(Number(library.size_bytes))}` : undefined],
    ["Device", device ? `${device.name}, ${device.description}` : undefined],
  ];
  return lines.flatMap(([name, text]) => (text === undefined ? [] : [`${name}: ${text}`]));
}

async function chooseModel(app: App): Promise<void> {
  const { models } = await app.withDaemon((connection) =>
    ask<Models>((metadata, options, answer) => connection.model.ListModels({}, metadata, options, answer)),
  );
  const current = app.settings().model;
  const items = models.map((model) => ({
    label: model.name,
    description: [
      model.name === current && "chosen",
      model.is_default && "the daemon's default",
      model.is_loaded && "in memory",
      model.family,
    ]
      .filter(Boolean)
      .join(" · "),
    detail: model.path || "inside imgd",
    model: model.name,
  }));
  const leave = {
    label: "The daemon's default",
    description: current === "" ? "chosen" : "",
    detail: "whatever it is",
    model: "",
  };
  const chosen = await vscode.window.showQuickPick([leave, ...items], {
    title: "Model to draw with",
    matchOnDescription: true,
  });
  if (chosen === undefined) {
    return;
  }
  const section = vscode.workspace.getConfiguration("imgd");
  const isOfWorkspace = section.inspect("model")?.workspaceValue !== undefined;
  const target = isOfWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  try {
    await section.update("model", chosen.model || undefined, target);
  } catch (error) {
    throw new Failure("CONFIG_INVALID", `the setting imgd.model could not be written: ${toFailure(error).message}`);
  }
}
