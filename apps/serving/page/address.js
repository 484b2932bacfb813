// The address holds model and point, in numbers of the model's own units; and programs that ask for the same point.

import { choose, moveTo } from "./point.js";
import { HERE } from "./requests.js";
import { at, complain, later, make, state, when } from "./state.js";

function fragment() { return "#" + new URLSearchParams({ model: state.model.name, at: state.y.join(",") }); }

/** Model and point of the address; nothing where it names none. */
function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  complain(null, "address");
  if (!said.has("model")) return null;
  const model = state.models.find(one => one.name === said.get("model"));
  if (!model) return complain(`the address names the model “${said.get("model").slice(0, 60)}”, which is not served here; there are ${state.models.map(one => one.name).join(", ")}`, "address") ?? null;
  const given = said.get("at"), y = given ? given.split(",").map(Number) : undefined;
  if (y && (y.length !== model.parameters.names.length || !y.every(Number.isFinite))) {
    complain(`the address holds ${y.length} values, expected ${model.parameters.names.length} numbers for ${model.name}; it starts in the middle instead`, "address");
    return { model };
  }
  return { model, y };
}

// A move by a slider is one entry of the history, however many points it went through.
let settled = "";
const keepAddress = later(400, () => {
  const now = fragment();
  if (state.impossible || now === location.hash) return;
  history[settled ? "pushState" : "replaceState"](null, "", now);
  settled = now;
});

function follow() {
  const found = read();
  if (!found || location.hash === fragment()) return;
  settled = location.hash;
  if (found.model !== state.model) { at("model").value = found.model.name; choose(found.model, found.y); }
  else if (found.y) moveTo(found.y);
}

export function programs() {
  const url = HERE.replace(/\/$/, ""), name = JSON.stringify(state.model.name), point = `[[${state.answer.y.join(", ")}]]`;
  return {
    python: `import umbridge  # pip install umbridge\n\nmodel = umbridge.HTTPModel(${JSON.stringify(url)}, ${name})\nprint(model(${point})[0])\n`,
    curl: `curl -s ${quoted(`${url}/Evaluate`)} -d ${quoted(`{"name": ${name}, "input": ${point}}`)}\n`,
    link: location.href.split("#")[0] + fragment(),
  };
}
function quoted(text) { return `'${text.replaceAll("'", "'\\''")}'`; }

async function copy(kind) {
  const text = programs()[kind], shownText = at("copied");
  shownText.querySelector("pre").textContent = text;
  shownText.hidden = false;
  let done = "Copied:";
  try { await navigator.clipboard.writeText(text); } catch { done = "The browser does not let the page copy; here it is:"; }
  shownText.querySelector("p").textContent = done;
}

/** Where the address points to, or the first model at its start. */
export function begin() {
  at("model").append(...state.models.map(one => make("option", {}, one.name)));
  for (const kind of ["python", "curl", "link"]) at(`copy-${kind}`).addEventListener("click", () => { if (state.answer) copy(kind); });
  at("model").addEventListener("change", event => choose(state.models[event.target.selectedIndex]));
  when("answered", keepAddress);
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
  const found = read() ?? { model: state.models[0] };
  at("model").value = found.model.name;
  choose(found.model, found.y);
}
