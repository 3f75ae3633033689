// A browser with a fresh profile that notes what the page should not do: complain, and ask for things elsewhere.

import { chromium } from "playwright-core";

export const url = process.env.URL;

export async function browse(options = {}) {
  const context = await chromium.launchPersistentContext(process.env.BROWSER_HOME, {
    executablePath: process.env.CHROMIUM,
    headless: true,
    viewport: { width: 1380, height: 900 },
    acceptDownloads: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
    ...options,
  });
  context.setDefaultTimeout(120_000);
  const page = context.pages()[0] ?? await context.newPage();
  const complaints = [];
  const elsewhere = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const address = request.url();
    if (!address.startsWith(`${url}/`) && !/^(blob|data):/.test(address)) elsewhere.push(address);
  });
  return { context, page, complaints, elsewhere };
}
