// Making elements: all text goes in as text, never as markup.

declare function acquireVsCodeApi(): { postMessage(message: unknown): void };

/** The extension's side. */
export const extension = acquireVsCodeApi();

type Attributes = Record<string, string | boolean | (() => void)>;

/** An element. A function is its click; `true` sets an attribute without a value, `false` leaves it out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener("click", value);
    } else if (value !== false) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

/** A button. `title` says more than its label, or why it cannot be pressed. */
export function button(
  label: string,
  onClick: () => void,
  options: { isMain?: boolean; title?: string; disabled?: boolean } = {},
): HTMLButtonElement {
  const { isMain = false, title = "", disabled = false } = options;
  return element("button", { type: "button", class: isMain ? "main" : "", title, disabled, click: onClick }, label);
}

/** Names and values. */
export function definitions(pairs: [string, string][]): HTMLElement {
  return element(
    "dl",
    {},
    ...pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** An address for a picture's bytes; the one before is given back. */
export function pictureUrl(bytes: Uint8Array, type: string, before?: string): string {
  if (before !== undefined) {
    URL.revokeObjectURL(before);
  }
  return URL.createObjectURL(new Blob([bytes as BlobPart], { type }));
}

/** The page's own element. */
export function root(): HTMLElement {
  const found = document.getElementById("app");
  if (found === null) {
    throw new Error("the page has no #app");
  }
  return found;
}
