import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { folderFor, save } from "../../src/save";

test("the configured folder goes before the document's, that before the workspace's", () => {
  const env = { HOME: "/home/a" };
  assert.equal(folderFor({ configured: "", document: "/w/docs", workspace: "/w" }, env), "/w/docs");
  assert.equal(folderFor({ configured: "", workspace: "/w" }, env), "/w");
  assert.equal(folderFor({ configured: "img", document: "/w/docs", workspace: "/w" }, env), "/w/img");
  assert.equal(folderFor({ configured: "img", document: "/docs" }, env), "/docs/img");
  assert.equal(folderFor({ configured: "~/img" }, env), "/home/a/img");
  assert.equal(folderFor({ configured: "img" }, env), undefined);
});

test("a file is never written over, and nothing else is left", async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgd-save-"));
  try {
    writeFileSync(join(folder, "a.png"), "mine");
    const names = await Promise.all(["1", "2", "3"].map((text) => save(folder, "a.png", Buffer.from(text))));
    assert.deepEqual(
      names.sort(),
      ["a-2.png", "a-3.png", "a-4.png"].map((name) => join(folder, name)),
    );
    assert.equal(readFileSync(join(folder, "a.png"), "utf8"), "mine");
    assert.deepEqual(names.map((name) => readFileSync(name, "utf8")).sort(), ["1", "2", "3"]);
    assert.equal(
      await save(folder, "a.png", Buffer.from("mine")),
      join(folder, "a.png"),
      "the very same file stays alone",
    );
    assert.equal(readdirSync(folder).length, 4);
    assert.equal(await save(join(folder, "new/deep"), "b.png", Buffer.from("x")), join(folder, "new/deep/b.png"));
    await assert.rejects(save(join(folder, "a.png"), "b.png", Buffer.from("x")), /could not be written/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
