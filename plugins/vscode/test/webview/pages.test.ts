// The pages as a person sees and uses them, with real pictures. Screenshots go to out/screenshots.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { connect } from "../../src/client/connection";
import { draw, type Progress } from "../../src/client/drawing";
import { fetchPicture, recent } from "../../src/client/library";
import { Run } from "../../src/run";
import { cannotRepeat, details, runView } from "../../src/ui/view";
import type { Item } from "../../src/webview/messages";
import { IMGCTL, makeHome, PROTO_FOLDER } from "../support/home";
import { Browser, type Shown } from "./browser";

const PROMPTS = [
  "a red apple",
  "a cat on grass",
  "a sailing boat on the sea",
  "a fox on a blue background",
  "a castle in the mountains",
  "a painter's palette",
];
const SHOTS = join(__dirname, "screenshots");
const home = makeHome();
let browser: Browser;
/** The first picture midway, and done. */
let midway: { view: ReturnType<typeof runView>; preview: Buffer };
let done: { view: ReturnType<typeof runView>; bytes: Buffer };
let items: Item[];

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  const connection = await connect({
    protoFolder: PROTO_FOLDER,
    socket: "",
    imgctl: IMGCTL,
    autostart: true,
    env: home.env,
  });
  for (const prompt of PROMPTS) {
    const request = { prompt, seed: "7", preview_every_n_steps: 1 };
    const run = new Run(prompt, request);
    const onProgress = (progress: Progress) => {
      run.take(progress);
      if (progress.kind === "step" && progress.step === 9 && prompt === PROMPTS[3] && run.preview) {
        midway = { view: runView(run), preview: run.preview };
      }
    };
    run.picture = (await draw(connection, request, run.signal, onProgress)).pictures[0];
    if (prompt === PROMPTS[3] && run.picture) {
      done = { view: runView(run), bytes: run.picture.bytes };
    }
  }
  const { pictures } = await recent(connection);
  items = await Promise.all(
    pictures.map(async (kept) => ({
      key: `${kept.jobId}/${kept.index}`,
      prompt: kept.prompt,
      details: details(kept.settings, undefined, kept.sizeBytes),
      thumbnail: new Uint8Array((await fetchPicture(connection, kept.jobId, kept.index, true)).bytes),
      cannotRepeat: cannotRepeat(kept) ?? "",
    })),
  );
  connection.close();
  browser = await Browser.start();
});

after(async () => {
  await browser?.end();
  home.end();
});

/** Waits until a picture is on the page, and gives its width. */
async function pictureWidth({ page }: Shown, selector: string): Promise<number> {
  const image = page.locator(selector).first();
  await image.waitFor({ timeout: 60_000 });
  return image.evaluate(async (image: HTMLImageElement) => {
    await image.decode();
    return image.naturalWidth;
  });
}

for (const theme of ["dark", "light"] as const) {
  test(`the panel shows a picture coming and done, ${theme}`, async () => {
    const shown = await browser.open("preview", theme, 560, 820);
    const { page } = shown;
    assert.deepEqual(await shown.said(), [{ kind: "ready" }]);
    await shown.post({ kind: "run", run: midway.view });
    await shown.post({ kind: "picture", bytes: new Uint8Array(midway.preview), type: "image/png", isPreview: true });
    assert.ok((await pictureWidth(shown, ".frame img")) > 0);
    assert.equal(
      await page.locator("progress").evaluate((bar: HTMLProgressElement) => bar.value),
      midway.view.fraction,
    );
    assert.match((await page.locator(".words").textContent()) ?? "", /^step 9 of 14 · \d+ s left$/);
    await page.screenshot({ path: join(SHOTS, `panel-midway-${theme}.png`) });
    await page.keyboard.press("Escape");
    assert.deepEqual((await shown.said()).at(-1), { kind: "cancel" });

    await shown.post({ kind: "run", run: { ...done.view, savedAs: "a-fox-on-a-blue-background-7.png" } });
    await shown.post({ kind: "picture", bytes: new Uint8Array(done.bytes), type: "image/png", isPreview: false });
    assert.equal(await pictureWidth(shown, ".frame img:not(.preview)"), 256);
    assert.ok(await page.locator("progress").isHidden());
    await page.screenshot({ path: join(SHOTS, `panel-done-${theme}.png`) });
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.deepEqual((await shown.said()).at(-1), { kind: "insert" });
    assert.deepEqual(shown.complaints, []);
    await page.close();
  });

  test(`the gallery shows the pictures and is used by the keyboard, ${theme}`, async () => {
    const shown = await browser.open("gallery", theme, 960, 640);
    const { page } = shown;
    await shown.post({ kind: "items", items, isMore: true, isFirst: true });
    assert.ok((await pictureWidth(shown, ".cell img")) > 0);
    assert.equal(await page.locator(".cell").count(), PROMPTS.length);
    await page.locator(".cell").first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.locator("aside h1").textContent(), items[2]?.prompt);
    await page.keyboard.press("Enter");
    assert.deepEqual((await shown.said()).at(-1), { kind: "show", key: items[2]?.key });
    await page.keyboard.press("End");
    assert.equal(await page.locator("[aria-selected=true]").getAttribute("title"), PROMPTS[0]);
    await page.keyboard.press("Home");
    await page.screenshot({ path: join(SHOTS, `gallery-${theme}.png`) });
    await page.getByRole("button", { name: "Again" }).click();
    assert.deepEqual((await shown.said()).at(-1), { kind: "again", key: items[0]?.key });
    await page.setViewportSize({ width: 420, height: 640 });
    await page.screenshot({ path: join(SHOTS, `gallery-narrow-${theme}.png`) });
    assert.equal(
      await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      true,
      "nothing sticks out",
    );
    assert.deepEqual(shown.complaints, []);
    await page.close();
  });
}

test("a failure says what to do, and what is not ours is not run", async () => {
  const shown = await browser.open("preview", "dark", 560, 500);
  const { page } = shown;
  const view = {
    ...midway.view,
    state: "failed" as const,
    title: "<img src=x onerror=alert(1)>",
    words: "width_px is 7: it must be a multiple of 8",
    hint: "use 8",
    notices: ["<b>the prompt was cut</b>"],
  };
  await shown.post({ kind: "run", run: view });
  assert.equal(await page.locator("h1").textContent(), view.title);
  assert.equal(await page.locator("h1 *, .notices b").count(), 0, "text stays text");
  assert.match((await page.locator("[role=status]").textContent()) ?? "", /multiple of 8 — use 8/);
  await page.screenshot({ path: join(SHOTS, "panel-failed-dark.png") });
  assert.deepEqual(shown.complaints, []);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.stolen = true";
    document.body.append(script);
    document.body.append(Object.assign(new Image(), { src: "http://elsewhere.invalid/x.png" }));
  });
  await page.waitForFunction(() => document.images.length > 1);
  assert.equal(await page.evaluate(() => "stolen" in window), false);
  assert.ok(
    shown.complaints.length > 0 && shown.complaints.every((complaint) => /Content Security Policy/.test(complaint)),
    shown.complaints.join("\n"),
  );
  await page.close();
});
