// The pictures, newest first. One of them has the keyboard: arrows move it.

import { get, thumbnail } from "./api.js";
import { at, make } from "./dom.js";
import * as picture from "./picture.js";

const entries = new Map();
let older = null;

const nameOf = (shown) => `${shown.job_id}/${shown.index}`;
const tiles = () => [...at("gallery").querySelectorAll("button")];

/** Thumbnails are fetched when they come near. */
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const shown = entries.get(target.dataset.name)?.picture;
    if (shown) {
      thumbnail(shown).then((address) => {
        target.src = address;
      }, () => target.closest("li")?.classList.add("broken"));
    }
  }
}, { rootMargin: "400px" });

export async function begin() {
  at("gallery").addEventListener("keydown", move);
  at("older").addEventListener("click", load);
  await load();
}

/** Reads the next older pictures. */
export async function load() {
  const { jobs, next } = await get(older ? `/api/pictures?after=${older}` : "/api/pictures");
  older = next;
  at("older").hidden = !next;
  for (const { job, pictures } of jobs) {
    for (const shown of [...pictures].reverse()) add(job, shown, false);
  }
  showEmpty();
}

/** Adds a picture; a new one comes first. */
export function add(job, shown, isNew = true) {
  const name = nameOf(shown);
  if (!shown.is_done || entries.has(name)) return;
  const { picture_width: width, picture_height: height, seed } = shown.settings;
  const prompt = job?.request?.prompt || "without a prompt";
  const image = make("img", { alt: "", decoding: "async", "data-name": name, width: width || 256, height: height || 256 });
  const button = make("button", {
    type: "button",
    tabIndex: -1,
    "aria-label": `${prompt}, seed ${seed}`,
    title: prompt,
    onclick: () => open(name),
    onfocus: () => select(button),
  }, image);
  const item = make("li", { className: isNew ? "new" : "" }, button);
  entries.set(name, { job, picture: shown, item });
  if (isNew) at("gallery").prepend(item);
  else at("gallery").append(item);
  near.observe(image);
  if (!at("gallery").querySelector("button[tabindex='0']")) select(button);
  showEmpty();
}

/** Takes a job's pictures away. */
export function forget(jobId) {
  for (const [name, entry] of entries) {
    if (entry.picture.job_id !== jobId) continue;
    entry.item.remove();
    entries.delete(name);
  }
  const first = tiles()[0];
  if (first && !at("gallery").querySelector("button[tabindex='0']")) select(first);
  showEmpty();
}

/** Gives the keyboard to the picture that has it among the pictures. */
export function focus() {
  (at("gallery").querySelector("button[tabindex='0']") ?? at("gallery")).focus();
}

/** The picture that has the keyboard, if one has. */
export function focused() {
  const name = document.activeElement?.querySelector?.(":scope > img[data-name]")?.dataset.name;
  return name ? entries.get(name) : undefined;
}

/** The picture beside one, in the order of the gallery. */
export function beside(shown, distance) {
  const all = tiles();
  const item = entries.get(nameOf(shown))?.item;
  const place = all.findIndex((button) => button.parentElement === item);
  const button = all[place + distance];
  if (!button) return undefined;
  select(button);
  return entries.get(button.firstElementChild.dataset.name);
}

function open(name) {
  const entry = entries.get(name);
  if (entry) picture.open(entry.job, entry.picture);
}

function select(button) {
  for (const other of tiles()) other.tabIndex = other === button ? 0 : -1;
}

function move(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const all = tiles();
  const place = all.indexOf(document.activeElement);
  if (place < 0) return;
  const columns = getComputedStyle(at("gallery")).gridTemplateColumns.split(" ").length;
  const next = {
    ArrowRight: place + 1,
    ArrowLeft: place - 1,
    ArrowDown: place + columns,
    ArrowUp: place - columns,
    Home: 0,
    End: all.length - 1,
  }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  all[Math.max(0, Math.min(next, all.length - 1))].focus();
}

function showEmpty() {
  at("empty").hidden = entries.size > 0;
}
