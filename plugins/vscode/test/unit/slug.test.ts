import assert from "node:assert/strict";
import test from "node:test";

import { fileName, slug } from "../../src/text/slug";

test("a name is the prompt's words, as imgctl makes it", () => {
  assert.equal(slug("A red apple, on a table!"), "a-red-apple-on-a-table");
  assert.equal(slug("Ein Apfel für Größe"), "ein-apfel-für-größe");
  assert.equal(slug("赤いリンゴ"), "赤いリンゴ");
  assert.equal(slug(" …!? "), "picture");
  assert.equal(fileName("../../etc/passwd", "18446744073709551615", "png"), "etc-passwd-18446744073709551615.png");
});

test("a name is cut between words, and a first word that is too long between characters", () => {
  const words = slug("word ".repeat(30));
  assert.ok(Buffer.byteLength(words) <= 60 && words.endsWith("-word"), words);
  assert.equal(slug("é".repeat(50)), "é".repeat(30));
  assert.equal(slug("a".repeat(70)), "a".repeat(60));
});
