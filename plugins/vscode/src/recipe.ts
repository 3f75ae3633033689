// How a picture was made, as the JSON record says that imgd writes into its PNG files.
//
// Files are of unknown origin: nothing is believed, and nothing is unpacked.

import type { GenerateRequest } from "./contract/imgd/v1/GenerateRequest";

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** The highest version of the record that is known here. */
const RECORD_VERSION = 1;

/** A seed has 64 bits, more than a number of JSON.parse holds. Inside of a text its quotes have backslashes. */
const SEED = /[{,]\s*"seed"\s*:\s*(\d+)\s*[,}]/;

/** A record is a few kilobytes. */
const MAX_TEXT_BYTES = 1 << 20;

/** The request that drew a PNG of imgd's; `undefined` for any other file, and for a picture that others went into. */
export function recipe(file: Buffer): GenerateRequest | undefined {
  const text = record(file);
  if (text === undefined) {
    return undefined;
  }
  try {
    return toRequest(JSON.parse(text) as unknown, SEED.exec(text)?.[1]);
  } catch {
    return undefined;
  }
}

function toRequest(value: unknown, seed: string | undefined): GenerateRequest | undefined {
  if (typeof value !== "object" || value === null) {
    return undefined;
  }
  const record = value as Record<string, unknown>;
  const needsOthers = ["init_image_sha256", "controls", "ref_image_sha256", "upscaler"].some((key) => key in record);
  const text = (key: string) => (typeof record[key] === "string" ? record[key] : undefined);
  const number = (key: string) => (typeof record[key] === "number" ? record[key] : undefined);
  const prompt = text("prompt");
  if (needsOthers || prompt === undefined || record["version"] !== RECORD_VERSION) {
    return undefined;
  }
  const request: GenerateRequest = {
    prompt,
    prompts_are_final: true,
    prompt_syntax: text("prompt_syntax") === "a1111" ? "PROMPT_SYNTAX_A1111" : "PROMPT_SYNTAX_PLAIN",
  };
  const negative = text("negative_prompt");
  if (negative !== undefined) request.negative_prompt = negative;
  for (const key of ["model", "sampler", "schedule"] as const) {
    const value = text(key);
    if (value) request[key] = value;
  }
  for (const key of [
    "width_px",
    "height_px",
    "num_inference_steps",
    "guidance_scale",
    "clip_skip",
    "max_sequence_length",
  ] as const) {
    const value = number(key);
    if (value !== undefined) request[key] = value;
  }
  if (seed !== undefined) request.seed = seed;
  const scale = number("hires_scale");
  if (scale !== undefined) {
    request.hires = {
      hires_scale: scale,
      hires_strength: number("hires_strength"),
      hires_steps: number("hires_steps"),
    };
  }
  const loras = Array.isArray(record["loras"]) ? (record["loras"] as Record<string, unknown>[]) : [];
  request.loras = loras.map((lora) => ({ lora: String(lora["name"]), weight: Number(lora["weight"]) }));
  return request;
}

/** The text of the chunk `imgd`: `tEXt`, or `iTXt` that is not packed. */
function record(file: Buffer): string | undefined {
  if (!file.subarray(0, PNG.length).equals(PNG)) {
    return undefined;
  }
  let at = PNG.length;
  while (at + 12 <= file.length) {
    const length = file.readUInt32BE(at);
    const kind = file.toString("latin1", at + 4, at + 8);
    const data = file.subarray(at + 8, at + 8 + length);
    if (kind === "IDAT" || kind === "IEND") {
      return undefined;
    }
    if (length <= MAX_TEXT_BYTES && data.subarray(0, 5).equals(Buffer.from("imgd\0"))) {
      if (kind === "tEXt") {
        return data.toString("latin1", 5);
      }
      // After the keyword: whether it is packed, how, language, translated keyword.
      const language = data.indexOf(0, 7);
      const keyword = language < 0 ? -1 : data.indexOf(0, language + 1);
      if (kind === "iTXt" && data[5] === 0 && keyword >= 0) {
        return data.toString("utf8", keyword + 1);
      }
    }
    at += 12 + length;
  }
  return undefined;
}

/** Width and height of a PNG in pixels. */
export function pngSize(file: Buffer): [number, number] | undefined {
  const isPng = file.length >= 24 && file.subarray(0, PNG.length).equals(PNG);
  return isPng ? [file.readUInt32BE(16), file.readUInt32BE(20)] : undefined;
}
