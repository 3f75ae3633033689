// The packed extension, unpacked. A reader of zip files that is enough for what vsce writes.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inflateRawSync } from "node:zlib";

/** The package that `npm run package` makes. */
export const VSIX = join(__dirname, "../imgd.vsix");

const CENTRAL = 0x02014b50;
const END = 0x06054b50;

/** The files of the package by their paths. */
export function vsixFiles(): Map<string, Buffer> {
  const zip = readFileSync(VSIX);
  let end = zip.length - 22;
  while (zip.readUInt32LE(end) !== END) end -= 1;
  const files = new Map<string, Buffer>();
  for (let at = zip.readUInt32LE(end + 16); zip.readUInt32LE(at) === CENTRAL;) {
    const [method, packed] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20)];
    const [name, extra, comment] = [zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30), zip.readUInt16LE(at + 32)];
    const local = zip.readUInt32LE(at + 42);
    const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const data = zip.subarray(begin, begin + packed);
    files.set(zip.toString("utf8", at + 46, at + 46 + name), method === 0 ? data : inflateRawSync(data));
    at += 46 + name + extra + comment;
  }
  return files;
}

/** Writes the extension's files into a folder, as VS Code does when it is installed. */
export function unpackExtension(folder: string): void {
  for (const [path, bytes] of vsixFiles()) {
    if (path.startsWith("extension/")) {
      const to = join(folder, path.slice("extension/".length));
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, bytes);
    }
  }
}
