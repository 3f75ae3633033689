// With a key the page asks for it, and nothing is shown before.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { browse, url } from "./browser.mjs";

let context, page, elsewhere;

before(async () => {
  ({ context, page, elsewhere } = await browse({ colorScheme: "dark" }));
  await page.goto(`${url}/`);
});
after(() => context?.close());

test("the key is asked for until it is the right one", async () => {
  await page.locator("#ask").waitFor();
  assert.equal(await page.locator("#gallery li").count(), 0);
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#ask").isVisible(), "it cannot be closed");
  await page.fill("#key", "another key");
  await page.keyboard.press("Enter");
  await page.locator("#key-error").waitFor();
  await page.fill("#key", process.env.KEY);
  await page.keyboard.press("Enter");
  await page.locator("#gallery img[src^='blob:']").first().waitFor();
  assert.equal(await page.locator("#ask").isVisible(), false);
});

test("it is kept for this tab, and in no storage that lasts", async () => {
  await page.reload();
  await page.locator("#gallery img[src^='blob:']").first().waitFor();
  const lasting = await page.evaluate(() => [localStorage.length, document.cookie]);
  assert.deepEqual(lasting, [0, ""]);
  const other = await context.newPage();
  await other.goto(`${url}/`);
  await other.locator("#ask").waitFor();
  assert.deepEqual(elsewhere, []);
});
