import assert from "node:assert/strict";
import test from "node:test";

import { paragraph, shifted } from "../../src/text/anchor";

/** The text with `length` characters at `offset` replaced. */
const edited = (text: string, offset: number, length: number, by: string) =>
  text.slice(0, offset) + by + text.slice(offset + length);

test("a place stays before the character that it was before, whatever is edited", () => {
  const text = "abc|def";
  const at = text.indexOf("|");
  for (let offset = 0; offset <= text.length; offset += 1) {
    for (let length = 0; offset + length <= text.length; length += 1) {
      // Where the mark itself is deleted there is nothing to look for.
      if (offset <= at && offset + length > at) continue;
      for (const by of ["", "x", "xyz"]) {
        const moved = shifted(at, { offset, length, text: by });
        assert.equal(edited(text, offset, length, by)[moved], "|", `${offset} ${length} ${by}`);
      }
    }
  }
  assert.equal(shifted(3, { offset: 1, length: 5, text: "yz" }), 3);
});

test("a paragraph of its own is set apart only from what is there", () => {
  assert.equal(paragraph("P", "text", 4), "\n\nP");
  assert.equal(paragraph("P", "text more", 4), "\n\nP\n\n");
  assert.equal(paragraph("P", "  ", 2), "P");
});
