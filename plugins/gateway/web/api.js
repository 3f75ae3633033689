// Calls of the gateway. With a key every call carries it, so pictures are fetched too and shown from memory.

import { at } from "./dom.js";

const PLACE = "imgd-key";

/** What the gateway said was wrong; `param` is the field. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the gateway answered with status ${status}`);
    this.status = status;
    this.param = error?.param ?? null;
    this.code = error?.code ?? null;
  }
}

const key = () => sessionStorage.getItem(PLACE);
let asking = null;

/** Asks for the key, once for all calls that wait for it. */
function ask(wasWrong) {
  asking ??= new Promise((resolve) => {
    const [dialog, form, input, error] = [at("ask"), at("ask-form"), at("key"), at("key-error")];
    error.hidden = !wasWrong;
    error.textContent = wasWrong ? "that is not the key" : "";
    input.value = "";
    const stay = (event) => event.preventDefault();
    dialog.addEventListener("cancel", stay);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(PLACE, input.value.trim());
      dialog.removeEventListener("cancel", stay);
      dialog.close();
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** A call; asks for the key where one is wanted. Gives the response, which is a good one. */
export async function call(path, options = {}) {
  for (;;) {
    const sent = key();
    const headers = { ...options.headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) };
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    if (response.status === 401) {
      if (key() === sent) await ask(Boolean(sent));
      continue;
    }
    const body = await response.json().catch(() => null);
    throw new Refused(response.status, body?.error);
  }
}

export const get = async (path) => (await call(path)).json();

export const post = async (path, value = {}) =>
  (await call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value),
  })).json();

export const send = async (path, form) => (await call(path, { method: "POST", body: form })).json();

export const pictureFile = async (picture) =>
  (await call(`/api/jobs/${picture.job_id}/pictures/${picture.index}`)).blob();

const thumbnails = new Map();

/** An address of a picture's thumbnail, in memory. */
export function thumbnail(picture) {
  const name = `${picture.job_id}/${picture.index}`;
  if (!thumbnails.has(name)) {
    const address = call(`/api/jobs/${picture.job_id}/thumbnails/${picture.index}`)
      .then((response) => response.blob())
      .then((blob) => URL.createObjectURL(blob));
    address.catch(() => thumbnails.delete(name));
    thumbnails.set(name, address);
  }
  return thumbnails.get(name);
}

/** A name by which a request is known, so that sending it twice makes one job. */
export const requestId = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
};
