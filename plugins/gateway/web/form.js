// The form: what to draw. What is left empty is the model's own, which stands there in grey.

import { Refused, get, requestId, send } from "./api.js";
import { at, make, say } from "./dom.js";
import * as start from "./start.js";

const FIELDS = ["prompt", "negative_prompt", "model", "n", "size", "image", "mask", "strength", "steps", "cfg_scale", "sampler", "schedule", "seed"];
const REMEMBERED = ["prompt", "negative_prompt", "model", "n", "width", "height", "steps", "cfg_scale", "sampler", "schedule", "seed"];
const PLACE = "imgd-form";
/** Pixels over which what is repainted goes over into the rest, which keeps its own pixels. */
const MASK_BLUR = 4;

let choices = { models: [], samplers: [], schedules: [] };
let model = null;
let onSubmitted = () => {};

/** Makes the form work; `submitted(job)` is told of every job. */
export async function begin(submitted) {
  onSubmitted = submitted;
  start.begin();
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    draw();
  });
  at("form").addEventListener("input", (event) => {
    const field = event.target.name === "width" || event.target.name === "height" ? "size" : event.target.name;
    if (field) clearError(field);
    remember();
  });
  at("model").addEventListener("change", showModel);
  at("sampler").addEventListener("change", showSchedules);
  at("seed").addEventListener("input", showSeed);
  at("seed-clear").addEventListener("click", () => {
    at("seed").value = "";
    showSeed();
    remember();
    at("seed").focus();
  });
  at("swap").addEventListener("click", () => {
    const [width, height] = size();
    setSize(height, width);
  });
  for (const button of document.querySelectorAll("[data-shape]")) {
    button.addEventListener("click", () => shape(button.dataset.shape));
  }
  recall();
  await showChoices();
}

/** Reads what there is to choose from; again after the daemon came back. */
export async function showChoices() {
  choices = await get("/api/choices");
  const chosen = at("model").value || at("model").dataset.wanted || "";
  const usable = choices.models.filter((entry) => !entry.lacks.length);
  at("model").replaceChildren(...usable.map((entry) =>
    make("option", { value: entry.name }, entry.name)));
  const known = usable.some((entry) => entry.name === chosen);
  at("model").value = known ? chosen : usable.find((entry) => entry.is_default)?.name ?? usable[0]?.name ?? "";
  const sampler = at("sampler").value || at("sampler").dataset.wanted || "";
  at("sampler").replaceChildren(make("option", { value: "" }, "its own"),
    ...choices.samplers.map((entry) => make("option", { value: entry.name, title: entry.description }, entry.name)));
  at("sampler").value = choices.samplers.some((entry) => entry.name === sampler) ? sampler : "";
  showSchedules();
  await showModel();
}

/** Shows the model's own settings where nothing is said. */
async function showModel() {
  clearError("model");
  try {
    model = await get(`/api/models/${encodeURIComponent(at("model").value)}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    model = null;
    showError("model", error.message);
    return;
  }
  const own = model.defaults;
  for (const [id, value] of [["width", own.width], ["height", own.height], ["steps", own.steps], ["cfg_scale", own.cfg_scale]]) {
    at(id).placeholder = value || "";
  }
  at("width").step = at("height").step = model.size_multiple || 8;
  at("sampler").title = own.sampler ? `its own is ${own.sampler}` : "";
  at("negative_prompt").placeholder = model.negative_prompt || "nothing in particular";
  showSize();
}

function showSchedules() {
  const sampler = choices.samplers.find((entry) => entry.name === at("sampler").value);
  const names = sampler ? sampler.schedules : choices.schedules.map((entry) => entry.name);
  const chosen = at("schedule").value || at("schedule").dataset.wanted || "";
  at("schedule").replaceChildren(make("option", { value: "" }, "its own"),
    ...names.map((name) => make("option", { value: name }, name)));
  at("schedule").value = names.includes(chosen) ? chosen : "";
  at("schedule").disabled = names.length === 0;
}

function showSeed() {
  at("seed-clear").hidden = !at("seed").value;
}

const size = () => [
  Number(at("width").value || at("width").placeholder) || 0,
  Number(at("height").value || at("height").placeholder) || 0,
];

function setSize(width, height) {
  const own = model?.defaults ?? {};
  at("width").value = width === own.width && height === own.height ? "" : width || "";
  at("height").value = width === own.width && height === own.height ? "" : height || "";
  clearError("size");
  showSize();
  remember();
}

/** A shape of as many pixels as the model's own size. */
function shape(name) {
  const own = model?.defaults ?? { width: 512, height: 512 };
  const step = model?.size_multiple || 8;
  const [width, height] = name.split(":").map(Number);
  const side = Math.sqrt((own.width * own.height) / (width * height));
  const round = (value) => Math.max(step, Math.round((value * side) / step) * step);
  setSize(round(width), round(height));
}

function showSize() {
  const [width, height] = size();
  const ratio = width / height;
  const name = ratio > 1.1 ? "3:2" : ratio < 0.9 ? "2:3" : "1:1";
  for (const button of document.querySelectorAll("[data-shape]")) {
    button.setAttribute("aria-pressed", String(button.dataset.shape === name));
  }
  at("size-hint").textContent = width && height ? `${width} × ${height}` : "";
}

let isSending = false;

/** Draws what the form says. */
export async function draw() {
  if (isSending) return;
  FIELDS.forEach(clearError);
  clearError("form");
  if (!checkNumbers()) return;
  isSending = true;
  at("draw").setAttribute("aria-busy", "true");
  try {
    const { job } = await send("/api/jobs", await body());
    onSubmitted(job);
  } catch (error) {
    showProblem(error);
  } finally {
    isSending = false;
    at("draw").removeAttribute("aria-busy");
  }
}

/** Numbers that are none never reach `value`: the browser knows. */
function checkNumbers() {
  for (const id of ["n", "width", "height", "steps", "cfg_scale", "seed"]) {
    const input = at(id);
    const isWhole = id !== "seed" || /^[0-9]*$/.test(input.value.trim());
    if (input.validity.badInput || !isWhole) {
      const field = id === "width" || id === "height" ? "size" : id;
      showError(field, isWhole ? "this is no number" : "a seed is a whole number, 0 or more");
      reveal(field);
      return false;
    }
  }
  return true;
}

async function body() {
  const form = new FormData();
  form.append("request_id", requestId());
  form.append("prompt", at("prompt").value);
  for (const name of ["negative_prompt", "model", "n", "steps", "cfg_scale", "sampler", "schedule", "seed"]) {
    const value = at(name).value.trim();
    if (value) form.append(name, value);
  }
  const hasSize = at("width").value || at("height").value;
  const picture = start.picture();
  if (hasSize) form.append("size", size().join("x"));
  if (picture) {
    form.append("image", picture, "picture");
    form.append("strength", at("strength").value);
    const mask = await start.maskFile();
    if (mask) {
      form.append("mask", mask, "mask.png");
      form.append("mask_blur", MASK_BLUR);
    }
  }
  return form;
}

function showProblem(error) {
  const field = error.param === "variation_strength" ? "form" : error.param;
  if (error instanceof Refused && FIELDS.includes(field)) {
    showError(field, error.message);
    reveal(field);
  } else {
    const message = error instanceof Refused ? error.message : "the gateway does not answer; the form keeps what you wrote";
    showError("form", message);
  }
}

/** Brings a field into view, with its keyboard. */
function reveal(field) {
  const input = at({ size: "width", mask: "mask-open" }[field] ?? field);
  const details = input.closest("details");
  if (details) details.open = true;
  input.focus();
}

function showError(field, message) {
  const error = at(`${field}-error`);
  error.textContent = message;
  error.hidden = false;
  for (const id of field === "size" ? ["width", "height"] : [field]) at(id)?.setAttribute("aria-invalid", "true");
}

export function clearError(field) {
  const error = at(`${field}-error`);
  if (!error) return;
  error.hidden = true;
  for (const id of field === "size" ? ["width", "height"] : [field]) at(id)?.removeAttribute("aria-invalid");
}

/** Puts a picture's settings into the form, its seed too. */
export async function use(job, picture) {
  const settings = picture.settings;
  at("prompt").value = job.request?.prompt ?? "";
  at("negative_prompt").value = job.request?.negative_prompt ?? "";
  if (choices.models.some((entry) => entry.name === settings.model)) at("model").value = settings.model;
  await showModel();
  at("n").value = 1;
  at("steps").value = settings.steps || "";
  at("cfg_scale").value = settings.cfg_scale ?? "";
  at("sampler").value = choices.samplers.some((entry) => entry.name === settings.sampler) ? settings.sampler : "";
  at("schedule").dataset.wanted = settings.schedule ?? "";
  at("schedule").value = "";
  showSchedules();
  at("seed").value = settings.seed;
  showSeed();
  setSize(settings.width, settings.height);
  if (settings.strength !== null) start.setStrength(settings.strength);
  at("more").open = true;
  at("prompt").focus();
  say(job.request?.has_input ? "its settings are in the form; add the picture it began from" : "its settings are in the form");
}

/** What was written outlives a reload of this tab, and no more. */
function remember() {
  const values = Object.fromEntries(REMEMBERED.map((name) => [name, at(name).value]));
  sessionStorage.setItem(PLACE, JSON.stringify(values));
}

function recall() {
  let values = {};
  try {
    values = JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
  } catch {
    // nothing of ours
  }
  for (const name of REMEMBERED) {
    if (values[name] === undefined) continue;
    at(name).value = values[name];
    at(name).dataset.wanted = values[name];
  }
  showSeed();
}
