import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";

import { Assembly } from "../../src/client/picture";
import type { ImageChunk__Output as Chunk } from "../../src/contract/imgd/v1/ImageChunk";

const file = Buffer.from("a picture's bytes");
const sha256 = createHash("sha256").update(file).digest("hex");

function chunk(begin: number, end: number, more: Partial<Chunk> = {}): Chunk {
  const metadata = begin === 0 ? ({ sha256 } as Chunk["metadata"]) : null;
  return {
    image_index: 2,
    data: file.subarray(begin, end),
    offset: String(begin),
    total_bytes: String(file.length),
    last: end === file.length,
    metadata,
    ...more,
  };
}

test("parts become the file", () => {
  const assembly = new Assembly();
  assert.equal(assembly.accept(chunk(0, 5)), undefined);
  assert.equal(assembly.accept(chunk(5, 9)), undefined);
  const picture = assembly.accept(chunk(9, file.length));
  assert.deepEqual([picture?.index, picture?.bytes], [2, file]);
  // The next picture of the same stream.
  assert.deepEqual(assembly.accept(chunk(0, file.length))?.bytes, file);
});

const broken: [string, Chunk[], RegExp][] = [
  ["a gap", [chunk(0, 5), chunk(6, 9)], /out of order/],
  ["another picture between", [chunk(0, 5), chunk(5, 9, { image_index: 3 })], /out of order/],
  ["another size", [chunk(0, 5), chunk(5, 9, { total_bytes: "99" })], /out of order/],
  ["an early end", [chunk(0, 5, { last: true })], /another size/],
  ["a late end", [chunk(0, file.length, { last: false })], /another size/],
  ["a giant", [chunk(0, 5, { total_bytes: "999999999999" })], /too large/],
  ["no settings", [chunk(0, file.length, { metadata: null })], /settings/],
  ["other bytes", [chunk(0, file.length, { data: Buffer.from("A picture's bytes") })], /SHA-256/],
];
for (const [name, chunks, message] of broken) {
  test(`${name} is refused`, () => {
    const assembly = new Assembly();
    assert.throws(() => chunks.forEach((chunk) => assembly.accept(chunk)), message);
  });
}
