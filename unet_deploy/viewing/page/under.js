// What lies under the cursor, how large it is, and how far overviews are.
import { ask, byId, complain } from "./ask.js";
import { imagePoint, scene, viewer } from "./scene.js";

let asking = false;

async function under(event) {
  if (!viewer.world.getItemCount() || asking) return;
  const { y, x, inside } = imagePoint(event.position);
  if (!inside) return;
  asking = true;
  try {
    const values = await ask(`values/${scene.page}/${y}/${x}`);
    byId("under").textContent = `y ${y}, x ${x}: ${values.map(said).join("  |  ")}`;
  } catch { byId("under").textContent = `y ${y}, x ${x}`; }
  finally { asking = false; }
}

function said(values, number) {
  const file = scene.files[number];
  const name = file.kind === "mask" && !file.objects ? file.classes[values[0]] : null;
  return values.map((value) => typeof value === "number" ? Number(value.toPrecision(5)) : value).join(" ") + (name ? ` ${name}` : "");
}

function scaleBar() {
  const lowest = viewer.world.getItemAt(0);
  const sides = scene.files[0]?.micrometres;
  if (!lowest || !sides) return;
  const perMicrometre = lowest.viewportToImageZoom(viewer.viewport.getZoom(true)) / sides[1];
  const most = Math.min(160, window.innerWidth / 3) / perMicrometre;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((each) => each * power).find((each) => each <= most);
  byId("scale").hidden = false;
  byId("scale-bar").style.width = `${length * perMicrometre}px`;
  const [amount, unit] = length >= 1000 ? [length / 1000, "mm"] : length < 1 ? [length * 1000, "nm"] : [length, "µm"];
  byId("scale-text").textContent = `${Number(amount.toPrecision(3))} ${unit}`;
}

let following = 0;

export async function follow() {
  clearTimeout(following);
  try {
    const found = await ask("progress");
    const failed = found.find((each) => each.failed);
    if (failed) complain(new Error(failed.failed));
    const least = Math.min(...found.map((each) => each.share));
    const wasMade = !byId("progress").hidden;
    byId("progress").hidden = failed || least === 1;
    byId("progress").value = least;
    if (wasMade) scene.files.forEach((_, number) => viewer.world.getItemAt(number)?.reset());
    if (least < 1 && !failed) following = setTimeout(follow, 1000);
    else if (!wasMade) following = setTimeout(follow, 3000); // one may begin with the first tile that needs it
  } catch (error) { complain(error); }
}

export function begin() {
  for (const moment of ["animation", "open", "resize"]) viewer.addHandler(moment, scaleBar);
  new OpenSeadragon.MouseTracker({ element: viewer.canvas, startDisabled: false, moveHandler: under });
  scaleBar();
  follow();
}

document.addEventListener("page", follow);
