// Observables as curves over their first axis, with the band, the point before, the PDE and the user's own data.

import { Plot, SERIES, d3, inWords, narrow, part, power, put, remark, room, scaleOf, ticksOf } from "./drawing.js";
import { ghostEntry, legend } from "./legend.js";
import { state } from "./state.js";
import { labelOf } from "./words.js";

const MOST = SERIES.length;

export function drawCurves(figure, more) {
  const { answer, solved, ghost, data } = state, o = state.model.observables, n = o.series.length;
  const picked = [...new Set(d3.range(Math.min(n, MOST)).map(i => Math.round(i * (n - 1) / Math.max(1, Math.min(n, MOST) - 1))))];
  const numeric = typeof o.x.labels[0] === "number", x = o.x.labels;
  const points = (values, j, rest) => values && x.map((at, i) => ({ x: at, y: values[i * n + j], ...rest?.(i * n + j) }));
  const seen = [answer.observables, answer.lower, answer.upper, solved?.observables, ghost?.observables, data?.values].filter(Boolean);
  const scale = scaleOf(seen.flatMap(values => picked.flatMap(j => x.map((_, i) => values[i * n + j]))));
  const unit = o.unit ? `observable (${inWords(scale, o.unit)})` : `observable${scale.kind === "linear" ? "" : ` (${inWords(scale, "")})`}`;
  const marks = [Plot.gridY({ ticks: ticksOf(scale), strokeOpacity: .15 })];
  picked.forEach((j, k) => {
    const stroke = SERIES[k], fill = stroke;
    if (answer.lower) marks.push(Plot.areaY(points(answer.lower, j, i => ({ top: answer.upper[i] })), { x: "x", y1: "y", y2: "top", fill, fillOpacity: .25, className: "band" }));
    if (ghost) marks.push(Plot.lineY(points(ghost.observables, j), { x: "x", y: "y", stroke: "var(--ghost)", strokeWidth: 1.2, className: "ghost" }));
    marks.push(Plot.lineY(points(answer.observables, j), { x: "x", y: "y", stroke, strokeWidth: 2 }));
    if (x.length === 1 || !numeric) marks.push(Plot.dot(points(answer.observables, j), { x: "x", y: "y", fill, r: 3 }));
    if (solved) marks.push(Plot.dot(points(solved.observables, j), { x: "x", y: "y", stroke, fill: "var(--paper)", r: 3.4 }));
    if (data) {
      const measured = points(data.values, j, i => ({ d: data.deviations[i] })).filter(p => p.y !== null);
      marks.push(Plot.ruleX(measured, { x: "x", y1: p => p.y - p.d, y2: p => p.y + p.d, stroke, strokeWidth: 1.2, className: "data" }),
        Plot.dot(measured, { x: "x", y: "y", symbol: "times", stroke, strokeWidth: 1.8, r: 4, className: "data" }));
    }
  });
  const frame = (height, label, low) => ({
    width: 0, height, marginLeft: 56, marginBottom: 36, marginTop: 22, marginRight: 12, ...low,
    x: { type: numeric ? "linear" : "point", label: labelOf(o.x), ...(numeric ? {} : { domain: x }), tickFormat: numeric ? undefined : t => String(t).slice(0, 12), labelArrow: "none", labelAnchor: "center" },
    y: { ...low.y, label, labelArrow: "none", tickFormat: power },
  });
  const main = part(figure, "main", "Predicted observables" + remark());
  const height = room() - (narrow() ? 26 : 0);
  const wide = main.clientWidth;
  put(main, "main", `${picked.length} curves of ${unit} over ${labelOf(o.x)}; their numbers are under All numbers`, {
    ...frame(height, unit, { marks, y: { domain: [scale.low, scale.high], type: scale.kind === "linear" ? "linear" : "symlog", ...(scale.kind !== "linear" && { constant: scale.constant }), ticks: ticksOf(scale), clamp: true } }), width: wide });
  legend([
    ...(n > 1 ? picked.map((j, k) => [`background:${SERIES[k]}`, "", o.series[j]]) : []),
    ...(solved ? [["", "dot", "PDE"]] : []),
    ...(data ? [["", "cross", `your data, noise ${data.noise}`]] : []),
    ...(answer.lower ? [["", "band", answer.band || "error band"]] : []),
    ...(ghost ? [ghostEntry()] : []),
    ...(n > picked.length ? [["background:none", "", `${picked.length} of ${n} shown`]] : []),
  ]);
  if (!solved) return [];
  const rest = answer.observables.map((value, k) => value === null || solved.observables[k] === null ? null : value - solved.observables[k]);
  const own = scaleOf(picked.flatMap(j => x.map((_, i) => rest[i * n + j])), null), under = part(more, "rest", "Surrogate − PDE");
  const lines = [Plot.ruleY([0], { strokeOpacity: .4 }), ...picked.map((j, k) => Plot.lineY(points(rest, j), { x: "x", y: "y", stroke: SERIES[k] }))];
  put(under, "rest", `differences of ${unit} over ${labelOf(o.x)}`, { ...frame(170, o.unit ? `difference (${o.unit})` : "difference", { marks: lines, y: { domain: [Math.min(0, own.low), Math.max(0, own.high)], ticks: 4 } }), width: under.clientWidth });
  return ["rest"];
}
