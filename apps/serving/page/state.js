// What the page knows, who is told when it changes, and the few helpers that every part needs.

export const state = {
  models: [], model: null,
  y: [],           // the point that is asked for
  answer: null,    // of the last possible point
  solved: null,    // the PDE at that point
  impossible: null, // why there is no such point
  ghost: null, pinned: false, // the answer of an earlier point
  scale: null, keepScale: true,
  data: null,      // observations of the user
  matters: null,
  asking: false, again: false, number: 0, at: -1,
};

const hub = new EventTarget();
/** Calls `then` whenever one of these is told: model, moved, answered, solved, scale, data, matters, look. */
export function when(names, then) { for (const name of names.split(" ")) hub.addEventListener(name, then); }
export function tell(name) { hub.dispatchEvent(new Event(name)); }

export const at = id => document.getElementById(id);
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
// One complaint of each kind: an answer takes back that there was none, and nothing else.
const complaints = new Map();
export function complain(error, kind = "page") {
  complaints.set(kind, error ? (error.message || String(error)) : "");
  at("error").textContent = [...complaints.values()].filter(Boolean).join(" ");
}
export function later(milliseconds, work) {
  let waiting = 0;
  return () => { clearTimeout(waiting); waiting = setTimeout(work, milliseconds); };
}
