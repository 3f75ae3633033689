// The page as a person uses it, with a real daemon behind it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test as run } from "node:test";

import { browse, url } from "./browser.mjs";

const SHOTS = process.env.SCREENSHOTS;
let context, page, complaints, elsewhere;

// each goes on where the one before left the page: after a failure none can
let hasFailed = false;
const test = (name, act) => run(name, async (self) => {
  if (hasFailed) return self.skip("one before it failed");
  hasFailed = true;
  try {
    await act();
  } catch (error) {
    await shot("failed");
    throw new Error(`${error.message}; the page complained: ${complaints.join("; ")}`, { cause: error });
  }
  hasFailed = false;
});

const imgctl = (...words) => execFileSync(process.env.IMGCTL, ["--json", ...words], { encoding: "utf8" })
  .trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
const tiles = () => page.locator("#gallery li");
const until = async (what, isTrue) => {
  for (let tries = 0; tries < 3000; tries++) {
    if (await isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`${what} has not come`);
};
const fill = async (fields) => {
  if (await page.locator("#more:not([open])").count()) await page.click("#more summary");
  for (const id of ["steps", "seed", "width", "height", "n"]) await page.fill(`#${id}`, String(fields[id] ?? (id === "n" ? 1 : "")));
  await page.fill("#prompt", fields.prompt);
};
const shot = (name) => page.screenshot({ path: `${SHOTS}/${name}.png` });

before(async () => {
  ({ context, page, complaints, elsewhere } = await browse({ colorScheme: "light" }));
  await page.goto(`${url}/`);
});
after(() => context?.close());

test("it says that nothing is drawn yet, and what to do", async () => {
  await page.locator("#empty").waitFor();
  await page.locator("#daemon[data-state=up]").waitFor();
  await until("the model's size", async () => (await page.locator("#size-hint").textContent()) === "256 × 256");
  assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
  await shot("empty");
});

test("Ctrl+Enter draws, with previews and progress, and the picture comes into the gallery", async () => {
  await fill({ prompt: "a red apple", steps: 400, seed: 7 });
  // what the page shows meanwhile is noted there: it may be gone before anybody outside has looked
  await page.evaluate(() => {
    window.shown = { states: new Set(), previews: 0 };
    const note = () => {
      document.querySelectorAll("article.job .state").forEach((state) => window.shown.states.add(state.textContent));
      window.shown.previews += document.querySelectorAll("article.job img[src^='data:image/png']").length;
    };
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await page.focus("#prompt");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").waitFor();
  await shot("drawing");
  await until("a picture", async () => (await tiles().count()) === 1);
  const { states, previews } = await page.evaluate(() => ({ states: [...window.shown.states], previews: window.shown.previews }));
  assert.ok(states.some((state) => /step \d+ of 400/.test(state)), `progress among ${states.join(", ")}`);
  assert.ok(previews > 0, "previews");
  await page.locator("#work").waitFor({ state: "hidden" });
  await page.locator("#gallery img[src^='blob:']").waitFor();
  assert.equal(await page.locator("#empty").isVisible(), false);
});

test("the keyboard alone reaches the pictures, what they were made with, and back", async () => {
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("g");
  await page.keyboard.press("Enter");
  const dialog = page.locator("#picture");
  await dialog.locator(".large img[src^='blob:']").waitFor();
  const facts = await dialog.locator("dl").innerText();
  assert.match(facts, /Seed\s+7\b/);
  assert.match(facts, /Steps\s+400\b/);
  assert.match(facts, /Size\s+256 × 256/);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.parentElement.parentElement.id), "gallery");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
  await page.keyboard.type("?");
  assert.equal(await page.locator("#keys").isVisible(), false, "who writes is let alone");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.locator("#keys").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#keys").waitFor({ state: "hidden" });
});

test("make again takes another seed, vary a little of one, and both are new pictures", async () => {
  // few steps from here on
  await fill({ prompt: "a sailing boat on the sea", steps: 4, seed: 5 });
  await page.keyboard.press("Control+Enter");
  await until("a picture", async () => (await tiles().count()) === 2);
  for (const [key, count] of [["m", 3], ["v", 4]]) {
    const of = "button[aria-label='a sailing boat on the sea, seed 5']";
    await page.locator(of).last().click();
    await page.locator("#picture .large img[src^='blob:']").waitFor();
    await page.keyboard.press(key);
    await page.locator("#picture").waitFor({ state: "hidden" });
    await until("a picture", async () => (await tiles().count()) === count);
  }
  const pictures = imgctl("history").filter((job) => job.event === "job");
  assert.equal(pictures.length, 4);
  const seeds = await page.locator("#gallery button").evaluateAll((all) => all.map((button) => button.ariaLabel));
  assert.equal(seeds.filter((name) => name.endsWith("sea, seed 5")).length, 2, seeds.join("; "));
  await page.locator("#gallery button").first().click();
  assert.match(await page.locator("#picture dl").innerText(), /Variation\s+20% of \d+/);
  await page.keyboard.press("ArrowRight");
  assert.doesNotMatch(await page.locator("#picture dl").innerText(), /Variation/);
  await shot("picture");
  await page.keyboard.press("Escape");
});

test("arrow keys go from picture to picture", async () => {
  await page.keyboard.press("g");
  const place = () => page.evaluate(() =>
    [...document.querySelectorAll("#gallery button")].indexOf(document.activeElement));
  await page.keyboard.press("Home");
  assert.equal(await place(), 0);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.equal(await place(), 2);
  await page.keyboard.press("ArrowLeft");
  assert.equal(await place(), 1);
  await page.keyboard.press("End");
  assert.equal(await place(), 3);
});

test("settings of a picture come into the form, its seed too", async () => {
  await page.keyboard.press("End");
  await page.keyboard.press("u");
  await until("the seed", async () => (await page.inputValue("#seed")) === "7");
  assert.equal(await page.inputValue("#prompt"), "a red apple");
  assert.equal(await page.inputValue("#steps"), "400");
});

test("a picture is downloaded", async () => {
  await page.locator("#gallery button").last().click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("d")]);
  assert.equal(download.suggestedFilename(), "imgd-7.png");
  await page.keyboard.press("Escape");
});

test("what is wrong stands beside its field", async () => {
  await fill({ prompt: "a cat", width: 13, height: 64 });
  await page.click("#draw");
  const error = page.locator("#size-error");
  await error.waitFor();
  assert.match(await error.textContent(), /^size: the width is 13/);
  assert.equal(await page.getAttribute("#width", "aria-invalid"), "true");
  assert.equal(await page.evaluate(() => document.activeElement.id), "width");
  await page.fill("#width", "64");
  assert.equal(await error.isVisible(), false);
  await page.fill("#seed", "five");
  await page.click("#draw");
  assert.match(await page.locator("#seed-error").textContent(), /whole number/);
  // the browser itself notes answers of status 400
  assert.ok(complaints.every((text) => text.includes("400")), complaints.join("; "));
  complaints.length = 0;
});

test("a picture begins from one that was given", async () => {
  await fill({ prompt: "a green apple", steps: 6, seed: 9 });
  const name = "button[aria-label='a red apple, seed 7']";
  await page.locator(name).click();
  await page.locator("#picture .large img[src^='blob:']").waitFor();
  await page.keyboard.press("b");
  await page.locator("#image-shown[src^='blob:']").waitFor();
  await page.locator("#strength").fill("0.5");
  await shot("begin-from");
  await page.click("#draw");
  await until("a picture", async () => (await tiles().count()) === 5);
  await page.locator("#gallery button").first().click();
  assert.match(await page.locator("#picture dl").innerText(), /Change\s+50%/);
  await page.keyboard.press("m");
  await until("a refusal", async () => /was made from a picture/.test(await page.locator("#said").textContent()));
  complaints.length = 0;
  await page.keyboard.press("Escape");
  await page.click("#image-clear");
  assert.equal(await page.locator("#strength-field").isVisible(), false);
});

test("a part of a picture is repainted, and the rest stays as it is", async () => {
  await fill({ prompt: "a blue ball", steps: 6, seed: 9 });
  await page.locator("button[aria-label='a red apple, seed 7']").click();
  await page.locator("#picture .large img[src^='blob:']").waitFor();
  await page.keyboard.press("b");
  await page.click("#mask-open");
  const { x, y, width, height } = await page.locator("#mask-canvas").boundingBox();
  await page.mouse.move(x + 0.4 * width, y + 0.5 * height);
  await page.mouse.down();
  await page.mouse.move(x + 0.6 * width, y + 0.55 * height, { steps: 5 });
  await page.mouse.up();
  await shot("mask");
  // by keys: a dot, a line that is undone, and the dot erased
  const marks = () => page.evaluate(() => {
    const canvas = document.getElementById("mask-canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data.filter((value, at) => at % 4 === 3 && value > 0).length;
  });
  const painted = await marks();
  assert.ok(painted > 1000, `${painted} pixels are marked`);
  for (let times = 0; times < 3; times++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press(" ");
  const dotted = await marks();
  assert.ok(dotted > painted);
  await page.keyboard.press("Shift+ArrowDown");
  assert.ok((await marks()) > dotted);
  await page.keyboard.press("Control+z");
  assert.equal(await marks(), dotted);
  await page.keyboard.press("e");
  await page.keyboard.press(" ");
  assert.ok((await marks()) < dotted);
  await page.keyboard.press("e");
  assert.equal(await page.getAttribute("#mask-erase", "aria-pressed"), "false");
  await page.click("#mask-undo");
  await page.click("#mask-undo");
  assert.equal(await marks(), painted);
  await page.keyboard.press("Control+Enter");
  await until("a picture", async () => (await tiles().count()) === 6);
  assert.equal(await page.locator("#mask-shown").isVisible(), true);
  await shot("masked");
  // how much of the edge and of the middle differs between the two
  const differences = await page.evaluate(async () => {
    const names = [...document.querySelectorAll("#gallery img")].map((image) => image.dataset.name);
    const [newest, oldest] = await Promise.all([names[0], names.at(-1)].map(async (name) => {
      const [job, index] = name.split("/");
      const bitmap = await createImageBitmap(await (await fetch(`/api/jobs/${job}/pictures/${index}`)).blob());
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height);
    }));
    const count = { edge: 0, middle: 0 };
    newest.data.forEach((value, at) => {
      if (value === oldest.data[at]) return;
      const [x, y] = [Math.floor(at / 4) % newest.width, Math.floor(at / 4 / newest.width)];
      if (Math.min(x, y, newest.width - 1 - x, newest.height - 1 - y) < 32) count.edge += 1;
      if (Math.hypot(x - newest.width / 2, y - newest.height / 2) < 16) count.middle += 1;
    });
    return count;
  });
  assert.equal(differences.edge, 0);
  assert.ok(differences.middle > 1000, `${differences.middle} values of the middle`);
  // what is all erased again is no mask
  await page.click("#mask-open");
  await page.fill("#brush", "50");
  await page.click("#mask-erase");
  await page.mouse.move(x + 0.3 * width, y + 0.5 * height);
  await page.mouse.down();
  await page.mouse.move(x + 0.7 * width, y + 0.55 * height, { steps: 5 });
  await page.mouse.up();
  assert.equal(await marks(), 0);
  await page.click("#mask-done");
  assert.equal(await page.locator("#mask-shown").isVisible(), false);
  await page.click("#image-clear");
  assert.equal(await page.locator("#mask-open").isVisible(), false);
});

test("a job is cancelled, and those that wait are shown", async () => {
  await fill({ prompt: "a castle in the mountains", steps: 1000 });
  await page.click("#draw");
  await page.locator("article.job[data-state=running]").waitFor();
  await fill({ prompt: "a fox on a blue background", steps: 1000, n: 2 });
  await page.click("#draw");
  await until("two jobs", async () => (await page.locator("article.job").count()) === 2);
  await page.locator("article.job img[src^='data:']").first().waitFor();
  await shot("queue");
  for (let left = 2; left > 0; left--) {
    await page.locator("article.job .cancel:enabled").last().click();
    await until("the end", async () => (await page.locator("article.job").count()) === left - 1);
  }
  const states = imgctl("jobs", "--all", "--limit", "2").map((job) => job.state);
  assert.deepEqual(states, ["cancelled", "cancelled"]);
});

test("an answer that is later than the news does not undo it", async () => {
  await page.route("**/api/jobs", async (route) => {
    const response = await route.fetch();
    await until("steps", async () => (await page.locator("article.job .state").allTextContents()).some((state) => /^step/.test(state)));
    await route.fulfill({ response });
  });
  await fill({ prompt: "a red car on a street", steps: 1000 });
  await Promise.all([page.waitForResponse("**/api/jobs"), page.click("#draw")]);
  await page.unroute("**/api/jobs");
  await until("what the answer brought", async () => /in the queue/.test(await page.locator("#said").textContent()));
  const card = page.locator("article.job");
  assert.equal(await card.getAttribute("data-state"), "running");
  assert.match(await card.locator(".state").textContent(), /^step/);
  await card.locator(".cancel").click();
  await until("the end", async () => (await card.count()) === 0);
});

test("the daemon may die and come again, and the page goes on where it was", async () => {
  const { pid } = imgctl("status")[0];
  await fill({ prompt: "line art of a bicycle", steps: 500, seed: 3 });
  await page.click("#draw");
  await until("some steps", async () => /step \d\d+ of/.test((await page.locator("article.job .state").allTextContents()).join()));
  process.kill(pid, "SIGKILL");
  await page.locator("#daemon[data-state=down]").waitFor();
  // the next picture starts it
  await fill({ prompt: "a cat on grass", steps: 2, seed: 3 });
  await page.click("#draw");
  await until("both pictures", async () => (await tiles().count()) === 8);
  await until("the daemon", async () => ["up", "busy"].includes(await page.getAttribute("#daemon", "data-state")));
  assert.notEqual(imgctl("status")[0].pid, pid);
});

test("after a reload the pictures are there, and what was written", async () => {
  await page.reload();
  await until("the pictures", async () => (await tiles().count()) === 8);
  assert.equal(await page.inputValue("#prompt"), "a cat on grass");
});

test("a picture is deleted after asking twice", async () => {
  await page.locator("#gallery button").first().click();
  await page.locator("#picture .danger").click();
  assert.equal(await tiles().count(), 8);
  await page.locator("#picture .danger.sure").click();
  await until("the deletion", async () => (await tiles().count()) === 7);
});

test("it is light and dark, and fits a phone", async () => {
  await fill({ prompt: "a red apple" });
  await page.evaluate(() => document.activeElement.blur());
  await until("thumbnails", async () => (await page.locator("#gallery img:not([src])").count()) === 0);
  const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await colour();
  await shot("light");
  await page.emulateMedia({ colorScheme: "dark" });
  assert.notEqual(await colour(), light);
  await shot("dark");
  await page.locator("#gallery button").first().click();
  await page.locator("#picture .large img[src^='blob:']").waitFor();
  await shot("picture-dark");
  await page.keyboard.press("Escape");
  for (const width of [320, 390]) {
    await page.setViewportSize({ width, height: 844 });
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
    assert.ok(wide <= width, `it is ${wide} pixels wide on a screen of ${width}`);
  }
  await shot("phone");
  await page.locator("#gallery button").first().click();
  await page.locator("#picture .large img[src^='blob:']").waitFor();
  await shot("phone-picture");
  await page.keyboard.press("Escape");
});

test("every control has a name", async () => {
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, dialog")]
    .filter((element) => !(element.labels?.length || element.ariaLabel || element.getAttribute("aria-labelledby")
      || element.textContent.trim()))
    .map((element) => element.outerHTML.slice(0, 400)));
  assert.deepEqual(nameless, []);
});

test("nothing was complained about, and nothing asked for elsewhere", () => {
  // a line that broke with the daemon is the browser's to note
  assert.deepEqual(complaints.filter((text) => !/50[03]/.test(text)), []);
  assert.deepEqual(elsewhere, []);
});
