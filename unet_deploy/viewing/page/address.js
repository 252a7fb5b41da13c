// The address holds what is seen, so that it can be sent to who sees the same server: where, which page, how drawn.
import { settled } from "./ask.js";
import { isOver, scene, steps, viewer } from "./scene.js";

const LOOKS = ["visible", "opacity", "drawn", "threshold"];

function remember() {
  const { x, y } = viewer.viewport.getCenter();
  const at = [x, y, viewer.viewport.getZoom()].map((each) => each.toPrecision(6)).join(",");
  const files = scene.files.map((file) => ({
    ...Object.fromEntries(LOOKS.filter((name) => file[name] !== undefined).map((name) => [name, file[name]])),
    ...(isOver(file) ? { paints: file.paints.map(({ shown, colour }) => shown ? colour : "-") } : { shades: file.shades.map(chosen) }),
  }));
  history.replaceState(null, "", `#${new URLSearchParams({ at, page: scene.page, files: JSON.stringify(files) })}`);
}

const chosen = ({ shown, gamma, colour, low, high, chosen }) => ({ shown, gamma, colour, ...(chosen ? { low, high, chosen } : {}) });

const isColour = (text) => /^#[0-9a-f]{6}$/.test(text);

// What an address says of the files is put into them, as far as it makes sense; where to look is returned.
export function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  const page = Number(said.get("page"));
  if (Number.isInteger(page) && page >= 0 && page < steps()) scene.page = page;
  try { JSON.parse(said.get("files") ?? "[]").slice(0, scene.files.length).forEach((look, number) => put(scene.files[number], look)); }
  catch { /* no address of ours */ }
  const at = (said.get("at") ?? "").split(",").map(Number);
  return at.length === 3 && at.every(Number.isFinite) ? at : null;
}

function put(file, look) {
  if (typeof look.visible === "boolean") file.visible = look.visible;
  if (typeof look.opacity === "number" && look.opacity >= 0 && look.opacity <= 1) file.opacity = look.opacity;
  if (isOver(file) && ["fill", "outline"].includes(look.drawn)) file.drawn = look.drawn;
  if (file.threshold && look.threshold > 0 && look.threshold < 1) file.threshold = look.threshold;
  if (isOver(file)) {
    (look.paints ?? []).slice(0, file.paints.length).forEach((colour, at) => {
      file.paints[at].shown = colour !== "-";
      if (isColour(colour)) file.paints[at].colour = colour;
    });
  } else if (Array.isArray(look.shades)) {
    file.shades = look.shades.map(({ shown, gamma, colour, low, high, chosen }) => ({
      shown: shown !== false, gamma: gamma >= 0.1 && gamma <= 3 ? gamma : 1, colour: isColour(colour) ? colour : "#ffffff",
      ...(Number.isFinite(low) && Number.isFinite(high) ? { low, high, chosen } : {}),
    }));
  }
}

export function begin(at) {
  if (at) {
    viewer.viewport.zoomTo(at[2], null, true);
    viewer.viewport.panTo(new OpenSeadragon.Point(at[0], at[1]), true);
  }
  viewer.addHandler("animation-finish", remember);
  const soon = settled(remember, 300);
  for (const moment of ["look", "page"]) document.addEventListener(moment, soon);
}
