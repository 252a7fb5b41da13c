// The files one over another, in OpenSeadragon, and how each is drawn.
import { ask, byId, complain } from "./ask.js";

// OpenSeadragon adds a style of its own unless one with this mark is there, and the policy of the page allows none; what
// it says stands in view.css. Of another namespace, this one styles nothing.
const mark = document.createElementNS("urn:unet-deploy", "style");
mark.setAttribute("data-openseadragon-mobile-css", "true");
document.head.append(mark);

const SETTINGS = {
  drawer: "canvas",
  showNavigationControl: false,
  imageSmoothingEnabled: false, // a pixel of the image is a square, at any zoom
  imageLoaderLimit: 6, // the server refuses a flood
  tileRetryMax: 3,
  tileRetryDelay: 500,
  maxZoomPixelRatio: 16,
  minZoomImageRatio: 0.5,
  animationTime: 0.4,
  preserveImageSizeOnResize: true,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
};

export function newViewer(element, more) {
  const view = OpenSeadragon({ element, ...SETTINGS, ...more });
  // Tiles are drawn one pixel too large, so that no gap shows between them; where their sides are whole pixels of the
  // screen there is none, and the picture is to the pixel what the file is.
  view.drawer.minimumOverlapRequired = (item) => {
    const side = item.viewportToImageZoom(view.viewport.getZoom(true)) * devicePixelRatio * item.source.getTileWidth();
    return Math.abs(side - Math.round(side)) > 1e-3;
  };
  return view;
}

export const viewer = newViewer(byId("picture"), {
  showNavigator: true,
  navigatorAutoFade: false,
  navigatorPosition: "BOTTOM_RIGHT",
  navigatorBackground: "#000",
});

export const scene = { files: [], page: 0 };

export const isOver = (file) => file.kind !== "image";
export const opacityOf = (file) => file.visible ? file.opacity : 0;

export function lookOf(file) {
  if (file.kind === "image") return shadesLook(file.shades);
  const cut = file.kind === "probabilities" ? `@${file.threshold.toFixed(3)}` : "";
  const own = file.paints.every((paint) => paint.shown && paint.colour === paint.own);
  const colours = own ? "" : file.paints.map((paint) => `;${paint.shown ? paint.colour.slice(1) : "-"}`).join("");
  return `${file.drawn}${cut}${colours}`;
}

function shadesLook(shades) {
  const shown = shades.filter((shade) => shade.shown).slice(0, 16);
  const black = [{ ...shades[0], colour: "#000000" }];
  return (shown.length ? shown : black)
    .map((shade) => [shade.channel, shade.low, shade.high, shade.gamma, shade.colour.slice(1)].join(",")).join(";");
}

export function sourceOf(number) {
  const file = scene.files[number];
  const { height, width, tile, lastZoom } = file;
  const [shown, look] = [scene.page, encodeURIComponent(lookOf(file))];
  const again = file.renewed ? `?${file.renewed}` : ""; // what is kept of the same address is of before
  return {
    height, width, tileSize: tile, minLevel: 0, maxLevel: lastZoom,
    getTileUrl: (zoom, column, row) => `tile/${number}/${shown}/${zoom}/${column}/${row}/${look}${again}`,
    hasTransparency: () => true,
  };
}

// A file that is laid anew takes the place of what was there once it is loaded, so that nothing is blank meanwhile.
export function lay(view, number, opacity) {
  const before = view.world.getItemAt(number);
  const first = { opacity: before ? 0 : opacity, preload: Boolean(before && opacity) };
  return new Promise((done) => view.addTiledImage({
    tileSource: sourceOf(number), width: 1, ...first,
    success: async ({ item }) => {
      if (before) await exchange(view, number, item, opacity);
      done();
    },
    error: (event) => { complain(event); done(); },
  }));
}

async function exchange(view, number, item, opacity) {
  if (opacity) await loaded(item);
  view.world.removeItem(view.world.getItemAt(number));
  view.world.setItemIndex(item, number);
  item.setPreload(false);
  item.setOpacity(opacity);
}

// All that the screen wants of it, or what came of that within some seconds.
const loaded = (item) => new Promise((done) => {
  item.addHandler("fully-loaded-change", ({ fullyLoaded }) => fullyLoaded && done());
  setTimeout(done, item.getFullyLoaded() ? 0 : 5000);
});

// Tells others that a file is drawn otherwise: the second picture, and the address.
export const tell = (number) => document.dispatchEvent(new CustomEvent("look", { detail: number }));

const laying = new Map(); // by number, what is being laid; what is asked for meanwhile is laid once, as it is then

export async function show(number) {
  if (laying.get(number)) { laying.set(number, "again"); return; }
  do {
    laying.set(number, "once");
    await lay(viewer, number, opacityOf(scene.files[number]));
  } while (laying.get(number) === "again");
  laying.delete(number);
  fade(number);
}

// More of a file can be seen by now: its overview was made further.
export function renew(number) {
  scene.files[number].renewed = (scene.files[number].renewed ?? 0) + 1;
  return show(number);
}

export function fade(number) {
  viewer.world.getItemAt(number)?.setOpacity(opacityOf(scene.files[number]));
  tell(number);
}

export async function showAll() {
  for (let number = 0; number < scene.files.length; number++) {
    if (scene.files[number].kind === "image") await measure(number);
    await show(number);
  }
}

const [AT_FIRST, FEW] = [6, 3]; // of more channels than these have colours of their own, the first few are shown at first

const hex = (colour) => `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;

// What the server proposes for a page; what somebody chose stays.
async function measure(number) {
  const file = scene.files[number];
  const proposed = (await ask(`shades/${number}/${scene.page}`)).shades;
  file.shades = proposed.map((shade) => {
    const before = file.shades?.[shade.channel];
    const shownFirst = proposed.length <= AT_FIRST || shade.channel < FEW;
    const found = { ...shade, colour: hex(shade.colour), shown: shownFirst, chosen: false, proposed: [shade.low, shade.high] };
    if (!before) return found;
    const kept = { shown: before.shown, gamma: before.gamma, colour: before.colour };
    return { ...found, ...kept, ...(before.chosen ? { low: before.low, high: before.high, chosen: true } : {}) };
  });
}

export const steps = () => Math.max(...scene.files.map(({ pages }) => Array.isArray(pages) ? pages.length : pages));

// Where something on the screen lies in pixels of the first file, cut to it.
export function imagePoint(position, view = viewer) {
  const at = view.world.getItemAt(0).viewerElementToImageCoordinates(position);
  const { height, width } = scene.files[0];
  const [y, x] = [Math.floor(at.y), Math.floor(at.x)];
  return { y, x, inside: y >= 0 && x >= 0 && y < height && x < width };
}

// A rectangle over the picture, in pixels of the first file.
export function frame(name, box) {
  viewer.removeOverlay(name);
  if (!box) return;
  const element = document.createElement("div");
  element.id = name;
  element.className = "frame";
  const location = viewer.world.getItemAt(0).imageToViewportRectangle(box.x, box.y, box.width, box.height);
  viewer.addOverlay({ element, location });
}
