// A picture's file, put together from the parts in which it travels.

import { createHash } from "node:crypto";

import type { ImageChunk__Output as Chunk } from "../contract/imgd/v1/ImageChunk";
import type { ImageMetadata__Output as ImageMetadata } from "../contract/imgd/v1/ImageMetadata";
import { contractBroken } from "./failure";

/** Larger files break the contract. */
const MAX_BYTES = 256 << 20;

/** A file that is complete and is the one that its SHA-256 names. */
export interface Picture {
  /** Which image of the job, from 0. */
  index: number;
  bytes: Buffer;
  metadata: ImageMetadata;
}

/** Files of which some parts are here. A thumbnail has no SHA-256 of its own: `checked` is false for it. */
export class Assembly {
  private parts: Buffer[] = [];
  private length = 0;
  private first: Chunk | undefined;

  constructor(private readonly checked = true) {}

  /** Takes the next part; returns the picture with its last one. Fails when the parts do not fit together. */
  accept(chunk: Chunk): Picture | undefined {
    const first = (this.first ??= chunk);
    const total = Number(first.total_bytes);
    if (total > MAX_BYTES) {
      throw contractBroken("a picture is too large");
    }
    const fits = chunk.image_index === first.image_index && chunk.total_bytes === first.total_bytes;
    if (!fits || Number(chunk.offset) !== this.length) {
      throw contractBroken("parts of a picture came out of order");
    }
    this.parts.push(chunk.data);
    this.length += chunk.data.length;
    if (this.length > total || chunk.last !== (this.length === total)) {
      throw contractBroken("a picture has another size than was said");
    }
    if (!chunk.last) {
      return undefined;
    }
    const bytes = Buffer.concat(this.parts);
    [this.parts, this.length, this.first] = [[], 0, undefined];
    const metadata = first.metadata;
    if (metadata === null) {
      throw contractBroken("a picture came without its settings");
    }
    if (this.checked && createHash("sha256").update(bytes).digest("hex") !== metadata.sha256) {
      throw contractBroken("a picture's bytes are not those that its SHA-256 names");
    }
    return { index: first.image_index, bytes, metadata };
  }
}
