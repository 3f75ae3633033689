// Starting the daemon: `imgctl` does it, with its own lock, its own search for `imgd` and its own words where it fails.

import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";

import { Failure } from "./failure";
import { withHome } from "./place";

/** imgctl waits 30 s for an answer, and 45 s for another daemon's end before that. */
const TIMEOUT_MS = 90_000;

/** Where people's programs are that a desktop's own search path lacks. */
const FURTHER_FOLDERS = ["~/.cargo/bin", "~/.local/bin", "/opt/homebrew/bin", "/usr/local/bin"];

/** Finds `imgctl`: the named path, else the search path, else where people have it. A named path is never passed over. */
export function findImgctl(named: string, env: NodeJS.ProcessEnv): string {
  if (named) {
    const path = withHome(named, env);
    if (!isAbsolute(path) || !isProgram(path)) {
      throw new Failure("DAEMON_UNAVAILABLE", `the setting imgd.imgctlPath is \`${named}\`, which is no program`, {
        hint: "name the absolute path of imgctl, or leave the setting empty",
      });
    }
    return path;
  }
  const folders = [...(env["PATH"] ?? "").split(delimiter), ...FURTHER_FOLDERS.map((folder) => withHome(folder, env))];
  const found = folders
    .filter(isAbsolute)
    .map((folder) => join(folder, "imgctl"))
    .find(isProgram);
  if (found === undefined) {
    throw new Failure("DAEMON_UNAVAILABLE", "imgd is not running, and `imgctl`, which starts it, was not found", {
      hint: "install imgd, or name imgctl's path in the setting imgd.imgctlPath",
    });
  }
  return found;
}

/**
 * Has `imgctl` see to it that a daemon of its own build listens on `socket`.
 *
 * The verb is the one that asks for least: a list that the daemon has at hand. No model is loaded.
 */
export async function start(imgctl: string, socket: string, env: NodeJS.ProcessEnv): Promise<void> {
  const argv = ["--socket", socket, "--quiet", "samplers"];
  const options = { env, timeout: TIMEOUT_MS, cwd: "/", maxBuffer: 1 << 20 };
  await new Promise<void>((resolve, reject) => {
    execFile(imgctl, argv, options, (error, _stdout, stderr) =>
      error ? reject(startFailure(stderr, error)) : resolve(),
    );
  });
}

/** imgctl's last words, `error: …` and `hint: …`, as a failure. */
export function startFailure(stderr: string, error: Error & { code?: unknown; killed?: boolean }): Failure {
  const lines = stderr.trimEnd().split("\n");
  const after = (word: string) => lines.find((line) => line.startsWith(`${word}: `))?.slice(word.length + 2);
  const begin = lines.findIndex((line) => line.startsWith("error: "));
  const more = begin < 0 ? [] : lines.slice(begin + 1).filter((line) => line.startsWith("  "));
  const said = [after("error"), ...more].filter((line) => line !== undefined).join("\n");
  const why = said || (error.killed ? `imgctl did not end within ${TIMEOUT_MS / 1000} s` : error.message);
  const reason = error.code === 78 ? "CONFIG_INVALID" : "DAEMON_UNAVAILABLE";
  return new Failure(reason, why, { hint: after("hint") });
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
