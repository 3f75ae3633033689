// The other commands: pictures' files, the gallery, cancelling, the daemon, and what goes wrong.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { pngSize, recipe } from "../../src/recipe";
import type { Item } from "../../src/webview/messages";
import { IMGCTL, until } from "../support/home";
import { repeatingUpscaler } from "../support/upscaler";
import { drive } from "./driver";
import { Uri } from "./values";

const { home, stub, workspace, open, pictures, end } = drive();
const apple = join(workspace, "apple.png");

beforeEach(() => {
  stub.messages.length = 0;
  stub.foreign.length = 0;
  stub.answer = () => undefined;
  for (const setting of ["private", "width", "autostart"]) stub.settings.delete(`imgd.${setting}`);
});
before(async () => {
  const file = await stub.run("imgd.drawRequest", "a red apple", { prompt: "a red apple", seed: "7" });
  copyFileSync(String(file), apple);
});
after(end);

/** Runs a command on a file and gives the new picture beside it. */
async function made(command: string, file: string): Promise<Buffer> {
  const original = readFileSync(file);
  const before = pictures("");
  await stub.run(command, Uri.file(file));
  const fresh = pictures("").filter((name) => !before.includes(name));
  assert.equal(fresh.length, 1, JSON.stringify(stub.messages));
  assert.deepEqual(readFileSync(file), original);
  return readFileSync(join(workspace, fresh[0] ?? ""));
}

test("editing offers the picture's own prompt and begins from the picture", async () => {
  stub.prompt = "a green apple";
  stub.strength = "0,5";
  const picture = await made("imgd.edit", apple);
  const record = /"strength":([0-9.]+)/.exec(picture.toString("latin1"));
  assert.equal(record?.[1], "0.5");
  assert.equal(recipe(picture), undefined, "it began from another picture");
});

test("a variation has the picture's recipe and other noise; without a recipe it is redrawn by a prompt", async () => {
  stub.prompt = undefined;
  const picture = await made("imgd.variation", apple);
  const known = recipe(picture);
  assert.deepEqual([known?.prompt, known?.seed], ["a red apple", "7"]);
  assert.match(picture.toString("latin1"), /"variation_strength":0\.2/);
  assert.ok(pictures("").some((name) => /^a-red-apple-7-\d+\.png$/.test(name)));
  const bare = join(workspace, "bare.png");
  execFileSync(IMGCTL, ["-q", "generate", "-", "--no-metadata", "-o", bare], {
    env: home.env,
    input: "a cat",
    timeout: 120_000,
  });
  stub.prompt = "a cat on grass";
  assert.match((await made("imgd.variation", bare)).toString("latin1"), /"strength":0\.5/);
});

test("files that are no pictures, and upscaling without an upscaler, are refused with what to do", async () => {
  await stub.run("imgd.edit", Uri.file(join(workspace, "notes.txt")));
  assert.match(stub.messages.at(-1)?.text ?? "", /PNG, JPEG or WebP/);
  await stub.run("imgd.upscale", Uri.file(apple));
  assert.match(stub.messages.at(-1)?.text ?? "", /no upscaler.*\.safetensors/);
  writeFileSync(join(workspace, "broken.png"), "no picture");
  stub.prompt = "x";
  await stub.run("imgd.edit", Uri.file(join(workspace, "broken.png")));
  assert.equal(stub.messages.at(-1)?.kind, "error");
});

test("an upscaler of the daemon's folder makes a picture larger", async () => {
  const folder = join(home.folder, ".local/share/imgd/upscalers");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "2x-Twice.safetensors"), repeatingUpscaler(2));
  assert.deepEqual(pngSize(await made("imgd.upscale", apple)), [512, 512]);
  assert.ok(pictures("").includes("apple-2x-twice.png"));
});

test("the gallery has what was drawn, and inserts, repeats and copies it", async () => {
  await stub.run("imgd.gallery");
  const gallery = stub.panel("imgd.gallery");
  await gallery.say({ kind: "ready" });
  const message = gallery.posted.at(-1) as { kind: string; items: Item[] };
  assert.equal(message.kind, "items");
  const item = message.items.find(({ prompt, cannotRepeat }) => prompt === "a red apple" && cannotRepeat === "");
  assert.ok(item);
  assert.deepEqual([...item.thumbnail.subarray(0, 2)], [0xff, 0xd8]);
  assert.ok(item.details.some(([name, value]) => name === "Size" && value === "256 × 256"));
  assert.ok(
    message.items.some(({ cannotRepeat }) => cannotRepeat !== ""),
    "those that began from a picture cannot be made again",
  );
  const document = open("post.md", "markdown", "|");
  await gallery.say({ kind: "insert", key: item.key });
  assert.match(document.text, /^!\[a red apple\]\(a-red-apple-\d+\.png\)$/);
  await gallery.say({ kind: "copyPrompt", key: item.key });
  assert.equal(stub.clipboard, "a red apple");
  const count = pictures("").length;
  await gallery.say({ kind: "again", key: item.key });
  assert.equal(pictures("").length, count + 1, JSON.stringify(stub.messages));
  const isRenewed = () => (gallery.posted.at(-1) as { items?: Item[] }).items?.length === message.items.length + 1;
  await until("the gallery to have the new picture", isRenewed);
  await gallery.say({ kind: "show", key: "nonesuch/0" });
  assert.match(stub.messages.at(-1)?.text ?? "", /not in the gallery/);
});

test("cancelling midway ends the job, writes nothing and is no error", async () => {
  const count = pictures("").length;
  const watching = stub.status.event((text) => {
    if (text.includes("step 2 of")) void stub.run("imgd.cancel");
  });
  await stub.run("imgd.drawRequest", "a tall ship", { prompt: "a tall ship", num_inference_steps: 900 });
  watching.dispose();
  assert.equal(pictures("").length, count);
  assert.deepEqual(stub.messages, []);
  await until("the daemon to have cancelled it", () => {
    const jobs = execFileSync(IMGCTL, ["--json", "jobs", "--all"], { env: home.env, encoding: "utf8" });
    return jobs.split("\n").some((line) => line.includes("a tall ship") && /cancelled/i.test(line));
  });
});

test("the panel's button cancels too", async () => {
  const panel = stub.panel("imgd.preview");
  const watching = stub.status.event((text) => {
    if (text.includes("step 2 of")) void panel.say({ kind: "cancel" });
  });
  await stub.run("imgd.drawRequest", "a tall ship", { prompt: "a tall ship", num_inference_steps: 900 });
  watching.dispose();
  assert.equal((panel.posted.at(-1) as { run: { state: string } }).run.state, "cancelled");
});

test("a wrong setting is named, and a click leads to it", async () => {
  stub.settings.set("imgd.width", 7);
  stub.prompt = "a red apple";
  stub.answer = (actions) => actions.find((action) => action === "Open Setting");
  await stub.run("imgd.generate");
  assert.match(stub.messages.at(-1)?.text ?? "", /^imgd: width_px is 7/);
  await until("the settings", () => stub.foreign.length > 0);
  assert.deepEqual(stub.foreign, [["workbench.action.openSettings", ["imgd.width"]]]);
});

test("prompts are offered again, but not private ones", async () => {
  stub.prompt = "a lighthouse";
  await stub.run("imgd.generate");
  stub.settings.set("imgd.private", true);
  stub.prompt = "a secret";
  await stub.run("imgd.generate");
  stub.prompt = undefined;
  await stub.run("imgd.generate");
  assert.ok(stub.offered.includes("a lighthouse") && !stub.offered.includes("a secret"), stub.offered.join());
  const gallery = stub.panel("imgd.gallery");
  await gallery.say({ kind: "refresh" });
  const prompts = (gallery.posted.at(-1) as { items: Item[] }).items.map(({ prompt }) => prompt);
  assert.ok(prompts.includes("a lighthouse") && !prompts.includes("a secret"));
});

test("a model is chosen among those that the daemon knows", async () => {
  stub.answer = (labels) => labels.find((label) => label === "starter");
  await stub.run("imgd.chooseModel");
  assert.equal(stub.settings.get("imgd.model"), "starter");
});

test("the status says how the daemon is, and that it does not run", async () => {
  await stub.run("imgd.status");
  const said = stub.messages.at(-1);
  assert.match(said?.text ?? "", /^imgd \d+\.\d+\.\d+ is ready$/);
  assert.match(said?.detail ?? "", /Queue: 0 running, 0 waiting[^]*In memory: starter/);
  execFileSync(IMGCTL, ["-q", "shutdown"], { env: home.env, timeout: 60_000 });
  await stub.run("imgd.status");
  assert.match(stub.messages.at(-1)?.text ?? "", /imgd is not running/);
  assert.deepEqual(stub.messages.at(-1)?.actions, ["Start It"]);
  stub.settings.set("imgd.autostart", false);
  stub.prompt = "a red apple";
  await stub.run("imgd.generate");
  assert.match(stub.messages.at(-1)?.text ?? "", /not running.*imgd\.autostart/);
});
