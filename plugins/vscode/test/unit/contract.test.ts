import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { FILES, PROTOCOL } from "../../src/client/contract";

const root = join(__dirname, "../../..");

test("the bundle has the repository's contract, byte for byte", () => {
  const files = readdirSync(join(root, "proto/imgd/v1")).filter((name) => name.endsWith(".proto"));
  assert.deepEqual(
    files.map((name) => `imgd/v1/${name}`).sort(),
    [...FILES].sort(),
    "every file of the contract is loaded",
  );
  for (const file of FILES) {
    assert.deepEqual(readFileSync(join(__dirname, "../dist/proto", file)), readFileSync(join(root, "proto", file)));
  }
});

test("the protocol's number is the daemon's", () => {
  const source = readFileSync(join(root, "proto/src/lib.rs"), "utf8");
  assert.equal(Number(/pub const PROTOCOL: u32 = (\d+);/.exec(source)?.[1]), PROTOCOL);
});
