// The mask: what of the picture to begin from is repainted, marked with a brush, by mouse, finger, pen or keys.

import { at } from "./dom.js";

/** Longest side of a mask, in pixels: it is brought to the picture's size where it is used. */
const MAX_SIDE = 1024;

let strokes = [];
let drawing = null;
let place = null;
let isErasing = false;

export function begin() {
  const canvas = at("mask-canvas");
  at("mask-open").addEventListener("click", () => {
    at("masking").showModal();
    canvas.focus();
    place ??= [canvas.width / 2, canvas.height / 2];
    showBrush();
  });
  at("mask-done").addEventListener("click", () => at("masking").close());
  at("mask-undo").addEventListener("click", undo);
  at("mask-erase").addEventListener("click", erase);
  at("mask-clear").addEventListener("click", () => change([]));
  at("brush").addEventListener("input", showBrush);
  at("masking").addEventListener("close", show);
  at("masking").addEventListener("keydown", onKey);
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    place = placeOf(event);
    start();
  });
  canvas.addEventListener("pointermove", (event) => {
    // what happened since the last frame, so that quick curves stay round
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      place = placeOf(move);
      drawing?.points.push(place);
    }
    if (drawing) repaint();
    showBrush();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      drawing = null;
    });
  }
}

/** Another picture, or none: nothing of it is marked. */
export async function reset(address) {
  strokes = [];
  drawing = null;
  place = null;
  at("mask-open").hidden = !address;
  const under = at("mask-under");
  if (address) under.src = address;
  else under.removeAttribute("src");
  show();
  if (!address) return;
  try {
    await under.decode();
  } catch {
    // no picture: the gateway says so
    return;
  }
  const share = Math.min(1, MAX_SIDE / Math.max(under.naturalWidth, under.naturalHeight));
  for (const id of ["mask-canvas", "mask-shown"]) {
    at(id).width = Math.max(1, Math.round(under.naturalWidth * share));
    at(id).height = Math.max(1, Math.round(under.naturalHeight * share));
  }
  under.parentElement.style.setProperty("--ratio", under.naturalWidth / under.naturalHeight);
}

/** The mask's file: transparent where is repainted. `null` where nothing is marked. */
export async function file() {
  if (!isMarked()) return null;
  const { width, height } = at("mask-canvas");
  const mask = new OffscreenCanvas(width, height);
  const context = mask.getContext("2d");
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(at("mask-canvas"), 0, 0);
  return mask.convertToBlob({ type: "image/png" });
}

/** Whether something is marked, and not all of it erased again. */
function isMarked() {
  if (strokes.every((stroke) => stroke.erases)) return false;
  if (!strokes.some((stroke) => stroke.erases)) return true;
  const { width, height } = at("mask-canvas");
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(at("mask-canvas"), 0, 0);
  return context.getImageData(0, 0, width, height).data.some((value, place) => place % 4 === 3 && value > 0);
}

function placeOf(event) {
  const canvas = at("mask-canvas");
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

/** The brush's width in pixels of the mask: a share of its shorter side. */
function breadth() {
  const { width, height } = at("mask-canvas");
  return Math.max(1, (Math.min(width, height) * at("brush").value) / 100);
}

function start() {
  drawing = { erases: isErasing, breadth: breadth(), points: [place] };
  strokes.push(drawing);
  repaint();
}

/** Paints all strokes anew, so that their edges are the same however they came to be. */
function repaint() {
  const canvas = at("mask-canvas");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.save();
  context.strokeStyle = context.createPattern(hatching(), "repeat");
  for (const stroke of strokes) paint(context, stroke);
  context.restore();
  showTools();
}

/** Stripes, which are seen on every picture. */
function hatching() {
  const canvas = at("mask-canvas");
  const side = Math.max(8, Math.round(Math.min(canvas.width, canvas.height) / 24));
  const tile = new OffscreenCanvas(side, side);
  const context = tile.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).color;
  context.fillRect(0, 0, side, side);
  context.strokeStyle = "white";
  context.lineWidth = side / 4;
  // corner to corner, and what of the neighbours' stripes reaches in
  for (const shift of [-side, 0, side]) {
    context.moveTo(shift - side, 2 * side);
    context.lineTo(shift + 2 * side, -side);
  }
  context.stroke();
  return tile;
}

function paint(context, stroke) {
  context.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
  context.lineWidth = stroke.breadth;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...stroke.points[0]);
  // a point alone is a dot
  for (const point of stroke.points) context.lineTo(...point);
  context.stroke();
}

function change(left) {
  strokes = left;
  drawing = null;
  repaint();
  // a button that can do no more loses the keyboard
  at("mask-canvas").focus();
}

const undo = () => change(strokes.slice(0, -1));

function erase() {
  isErasing = !isErasing;
  showTools();
}

function resize(by) {
  // the slider keeps it within its range
  at("brush").value = Number(at("brush").value) + by;
  showBrush();
}

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrow keys move the brush, with Shift they mark; Space marks where it is. */
function onKey(event) {
  if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = { e: erase, "[": () => resize(-2), "]": () => resize(2), "-": () => resize(-2), "+": () => resize(2) }[event.key];
  if (act) act();
  if (event.target !== at("mask-canvas")) return;
  const way = WAYS[event.key];
  if (way) move(way, event.shiftKey);
  else if (event.key === " ") start();
  else return;
  drawing = null;
  event.preventDefault();
}

function move(way, marks) {
  const { width, height } = at("mask-canvas");
  const step = breadth() / 2;
  if (marks) start();
  place = [Math.min(width, Math.max(0, place[0] + way[0] * step)), Math.min(height, Math.max(0, place[1] + way[1] * step))];
  if (marks) {
    drawing.points.push(place);
    repaint();
  }
  showBrush();
}

/** Where the brush is, and how large. */
function showBrush() {
  const { width, height } = at("mask-canvas");
  const ring = at("mask-ring");
  ring.hidden = !place;
  if (!place) return;
  ring.style.left = `${(place[0] / width) * 100}%`;
  ring.style.top = `${(place[1] / height) * 100}%`;
  ring.style.width = `${(breadth() / width) * 100}%`;
}

function showTools() {
  at("mask-erase").setAttribute("aria-pressed", String(isErasing));
  at("mask-undo").disabled = at("mask-clear").disabled = strokes.length === 0;
}

/** What is marked, over the form's picture. */
function show() {
  const [shown, canvas] = [at("mask-shown"), at("mask-canvas")];
  const context = shown.getContext("2d");
  const isThere = isMarked();
  shown.hidden = !isThere;
  context.clearRect(0, 0, shown.width, shown.height);
  if (isThere) context.drawImage(canvas, 0, 0);
  at("mask-open").textContent = isThere ? "change what is repainted" : "repaint a part only";
  showTools();
}
