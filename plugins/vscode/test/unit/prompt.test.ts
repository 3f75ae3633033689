import assert from "node:assert/strict";
import test from "node:test";

import { ofFrontMatter, ofSelection } from "../../src/text/prompt";

test("selected lines become one, without Markdown's marks", () => {
  assert.equal(
    ofSelection("## A **red** apple\n- on a [table](x.md)\n  in `light`", true),
    "A red apple on a table in light",
  );
  assert.equal(ofSelection("(red:1.2) **apple**", false), "(red:1.2) **apple**");
  assert.equal(ofSelection("(red:1.2) [blue] snake_case", true), "(red:1.2) [blue] snake_case");
});

test("front matter gives its prompt, the more special key first", () => {
  const document = "---\ntitle: Apples\nimage_prompt: a red apple # not this\n---\ntext";
  assert.deepEqual(ofFrontMatter(document), { prompt: "a red apple", end: document.length - 4 });
  assert.equal(ofFrontMatter('---\r\ntitle: "An \\"apple\\": red"\r\n---\r\n')?.prompt, 'An "apple": red');
  assert.equal(ofFrontMatter("---\ndescription: 'it''s red'\n---")?.prompt, "it's red");
  assert.equal(ofFrontMatter("---\nprompt: >-\n  a red\n  apple\nother: 1\n---\n")?.prompt, "a red apple");
  assert.equal(ofFrontMatter('+++\ntitle = "An apple"\n+++\n')?.prompt, "An apple");
});

test("without front matter, or without a prompt in it, there is none", () => {
  assert.equal(ofFrontMatter("text\n---\ntitle: x\n---\n"), undefined);
  assert.equal(ofFrontMatter("---\ntitle: x\n"), undefined);
  assert.equal(ofFrontMatter("---\nlayout: page\ntitle:\n---\n"), undefined);
});
