// The user's settings, read in one place, and the request they make.

import type { GenerateRequest } from "./contract/imgd/v1/GenerateRequest";
import type { StyleSetting } from "./text/link";

/** What the user set; `undefined` and "" leave it to the model. */
export interface Settings {
  socket: string;
  imgctlPath: string;
  autostart: boolean;
  model: string;
  width: number | undefined;
  height: number | undefined;
  steps: number | undefined;
  guidance: number | undefined;
  sampler: string;
  schedule: string;
  negativePrompt: string;
  outputFolder: string;
  linkStyle: StyleSetting;
  previews: boolean;
  keepNothing: boolean;
  history: number;
}

/** Reads a setting of the section `imgd`. */
export type Get = (key: string) => unknown;

/** All settings. A value of another type than the setting's is as if it were not there. */
export function readSettings(get: Get): Settings {
  const text = (key: string) => {
    const value = get(key);
    return typeof value === "string" ? value.trim() : "";
  };
  const number = (key: string) => {
    const value = get(key);
    return typeof value === "number" && Number.isFinite(value) ? value : undefined;
  };
  const flag = (key: string, otherwise: boolean) => {
    const value = get(key);
    return typeof value === "boolean" ? value : otherwise;
  };
  const style = text("linkStyle");
  return {
    socket: text("socket"),
    imgctlPath: text("imgctlPath"),
    autostart: flag("autostart", true),
    model: text("model"),
    width: number("width"),
    height: number("height"),
    steps: number("steps"),
    guidance: number("guidance"),
    sampler: text("sampler"),
    schedule: text("schedule"),
    negativePrompt: text("negativePrompt"),
    outputFolder: text("outputFolder"),
    linkStyle: style === "markdown" || style === "html" || style === "asciidoc" ? style : "auto",
    previews: flag("previews", true),
    keepNothing: flag("private", false),
    history: Math.max(0, Math.floor(number("history") ?? 30)),
  };
}

/** The request for one picture of a prompt, by the settings. What it does not say is the model's. */
export function toRequest(settings: Settings, prompt: string): GenerateRequest {
  const request: GenerateRequest = { prompt, ...service(settings) };
  const { model, width, height, steps, guidance, sampler, schedule, negativePrompt } = settings;
  if (model) request.model = model;
  if (width !== undefined) request.width_px = width;
  if (height !== undefined) request.height_px = height;
  if (steps !== undefined) request.num_inference_steps = steps;
  if (guidance !== undefined) request.guidance_scale = guidance;
  if (sampler) request.sampler = sampler;
  if (schedule) request.schedule = schedule;
  if (negativePrompt) request.negative_prompt = negativePrompt;
  return request;
}

/** What the settings say of how a request is served, whatever it draws. */
export function service(settings: Settings): GenerateRequest {
  const request: GenerateRequest = {};
  if (settings.previews) request.preview_every_n_steps = 1;
  if (settings.keepNothing) request.private = true;
  return request;
}
