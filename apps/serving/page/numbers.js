// What is said in numbers: the summary, the difference to the PDE, the table of everything.

import { solve } from "./point.js";
import { at, later, make, state, when } from "./state.js";
import { inUnit, percent, seconds, shown } from "./words.js";

// Not at every step of a slider: a screen reader would never come to an end.
const say = later(150, () => {
  const { answer, model } = state;
  if (!answer) return;
  const o = model.observables, drawn = answer.observables.map((value, k) => value === null ? null : value - (o.background?.[k] ?? 0));
  const k = drawn.reduce((largest, value, i) => Math.abs(value ?? 0) > Math.abs(drawn[largest] ?? 0) ? i : largest, 0);
  const half = answer.lower ? ` ± ${inUnit((answer.upper[k] - answer.lower[k]) / 2, o.unit, 2)}, ${answer.band || "error band"}` : "";
  at("summary").textContent = `Largest${o.background ? " anomaly" : ""}: ${inUnit(drawn[k], o.unit)}${half}, at ${o.names[k]}. Computed in ${seconds(answer.seconds)}.`;
});

function difference() {
  const { solved, answer, model } = state, o = model.observables, list = at("difference");
  if (!solved) { list.replaceChildren(); return; }
  const d = solved.difference, rows = [];
  if (d.relative_to_anomaly != null) rows.push(["difference, of the anomaly", percent(d.relative_to_anomaly)]);
  if (d.relative != null) rows.push(["difference", `${percent(d.relative)} of the PDE's observables`]);
  rows.push(["largest difference", `${inUnit(d.largest, o.unit)} at ${o.names[d.largest_at]}`]);
  rows.push(["PDE", seconds(solved.seconds) + (solved.with_setup ? ", the first solve, which may have set it up" : "")]);
  rows.push(["surrogate", seconds(solved.surrogate_seconds)]);
  if (answer.lower) {
    const n = solved.observables.filter((v, k) => v >= answer.lower[k] && v <= answer.upper[k]).length;
    rows.push(["PDE inside the band", `${n} of ${solved.observables.length} observables`]);
  }
  list.replaceChildren(...rows.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]));
}

function table() {
  const { solved, answer, model, data } = state, o = model.observables;
  if (!at("table").open || !answer) return;
  const columns = [["observable" + (o.unit ? ` (${o.unit})` : ""), k => o.names[k]], ["predicted", k => shown(answer.observables[k], 5)]];
  if (answer.lower) columns.push(["lower", k => shown(answer.lower[k], 5)], ["upper", k => shown(answer.upper[k], 5)]);
  if (solved) columns.push(["PDE", k => shown(solved.observables[k], 5)], ["difference", k => shown(answer.observables[k] - solved.observables[k], 2)]);
  if (data) columns.push(["your data", k => shown(data.values[k], 5)]);
  const head = make("thead", {}, make("tr", {}, ...columns.map(([name]) => make("th", { scope: "col" }, name))));
  const body = make("tbody", {}, ...o.names.map((_, k) => make("tr", {}, ...columns.map(([, cell], c) => make(c ? "td" : "th", c ? {} : { scope: "row" }, cell(k))))));
  at("table").querySelector("div").replaceChildren(make("table", {}, head, body));
}

export function startNumbers() {
  at("solve").addEventListener("click", solve);
  at("table").addEventListener("toggle", table);
  when("answered", say);
  when("moved answered solved model", difference);
  when("answered solved data", table);
  when("model", () => {
    const p = state.model.parameters, o = state.model.observables;
    document.title = `${state.model.name} · gnvpro`;
    at("about").textContent = `${p.names.length} parameters → ${o.names.length} observables` + (state.model.error ? `, ${state.model.error}` : "");
    at("pde").hidden = !state.model.pde;
    at("stale").textContent = "";
  });
}
