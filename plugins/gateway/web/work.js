// What is at work and what waits: a card for each job, with the picture as far as it is.

import { post } from "./api.js";
import { at, duration, make, say } from "./dom.js";

const jobs = new Map();
const ENDS = new Set(["succeeded", "failed", "cancelled"]);

/** Takes a job in, or what is new about it, which may come later than newer news. Gives it as it is, whole. */
export function update(job) {
  const known = jobs.get(job.id);
  if (known && job.cursor < known.job.cursor) return known.job;
  const request = job.request ?? known?.job.request;
  const whole = { ...job, request };
  const entry = known ?? { steps: new Map(), card: null, notices: [] };
  entry.job = whole;
  jobs.set(job.id, entry);
  if (ENDS.has(job.state)) end(entry);
  else show(entry);
  return whole;
}

/** The job, as far as it is known here. */
export const job = (id) => jobs.get(id)?.job;

/** One evaluation is done, or the model is being read. */
export function progress(name, data) {
  const entry = jobs.get(data.job_id);
  if (!entry || ENDS.has(entry.job.state)) return;
  if (name === "loading") entry.loading = data.fraction;
  if (name === "notice") {
    entry.notices.push(data.message);
    say(data.message);
  }
  if (name === "started" || name === "step") {
    entry.loading = undefined;
    const step = entry.steps.get(data.index) ?? {};
    entry.steps.set(data.index, { ...step, ...data, preview: data.preview ?? step.preview });
    entry.current = data.index;
  }
  show(entry);
}

/** A picture of it is finished. */
export function finished(picture) {
  const entry = jobs.get(picture.job_id);
  entry?.steps.delete(picture.index);
  if (entry) show(entry);
}

/** Nobody knows the job any more. */
export function gone(id) {
  const entry = jobs.get(id);
  if (entry) remove(entry);
  jobs.delete(id);
}

function end(entry) {
  const { job: ended } = entry;
  if (ended.state === "failed") {
    entry.steps.clear();
    show(entry);
    return;
  }
  remove(entry);
}

function remove(entry) {
  const hadFocus = entry.card?.root.contains(document.activeElement);
  entry.card?.root.remove();
  entry.card = null;
  at("work").hidden = !at("work").childElementCount;
  if (hadFocus) at("prompt").focus();
}

function build(entry) {
  const id = entry.job.id;
  const image = make("img", { alt: "", hidden: true, decoding: "async" });
  const blank = make("span", { className: "blank", "aria-hidden": "true" });
  const title = make("p", { className: "title" });
  const state = make("p", { className: "state" });
  const bar = make("progress", { max: 1, "aria-label": "Progress" });
  const cancel = make("button", { type: "button", className: "quiet cancel", onclick: () => stop(entry) }, "Cancel");
  const root = make("article", { className: "job", "data-job": id },
    make("div", { className: "stage" }, blank, image),
    make("div", { className: "about" }, title, state, bar, cancel));
  entry.card = { root, image, blank, title, state, bar, cancel };
  at("work").append(root);
  at("work").hidden = false;
}

async function stop(entry) {
  if (entry.job.state === "failed") {
    remove(entry);
    return;
  }
  entry.card.cancel.disabled = true;
  try {
    await post(`/api/jobs/${entry.job.id}/cancel`);
  } catch (error) {
    say(error.message, true);
    if (entry.card) entry.card.cancel.disabled = false;
  }
}

function show(entry) {
  if (!entry.card) build(entry);
  const { job: shown, card } = entry;
  const step = entry.steps.get(entry.current) ?? [...entry.steps.values()].at(-1);
  card.title.textContent = shown.request?.prompt || (shown.request?.is_upscale ? "enlarging a picture" : "without a prompt");
  card.root.dataset.state = shown.state;
  card.state.textContent = words(entry, step);
  const share = fraction(entry);
  if (share === null) card.bar.removeAttribute("value");
  else card.bar.value = share;
  card.bar.hidden = shown.state === "failed" || shown.state === "queued";
  card.cancel.textContent = shown.state === "failed" ? "Close" : "Cancel";
  if (step?.preview) {
    card.image.src = `data:image/png;base64,${step.preview}`;
    card.image.hidden = false;
    card.blank.hidden = true;
  }
  const settings = step?.settings;
  if (settings?.picture_width) card.root.style.setProperty("--ratio", `${settings.picture_width} / ${settings.picture_height}`);
}

function words(entry, step) {
  const { job: shown } = entry;
  if (shown.state === "failed") return shown.problem?.message ?? "it failed";
  if (shown.state === "paused") return "paused";
  if (shown.state === "queued") return shown.position ? `${shown.position} before it` : "next";
  if (entry.loading !== undefined) return `reading the model, ${Math.round(entry.loading * 100)}%`;
  const which = shown.image_count > 1 ? `picture ${Math.min(shown.images_done + 1, shown.image_count)} of ${shown.image_count} · ` : "";
  if (!step?.count) return `${which}beginning`;
  if (step.done >= step.count) return `${which}finishing`;
  const left = step.eta_secs ? ` · ${duration(step.eta_secs)} left` : "";
  return `${which}step ${step.done} of ${step.count}${left}`;
}

/** The share of the job that is done; `null` where nobody knows. */
function fraction(entry) {
  if (entry.loading !== undefined) return entry.loading;
  const { job: shown } = entry;
  const parts = [...entry.steps.values()].filter((step) => step.count).map((step) => step.done / step.count);
  if (!parts.length && !shown.images_done) return null;
  return (shown.images_done + parts.reduce((sum, part) => sum + part, 0)) / Math.max(shown.image_count, 1);
}
