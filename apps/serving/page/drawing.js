// The library that draws, and what all pictures share: their places, their scales, their frames.

import "./d3.min.js";
import "./plot.umd.min.js";

import { make, state } from "./state.js";
import { shown } from "./words.js";

export const { Plot, d3 } = globalThis;
export const SERIES = [0, 1, 2, 3, 4, 5].map(k => `var(--c${k})`);
const DECADES = 4;

/** The part `key` of a figure under its title: made where there is none. */
export function part(figure, key, title) {
  let found = figure.querySelector(`:scope > [data-part="${key}"]`);
  if (!found) {
    found = make("div", { "data-part": key, class: "part" }, make("h2", {}, ""), make("div", { class: "plots" }));
    figure.append(found);
  }
  found.querySelector("h2").textContent = title;
  return found.querySelector(".plots");
}
/** These parts and no others, in this order. */
export function keep(figure, keys) {
  const parts = [...figure.querySelectorAll(":scope > .part")].filter(one => keys.includes(one.dataset.part) || one.remove());
  const ordered = parts.toSorted((a, b) => keys.indexOf(a.dataset.part) - keys.indexOf(b.dataset.part));
  if (ordered.some((one, i) => one !== parts[i])) figure.append(...ordered);
}

/** One plot in place of the one of the same key; `label` is what readers of screens are told, to whom its inside says nothing. */
export function put(place, key, label, { caption, ...options }) {
  if (!place.clientWidth) return; // not shown now, and drawn when it is
  let frame = place.querySelector(`:scope > [data-key="${key}"]`);
  if (!frame) { frame = make("div", { "data-key": key, role: "img" }); place.append(frame); }
  frame.setAttribute("aria-label", label);
  const plot = Plot.plot({ style: { background: "transparent", color: "inherit", fontSize: "12px", overflow: "visible" }, ...options });
  plot.setAttribute("aria-hidden", "true");
  frame.replaceChildren(...(caption ? [make("p", { class: "caption" }, caption)] : []), plot);
}

/** The scale of some values: that of the model, which grows where they leave it, or theirs alone. */
export function scaleOf(values, known = state.scale) {
  let [low, high] = d3.extent(values, v => v ?? undefined);
  const kind = known?.kind ?? "linear";
  if (known && state.keepScale) {
    low = known.low = Math.min(known.low, low ?? Infinity);
    high = known.high = Math.max(known.high, high ?? -Infinity);
  }
  if (!(high > low)) { const by = Math.abs(low) * .1 || 1; low -= by; high += by; }
  const size = Math.max(Math.abs(low), Math.abs(high));
  return { kind, low, high, size, constant: size / 10 ** DECADES, both: Math.min(-low, high) > 1e-4 * size };
}

/** As Plot has it for colours: diverging about zero where there are both signs. */
export function colours(scale, unit) {
  const logarithmic = scale.kind !== "linear";
  const domain = scale.both ? [-scale.size, scale.size] : logarithmic ? (scale.high > 0 ? [0, scale.high] : [scale.low, 0]) : [scale.low, scale.high];
  const type = (scale.both ? "diverging" : "") + (logarithmic ? (scale.both ? "-symlog" : "symlog") : scale.both ? "" : "linear");
  return { type, domain, scheme: scale.both ? "BuRd" : "viridis", ...(logarithmic && { constant: scale.constant }), ...(scale.both && { symmetric: false }),
    reverse: !scale.both && logarithmic && scale.high <= 0, label: inWords(scale, unit) };
}
export function inWords(scale, unit) {
  return (unit || "") + (scale.kind === "linear" ? "" : `${unit ? ", " : ""}symmetric log, linear below ${shown(scale.constant, 1)}`);
}
/** Powers of ten from the largest on, every `step`-th, and zero; undefined where the scale is linear. */
export function ticksOf(scale, step = 1) {
  if (scale.kind === "linear") return undefined;
  const decades = d3.range(0, DECADES + 1, step).map(k => 10 ** (Math.floor(Math.log10(scale.size)) - k)).filter(t => t > scale.constant);
  return [...(scale.low < 0 ? decades.map(t => -t) : []), 0, ...(scale.high > 0 ? decades : [])].sort(d3.ascending);
}
export function power(t) { return Math.abs(t) >= 1e-3 && Math.abs(t) < 1e4 || t === 0 ? shown(t, 3) : t.toExponential(0).replace("-", "−"); }

/** Height that the picture may take: on a small screen it stays in sight above the sliders, and leaves room for them. */
export function room() { return narrow() ? .45 * window.innerHeight - 98 : Math.min(400, Math.max(260, .42 * window.innerHeight)); }
export function narrow() { return window.innerWidth < 960; }
/** After the title of what is drawn, as the warning may be out of sight. */
export function remark() {
  if (state.impossible) return ", at the last possible point";
  return state.answer.outside.length ? ", outside the training range" : "";
}
