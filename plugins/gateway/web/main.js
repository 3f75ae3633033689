// The page: brings its parts together and tells them what happens.

import { at, say } from "./dom.js";
import { follow, listen } from "./events.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as keys from "./keys.js";
import * as picture from "./picture.js";
import * as work from "./work.js";

let wasUp = null;

function submitted(job) {
  work.update(job);
  follow(job.id);
  // on a phone what is drawn is below the form
  if (matchMedia("(max-width: 860px)").matches) at("work").scrollIntoView({ behavior: "smooth", block: "nearest" });
  say(job.image_count > 1 ? `${job.image_count} pictures are in the queue` : "it is in the queue");
}

function onEvent(name, data) {
  if (name === "job") {
    const job = work.update(data.job);
    if (job.state === "failed") say(job.problem?.message ?? "a picture failed", true);
  } else if (name === "picture") {
    if (data.picture.is_done) gallery.add(work.job(data.job_id), data.picture);
    work.finished(data.picture);
  } else if (name === "gone") {
    work.gone(data.job_id);
  } else if (name === "daemon" || name === "line") {
    showDaemon(name, data);
  } else {
    work.progress(name, data);
  }
}

function showDaemon(name, data) {
  const place = at("daemon");
  let [state, text] = ["up", "ready"];
  if (!data.is_up) [state, text] = ["down", name === "line" ? "gateway away, trying again" : data.message];
  else if (data.running) [state, text] = ["busy", data.waiting ? `drawing, ${data.waiting} waiting` : "drawing"];
  else if (data.waiting) [state, text] = ["busy", `${data.waiting} waiting`];
  place.dataset.state = state;
  place.querySelector(".text").textContent = text;
  if (data.is_up && wasUp === false) refresh();
  wasUp = Boolean(data.is_up);
}

/** It came back, maybe with other models. */
function refresh() {
  form.showChoices().catch((error) => say(error.message, true));
}

keys.begin();
picture.begin(submitted);
// first, so that nothing is missed while the gallery is read
listen(onEvent);
const parts = await Promise.allSettled([form.begin(submitted), gallery.begin()]);
for (const part of parts) if (part.status === "rejected") say(part.reason.message, true);
