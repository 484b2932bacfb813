// Numbers in words.

export function shown(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "none";
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}
export function seconds(s) { return s >= 1 ? `${shown(s, 3)} s` : s >= 1e-3 ? `${shown(1e3 * s, 3)} ms` : `${shown(1e6 * s, 3)} µs`; }
export function percent(x) { return `${100 * x >= 1e-3 ? shown(100 * x, 3) : (100 * x).toExponential(1)} %`; }
export function inUnit(value, unit, digits) { return shown(value, digits) + (unit ? ` ${unit}` : ""); }
export function labelOf(axis) { return axis.name + (axis.unit ? ` (${axis.unit})` : ""); }
