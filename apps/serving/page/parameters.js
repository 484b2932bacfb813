// The sliders: in groups or by how much they matter, found by their names, marked where their value cannot be.

import { moveTo, randomPoint, set } from "./point.js";
import { at, make, state, when } from "./state.js";
import { inUnit, percent, shown } from "./words.js";

let rows = [];

function build() {
  const p = state.model.parameters;
  at("rule").textContent = p.simplexes.length === 0 ? "" : p.simplex ? "The parameters sum to one: moving one rescales all others."
    : p.simplexes.map(([a, b]) => p.names.slice(a, b).join(", ")).join("; and ") + " sum to one: moving one rescales the others.";
  at("rule").hidden = !p.simplexes.length;
  at("search").hidden = p.names.length <= 12;
  at("search").value = "";
  rows = p.names.map((_, j) => parameter(p, j));
  arrange();
}

function parameter(p, j) {
  const unit = p.units[j], range = `${shown(p.low[j], 3)} to ${shown(p.high[j], 3)}${unit ? " " + unit : ""}`;
  const slider = make("input", { type: "range", id: `slider${j}`, min: p.low[j], max: p.high[j], step: p.values[j] ? "any" : (p.high[j] - p.low[j]) / 200 || 1 });
  const number = make("input", { type: "text", id: `number${j}`, "aria-label": `${p.names[j]}${unit ? ", " + unit : ""}, as a number`, inputmode: "decimal", autocomplete: "off", "aria-describedby": `why${j}` });
  const bar = make("span", { class: "bar" }), said = make("span", { class: "hidden" });
  const matters = make("span", { class: "matters" }, bar, said), why = make("p", { class: "why", id: `why${j}` });
  const row = make("div", { class: "parameter" },
    make("label", { for: `slider${j}` }, p.names[j], make("span", { class: "soft" }, range)), slider, number, matters, why);
  slider.addEventListener("input", () => {
    const value = Number(slider.value), values = p.values[j];
    set(j, values ? values.reduce((near, v) => Math.abs(v - value) < Math.abs(near - value) ? v : near) : value);
  });
  number.addEventListener("change", () => {
    const text = number.value.trim().replace("−", "-").replace(/^([+-]?\d*),(\d+)$/, "$1.$2"), value = text === "" ? NaN : Number(text);
    if (Number.isFinite(value)) return set(j, value);
    mark(j, `expected a number, got ${text ? `“${text.slice(0, 40)}”` : "nothing"}; the picture stays at ${shown(state.y[j])}`);
  });
  return { row, slider, number, bar, said, why };
}

function arrange() {
  const p = state.model.parameters, box = at("sliders"), sorted = at("sort").getAttribute("aria-pressed") === "true" && state.matters;
  const focused = document.activeElement;
  if (sorted) {
    const order = p.names.map((_, j) => j).sort((a, b) => state.matters[b] - state.matters[a]);
    box.replaceChildren(...order.map(j => rows[j].row));
  } else box.replaceChildren(...p.groups.flatMap((group, k) => {
    const members = group.members.map(j => rows[j].row);
    if (!group.title) return members;
    const details = make("details", { class: "group" }, make("summary", {}, `${group.title} (${group.members.length})`), ...members);
    details.open = k === 0 || group.members.some(j => rows[j].row.contains(focused));
    return [details];
  }));
  if (focused && box.contains(focused)) focused.focus();
  search();
}

function place() {
  const p = state.model.parameters;
  rows.forEach(({ row, slider, number }, j) => {
    const value = state.y[j], slack = 1e-9 * (p.high[j] - p.low[j]);
    slider.value = value;
    slider.setAttribute("aria-valuetext", inUnit(value, p.units[j]));
    if (document.activeElement !== number || Number(number.value) !== value) number.value = shown(value).replace("−", "-");
    row.classList.toggle("out", value < p.low[j] - slack || value > p.high[j] + slack);
  });
}

/** What is wrong with a parameter, in words beside it; nothing where nothing is. */
function mark(j, text) {
  const { row, number, why } = rows[j];
  row.classList.toggle("impossible", Boolean(text));
  number.setAttribute("aria-invalid", text ? "true" : "false");
  why.textContent = text;
}

function marks() {
  const found = state.impossible, p = state.model.parameters;
  rows.forEach((_, j) => {
    const one = found && found.which.length === 1 ? found.why[0] : found?.why.find(text => text.startsWith(`${p.names[j]} =`)) ?? "cannot be together with the others";
    mark(j, found?.which.includes(j) && (found.which.length <= 5 || found.why.some(text => text.startsWith(`${p.names[j]} =`))) ? one : "");
  });
}

function showMatters() {
  const sizes = state.matters, largest = sizes ? Math.max(...sizes) : 0;
  rows.forEach(({ bar, said }, j) => {
    const share = largest > 0 ? sizes[j] / largest : 0;
    bar.style.width = `${100 * share}%`;
    said.textContent = largest > 0 ? `matters here: ${percent(share)} of what matters most` : "";
    bar.title = said.textContent;
  });
  at("sort").hidden = !sizes || rows.length < 2;
}

function search() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean), p = state.model.parameters;
  rows.forEach(({ row }, j) => { row.hidden = !words.every(w => p.names[j].toLowerCase().includes(w)); });
  document.querySelectorAll("details.group").forEach(group => {
    const some = [...group.querySelectorAll(".parameter")].some(row => !row.hidden);
    group.hidden = !some;
    if (words.length) group.open = some;
  });
}

export function startParameters() {
  at("random").addEventListener("click", () => moveTo(randomPoint()));
  at("centre").addEventListener("click", () => moveTo(state.model.parameters.start.slice()));
  at("search").addEventListener("input", () => { if (at("search").value) search(); else arrange(); });
  at("sort").addEventListener("click", () => {
    const button = at("sort");
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    arrange();
  });
  when("model", build);
  when("moved", place);
  when("answered", marks);
  when("matters model", showMatters);
}
