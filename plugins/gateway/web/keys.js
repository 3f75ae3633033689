// Keys. Nothing is taken from somebody who writes, but Ctrl+Enter and Esc.

import { at, isWriting } from "./dom.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as picture from "./picture.js";

export function begin() {
  at("show-keys").addEventListener("click", () => at("keys").showModal());
  document.addEventListener("keydown", (event) => {
    if (at("ask").open) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      for (const id of ["picture", "masking", "keys"]) if (at(id).open) at(id).close();
      form.draw();
      return;
    }
    if (event.key === "Escape" && isWriting(event.target)) event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target) || at("keys").open || at("masking").open) return;
    const act = of(event.key);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** What a key does here and now. */
function of(key) {
  const looking = picture.shown();
  const entry = looking ?? gallery.focused();
  if (looking && key === "ArrowRight") return () => picture.step(1);
  if (looking && key === "ArrowLeft") return () => picture.step(-1);
  if (entry) {
    const act = { m: picture.again, v: picture.vary, u: picture.use, b: picture.beginFrom, d: picture.download }[key];
    if (act) return () => act(entry);
  }
  if (looking) return undefined;
  return {
    "/": () => {
      at("prompt").focus();
      at("prompt").select();
    },
    g: () => gallery.focus(),
    "?": () => at("keys").showModal(),
  }[key];
}
