// Daemons that cannot be started, that die, and places with long names.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { connect, type ConnectOptions } from "../../src/client/connection";
import { draw } from "../../src/client/drawing";
import { Failure } from "../../src/client/failure";
import { type Home, IMGCTL, makeHome, PROTO_FOLDER } from "../support/home";

/** Runs `use` with a home of its own. */
async function inHome(use: (home: Home, options: ConnectOptions) => Promise<void>): Promise<void> {
  const home = makeHome();
  try {
    await use(home, { protoFolder: PROTO_FOLDER, socket: "", imgctl: IMGCTL, autostart: true, env: home.env });
  } finally {
    home.end();
  }
}

const isFailure = (reason: string, text: RegExp) => (error: unknown) =>
  error instanceof Failure && error.reason === reason && text.test(`${error.message} ${error.hint}`);

test("without imgctl it is said what to do", () =>
  inHome(async (home, options) => {
    const env = { ...home.env, PATH: join(home.folder, "bin") };
    await assert.rejects(
      connect({ ...options, imgctl: "/nonexistent/imgctl", env }),
      isFailure("DAEMON_UNAVAILABLE", /imgd.imgctlPath.*no program/),
    );
    await assert.rejects(
      connect({ ...options, imgctl: "", env }),
      isFailure("DAEMON_UNAVAILABLE", /not found.*imgd.imgctlPath/),
    );
  }));

test("a daemon that ends at once has its own words shown", () =>
  inHome(async (home, options) => {
    const config = join(home.folder, "config.toml");
    writeFileSync(config, "no_such_setting = 1\n");
    const env = { ...home.env, IMGD_CONFIG: config };
    await assert.rejects(connect({ ...options, env }), isFailure("CONFIG_INVALID", /no_such_setting/));
    await assert.rejects(
      connect({ ...options, env: { ...home.env, IMGD_BIN: "/nonexistent" } }),
      isFailure("DAEMON_UNAVAILABLE", /IMGD_BIN/),
    );
  }));

test("a daemon that is killed midway is said to be lost, and the next connection has another", () =>
  inHome(async (_home, options) => {
    const connection = await connect(options);
    const { pid } = connection.status;
    const drawing = draw(
      connection,
      { prompt: "a tall ship", num_inference_steps: 900 },
      new AbortController().signal,
      (event) => {
        if (event.kind === "step" && event.step === 2) process.kill(pid, "SIGKILL");
      },
    );
    await assert.rejects(drawing, isFailure("DAEMON_UNAVAILABLE", /lost.*try again/));
    connection.close();
    const next = await connect(options);
    assert.notEqual(next.status.pid, pid);
    next.close();
  }));

test("a runtime directory with a long name leads to the daemon's own short name", () =>
  inHome(async (home, options) => {
    const runtime = join(home.folder, "r".repeat(100));
    mkdirSync(runtime, { mode: 0o700 });
    const env = { ...home.env, XDG_RUNTIME_DIR: runtime };
    // Connecting without a socket's name, the client starts imgctl with the one it computed; imgctl alone must find it there.
    const connection = await connect({ ...options, env });
    const { execFileSync } = await import("node:child_process");
    const said = JSON.parse(execFileSync(IMGCTL, ["--json", "status"], { env, encoding: "utf8" })) as { pid: number };
    assert.equal(said.pid, connection.status.pid);
    connection.close();
    execFileSync(IMGCTL, ["-q", "shutdown"], { env, timeout: 60_000 });
  }));

test("a folder that others may enter is refused before anything is sent", () =>
  inHome(async (home, options) => {
    mkdirSync(join(home.folder, "run/imgd"), { mode: 0o755 });
    await assert.rejects(connect(options), isFailure("SOCKET_UNSAFE", /others may enter it.*chmod 700/));
  }));
