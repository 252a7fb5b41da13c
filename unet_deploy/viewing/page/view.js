// The page of `unet-deploy view`: files one over another, in OpenSeadragon; all it asks for comes from its own server.
"use strict";

const byId = (name) => document.getElementById(name);
const made = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text() || `the server answers ${answer.status}`);
  return answer.json();
}

const complain = (error) => { byId("wrong").textContent = error.message; };

// OpenSeadragon adds a style of its own unless one with this mark is there, and the policy of the page allows none; what
// it says stands in view.css. Of another namespace, this one styles nothing.
const mark = document.createElementNS("urn:unet-deploy", "style");
mark.setAttribute("data-openseadragon-mobile-css", "true");
document.head.append(mark);

const viewer = OpenSeadragon({
  element: byId("picture"),
  drawer: "canvas",
  showNavigationControl: false,
  showNavigator: true,
  navigatorAutoFade: false,
  navigatorPosition: "BOTTOM_RIGHT",
  navigatorBackground: "#000",
  imageSmoothingEnabled: false, // a pixel of the image is a square, at any zoom
  imageLoaderLimit: 6, // the server refuses a flood
  tileRetryMax: 3,
  tileRetryDelay: 500,
  maxZoomPixelRatio: 16,
  minZoomImageRatio: 0.5,
  animationTime: 0.4,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
});

let files = [];
let page = 0;

// -- the pictures ----------------------------------------------------------------------------------------------------

function sourceOf(file, number) {
  const { height, width, tile, lastZoom, look } = file;
  const shown = page;
  return {
    height, width, tileSize: tile, minLevel: 0, maxLevel: lastZoom,
    getTileUrl: (zoom, column, row) => `tile/${number}/${shown}/${zoom}/${column}/${row}/${encodeURIComponent(look)}`,
    hasTransparency: () => true,
  };
}

function show(number) {
  const file = files[number];
  return new Promise((done) => viewer.addTiledImage({
    tileSource: sourceOf(file, number), index: number, replace: number < viewer.world.getItemCount(),
    width: 1, opacity: file.opacity, success: done, error: (event) => { complain(event); done(); },
  }));
}

async function showAll() {
  for (let number = 0; number < files.length; number++) {
    if (files[number].kind === "image") await measure(number);
    await show(number);
  }
  follow();
}

async function measure(number) {
  const file = files[number];
  const proposed = (await ask(`shades/${number}/${page}`)).shades;
  file.shades = proposed.map((shade) => ({ ...shade, shown: file.shades?.[shade.channel].shown ?? true,
    gamma: file.shades?.[shade.channel].gamma ?? 1 }));
  file.look = lookOf(file.shades);
}

function lookOf(shades) {
  const hex = (colour) => colour.map((part) => part.toString(16).padStart(2, "0")).join("");
  const shown = shades.filter((shade) => shade.shown).slice(0, 16);
  const black = [{ ...shades[0], colour: [0, 0, 0] }];
  return (shown.length ? shown : black)
    .map((shade) => [shade.channel, shade.low, shade.high, shade.gamma, hex(shade.colour)].join(",")).join(";");
}

// -- the panel -------------------------------------------------------------------------------------------------------

function slider(name, value, most, changed) {
  const input = made("input", { type: "range", min: 0, max: most, step: 0.05, value });
  input.addEventListener("input", () => changed(Number(input.value)));
  return made("label", {}, name, input);
}

function imageRows(file, number) {
  const again = () => { file.look = lookOf(file.shades); show(number); };
  return file.shades.flatMap((shade, at) => {
    const box = made("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => { file.shades[at].shown = box.checked; again(); });
    const gamma = slider("gamma", 1, 3, (value) => { file.shades[at].gamma = Math.max(value, 0.1); again(); });
    return [made("label", {}, box, file.channels[at] === "0" && file.channels.length === 1 ? "grey" : file.channels[at]), gamma];
  });
}

function maskRows(file, number) {
  file.outline = made("input", { type: "checkbox" });
  file.outline.addEventListener("change", () => { file.look = file.outline.checked ? "outline" : "fill"; show(number); });
  return [made("label", {}, file.outline, "outline")];
}

function panel() {
  files.forEach((file, number) => {
    const opacity = slider("opacity", file.opacity, 1, (value) => {
      file.opacity = value;
      viewer.world.getItemAt(number)?.setOpacity(value);
    });
    const rows = file.kind === "image" ? imageRows(file, number) : maskRows(file, number);
    byId("files").append(made("fieldset", { title: file.note }, made("legend", { textContent: file.name }), opacity, ...rows));
  });
  const pages = Math.max(...files.map((file) => Array.isArray(file.pages) ? file.pages.length : file.pages));
  byId("pages").hidden = pages < 2;
  byId("page").max = pages - 1;
  byId("page").addEventListener("input", () => turnTo(Number(byId("page").value)));
  namePage();
}

function namePage() {
  const named = files.map((file) => file.pages).find(Array.isArray);
  byId("page").value = page;
  byId("page-name").textContent = named ? named[page].map(([axis, step]) => `${axis} ${step}`).join(", ") : page;
}

function turnTo(wanted) {
  const last = Number(byId("page").max);
  if (wanted < 0 || wanted > last || wanted === page) return;
  page = wanted;
  namePage();
  showAll().catch(complain);
}

// -- how far overviews are -------------------------------------------------------------------------------------------

let following = 0;

async function follow() {
  clearTimeout(following);
  try {
    const found = await ask("progress");
    const failed = found.find((each) => each.failed);
    byId("wrong").textContent = failed ? failed.failed : "";
    const least = Math.min(...found.map((each) => each.share));
    const wasMade = !byId("progress").hidden;
    byId("progress").hidden = failed || least === 1;
    byId("progress").value = least;
    if (wasMade) files.forEach((_, number) => viewer.world.getItemAt(number)?.reset());
    if (least < 1 && !failed) following = setTimeout(follow, 1000);
    else if (!wasMade) following = setTimeout(follow, 3000); // one may begin with the first tile that needs it
  } catch (error) { complain(error); }
}

// -- what lies under the cursor, and how large it is -----------------------------------------------------------------

let asking = false;

async function under(event) {
  const lowest = viewer.world.getItemAt(0);
  if (!lowest || asking) return;
  const at = lowest.viewerElementToImageCoordinates(event.position);
  const [y, x] = [Math.floor(at.y), Math.floor(at.x)];
  if (y < 0 || x < 0 || y >= files[0].height || x >= files[0].width) return;
  asking = true;
  try {
    const values = await ask(`values/${page}/${y}/${x}`);
    byId("under").textContent = `y ${y}, x ${x}: ${values.map((each) => each.join(" ")).join("  |  ")}`;
  } catch { byId("under").textContent = `y ${y}, x ${x}`; }
  finally { asking = false; }
}

function scaleBar() {
  const lowest = viewer.world.getItemAt(0);
  const sides = files[0]?.micrometres;
  if (!lowest || !sides) return;
  const perMicrometre = lowest.viewportToImageZoom(viewer.viewport.getZoom(true)) / sides[1];
  const most = 160 / perMicrometre;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((each) => each * power).find((each) => each <= most);
  byId("scale").hidden = false;
  byId("scale-bar").style.width = `${length * perMicrometre}px`;
  const [amount, unit] = length >= 1000 ? [length / 1000, "mm"] : length < 1 ? [length * 1000, "nm"] : [length, "µm"];
  byId("scale-text").textContent = `${Number(amount.toPrecision(3))} ${unit}`;
}

// -- the address holds the view --------------------------------------------------------------------------------------

function remember() {
  const { x, y } = viewer.viewport.getCenter();
  const at = [x, y, viewer.viewport.getZoom()].map((each) => each.toPrecision(6)).join(",");
  history.replaceState(null, "", `#${at},${page}`);
}

function recall() {
  const said = location.hash.slice(1).split(",").map(Number);
  return said.length === 4 && said.every(Number.isFinite) ? said : null;
}

function goTo([x, y, zoom]) {
  viewer.viewport.zoomTo(zoom, null, true);
  viewer.viewport.panTo(new OpenSeadragon.Point(x, y), true);
}

// -- keys ------------------------------------------------------------------------------------------------------------

const onMasks = (change) => files.forEach((file, number) => { if (file.kind === "mask") change(file, number); });
const keys = {
  "0": () => viewer.viewport.goHome(),
  "1": () => viewer.viewport.zoomTo(viewer.world.getItemAt(0).imageToViewportZoom(1)),
  "m": () => onMasks((file, number) => {
    const item = viewer.world.getItemAt(number);
    item.setOpacity(item.getOpacity() ? 0 : file.opacity);
  }),
  "o": () => onMasks((file) => file.outline.click()),
  ",": () => turnTo(page - 1),
  ".": () => turnTo(page + 1),
};

viewer.addHandler("canvas-key", (event) => {
  const act = keys[event.originalEvent.key];
  if (!act || event.originalEvent.ctrlKey || event.originalEvent.metaKey) return;
  event.preventDefaultAction = true;
  act();
});

async function begin() {
  files = await ask("scene");
  document.title = `${files[0].name} - unet-deploy view`;
  for (const file of files) Object.assign(file, file.kind === "mask" ? { look: "fill", opacity: 0.5 } : { opacity: 1 });
  const last = recall();
  const pages = Math.max(...files.map((file) => Array.isArray(file.pages) ? file.pages.length : file.pages));
  page = last && Number.isInteger(last[3]) && last[3] >= 0 && last[3] < pages ? last[3] : 0;
  await showAll();
  panel();
  if (last) goTo(last);
  viewer.canvas.focus();
  viewer.addHandler("animation-finish", remember);
  for (const moment of ["animation", "open", "resize"]) viewer.addHandler(moment, scaleBar);
  new OpenSeadragon.MouseTracker({ element: viewer.canvas, startDisabled: false, moveHandler: under });
  scaleBar();
}

begin().catch(complain);
