// A run and a kept picture in the words of the pages.

import { basename } from "node:path";

import type { Kept } from "../client/library";
import { sizeOf } from "../client/library";
import type { GenerateRequest } from "../contract/imgd/v1/GenerateRequest";
import type { Settings__Output as Settings } from "../contract/imgd/v1/Settings";
import { pngSize } from "../recipe";
import type { Run } from "../run";
import { bytes, shortModel } from "../text/words";
import type { RunView } from "../webview/messages";

/** A run as the panel shows it. */
export function runView(run: Run): RunView {
  const { failure, picture } = run;
  const metadata = picture?.metadata;
  const state = picture ? "done" : failure ? (failure.isCancelled ? "cancelled" : "failed") : "busy";
  const words = { busy: run.words, done: "done", cancelled: "cancelled", failed: failure?.message ?? "" }[state];
  return {
    title: run.title,
    words,
    fraction: state === "busy" ? (run.fraction ?? null) : null,
    state,
    hint: failure?.hint ?? "",
    notices: run.notices,
    details:
      metadata?.settings && picture ? details(metadata.settings, pngSize(picture.bytes), picture.bytes.length) : [],
    savedAs: run.savedAt ? basename(run.savedAt) : "",
    canRepeat: run.cannotRepeat === undefined,
    cannotRepeat: run.cannotRepeat ?? "",
  };
}

/** What a picture was made with, as name and value. */
export function details(settings: Settings, size: [number, number] | undefined, sizeBytes: number): [string, string][] {
  const [width, height] = size ?? sizeOf(settings);
  const common: [string, string][] = [
    ["Size", `${width} × ${height}`],
    ["File", bytes(sizeBytes)],
  ];
  if (settings.upscale) {
    return [["Upscaler", settings.upscale.upscaler], ["Scale", `${settings.upscale.scale}×`], ...common];
  }
  const list: [string, string][] = [
    ["Model", shortModel(settings.model)],
    ["Seed", settings.seed],
    ["Steps", String(settings.num_inference_steps)],
    ["Guidance", String(settings.guidance_scale)],
    ["Sampler", [settings.sampler, settings.schedule].filter(Boolean).join(" ")],
  ];
  if (settings.strength !== undefined) {
    list.push(["Strength", String(settings.strength)]);
  }
  if (settings.variation_strength) {
    list.push(["Variation", `${settings.variation_strength} of ${settings.variation_seed}`]);
  }
  return [...list, ...common];
}

/** Why a kept picture's request cannot be made again; `undefined` where it can. */
export function cannotRepeat({ request }: Kept): string | undefined {
  const others = request.input !== null || request.controls.length > 0 || request.ref_images.length > 0;
  return others ? "It was made from another picture, which is not at hand any more." : undefined;
}

/** A kept picture's request for another picture like it: with a seed of its own. */
export function again(kept: Kept): GenerateRequest {
  const { seed: _seed, variation_seed: _variation, request_id: _name, timeout: _timeout, ...request } = kept.request;
  return { ...request, prompt: kept.prompt, num_images: 1 };
}
