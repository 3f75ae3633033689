// What a person reads while a picture is drawn, and where it fails.

import type { Failure } from "../client/failure";
import type { Progress } from "../client/drawing";

/** Fields of a request and the settings that say them. */
const SETTINGS: Record<string, string> = {
  model: "imgd.model",
  width_px: "imgd.width",
  height_px: "imgd.height",
  num_inference_steps: "imgd.steps",
  guidance_scale: "imgd.guidance",
  sampler: "imgd.sampler",
  schedule: "imgd.schedule",
  negative_prompt: "imgd.negativePrompt",
};

/** Where a drawing is, in a few words. */
export function progressWords(progress: Progress): string {
  switch (progress.kind) {
    case "queued":
      return progress.position === 0 ? "waiting" : `waiting, ${progress.position} before it`;
    case "loading":
      return `loading ${shortModel(progress.model)} ${Math.round(progress.fraction * 100)} %`;
    case "started":
      return "beginning";
    case "step": {
      if (progress.step === progress.count) {
        return "finishing";
      }
      const eta = progress.etaSecs === undefined ? "" : ` · ${duration(progress.etaSecs)} left`;
      return `step ${progress.step} of ${progress.count}${eta}`;
    }
    case "notice":
      return progress.message;
  }
}

/** Share that is done, 0 to 1; `undefined` where nobody knows. */
export function fraction(progress: Progress): number | undefined {
  switch (progress.kind) {
    case "loading":
      return progress.fraction;
    case "step":
      return progress.count > 0 ? progress.step / progress.count : undefined;
    default:
      return undefined;
  }
}

/** A failure as a message: what happened, and what to do. */
export function failureWords({ message, hint }: Failure): string {
  const what = sentence(message);
  // The name stands before it already.
  const named = what.startsWith("imgd ") ? what : `imgd: ${what}`;
  return hint ? `${named} ${hint.charAt(0).toUpperCase()}${sentence(hint.slice(1))}` : named;
}

function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** The setting that says the field at fault, where one does. */
export function settingOf(failure: Failure): string | undefined {
  if (failure.reason === "MODEL_NOT_FOUND") {
    return SETTINGS["model"];
  }
  return failure.field === undefined ? undefined : SETTINGS[failure.field];
}

/** A time as people say it: `8 s`, `2 min 5 s`, `3 h 20 min`. */
export function duration(secs: number): string {
  const whole = Math.max(0, Math.ceil(secs));
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A size as people say it. */
export function bytes(count: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = count;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** A number of pictures. */
export function pictures(count: number | string): string {
  return String(count) === "1" ? "1 picture" : `${count} pictures`;
}

/** The last part of a model's path. */
export function shortModel(model: string): string {
  return model.replace(/\/+$/, "").split("/").pop() || "the model";
}
