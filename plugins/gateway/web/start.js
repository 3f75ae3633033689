// The picture to begin from: dropped, pasted, chosen, or one of the gallery's.

import { at, say } from "./dom.js";
import { clearError } from "./form.js";
import * as mask from "./mask.js";

const MAX_BYTES = 16 * 1024 * 1024;
let chosen = null;

export function begin() {
  const drop = at("drop");
  mask.begin();
  at("image").addEventListener("change", () => take(at("image").files[0]));
  at("image-clear").addEventListener("click", () => {
    clear();
    at("image").focus();
  });
  at("strength").addEventListener("input", showStrength);
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((entry) => entry.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      take(file);
    }
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      const hasFiles = [...(event.dataTransfer?.types ?? [])].includes("Files");
      if (!hasFiles) return;
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

/** The picture, if there is one. */
export const picture = () => chosen;

/** The mask, if something is marked. */
export const maskFile = () => mask.file();

/** Takes a file as the picture to begin from. */
export function take(file) {
  if (!file) return;
  clearError("image");
  if (!/^image\/(png|jpeg|webp)$/.test(file.type)) return problem("a PNG, JPEG or WebP file can be begun from");
  if (file.size > MAX_BYTES) return problem("the file has more than 16 MiB");
  clear();
  chosen = file;
  at("image-shown").src = URL.createObjectURL(file);
  at("image-shown").hidden = false;
  at("image-clear").hidden = false;
  at("strength-field").hidden = false;
  at("drop").classList.add("full");
  mask.reset(at("image-shown").src);
}

export function setStrength(strength) {
  at("strength").value = strength;
  showStrength();
}

function clear() {
  if (at("image-shown").src) URL.revokeObjectURL(at("image-shown").src);
  chosen = null;
  at("image").value = "";
  at("image-shown").removeAttribute("src");
  at("image-shown").hidden = true;
  at("image-clear").hidden = true;
  at("strength-field").hidden = true;
  at("drop").classList.remove("full");
  mask.reset(null);
  clearError("image");
  clearError("mask");
}

function showStrength() {
  at("strength-shown").textContent = `${Math.round(at("strength").value * 100)}%`;
}

function problem(message) {
  at("image-error").textContent = message;
  at("image-error").hidden = false;
  say(message, true);
}
