// The point: how it moves, what the model and the PDE say of it, and the point before.

import { ask } from "./requests.js";
import { at, complain, later, state, tell } from "./state.js";

const PAUSE = 800; // ms without a move, after which the next is another one, and the ghost is where it began
let moved = -Infinity, before = null;

/** Everything of another model; `y` where it starts, without it where the model does. */
export function choose(model, y) {
  Object.assign(state, { model, answer: null, solved: null, impossible: null, ghost: null, pinned: false, scale: null, data: null, matters: null });
  state.number++;
  before = null;
  tell("model");
  ask("page/scale", { model: model.name })
    .then(({ scale }) => { if (model === state.model) { state.scale = scale; tell("scale"); } })
    .catch(error => complain(error, "scale"));
  moveTo(y ?? model.parameters.start.slice());
  moved = -Infinity;
}

export function moveTo(y) {
  const now = performance.now();
  if (now - moved > PAUSE) before = state.answer;
  moved = now;
  state.y = y; state.number++;
  if (state.solved) { state.solved = null; at("stale").textContent = "the point moved: solve again to compare"; }
  tell("moved");
  evaluate();
}

/** One parameter, the others of its simplex making room. What cannot be is asked for all the same: the server says why. */
export function set(j, value) {
  const y = state.y.slice();
  for (const [a, b] of state.model.parameters.simplexes) if (a <= j && j < b && value >= 0 && value <= 1) {
    const others = y.slice(a, b).reduce((sum, v) => sum + v, 0) - y[j];
    for (let i = a; i < b; i++) if (i !== j) y[i] = others > 0 ? y[i] * (1 - value) / others : (1 - value) / (b - a - 1);
    if (b - a === 1) value = 1;
  }
  y[j] = value;
  moveTo(y);
}

// One request at a time: while one is under way the sliders may move on, and the last point is asked for after it.
async function evaluate() {
  if (state.asking) { state.again = true; return; }
  state.asking = true;
  do {
    state.again = false;
    const { model, number, y } = state;
    try {
      const answer = await ask("page/evaluate", { model: model.name, parameters: y });
      if (model !== state.model) continue;
      state.impossible = answer.impossible ?? null;
      if (!answer.impossible) {
        state.answer = { ...answer, y };
        if (!state.pinned) state.ghost = before;
      }
      state.at = number;
      complain(null, "evaluate");
      tell("answered");
      askMatters();
    } catch (error) { complain(error, "evaluate"); }
  } while (state.again);
  state.asking = false;
}

const askMatters = later(250, async () => {
  const { model, number, y } = state;
  if (state.impossible) return;
  try {
    const { matters } = await ask("page/matters", { model: model.name, parameters: y });
    if (model === state.model && number === state.number) { state.matters = matters; tell("matters"); }
    complain(null, "matters");
  } catch (error) { complain(error, "matters"); }
});

export async function solve() {
  const button = at("solve");
  if (button.getAttribute("aria-disabled") === "true") return;
  const { model, number, y } = state;
  button.setAttribute("aria-disabled", "true");
  at("stale").textContent = "solving …";
  try {
    const solved = await ask("page/solve", { model: model.name, parameters: y });
    complain(null, "solve");
    if (number === state.number && model === state.model) { state.solved = solved; tell("solved"); at("stale").textContent = ""; }
    else at("stale").textContent = "the point moved on while the PDE was solved; solve again";
  } catch (error) { complain(error, "solve"); at("stale").textContent = ""; }
  button.setAttribute("aria-disabled", "false");
}

export function randomPoint() {
  const p = state.model.parameters;
  const y = p.low.map((low, j) => p.values[j] ? p.values[j][Math.floor(Math.random() * p.values[j].length)] : low + Math.random() * (p.high[j] - low));
  for (const [a, b] of p.simplexes) {
    const drawn = y.slice(a, b).map(() => Math.random()), sum = drawn.reduce((s, v) => s + v, 0);
    drawn.forEach((v, i) => { y[a + i] = v / sum; });
  }
  return y;
}

export function pin(yes) {
  state.pinned = yes;
  state.ghost = before = yes ? state.answer : null;
  tell("look");
}
