// The table of objects: sorted by the server, some rows at a time; a click on an object shows its row, a row its object.
import { ask, byId, made, complain, tellFound } from "./ask.js";
import { frame, imagePoint, scene, viewer } from "./scene.js";
import { turnTo } from "./panel.js";

const AT_ONCE = 100;
let about = null; // name, columns and count; null where there is no table
let order = "stored";
let first = 0;
let selected = null;

export async function begin() {
  const found = await ask("table");
  if (!found.name) return;
  byId("reading").hidden = found.ready;
  if (!found.ready) { setTimeout(() => begin().catch(complain), 500); return; }
  about = found;
  const open = made("button", { type: "button", textContent: `table of ${about.count.toLocaleString("en")} objects`, id: "open-table" });
  open.addEventListener("click", toggle);
  byId("region").before(made("p", {}, open));
}

export async function toggle() {
  if (!about) return;
  byId("table").hidden = !byId("table").hidden;
  document.body.classList.toggle("with-table", !byId("table").hidden);
  if (!byId("table").hidden) await fill();
}

async function fill() {
  const rows = await ask(`rows/${order}/${first}`);
  const [column, way] = order.split(/(?<=\d)(?=\D)/);
  const head = about.columns.map((name, at) => {
    const sorted = String(at) === column;
    const button = made("button", { type: "button", textContent: name });
    button.addEventListener("click", () => sortBy(sorted && way === "up" ? `${at}down` : `${at}up`));
    const cell = made("th", { scope: "col" }, button);
    cell.setAttribute("aria-sort", sorted ? (way === "up" ? "ascending" : "descending") : "none");
    return cell;
  });
  const focused = [...byId("table").querySelectorAll("th button")].indexOf(document.activeElement);
  byId("table").querySelector("thead").replaceChildren(made("tr", {}, ...head));
  head[focused]?.firstChild.focus({ preventScroll: true });
  byId("table").querySelector("tbody").replaceChildren(...rows.map(lineOf));
  byId("which").textContent = about.count
    ? `${first + 1} to ${first + rows.length} of ${about.count.toLocaleString("en")}` : "no objects";
  byId("before").disabled = first === 0;
  byId("after").disabled = first + AT_ONCE >= about.count;
}

function lineOf({ row, cells }) {
  const line = made("tr", { tabIndex: 0 }, ...cells.map((cell) => made("td", { textContent: short(cell) })));
  line.dataset.row = row;
  line.ariaSelected = String(row === selected);
  line.addEventListener("click", () => flyTo(row).catch(complain));
  return line;
}

const short = (cell) => typeof cell === "number" && !Number.isInteger(cell) ? String(Number(cell.toPrecision(5))) : cell;

async function sortBy(wanted) {
  [order, first] = [wanted, 0];
  await fill().catch(complain);
}

async function step(wanted) {
  first = Math.max(0, Math.min(wanted, Math.floor((about.count - 1) / AT_ONCE) * AT_ONCE));
  await fill().catch(complain);
}

// -- from the picture to the row, and back -----------------------------------------------------------------------------

async function select(found) {
  selected = found?.row ?? null;
  frame("selected", found?.box);
  tellFound("object", found);
  byId("object").replaceChildren(...(found ? about.columns.flatMap((name, at) =>
    [made("dt", { textContent: name }), made("dd", { textContent: short(found.cells[at]) })]) : []));
  if (byId("table").hidden) return;
  if (found && (found.rank < first || found.rank >= first + AT_ONCE)) await step(Math.floor(found.rank / AT_ONCE) * AT_ONCE);
  for (const line of byId("table").querySelectorAll("tbody tr")) {
    line.ariaSelected = String(Number(line.dataset.row) === selected);
    if (line.ariaSelected === "true") line.scrollIntoView({ block: "nearest" });
  }
}

export async function flyTo(row) {
  const found = await ask(`row/${order}/${row}`);
  if (found.page !== scene.page) await turnTo(found.page);
  const { x, y, width, height } = found.box;
  const around = Math.max(width, height, 24) * 2;
  const item = viewer.world.getItemAt(0);
  viewer.viewport.fitBounds(item.imageToViewportRectangle(x - around, y - around, width + 2 * around, height + 2 * around));
  await select(found);
}

async function click(event) {
  if (!about || !event.quick || event.originalEvent.shiftKey) return;
  const { y, x, inside } = imagePoint(event.position);
  if (inside) await select(await ask(`object/${order}/${scene.page}/${y}/${x}`));
}

// The object beside the one that is selected, in the order of the table.
export async function neighbour(by) {
  if (!about?.count) return;
  const rank = selected === null ? (by > 0 ? -1 : 0) : (await ask(`row/${order}/${selected}`)).rank;
  const wanted = (rank + by + about.count) % about.count;
  const [next] = await ask(`rows/${order}/${wanted}`);
  await flyTo(next.row);
}

viewer.addHandler("canvas-click", (event) => click(event).catch(complain));
byId("before").addEventListener("click", () => step(first - AT_ONCE));
byId("after").addEventListener("click", () => step(first + AT_ONCE));
byId("as-stored").addEventListener("click", () => sortBy("stored"));
byId("close-table").addEventListener("click", toggle);
byId("close-found").addEventListener("click", () => select(null).catch(complain));
byId("table").addEventListener("keydown", (event) => {
  const line = event.target.closest("tbody tr");
  if (!line) return;
  if (event.key === "Enter") line.click();
  else if (event.key === "ArrowDown") line.nextElementSibling?.focus();
  else if (event.key === "ArrowUp") line.previousElementSibling?.focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("page", () => select(null).catch(complain));
