// Small helpers around the document. Text is always set as text.

/** The element of an id. */
export const at = (id) => document.getElementById(id);

/** Makes an element: attributes by name, `on…` as listeners, children as nodes or texts. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && !key.includes("-")) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let saidTimer;

/** Says something for a moment, to eyes and to screen readers. */
export function say(text, isProblem = false) {
  const said = at("said");
  said.textContent = text;
  said.classList.toggle("problem", isProblem);
  said.classList.add("shown");
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => said.classList.remove("shown"), isProblem ? 9000 : 3500);
}

/** A duration in words. */
export function duration(seconds) {
  if (seconds < 1.5) return "1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** A time in words, nearer ones shorter. */
export function when(milliseconds) {
  const date = new Date(milliseconds);
  const isToday = date.toDateString() === new Date().toDateString();
  const format = isToday ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(undefined, format).format(date);
}

/** Whether somebody is writing there. */
export const isWriting = (element) =>
  element?.matches?.("textarea, select, input:not([type=range], [type=file], [type=checkbox])") ?? false;
