"use strict";
// One canvas: tiles of the pyramid, colours over them, the chosen galaxy's frame. Places are in px of the whole image.
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const canvas = element("sky"), pen = canvas.getContext("2d"), told = element("told"), result = element("result");
const at = new Map(data.at.map((place, k) => [place, k]));
const number = new Map(data.ids.map((id, k) => [id, k]));
const off = new Set(); // groups that are not shown
let view = { x: 0, y: 0, scale: 1 }; // the image's point in the top left corner, and CSS px per px of the image
let whole = 0; // the scale at which all is shown, while it is
let chosen = -1, hovered = -1, colours = Boolean(data.colours), flight = 0, waiting = false, ratio = 1;

// tiles

const tiles = new Map();
const MOST_TILES = 400;

function tile(level, column, row) {
  const name = `${level}/${column}_${row}`;
  let image = tiles.get(name);
  if (image) {
    tiles.delete(name); // and to the end again: the first is the one longest unused
  } else {
    image = new Image();
    image.onload = draw;
    image.src = `${encodeURIComponent(data.folder)}/${name}.jpg`;
    if (tiles.size >= MOST_TILES) tiles.delete(tiles.keys().next().value);
  }
  tiles.set(name, image);
  return image;
}

function drawTiles(width, height) {
  const best = Math.ceil(data.level + Math.log2(view.scale * ratio));
  const level = Math.max(0, Math.min(data.level, best));
  const first = Math.min(level, Math.floor(Math.log2(data.tile))); // one tile, which stays under all until they have come
  for (const one of new Set([first, Math.max(first, level - 2), level])) {
    const side = data.tile * 2 ** (data.level - one);
    const last = { column: Math.ceil(data.width / side) - 1, row: Math.ceil(data.height / side) - 1 };
    const left = Math.max(0, Math.floor(view.x / side)), top = Math.max(0, Math.floor(view.y / side));
    const right = Math.min(last.column, Math.floor((view.x + width / view.scale) / side));
    const bottom = Math.min(last.row, Math.floor((view.y + height / view.scale) / side));
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const image = tile(one, column, row);
        if (!image.complete || !image.naturalWidth) continue;
        // whole device px, so that no seam shows between tiles
        const step = 2 ** (data.level - one);
        const x = edge(column * side - view.x), y = edge(row * side - view.y);
        const x2 = edge(Math.min(column * side + image.naturalWidth * step, data.width) - view.x);
        const y2 = edge(Math.min(row * side + image.naturalHeight * step, data.height) - view.y);
        pen.drawImage(image, x, y, x2 - x, y2 - y);
      }
    }
  }
}

const edge = (length) => Math.round(length * view.scale * ratio) / ratio;

// colours: frames where cells are large, a wash where they are small

function drawColours(width, height) {
  const side = data.cell * view.scale, frame = side >= 14;
  const line = Math.max(1.5, side / 40);
  pen.globalAlpha = frame ? 0.85 : 0.38;
  const top = Math.max(0, Math.floor(view.y / data.cell)), left = Math.max(0, Math.floor(view.x / data.cell));
  const bottom = Math.min(data.rows - 1, Math.floor((view.y + height / view.scale) / data.cell));
  const right = Math.min(data.columns - 1, Math.floor((view.x + width / view.scale) / data.cell));
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const k = at.get(row * data.columns + column);
      const group = k === undefined ? -1 : data.colours.group[k];
      if (group < 0 || off.has(group)) continue;
      const x = (column * data.cell - view.x) * view.scale, y = (row * data.cell - view.y) * view.scale;
      pen.fillStyle = pen.strokeStyle = data.colours.colours[group];
      if (frame) {
        pen.lineWidth = line;
        pen.strokeRect(x + line / 2 + 0.5, y + line / 2 + 0.5, side - line - 1, side - line - 1);
      } else {
        pen.fillRect(x, y, side, side);
      }
    }
  }
  pen.globalAlpha = 1;
}

function drawFrame(k, colour) {
  if (k < 0) return;
  const side = data.cell * view.scale;
  const x = ((data.at[k] % data.columns) * data.cell - view.x) * view.scale;
  const y = (Math.floor(data.at[k] / data.columns) * data.cell - view.y) * view.scale;
  pen.strokeStyle = colour;
  pen.lineWidth = 3;
  pen.strokeRect(x, y, side, side);
  if (side < 24 && k === chosen) { // a galaxy of few px is found by a ring
    pen.beginPath();
    pen.arc(x + side / 2, y + side / 2, 18, 0, 2 * Math.PI);
    pen.stroke();
  }
}

function paint() {
  waiting = false;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = "#101216";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  drawTiles(width, height);
  if (colours) drawColours(width, height);
  if (hovered !== chosen) drawFrame(hovered, "rgba(255,255,255,.6)");
  drawFrame(chosen, "#ffffff");
}

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(paint);
}

// moving

const fitted = () => Math.min(canvas.clientWidth / data.width, canvas.clientHeight / data.height);

function settle() { // some of the image stays in sight, and no zoom goes beyond use
  view.scale = Math.min(Math.max(view.scale, fitted() / 2), 512 / data.cell);
  const width = canvas.clientWidth / view.scale, height = canvas.clientHeight / view.scale;
  view.x = Math.min(Math.max(view.x, -width / 2), data.width - width / 2);
  view.y = Math.min(Math.max(view.y, -height / 2), data.height - height / 2);
  draw();
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  flight++;
  const before = view.scale;
  const scale = Math.min(Math.max(before * factor, fitted() / 2), 512 / data.cell);
  view = { x: view.x + x / before - x / scale, y: view.y + y / before - y / scale, scale };
  settle();
}

function showAll() {
  flight++;
  const scale = whole = fitted();
  view = { x: (data.width - canvas.clientWidth / scale) / 2, y: (data.height - canvas.clientHeight / scale) / 2, scale };
  settle();
}

function fly(k) {
  const mine = ++flight, from = { ...view };
  const scale = Math.max(view.scale, Math.min(96 / data.cell, 512 / data.cell));
  const centre = [(data.at[k] % data.columns + 0.5) * data.cell, (Math.floor(data.at[k] / data.columns) + 0.5) * data.cell];
  const half = [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const began = performance.now(), lasts = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700;
  const step = (now) => {
    if (mine !== flight) return;
    const t = lasts ? Math.min(1, Math.max(0, now - began) / lasts) : 1, s = t * t * (3 - 2 * t);
    const zoomed = from.scale * (scale / from.scale) ** s;
    const middle = centre.map((c, i) => {
      const start = (i ? from.y : from.x) + half[i] / from.scale;
      return start + (c - start) * s;
    });
    view = { x: middle[0] - half[0] / zoomed, y: middle[1] - half[1] / zoomed, scale: zoomed };
    settle();
    if (t < 1) requestAnimationFrame(step);
  };
  step(began);
}

// what a galaxy is

function under(x, y) {
  const column = Math.floor((view.x + x / view.scale) / data.cell), row = Math.floor((view.y + y / view.scale) / data.cell);
  if (column < 0 || row < 0 || column >= data.columns || row >= data.rows) return -1;
  return at.get(row * data.columns + column) ?? -1;
}

function tell() {
  const k = hovered >= 0 ? hovered : chosen;
  told.hidden = k < 0;
  if (k < 0) return;
  const lines = [data.says[k]];
  if (data.colours && data.colours.words[k]) lines.push(`${data.colours.name}: ${data.colours.words[k]}`);
  const name = document.createElement("b");
  name.textContent = data.ids[k];
  const rest = lines.filter(Boolean).map((line) => Object.assign(document.createElement("div"), { textContent: line }));
  told.replaceChildren(name, ...rest);
}

function choose(k) {
  chosen = k;
  hovered = -1;
  tell();
  draw();
  const hash = k < 0 ? "" : `#${encodeURIComponent(data.ids[k])}`;
  try {
    history.replaceState(null, "", hash || location.pathname);
  } catch { /* a browser may refuse it on pages from the disk */ }
}

// pointers

const held = new Map();
let moved = 0;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (held.size === 0) moved = 0;
  held.set(event.pointerId, place(event));
  canvas.classList.add("held");
  flight++;
});
canvas.addEventListener("pointermove", (event) => {
  const now = place(event), before = held.get(event.pointerId);
  if (!before) {
    const k = under(now.x, now.y);
    if (k !== hovered) {
      hovered = k;
      tell();
      draw();
    }
    return;
  }
  moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  if (held.size === 1) {
    view.x -= (now.x - before.x) / view.scale;
    view.y -= (now.y - before.y) / view.scale;
    settle();
  } else {
    const other = [...held].find(([id]) => id !== event.pointerId)[1];
    const wide = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    view.x -= (now.x - before.x) / 2 / view.scale;
    view.y -= (now.y - before.y) / 2 / view.scale;
    zoom(wide(now) / wide(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    moved = Infinity;
  }
  held.set(event.pointerId, now);
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    const here = held.get(event.pointerId);
    held.delete(event.pointerId);
    if (held.size) return;
    canvas.classList.remove("held");
    if (kind === "pointerup" && here && moved < 5) {
      const k = under(here.x, here.y);
      choose(k === chosen ? -1 : k);
    }
  });
}
canvas.addEventListener("pointerleave", () => {
  hovered = -1;
  tell();
  draw();
});
canvas.addEventListener("dblclick", (event) => zoom(2, place(event).x, place(event).y));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = [1, 16, canvas.clientHeight][event.deltaMode];
  const step = Math.max(-200, Math.min(200, event.deltaY * lines));
  zoom(2 ** (-step / (event.ctrlKey ? 80 : 250)), place(event).x, place(event).y);
}, { passive: false });

// keys and buttons

document.addEventListener("keydown", (event) => {
  if (event.target === element("id")) {
    if (event.key === "Escape") canvas.focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const far = 80 / view.scale;
  const keys = {
    ArrowLeft: () => { view.x -= far; settle(); },
    ArrowRight: () => { view.x += far; settle(); },
    ArrowUp: () => { view.y -= far; settle(); },
    ArrowDown: () => { view.y += far; settle(); },
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": showAll, Home: showAll,
    "/": () => element("id").focus(), Escape: () => choose(-1), c: toggle, C: toggle,
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
element("in").onclick = () => zoom(1.5);
element("out").onclick = () => zoom(1 / 1.5);
element("all").onclick = showAll;

// finding

const matches = (text) => data.ids.filter((id) => id.toLowerCase().includes(text));
let turn = { text: "", k: 0 };

element("id").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  const some = text.length > 1 ? matches(text).slice(0, 12) : [];
  element("ids").replaceChildren(...some.map((id) => Object.assign(document.createElement("option"), { value: id })));
});
element("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("id").value.trim();
  if (!text) return;
  const found = number.has(text) ? [text] : matches(text.toLowerCase());
  turn = turn.text === text ? { text, k: turn.k + 1 } : { text, k: 0 };
  if (!found.length) {
    result.textContent = `No galaxy here is called ${text}`;
    return;
  }
  const k = turn.k % found.length;
  result.textContent = found.length > 1 ? `${k + 1} of ${found.length.toLocaleString("en-GB")}; Find again for the next` : "";
  choose(number.get(found[k]));
  fly(chosen);
});

// the legend

function toggle() {
  if (!data.colours) return;
  colours = !colours;
  draw();
}

function legend() {
  if (!data.colours) return;
  const counts = data.colours.labels.map(() => 0);
  for (const group of data.colours.group) if (group >= 0) counts[group]++;
  const title = Object.assign(document.createElement("h2"), { textContent: data.colours.name });
  const rows = data.colours.labels.map((label, group) => {
    const row = document.createElement("label"), box = document.createElement("input"), patch = document.createElement("i");
    Object.assign(box, { type: "checkbox", checked: true });
    box.onchange = () => {
      if (box.checked) off.delete(group);
      else off.add(group);
      draw();
    };
    patch.style.background = data.colours.colours[group];
    const count = Object.assign(document.createElement("span"), { textContent: counts[group].toLocaleString("en-GB") });
    row.append(box, patch, label, count);
    return row;
  });
  element("legend").append(title, ...rows);
  element("legend").hidden = false;
}

function asked() {
  let id = "";
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch { /* no id of ours */ }
  if (!number.has(id)) return;
  choose(number.get(id));
  fly(chosen);
}

let size = [0, 0];
function resized() { // what was in the middle stays there
  const before = size;
  size = [canvas.clientWidth, canvas.clientHeight];
  if (view.scale === whole) return showAll();
  view.x += (before[0] - size[0]) / 2 / view.scale;
  view.y += (before[1] - size[1]) / 2 / view.scale;
  settle();
}

window.addEventListener("resize", resized);
window.addEventListener("hashchange", asked);
legend();
showAll();
resized();
asked();
