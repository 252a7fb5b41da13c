// A rectangle that is drawn, as `segment --roi` takes it: with shift held, or once the button is pressed.
import { ask, byId, complain, isNarrow, tellFound } from "./ask.js";
import { frame, imagePoint, scene, viewer } from "./scene.js";

let corner = null;
const isDrawing = (event) => event.originalEvent.shiftKey || byId("draw").getAttribute("aria-pressed") === "true";

function boxOf(one, other) {
  const { height, width } = scene.files[0];
  const cut = (value, most) => Math.min(Math.max(value, 0), most);
  const [top, bottom] = [Math.min(one.y, other.y), Math.max(one.y, other.y) + 1];
  const [left, right] = [Math.min(one.x, other.x), Math.max(one.x, other.x) + 1];
  const [y, x] = [cut(top, height), cut(left, width)];
  return { y, x, height: cut(bottom, height) - y, width: cut(right, width) - x };
}

async function settle(box) {
  if (box.height < 1 || box.width < 1) return;
  frame("drawn", box);
  byId("roi").textContent = `--roi ${await ask(`region/${box.y}/${box.x}/${box.height}/${box.width}`)}`;
  tellFound("drawn-region", true);
}

// What is on the screen, for who has no mouse.
export function takeScreen() {
  const { x, y } = viewer.viewport.getContainerSize();
  const box = boxOf(imagePoint(new OpenSeadragon.Point(0, 0)), imagePoint(new OpenSeadragon.Point(x - 0.01, y - 0.01)));
  return settle(box);
}

viewer.addHandler("canvas-press", (event) => { corner = isDrawing(event) ? imagePoint(event.position) : null; });
viewer.addHandler("canvas-drag", (event) => {
  if (!corner) return;
  event.preventDefaultAction = true;
  frame("drawn", boxOf(corner, imagePoint(event.position)));
});
viewer.addHandler("canvas-drag-end", (event) => {
  if (!corner) return;
  event.preventDefaultAction = true;
  settle(boxOf(corner, imagePoint(event.position))).catch(complain);
  corner = null;
  byId("draw").setAttribute("aria-pressed", "false");
});
byId("draw").addEventListener("click", () => {
  const pressed = byId("draw").getAttribute("aria-pressed") === "true";
  byId("draw").setAttribute("aria-pressed", String(!pressed));
  if (!pressed && isNarrow()) byId("panel").open = false;
});
byId("close-found").addEventListener("click", () => { frame("drawn"); tellFound("drawn-region", false); });
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("roi").textContent).catch(complain);
  byId("copy").textContent = "copied";
  setTimeout(() => { byId("copy").textContent = "copy"; }, 1500);
});
