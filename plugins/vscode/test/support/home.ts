// A home of its own for a daemon, so that nothing of the person's is touched; and its end.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const root = join(__dirname, "../../..");

/** The programs that are tried: `IMGD` and `IMGCTL`, else those of a debug build. */
export const IMGD = resolve(process.env["IMGD"] ?? join(root, "target/debug/imgd"));
export const IMGCTL = resolve(process.env["IMGCTL"] ?? join(root, "target/debug/imgctl"));

/** Folder of the contract as the build copies it. */
export const PROTO_FOLDER = join(__dirname, "../dist/proto");

/** A temporary home. */
export interface Home {
  folder: string;
  env: NodeJS.ProcessEnv;
  socket: string;
  /** Ends the daemon and deletes the folder. */
  end(): void;
}

/** Makes a home. Its path is short: a socket's may have 103 bytes. */
export function makeHome(): Home {
  const folder = mkdtempSync("/tmp/imgd-vsc-");
  const runtime = join(folder, "run");
  mkdirSync(runtime, { mode: 0o700 });
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    HOME: folder,
    XDG_RUNTIME_DIR: runtime,
    IMGD_BIN: IMGD,
  };
  return {
    folder,
    env,
    socket: join(runtime, "imgd/imgd.sock"),
    end: () => {
      try {
        execFileSync(IMGCTL, ["-q", "shutdown", "--force"], { env, timeout: 60_000, stdio: "ignore" });
      } catch {
        // Nobody runs: that is what is wanted.
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until `look` gives something; two minutes at most, for a machine that is busy. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const end = Date.now() + 120_000;
  for (;;) {
    const found = await look();
    if (found) {
      return found;
    }
    if (Date.now() > end) {
      throw new Error(`waited two minutes for ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
