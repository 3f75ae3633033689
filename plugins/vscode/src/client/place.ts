// Where the daemon's socket is, and whether it is safe to talk to: the rules of proto/src/socket.rs.

import { lstatSync, type Stats } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";

import { Failure } from "./failure";

/** Longest path of a socket in bytes that works on Linux and macOS alike. */
export const MAX_PATH_BYTES = 103;

/** What the place of the socket depends on. */
export interface Surroundings {
  /** The setting `imgd.socket`; empty for none. */
  explicit: string;
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  uid: number;
}

/** Those of this process. Fails where there is no user id, as on Windows. */
export function surroundings(explicit: string, env: NodeJS.ProcessEnv): Surroundings {
  const uid = process.getuid?.();
  if (uid === undefined) {
    throw new Failure("DAEMON_UNAVAILABLE", "imgd runs on Linux and macOS, not on this system", {
      hint: "open the folder in WSL, in a container or over SSH: the extension then runs there",
    });
  }
  return { explicit, env, platform: process.platform, uid };
}

/** The socket's path. A path that the user named is taken or refused; one of ours that is too long gets a short name. */
export function locate(at: Surroundings): string {
  const named = at.explicit || at.env["IMGD_SOCKET"];
  if (named) {
    const path = resolve(withHome(named, at.env));
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new Failure(
        "SOCKET_UNSAFE",
        `socket path \`${path}\` has ${Buffer.byteLength(path)} bytes: a socket's path has at most ${MAX_PATH_BYTES}`,
        {
          hint: "name a shorter path in the setting imgd.socket or in IMGD_SOCKET, or leave both out",
        },
      );
    }
    return path;
  }
  const fallback = `/tmp/imgd-${at.uid}`;
  const runtime = at.env["XDG_RUNTIME_DIR"];
  const home = at.env["HOME"];
  let path = join(fallback, "imgd.sock");
  if (runtime && isAbsolute(runtime)) {
    path = join(runtime, "imgd/imgd.sock");
  } else if (at.platform === "darwin" && home && isAbsolute(home)) {
    path = join(home, "Library/Caches/imgd/run/imgd.sock");
  }
  return Buffer.byteLength(path) <= MAX_PATH_BYTES ? path : join(fallback, `${fnv1a(path)}.sock`);
}

/**
 * Whether there is a socket at the path.
 *
 * Fails where the folder or the socket is not this user's alone: whoever listens there could read the prompts.
 */
export function isThere(path: string, uid: number): boolean {
  const folder = dirname(path);
  const around = stat(folder);
  if (around === undefined) {
    return false;
  }
  const unsafe = (what: string, hint: string) => new Failure("SOCKET_UNSAFE", what, { hint });
  const elsewhere = "remove it, or name another place in the setting imgd.socket";
  if (!around.isDirectory()) {
    throw unsafe(
      `\`${folder}\` is not a directory but ${around.isSymbolicLink() ? "a symbolic link" : "a file"}`,
      elsewhere,
    );
  }
  if (around.uid !== uid) {
    throw unsafe(`directory \`${folder}\` belongs to user ${around.uid}, not to user ${uid}`, elsewhere);
  }
  if ((around.mode & 0o077) !== 0) {
    const mode = (around.mode & 0o7777).toString(8).padStart(4, "0");
    throw unsafe(
      `directory \`${folder}\` has mode ${mode}: others may enter it`,
      `chmod 700 '${folder}', or put the socket into a directory of its own`,
    );
  }
  const socket = stat(path);
  if (socket !== undefined && socket.uid !== uid) {
    throw unsafe(`\`${path}\` belongs to user ${socket.uid}, not to user ${uid}: nothing was sent`, elsewhere);
  }
  return socket !== undefined;
}

/** `~/` at the beginning of a setting is the home directory. */
export function withHome(path: string, env: NodeJS.ProcessEnv): string {
  const home = env["HOME"];
  return home && (path === "~" || path.startsWith("~/")) ? join(home, path.slice(1)) : path;
}

function stat(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** FNV-1a, 64 bits, as the daemon computes it. */
function fnv1a(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash.toString(16).padStart(16, "0");
}
