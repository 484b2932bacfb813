// The domain of the problem at this point, as the problem describes it: views with shapes in them.

import { Plot, narrow, part, put, room, scaleOf } from "./drawing.js";
import { state } from "./state.js";
import { inUnit } from "./words.js";

export function drawScene(figure) {
  const { answer, model } = state, place = part(figure, "scene", narrow() ? "" : "In the domain");
  const sideBySide = narrow() && answer.scene.length > 1;
  place.style.setProperty("--across", sideBySide ? answer.scene.length : 1);
  place.classList.add("views");
  answer.scene.forEach((view, i) => {
    const [[x0, x1], [y0, y1]] = view.ends, left = 46, rest = 56, caption = 20;
    const width = sideBySide ? (place.clientWidth - 8) / answer.scene.length : place.clientWidth;
    const tall = (narrow() ? room() : (answer.scene.length > 1 ? Math.max(220, .6 * room()) : room())) - rest - caption;
    const inner = Math.min(width - left - 10, tall * (x1 - x0) / (y1 - y0)), high = inner * (y1 - y0) / (x1 - x0);
    const measuring = view.shapes.filter(shape => shape.kind === "sensors" && shape.values), [sensors] = measuring;
    // A scale of their own, linear and of all that they measure here: that of the picture is of the anomaly.
    const scale = sensors && scaleOf(measuring.flatMap(shape => shape.values.flat()), null);
    const marks = view.shapes.flatMap(shape => drawn(shape, model.observables.unit));
    const label = `${view.title}: ${[...new Set(view.shapes.map(shape => shape.label))].filter(Boolean).join(", ")}`;
    const when = sensors?.labels.length ? `, values at ${sensors.labels[sensors.labels.length - 1]}` : "";
    put(place, `scene${i}`, label + when, {
      caption: view.title + when,
      width: inner + left + 10, height: high + rest, marginLeft: left, marginRight: 10, marginTop: 22, marginBottom: rest - 22, marks,
      ...(sensors && { color: { type: "linear", domain: [scale.low, scale.high], scheme: "viridis" } }),
      x: { domain: [x0, x1], label: view.axes[0], ticks: inner < 240 ? 3 : 5, labelArrow: "none", labelAnchor: "center" },
      y: { domain: [y0, y1], label: view.axes[1], ticks: high < 120 ? 3 : 5, labelArrow: "none" },
    });
  });
}

function drawn(shape, unit) {
  if (shape.kind === "area") return [Plot.line(shape.points, { fill: "var(--body)", fillOpacity: .45, stroke: "var(--body)", strokeWidth: 1.5, className: "area" })];
  if (shape.kind === "line") return [Plot.line(shape.points, { stroke: "currentColor", strokeOpacity: .55, strokeDasharray: shape.points.length === 2 ? "3,3" : undefined })];
  if (shape.kind === "points") return [Plot.dot(shape.points, { r: shape.points.length > 60 ? 1 : 2, fill: "var(--ghost)" })];
  if (shape.kind === "markers") return [Plot.dot(shape.points, { r: 4, fill: "currentColor", symbol: "triangle2" })];
  if (!shape.values) return [Plot.dot(shape.points, { r: 4, fill: "var(--ghost)" })];
  const rows = shape.points.map((p, i) => ({ x: p[0], y: p[1], value: shape.values[i].at(-1) }));
  return [
    Plot.dot(rows, { x: "x", y: "y", r: 7, fill: "value", stroke: "currentColor", strokeWidth: .8, className: "sensors" }),
    Plot.text(rows, { x: "x", y: "y", dy: -14, text: d => inUnit(d.value, unit, 3), fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3 }),
  ];
}
