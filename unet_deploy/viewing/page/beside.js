// The same place a second time, with one other file over it; both pictures move together.
import { byId, made, complain } from "./ask.js";
import { isOver, lay, newViewer, opacityOf, scene, viewer } from "./scene.js";

let other = null;
let shown = null; // the number of the file over the image in the second picture
let following = false;

export function begin() {
  const over = scene.files.map((file, number) => [file, number]).filter(([file]) => isOver(file));
  byId("besides").hidden = over.length < 2;
  byId("beside").append(...over.map(([file, number]) => made("option", { value: number, textContent: file.name })));
  byId("beside").addEventListener("change", () => set(byId("beside").value === "" ? null : Number(byId("beside").value)).catch(complain));
}

export async function toggle() {
  const hidden = scene.files.findIndex((file) => isOver(file) && !file.visible);
  if (!byId("besides").hidden) await set(shown === null ? hidden : null);
}

const opacityThere = (file, number) => !isOver(file) ? opacityOf(file) : number === shown ? file.opacity : 0;

async function set(number) {
  shown = number === -1 ? null : number;
  byId("beside").value = shown ?? "";
  byId("other").hidden = shown === null;
  if (shown === null) return;
  if (!other) open();
  following = true; // the second picture begins with the whole image, and is not to lead there
  for (let at = 0; at < scene.files.length; at++) await lay(other, at, opacityThere(scene.files[at], at));
  following = false;
  follow(viewer, other);
}

function open() {
  other = newViewer(byId("other"), {});
  for (const [leader, led] of [[viewer, other], [other, viewer]]) {
    for (const moment of ["zoom", "pan"]) leader.addHandler(moment, () => follow(leader, led));
  }
}

function follow(leader, led) {
  if (following || shown === null || !led.world.getItemCount()) return;
  following = true; // what is led would lead back
  led.viewport.zoomTo(leader.viewport.getZoom(), null, true);
  led.viewport.panTo(leader.viewport.getCenter(), true);
  following = false;
}

document.addEventListener("look", ({ detail }) => {
  if (shown !== null && other) lay(other, detail, opacityThere(scene.files[detail], detail));
});
