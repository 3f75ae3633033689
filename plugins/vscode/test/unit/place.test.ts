import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { Failure } from "../../src/client/failure";
import { isThere, locate, type Surroundings } from "../../src/client/place";

const at = (env: NodeJS.ProcessEnv, more: Partial<Surroundings> = {}) =>
  locate({ explicit: "", env, platform: "linux", uid: 1000, ...more });

test("the first that is set decides, as in the daemon", () => {
  assert.equal(at({}), "/tmp/imgd-1000/imgd.sock");
  assert.equal(at({ HOME: "/Users/a" }, { platform: "darwin" }), "/Users/a/Library/Caches/imgd/run/imgd.sock");
  assert.equal(at({ XDG_RUNTIME_DIR: "/run/user/1000" }), "/run/user/1000/imgd/imgd.sock");
  assert.equal(at({ XDG_RUNTIME_DIR: "run" }), "/tmp/imgd-1000/imgd.sock");
  assert.equal(at({ XDG_RUNTIME_DIR: "/run/user/1000", IMGD_SOCKET: "/a/b.sock" }), "/a/b.sock");
  assert.equal(at({ IMGD_SOCKET: "/a/b.sock", HOME: "/home/a" }, { explicit: "~/c.sock" }), "/home/a/c.sock");
});

test("paths of 103 bytes are kept, longer ones get the daemon's short name or are refused", () => {
  const runtime = (bytes: number) => `/${"r".repeat(bytes - "/imgd/imgd.sock".length - 1)}`;
  assert.equal(at({ XDG_RUNTIME_DIR: runtime(103) }).length, 103);
  // FNV-1a of the path; the end-to-end test has imgctl agree.
  assert.match(at({ XDG_RUNTIME_DIR: runtime(104) }), /^\/tmp\/imgd-1000\/[0-9a-f]{16}\.sock$/);
  assert.throws(
    () => at({ IMGD_SOCKET: `/${"s".repeat(103)}` }),
    (error) => error instanceof Failure && /104 bytes/.test(error.message),
  );
});

test("a place that is not the user's alone is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "imgd-place-"));
  const uid = process.getuid?.() ?? 0;
  try {
    const own = join(folder, "own");
    mkdirSync(own, { mode: 0o700 });
    assert.equal(isThere(join(own, "imgd.sock"), uid), false);
    assert.equal(isThere(join(folder, "missing/imgd.sock"), uid), false);
    writeFileSync(join(own, "imgd.sock"), "");
    assert.equal(isThere(join(own, "imgd.sock"), uid), true);
    assert.throws(() => isThere(join(own, "imgd.sock"), uid + 1), /belongs to user/);
    chmodSync(own, 0o755);
    assert.throws(() => isThere(join(own, "imgd.sock"), uid), /mode 0755: others may enter it/);
    symlinkSync(own, join(folder, "link"));
    assert.throws(() => isThere(join(folder, "link/imgd.sock"), uid), /a symbolic link/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
