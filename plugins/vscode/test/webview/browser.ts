// The extension's pages in headless Chromium, with VS Code's side of them played by the test.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";

import { page as html } from "../../src/ui/page";
import { THEMES } from "./themes";

const ORIGIN = "http://webview.invalid";
const DIST = join(__dirname, "../dist/webview");
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A page that is open, and what it said. */
export interface Shown {
  page: Page;
  /** What the page posted to the extension. */
  said(): Promise<{ kind: string; key?: string }[]>;
  /** The extension posts something; byte arrays arrive as such. */
  post(message: object): Promise<void>;
  /** Complaints of the page, and requests for anything but its own three files. */
  complaints: string[];
}

/** A browser with a profile of its own. */
export class Browser {
  private constructor(
    private readonly context: BrowserContext,
    private readonly profile: string,
  ) {}

  static async start(): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "imgd-chromium-"));
    const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    return new Browser(
      await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, timeout: 120_000 }),
      profile,
    );
  }

  async end(): Promise<void> {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true });
  }

  /** Opens a page of the extension as VS Code would. */
  async open(name: "preview" | "gallery", theme: "dark" | "light", width: number, height: number): Promise<Shown> {
    const page = await this.context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    const text = html({
      title: name,
      cspSource: ORIGIN,
      scriptUri: `${ORIGIN}/${name}.js`,
      styleUri: `${ORIGIN}/style.css`,
    });
    await page.route("**/*", async (route) => {
      const { pathname } = new URL(route.request().url());
      const types: Record<string, string> = { [`/${name}.js`]: "text/javascript", "/style.css": "text/css" };
      const contentType = types[pathname];
      if (pathname === "/") {
        await route.fulfill({ body: text, contentType: "text/html" });
      } else if (contentType) {
        await route.fulfill({ body: readFileSync(join(DIST, pathname)), contentType });
      } else {
        complaints.push(`request for ${route.request().url()}`);
        await route.abort();
      }
    });
    await page.addInitScript((colours) => {
      const said: unknown[] = [];
      Object.assign(window, {
        said,
        acquireVsCodeApi: () => ({ postMessage: (message: unknown) => said.push(message) }),
      });
      document.addEventListener("readystatechange", () => {
        const { style } = document.documentElement;
        Object.entries(colours).forEach(([key, value]) => style.setProperty(`--vscode-${key}`, value));
        style.setProperty("--vscode-font-family", "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif");
        style.setProperty("--vscode-font-size", "13px");
      });
    }, THEMES[theme]);
    await page.emulateMedia({ reducedMotion: "reduce" });
    await page.setViewportSize({ width, height });
    await page.goto(`${ORIGIN}/`);
    return {
      page,
      complaints,
      said: () => page.evaluate(() => (window as unknown as { said: { kind: string }[] }).said),
      post: (message) => page.evaluate(post, packed(message)),
    };
  }
}

/** Byte arrays as text, for the way into the browser. */
function packed(message: object): string {
  return JSON.stringify(message, (_key, value: unknown) =>
    value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value,
  );
}

/** In the browser: unpacks a message and posts it to the page. */
function post(text: string): void {
  const message: unknown = JSON.parse(text, (_key, value: { base64?: string } | null) =>
    value?.base64 ? Uint8Array.from(atob(value.base64), (character) => character.charCodeAt(0)) : value,
  );
  window.dispatchEvent(new MessageEvent("message", { data: message }));
}
