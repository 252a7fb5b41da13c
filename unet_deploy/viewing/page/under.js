// What lies under the cursor, how large it is, and how far overviews are.
import { ask, byId, complain } from "./ask.js";
import { imagePoint, isOver, renew, scene, viewer } from "./scene.js";

let asking = false;

async function under(event) {
  if (!viewer.world.getItemCount() || asking) return;
  const { y, x, inside } = imagePoint(event.position);
  if (!inside) return;
  asking = true;
  try {
    const values = await ask(`values/${scene.page}/${y}/${x}`);
    byId("under").textContent = [`y ${y}, x ${x}`, ...values.map(said)].join("\n");
  } catch { byId("under").textContent = `y ${y}, x ${x}`; }
  finally { asking = false; }
}

function said(values, number) {
  const file = scene.files[number];
  const plain = (value) => typeof value === "number" ? Number(value.toPrecision(5)) : value;
  if (file.kind === "mask" && !file.objects) return `${file.name}: ${values[0]} ${file.classes[values[0]] ?? ""}`;
  const names = file.kind === "probabilities" ? file.classes : file.channels ?? [];
  if (values.length === 1) return `${file.name}: ${plain(values[0])}`;
  return `${file.name}: ${values.map((value, at) => `${names[at] ?? at} ${plain(value)}`).join(", ")}`;
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
let known = []; // of each file, how far its overview was when it was asked for last

// Overviews begin with the first tile that needs them, so there is no end to asking.
export async function follow() {
  clearTimeout(following);
  try {
    const found = await ask("progress");
    const failed = found.find((each) => each.failed);
    if (failed) complain(new Error(failed.failed));
    const least = Math.min(...found.map((each) => each.share));
    byId("progress").hidden = failed || least === 1;
    byId("progress").value = least;
    const now = found.map(({ page, share }) => page === null ? "" : `${page} ${share}`);
    const grown = now.flatMap((each, number) => each && each !== known[number] ? [number] : []);
    known = now;
    for (const number of grown) await renew(number);
    const difference = scene.files.findIndex((file) => file.kind === "difference");
    if (difference >= 0 && grown.some((number) => isOver(scene.files[number]))) await renew(difference);
  } catch (error) { complain(error); }
  following = setTimeout(follow, 2000);
}

export function begin() {
  for (const moment of ["animation", "open", "resize"]) viewer.addHandler(moment, scaleBar);
  new OpenSeadragon.MouseTracker({ element: viewer.canvas, startDisabled: false, moveHandler: under });
  scaleBar();
  follow();
}

document.addEventListener("page", follow);
