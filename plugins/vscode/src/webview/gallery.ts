// The gallery's page: thumbnails, and beside them what is known of the chosen one.

import { pictures } from "../text/words";
import { button, definitions, element, extension, pictureUrl, root } from "./dom";
import type { FromGallery, Item, ToGallery } from "./messages";

const send = (message: FromGallery) => extension.postMessage(message);

const grid = element("div", {
  class: "grid",
  role: "listbox",
  "aria-label": "Pictures",
  "aria-orientation": "horizontal",
});
const more = button("More", () => send({ kind: "more" }));
const about = element("aside", { "aria-label": "The chosen picture", "aria-live": "polite" });
const words = element("p", { class: "words", role: "status" });

let items: Item[] = [];
let urls: string[] = [];
let chosen = 0;
let firstKey: string | undefined;

function add(fresh: Item[]): void {
  const begin = items.length;
  items.push(...fresh);
  fresh.forEach((item, at) => {
    const url = pictureUrl(item.thumbnail, "image/jpeg");
    urls.push(url);
    const index = begin + at;
    const name = item.prompt || "no prompt";
    const picture = element("img", { src: url, alt: name });
    const cell = element(
      "div",
      { class: "cell", role: "option", title: name, tabindex: "-1", click: () => choose(index) },
      picture,
    );
    cell.addEventListener("dblclick", () => act("show"));
    cell.addEventListener("focus", () => choose(index));
    grid.append(cell);
  });
}

function choose(index: number): void {
  const item = items[index];
  if (item === undefined) {
    return;
  }
  chosen = index;
  [...grid.children].forEach((cell, at) => {
    cell.setAttribute("aria-selected", String(at === index));
    cell.setAttribute("tabindex", at === index ? "0" : "-1");
  });
  const repeat = button("Again", () => act("again"), {
    disabled: item.cannotRepeat !== "",
    title: item.cannotRepeat || "Draw it once more, with another seed",
  });
  about.replaceChildren(
    element("img", { src: urls[index] ?? "", alt: "" }),
    element("h1", {}, item.prompt || "(no prompt)"),
    element(
      "div",
      { class: "buttons", role: "toolbar", "aria-label": "Picture" },
      button("Insert", () => act("insert"), {
        isMain: true,
        title: "Write it beside the document, and its link at the cursor",
      }),
      button("Open", () => act("show"), { title: "Show it in full size" }),
      button("Save", () => act("save"), { title: "Write it into the folder for pictures" }),
      repeat,
      button("Copy Prompt", () => act("copyPrompt")),
    ),
    definitions(item.details),
  );
}

function act(kind: "show" | "insert" | "save" | "again" | "copyPrompt"): void {
  const item = items[chosen];
  if (item !== undefined) {
    send({ kind, key: item.key });
  }
}

/** Cells that stand in one row. */
function columns(): number {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}

grid.addEventListener("keydown", (event) => {
  const steps: Record<string, number> = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns(),
    ArrowUp: -columns(),
    Home: -chosen,
    End: items.length - 1 - chosen,
  };
  const step = steps[event.key];
  if (step !== undefined) {
    event.preventDefault();
    (grid.children[chosen + step] as HTMLElement | undefined)?.focus();
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    act("show");
  }
});

window.addEventListener("message", ({ data }: MessageEvent<ToGallery>) => {
  document.body.dataset["state"] = data.kind;
  switch (data.kind) {
    case "busy":
      words.textContent = "Asking imgd…";
      break;
    case "failed":
      words.textContent = data.words;
      break;
    case "items": {
      const key = items[chosen]?.key;
      if (data.isFirst) {
        urls.forEach((url) => URL.revokeObjectURL(url));
        [items, urls] = [[], []];
        grid.replaceChildren();
        about.replaceChildren();
      }
      add(data.items);
      more.hidden = !data.isMore;
      words.textContent = items.length === 0 ? "There are no pictures yet. Draw one." : pictures(items.length);
      // A new picture at the front is looked at; else the choice stays where it was.
      choose(
        data.isFirst && data.items[0]?.key !== firstKey
          ? 0
          : Math.max(
              0,
              items.findIndex((item) => item.key === key),
            ),
      );
      firstKey = items[0]?.key;
      break;
    }
  }
});

more.hidden = true;
document.body.classList.add("gallery");
root().append(
  element(
    "header",
    {},
    element(
      "div",
      { class: "buttons" },
      button("Generate Image…", () => send({ kind: "generate" }), { isMain: true }),
      button("Refresh", () => send({ kind: "refresh" })),
    ),
    words,
  ),
  element("div", { class: "columns" }, element("div", { class: "pictures" }, grid, more), about),
);
send({ kind: "ready" });
