// Everything by keys: one table of what each does, which the page lists too.
import { byId, made, complain } from "./ask.js";
import { fade, isOver, scene, show, viewer } from "./scene.js";
import { panel, setVisible, turnTo } from "./panel.js";
import * as table from "./table.js";
import * as beside from "./beside.js";
import { takeScreen } from "./region.js";

const number = (kind) => scene.files.findIndex((file) => file.kind === kind);
const onOver = (change) => scene.files.forEach((file, at) => { if (isOver(file) && file.visible) change(file, at); });

let hidden = [];

// The masks that are seen go, and the same come back.
function blink() {
  const seen = scene.files.flatMap((file, at) => isOver(file) && file.visible ? [at] : []);
  const before = hidden.length ? hidden : scene.files.findIndex(isOver) >= 0 ? [scene.files.findIndex(isOver)] : [];
  for (const at of seen.length ? seen : before) setVisible(at, !seen.length);
  hidden = seen;
}

function strengthen(by) {
  onOver((file, at) => { file.opacity = Math.round(Math.min(1, Math.max(0, file.opacity + by)) * 100) / 100; fade(at); });
  panel();
}

function cut(by) {
  onOver((file, at) => {
    if (file.kind !== "probabilities") return;
    file.threshold = Math.min(0.99, Math.max(0.01, file.threshold + by));
    show(at);
  });
  panel();
}

function zoom(by) {
  viewer.viewport.zoomBy(by);
  viewer.viewport.applyConstraints();
}

function outline() {
  onOver((file, at) => { file.drawn = file.drawn === "fill" ? "outline" : "fill"; show(at); });
  panel();
}

const acts = {
  "+": ["zoom in", () => zoom(1.5)],
  "-": ["zoom out", () => zoom(1 / 1.5)],
  "0": ["the whole image", () => viewer.viewport.goHome()],
  "1": ["one pixel on one", () => viewer.viewport.zoomTo(viewer.world.getItemAt(0).imageToViewportZoom(1 / devicePixelRatio))],
  "m": ["masks on or off", blink],
  "o": ["fill or outline", outline],
  "[": ["masks fainter", () => strengthen(-0.1)],
  "]": ["masks stronger", () => strengthen(0.1)],
  "<": ["threshold lower", () => cut(-0.05)],
  ">": ["threshold higher", () => cut(0.05)],
  "d": ["what two masks differ in", () => number("difference") >= 0 && setVisible(number("difference"), !scene.files[number("difference")].visible)],
  "b": ["side by side", () => beside.toggle()],
  "t": ["table", () => table.toggle()],
  "n": ["next object", () => table.neighbour(1)],
  "p": ["object before", () => table.neighbour(-1)],
  "r": ["region: what is on the screen", takeScreen],
  ",": ["page before", () => turnTo(scene.page - 1)],
  ".": ["next page", () => turnTo(scene.page + 1)],
  "f": ["files and settings", () => { byId("panel").open = !byId("panel").open; }],
};

const typed = (target) => target.closest?.("select, input:not([type=range], [type=checkbox])");

export function begin() {
  const rows = [["arrows", "move"], ...Object.entries(acts).map(([key, [what]]) => [key, what])];
  byId("keys").querySelector("dl").append(...rows.flatMap(([key, what]) =>
    [made("dt", {}, made("kbd", { textContent: key })), made("dd", { textContent: what })]));
  document.addEventListener("keydown", (event) => {
    const act = acts[event.key === "=" ? "+" : event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || typed(event.target)) return;
    event.preventDefault();
    Promise.resolve(act[1]()).catch(complain);
  });
  // OpenSeadragon would zoom once more, and turn and mirror the picture with letters of its own.
  viewer.addHandler("canvas-key", (event) => { if (event.originalEvent.key.length === 1) event.preventDefaultAction = true; });
}
