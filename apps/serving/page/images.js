// Observables as images over their last two axes, less the background; signs kept, and the colours of one scale.

import { Plot, colours, d3, narrow, part, power, put, remark, room, scaleOf, ticksOf } from "./drawing.js";
import { ghostEntry, legend } from "./legend.js";
import { state } from "./state.js";
import { labelOf, shown } from "./words.js";

export function drawImages(figure, more) {
  const { answer, solved, ghost, data } = state, o = state.model.observables;
  const background = o.background, what = background ? "Anomaly" : "Observables";
  const less = values => background ? values.map((v, k) => v === null ? null : v - background[k]) : values;
  const minus = (a, b) => a.map((v, k) => v === null || b[k] === null ? null : v - b[k]);
  const predicted = less(answer.observables), reality = solved && less(solved.observables), before = ghost && less(ghost.observables);
  const measured = data && less(data.values);
  const scale = scaleOf([predicted, reality, measured].filter(Boolean).flat());
  const parts = [];
  images(part(figure, "main", `${what}, surrogate${remark()}`), o, "main", `${what}, surrogate`, predicted, scale, room(), state.pinned ? null : before);
  const also = (key, title, values, ownScale) => {
    parts.push(key);
    images(part(more, key, title), o, key, title, values, ownScale, narrow() ? 260 : 230);
  };
  if (measured) {
    also("data", `${what}, your data`, measured, scale);
    also("residual", "Surrogate − your data, in standard deviations of the noise", minus(answer.observables, data.values).map((v, k) => v === null ? null : v / data.deviations[k]), { ...scaleOf([-3, 3], null), unit: "standard deviations" });
  }
  if (solved) {
    const rest = minus(answer.observables, solved.observables);
    also("pde", `${what}, PDE`, reality, scale);
    also("rest", "Surrogate − PDE", rest, scaleOf(rest, null));
  }
  if (state.pinned && ghost) {
    const change = minus(answer.observables, ghost.observables);
    also("change", "Change from the pinned point", change, { ...scaleOf(change, null), kind: scale.kind });
  }
  if (answer.lower) {
    const half = answer.upper.map((v, k) => v === null ? null : (v - answer.lower[k]) / 2);
    also("band", `Half width, ${answer.band || "error band"}`, half, scaleOf([0, ...half], null));
  }
  legend(before && !state.pinned ? [ghostEntry("background:var(--contour)")] : []);
  return parts;
}

function images(place, o, key, title, values, scale, height, before = null) {
  if (!place.clientWidth) return; // not shown now
  const nx = o.x.labels.length, ny = o.y.labels.length, size = nx * ny, k = o.titles.length, unit = scale.unit ?? o.unit;
  const [x, y] = [axis(o.x, nx), axis(o.y, ny)], color = colours(scale, unit);
  place.style.setProperty("--across", k > 1 ? Math.min(k, 2) : 1);
  const across = Math.min(k, 2), down = Math.ceil(k / across), available = (place.clientWidth - 8 * (across - 1)) / across;
  // Equal scales along both axes where both are in one unit, as far as there is room.
  const left = 44, rest = 58, tall = Math.max(60, (height - 50) / down - rest);
  const equal = o.x.unit === o.y.unit ? Math.abs(x.to - x.from) / Math.abs(y.to - y.from) : nx / ny;
  const inner = Math.max(60, Math.min(available - left - 10, tall * equal)), high = Math.min(tall, inner / equal);
  o.titles.forEach((name, i) => {
    const rows = raster(values.slice(i * size, (i + 1) * size), nx, ny), span = `${shown(scale.low, 3)} to ${shown(scale.high, 3)}`;
    const box = { width: nx, height: ny, x1: x.from, x2: x.to, y1: y.from, y2: y.to };
    const marks = [Plot.raster(rows, { ...box, fill: Plot.identity, imageRendering: "pixelated" }), Plot.frame({ strokeOpacity: .3 })];
    if (before) marks.push(Plot.contour(raster(before.slice(i * size, (i + 1) * size), nx, ny), { ...box, value: Plot.identity, stroke: "var(--contour)", strokeWidth: 1, strokeOpacity: .7, thresholds: levels(scale), className: "ghost" }));
    put(place, `${key}${i}`, `${title}, ${name}: ${nx} by ${ny} values on a scale of ${span}${unit ? " " + unit : ""}`, {
      width: inner + left + 10, height: high + rest, marginLeft: left, marginRight: 10, marginTop: 20, marginBottom: rest - 20, color, marks,
      x: { label: labelOf(o.x), domain: [x.from, x.to], ticks: inner < 160 ? 3 : 5, tickFormat: x.format, labelArrow: "none", labelAnchor: "center" },
      y: { label: `${labelOf(o.y)}${k > 1 ? "   ·   " + name : ""}`, domain: [y.from, y.to], ticks: high < 120 ? 3 : 5, tickFormat: y.format, labelArrow: "none" },
    });
  });
  const known = place.querySelector(":scope > .scale"), wide = Math.min(place.clientWidth, 340);
  const bar = Plot.legend({ color, width: wide, height: 50, marginTop: 16, marginBottom: 20, marginLeft: 12, marginRight: 12, ticks: ticksOf(scale, scale.both ? 2 : 1) ?? 5, tickFormat: power });
  bar.setAttribute("aria-hidden", "true");
  const holder = known ?? document.createElement("div");
  holder.className = "scale";
  holder.replaceChildren(bar);
  place.append(holder);
}

/** Rows from below, as Plot has a grid of values; NaN where there is none. */
function raster(values, nx, ny) { return Array.from({ length: nx * ny }, (_, k) => values[(k % nx) * ny + Math.floor(k / nx)] ?? NaN); }

/** Ends of the cells along an axis; labels that are not evenly spaced are placed by their number. */
function axis(of, n) {
  const labels = of.labels, step = n > 1 ? (labels[n - 1] - labels[0]) / (n - 1) : 1;
  if (labels.every((t, i) => Math.abs(t - labels[0] - i * step) < 1e-6 * Math.abs(step))) return { from: labels[0] - step / 2, to: labels[n - 1] + step / 2, format: undefined };
  return { from: -.5, to: n - .5, format: t => Number.isInteger(t) ? shown(labels[t], 3) : "" };
}

/** Of the contours of the point before: few, as they lie over the colours. */
function levels(scale) {
  if (scale.kind === "linear") return d3.ticks(scale.low, scale.high, 6);
  const top = 10 ** Math.floor(Math.log10(scale.size));
  return [-top, -top / 10, top / 10, top].filter(t => t > scale.low && t < scale.high);
}
