// One picture, large, with what it was made with and what can be done with it.

import { pictureFile, post, requestId } from "./api.js";
import { at, make, say, when } from "./dom.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as start from "./start.js";

let open_ = null;
let onSubmitted = () => {};

export function begin(submitted) {
  onSubmitted = submitted;
  const dialog = at("picture");
  dialog.addEventListener("close", () => {
    // told late, when the next one is open already
    if (dialog.open) return;
    if (open_?.address) URL.revokeObjectURL(open_.address);
    open_ = null;
    dialog.replaceChildren();
    // unless the keyboard went elsewhere
    if (document.activeElement === document.body || at("gallery").contains(document.activeElement)) gallery.focus();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/** The picture that is looked at, if one is. */
export const shown = () => (at("picture").open ? open_ : null);

/** Opens a picture, in place of the one that was open. */
export function open(job, picture) {
  if (open_?.address) URL.revokeObjectURL(open_.address);
  const image = make("img", { alt: job?.request?.prompt || "Picture", width: picture.settings.picture_width || undefined,
    height: picture.settings.picture_height || undefined });
  open_ = { job, picture, address: null, blob: null };
  const mine = open_;
  at("picture").replaceChildren(
    make("div", { className: "large" }, image),
    make("aside", {},
      make("p", { className: "prompt" }, job?.request?.prompt || "without a prompt"),
      job?.request?.negative_prompt ? make("p", { className: "negative" }, `avoids ${job.request.negative_prompt}`) : null,
      facts(picture),
      actions()));
  if (!at("picture").open) at("picture").showModal();
  at("picture").focus();
  pictureFile(picture).then((blob) => {
    if (open_ !== mine) return;
    mine.blob = blob;
    mine.address = URL.createObjectURL(blob);
    image.src = mine.address;
  }, (error) => say(error.message, true));
}

export function step(distance) {
  const next = open_ && gallery.beside(open_.picture, distance);
  if (next) open(next.job, next.picture);
}

function facts(picture) {
  const { settings } = picture;
  const rows = [
    ["Size", settings.picture_width ? `${settings.picture_width} × ${settings.picture_height}` : null],
    ["Seed", settings.upscaler ? null : settings.seed],
    ["Steps", settings.steps || null],
    ["Guidance", settings.steps ? settings.cfg_scale : null],
    ["Sampler", [settings.sampler, settings.schedule].filter(Boolean).join(", ") || null],
    ["Model", shortName(settings.model)],
    ["Change", settings.strength === null ? null : `${Math.round(settings.strength * 100)}%`],
    ["Variation", settings.variation_strength ? `${Math.round(settings.variation_strength * 100)}% of ${settings.variation_seed}` : null],
    ["Adapters", settings.loras.map((lora) => `${lora.name} ${lora.weight}`).join(", ") || null],
    ["Upscaler", settings.upscaler],
    ["Drawn", picture.finished_ms ? when(picture.finished_ms) : null],
  ];
  return make("dl", {}, ...rows.filter(([, value]) => value !== null && value !== undefined)
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
}

const shortName = (name) => (name?.startsWith("/") ? name.split("/").at(-1) : name) || null;

function actions() {
  const button = (label, key, act, className = "quiet") =>
    make("button", { type: "button", className, onclick: () => act(open_), "aria-keyshortcuts": key }, label, " ", make("kbd", {}, key));
  return make("div", { className: "actions" },
    button("Make again", "m", again, "main"),
    button("Vary", "v", vary),
    button("Use settings", "u", use),
    button("Begin from it", "b", beginFrom),
    button("Download", "d", download),
    make("button", { type: "button", className: "quiet danger", onclick: (event) => forget(event.target) }, "Delete"),
    make("button", { type: "button", className: "quiet", onclick: () => at("picture").close() }, "Close ", make("kbd", {}, "Esc")));
}

export const again = (entry) => repeat(entry, "again");
export const vary = (entry) => repeat(entry, "vary");

async function repeat(entry, how) {
  const { picture } = entry;
  try {
    const { job } = await post(`/api/jobs/${picture.job_id}/again`, { index: picture.index, how, request_id: requestId() });
    at("picture").close();
    onSubmitted(job);
  } catch (error) {
    say(error.message, true);
  }
}

export async function use(entry) {
  const { job, picture } = entry;
  at("picture").close();
  await form.use(job, picture);
}

export async function beginFrom(entry) {
  const { picture } = entry;
  const blob = entry.blob ?? await pictureFile(picture);
  at("picture").close();
  start.take(blob);
  at("prompt").focus();
  say("the next picture begins from it");
}

export async function download(entry) {
  const { picture } = entry;
  const blob = entry.blob ?? await pictureFile(picture);
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: `imgd-${picture.settings.seed}.${picture.format === "jpeg" ? "jpg" : picture.format}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Asked twice: the job goes with all its pictures. */
async function forget(button) {
  const { job, picture } = open_;
  if (!button.classList.contains("sure")) {
    const count = job?.images_done ?? 1;
    button.textContent = count > 1 ? `Delete its ${count} pictures?` : "Really delete?";
    button.classList.add("sure");
    return;
  }
  try {
    await post(`/api/jobs/${picture.job_id}/forget`);
    at("picture").close();
    gallery.forget(picture.job_id);
    say("deleted");
  } catch (error) {
    say(error.message, true);
  }
}
