// The page of `unet-deploy view`: files one over another; all it asks for comes from its own server.
import { ask, byId, complain, isNarrow } from "./ask.js";
import { isOver, scene, showAll, viewer } from "./scene.js";
import { pages, panel } from "./panel.js";
import * as address from "./address.js";
import * as beside from "./beside.js";
import * as keys from "./keys.js";
import * as table from "./table.js";
import * as under from "./under.js";

// How a file is drawn at first: of what lies over the image, the first is seen.
function prepare(file, number) {
  const first = scene.files.findIndex(isOver);
  Object.assign(file, { visible: !isOver(file) || number === first, opacity: { image: 1, difference: 0.8 }[file.kind] ?? 0.5 });
  if (!isOver(file)) return;
  file.drawn = "fill";
  const names = file.classes.slice(1, 65);
  file.paints = names.map((name, at) => {
    const own = file.colours[at % file.colours.length];
    return { name, own, colour: own, shown: true };
  });
}

async function begin() {
  scene.files = await ask("scene");
  document.title = `${scene.files[0].name} - unet-deploy view`;
  scene.files.forEach(prepare);
  const at = address.recall();
  byId("panel").open = !isNarrow();
  await showAll();
  panel();
  pages();
  address.begin(at);
  beside.begin();
  keys.begin();
  under.begin();
  await table.begin();
  viewer.canvas.focus();
}

begin().catch(complain);
