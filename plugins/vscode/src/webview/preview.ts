// The panel's page: the picture as far as it is, progress, and what can be done with it.

import { button, definitions, element, extension, pictureUrl, root } from "./dom";
import type { FromPanel, RunView, ToPanel } from "./messages";

const send = (kind: FromPanel["kind"]) => extension.postMessage({ kind } satisfies FromPanel);

const image = element("img", { alt: "", hidden: true });
const frame = element("div", { class: "frame" }, element("div", { class: "blank", "aria-hidden": true }), image);
const prompt = element("h1");
const bar = element("progress", { max: "1", "aria-label": "Progress" });
const words = element("p", { class: "words" });
/** Read out to those who do not see it; only what came of it, not every step. */
const spoken = element("p", { class: "spoken", role: "status" });
const notices = element("ul", { class: "notices" });
const buttons = element("div", { class: "buttons", role: "toolbar", "aria-label": "Picture" });
const facts = element("div");

let url: string | undefined;
/** The buttons that are shown now: made anew only where others are wanted, so that the focus stays. */
let shownButtons = "";

function actions(run: RunView): HTMLButtonElement[] {
  const repeat = button("Again", () => send("again"), {
    disabled: !run.canRepeat,
    title: run.cannotRepeat || "Draw it once more, with another seed",
  });
  const copy = button("Copy Prompt", () => send("copyPrompt"), { disabled: run.title === "" });
  const gallery = button("Gallery", () => send("gallery"));
  switch (run.state) {
    case "busy":
      return [button("Cancel", () => send("cancel"), { isMain: true, title: "Escape" })];
    case "done": {
      const insert = button("Insert", () => send("insert"), {
        isMain: true,
        title: "Write its link at the cursor of the document",
      });
      const file = run.savedAs
        ? button("Open", () => send("open"), { title: run.savedAs })
        : button("Save", () => send("save"));
      return [insert, file, repeat, copy, gallery];
    }
    default:
      return [repeat, copy, gallery];
  }
}

function show(run: RunView): void {
  prompt.textContent = run.title || "(no prompt)";
  document.body.dataset["state"] = run.state;
  bar.hidden = run.state !== "busy";
  if (run.fraction === null) {
    bar.removeAttribute("value");
  } else {
    bar.value = run.fraction;
  }
  const saved = run.savedAs ? `saved as ${run.savedAs}` : run.words;
  words.textContent = [run.state === "done" ? saved : run.words, run.hint].filter(Boolean).join(" — ");
  if (run.state !== "busy" && spoken.textContent !== words.textContent) {
    spoken.textContent = words.textContent;
  }
  notices.replaceChildren(...run.notices.map((notice) => element("li", {}, notice)));
  facts.replaceChildren(...(run.details.length > 0 ? [definitions(run.details)] : []));
  const wanted = `${run.state} ${run.savedAs} ${run.canRepeat}`;
  if (wanted !== shownButtons) {
    shownButtons = wanted;
    buttons.replaceChildren(...actions(run));
  }
  image.alt = run.state === "done" ? run.title : "preview";
}

function showNothing(): void {
  document.body.dataset["state"] = "nothing";
  prompt.textContent = "Nothing is being drawn";
  words.textContent = "Draw a picture from a prompt, or look at those that were drawn.";
  bar.hidden = true;
  buttons.replaceChildren(
    button("Generate Image…", () => send("generate"), { isMain: true }),
    button("Gallery", () => send("gallery")),
  );
}

window.addEventListener("message", ({ data }: MessageEvent<ToPanel>) => {
  switch (data.kind) {
    case "nothing":
      showNothing();
      break;
    case "run":
      if (
        data.run.title !== prompt.textContent ||
        (data.run.state === "busy" && document.body.dataset["state"] !== "busy")
      ) {
        image.hidden = true;
      }
      show(data.run);
      break;
    case "picture":
      url = pictureUrl(data.bytes, data.type, url);
      image.src = url;
      image.hidden = false;
      image.classList.toggle("preview", data.isPreview);
      break;
  }
});

image.addEventListener("load", () => {
  const { naturalWidth, naturalHeight, style } = image;
  style.setProperty("--aspect", String(naturalWidth / naturalHeight));
  style.setProperty("--blur", `${image.clientWidth / naturalWidth / 3}px`);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.dataset["state"] === "busy") {
    send("cancel");
  }
});

document.body.classList.add("panel");
root().append(frame, element("section", {}, prompt, bar, words, spoken, notices, buttons, facts));
send("ready");
