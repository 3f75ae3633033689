// An upscaler that repeats each pixel: an SRVGGNetCompact whose last layer adds nothing.

const FEATURES = 8;

/** Its safetensors file; each side becomes `scale` times as long. */
export function repeatingUpscaler(scale: number): Buffer {
  const shapes: [string, number[]][] = [
    ["body.0.weight", [FEATURES, 3, 3, 3]],
    ["body.0.bias", [FEATURES]],
    ["body.1.weight", [FEATURES]],
    ["body.2.weight", [FEATURES, FEATURES, 3, 3]],
    ["body.2.bias", [FEATURES]],
    ["body.3.weight", [FEATURES]],
    ["body.4.weight", [3 * scale * scale, FEATURES, 3, 3]],
    ["body.4.bias", [3 * scale * scale]],
  ];
  let end = 0;
  const entries = shapes.map(([name, shape]) => {
    const begin = end;
    end += 4 * shape.reduce((product, side) => product * side, 1);
    return [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(end)]);
}
