// What can be set of each file: how strong it is, its contrast, its colours, where its probabilities are cut.
import { ask, byId, made, complain, settled } from "./ask.js";
import { fade, isOver, scene, show, showAll, steps } from "./scene.js";

const redraw = settled((number) => show(number).catch(complain));

function slider(name, { value, least = 0, most, step = 0.01 }, changed) {
  const input = made("input", { type: "range", min: least, max: most, step, value });
  const said = made("output", { textContent: plain(value) });
  input.addEventListener("input", () => { said.textContent = plain(Number(input.value)); changed(Number(input.value)); });
  return made("label", {}, made("span", { textContent: name }), input, said);
}

const plain = (value) => String(Number(value.toPrecision(4)));

function box(name, checked, changed) {
  const input = made("input", { type: "checkbox", checked });
  input.addEventListener("change", () => changed(input.checked));
  return made("label", {}, input, made("span", { textContent: name }));
}

function colour(name, value, changed) {
  const input = made("input", { type: "color", value, ariaLabel: `colour of ${name}` });
  input.addEventListener("input", () => changed(input.value));
  return input;
}

// -- images ----------------------------------------------------------------------------------------------------------

function channelRows(file, number, at) {
  const shade = file.shades[at];
  const set = (change) => { Object.assign(file.shades[at], change); redraw(number); };
  const span = shade.proposed[1] - shade.proposed[0];
  const range = { least: shade.proposed[0] - span / 2, most: shade.proposed[1] + span, step: span / 200 };
  const auto = made("button", { type: "button", textContent: "auto contrast" });
  auto.addEventListener("click", () => {
    const { proposed } = file.shades[at];
    set({ low: proposed[0], high: proposed[1], gamma: 1, chosen: false });
    panel();
  });
  return [
    slider("black", { ...range, value: shade.low }, (low) => set({ low, chosen: true })),
    slider("white", { ...range, value: shade.high }, (high) => set({ high, chosen: true })),
    slider("gamma", { value: shade.gamma, least: 0.1, most: 3 }, (gamma) => set({ gamma })),
    auto,
  ];
}

function imageRows(file, number) {
  if (file.shades.length === 1) return channelRows(file, number, 0);
  return file.shades.map((shade, at) => {
    const set = (change) => { Object.assign(file.shades[at], change); redraw(number); };
    const named = file.channels[at] ?? String(at);
    const head = made("div", { className: "row" }, box(named, shade.shown, (shown) => set({ shown })),
      colour(named, shade.colour, (value) => set({ colour: value })));
    file.unfolded ??= new Set();
    const open = file.unfolded.has(at);
    const fold = made("details", { open }, made("summary", { textContent: "contrast" }), ...channelRows(file, number, at));
    fold.addEventListener("toggle", () => file.unfolded[fold.open ? "add" : "delete"](at));
    return made("div", {}, head, fold);
  });
}

// -- masks -----------------------------------------------------------------------------------------------------------

function overRows(file, number) {
  const rows = [];
  if (file.kind === "probabilities") {
    rows.push(slider("threshold", { value: file.threshold, least: 0.01, most: 0.99 },
      (threshold) => { file.threshold = threshold; redraw(number); }));
  }
  rows.push(box("outline", file.drawn === "outline", (on) => { file.drawn = on ? "outline" : "fill"; redraw(number); }));
  file.paints.forEach((paint) => {
    const set = (change) => { Object.assign(paint, change); redraw(number); };
    const count = made("output", { className: "count" });
    paint.count = count;
    rows.push(made("div", { className: "row" }, box(paint.name, paint.shown, (shown) => set({ shown })), count,
      colour(paint.name, paint.colour, (value) => set({ colour: value }))));
  });
  return rows;
}

const controls = () => [...byId("files").querySelectorAll("input, button, summary")];

// All settings anew; what is focused stays focused.
export function panel() {
  const focused = controls().indexOf(document.activeElement);
  byId("files").replaceChildren(...scene.files.map((file, number) => {
    const seen = box(file.name, file.visible, (visible) => setVisible(number, visible));
    const opacity = slider("opacity", { value: file.opacity, most: 1 }, (value) => { file.opacity = value; fade(number); });
    const rows = [opacity, ...(isOver(file) ? overRows(file, number) : imageRows(file, number))];
    const body = made("div", { className: "settings", hidden: !file.visible }, ...rows);
    return made("fieldset", { title: file.note }, made("legend", {}, seen), body);
  }));
  controls()[focused]?.focus({ preventScroll: true });
  count();
}

export function setVisible(number, visible) {
  scene.files[number].visible = visible;
  fade(number);
  panel();
}

// -- what two masks differ in ----------------------------------------------------------------------------------------

let counting = 0;

async function count() {
  clearTimeout(counting);
  const differing = scene.files.find((file) => file.kind === "difference");
  if (!differing?.visible) return;
  try {
    const { share, same, only_first, only_second, other } = await ask(`counts/${scene.page}`);
    const found = [same, only_first, only_second, other];
    const said = (count) => share < 1 ? `${Math.floor(100 * share)} % counted` : `${count.toLocaleString("en")} px`;
    differing.paints.forEach((paint, at) => { paint.count.textContent = said(found[at]); });
    if (share < 1) counting = setTimeout(count, 500);
  } catch (error) { complain(error); }
}

// -- pages -----------------------------------------------------------------------------------------------------------

export function pages() {
  byId("pages").hidden = steps() < 2;
  byId("page").max = steps() - 1;
  byId("page").addEventListener("input", () => turnTo(Number(byId("page").value)));
  namePage();
}

function namePage() {
  const named = scene.files.map((file) => file.pages).find(Array.isArray);
  byId("page").value = scene.page;
  byId("page-name").textContent = named ? named[scene.page].map(([axis, step]) => `${axis} ${step}`).join(", ") : scene.page;
}

export async function turnTo(wanted) {
  if (wanted < 0 || wanted >= steps() || wanted === scene.page) return;
  scene.page = wanted;
  namePage();
  await showAll();
  panel();
  document.dispatchEvent(new Event("page"));
}
