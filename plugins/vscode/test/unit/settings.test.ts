import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { readSettings, toRequest } from "../../src/settings";

const manifest = JSON.parse(readFileSync(join(__dirname, "../package.json"), "utf8")) as {
  contributes: { configuration: { properties: Record<string, { default: unknown }> } };
};
const properties = manifest.contributes.configuration.properties;

test("without settings a request says nothing but the prompt, and that previews are wanted", () => {
  const settings = readSettings((key) => properties[`imgd.${key}`]?.default);
  assert.deepEqual(toRequest(settings, "a red apple"), { prompt: "a red apple", preview_every_n_steps: 1 });
  assert.deepEqual(
    settings,
    readSettings(() => undefined),
    "package.json and the code have the same defaults",
  );
});

test("every setting reaches the request", () => {
  const values: Record<string, unknown> = {
    model: "sdxl",
    width: 512,
    height: 768,
    steps: 20,
    guidance: 6.5,
    sampler: "euler",
    schedule: "karras",
    negativePrompt: "blurry",
    previews: false,
    private: true,
  };
  assert.deepEqual(
    toRequest(
      readSettings((key) => values[key]),
      "x",
    ),
    {
      prompt: "x",
      private: true,
      model: "sdxl",
      width_px: 512,
      height_px: 768,
      num_inference_steps: 20,
      guidance_scale: 6.5,
      sampler: "euler",
      schedule: "karras",
      negative_prompt: "blurry",
    },
  );
});

test("values of another type are as if they were not there", () => {
  const settings = readSettings(
    (key) => ({ width: "512", model: 7, linkStyle: "rtf", autostart: "no", history: -3 })[key],
  );
  assert.deepEqual(
    [settings.width, settings.model, settings.linkStyle, settings.autostart, settings.history],
    [undefined, "", "auto", true, 0],
  );
});

test("every setting that is read is declared, and every declared one is read", () => {
  const read = new Set<string>();
  readSettings((key) => void read.add(`imgd.${key}`));
  assert.deepEqual([...read].sort(), Object.keys(properties).sort());
});
