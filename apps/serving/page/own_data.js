// Data of the user: dropped, chosen or pasted, read by the server, laid over the picture and fitted.

import { moveTo } from "./point.js";
import { ask } from "./requests.js";
import { at, state, tell, when } from "./state.js";
import { shown } from "./words.js";

let given = null, most = 500_000;
let asked = 0; // of what was given last; answers to anything before are late

async function take(text, name) {
  given = { text, name };
  at("noise").value = "";
  await overlay();
}

async function overlay() {
  const model = state.model, number = ++asked;
  if (!given) return;
  try {
    if (given.text.length > most) throw new Error(`${given.name} has ${given.text.length} characters, expected at most ${most}; gnvpro invert takes more`);
    const data = await ask("page/observations", { model: model.name, ...given, noise: at("noise").value });
    if (number !== asked) return;
    state.data = data;
    at("noise").value = data.noise;
    said("");
  } catch (error) {
    if (number !== asked) return;
    state.data = null;
    said(error.message, true);
  }
  tell("data");
}

async function fit() {
  const button = at("fit"), model = state.model, number = asked;
  if (!state.data || button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  said("fitting …");
  try {
    const found = await ask("page/fit", { model: model.name, ...given, noise: at("noise").value });
    if (number === asked) {
      moveTo(found.parameters);
      said(`Fitted: the most probable point by the law of the parameters${found.remarks.length ? "; " + found.remarks.join("; ") : ""}.`);
    }
  } catch (error) { if (number === asked) said(error.message, true); }
  button.setAttribute("aria-disabled", "false");
}

function said(text, wrong = false) {
  at("data-said").textContent = text;
  at("data-said").className = wrong ? "error" : "soft";
}

/** Root mean square of the residuals in standard deviations of the noise: about one where the model explains the data. */
export function misfit() {
  const { answer, data } = state, rest = data.values.flatMap((v, k) => v === null || answer.observables[k] === null ? [] : [((answer.observables[k] - v) / data.deviations[k]) ** 2]);
  return Math.sqrt(rest.reduce((sum, v) => sum + v, 0) / rest.length);
}

function show() {
  const { data, answer } = state;
  at("fitting").hidden = !given;
  at("fit").hidden = !data;
  at("misfit").textContent = data && answer ? `${data.n} observations; misfit ${shown(misfit(), 3)} standard deviations of the noise (about 1 for a good fit)` : "";
}

async function read(file) {
  if (!file) return;
  const number = ++asked;
  if (file.size > 4 * most) { said(`${file.name} has ${file.size} bytes, expected at most ${most} characters; gnvpro invert takes more`, true); return; }
  const text = await file.text();
  if (number === asked) await take(text, file.name);
}

export function startOwnData(mostText) {
  most = mostText;
  const area = at("own-data"), carries = event => event.dataTransfer && [...event.dataTransfer.types].some(type => type === "Files" || type === "text/plain");
  document.addEventListener("dragover", event => { if (carries(event)) { event.preventDefault(); area.classList.add("over"); } });
  document.addEventListener("dragleave", () => area.classList.remove("over"));
  document.addEventListener("drop", event => {
    if (!carries(event)) return;
    event.preventDefault();
    area.classList.remove("over");
    area.open = true;
    const [file] = event.dataTransfer.files;
    if (file) read(file); else take(event.dataTransfer.getData("text/plain"), "the dropped text");
  });
  at("file").addEventListener("change", event => { read(event.target.files[0]); event.target.value = ""; });
  at("pasted").addEventListener("change", event => { if (event.target.value.trim()) take(event.target.value, "the pasted text"); });
  at("noise").addEventListener("change", overlay);
  at("fit").addEventListener("click", fit);
  at("forget").addEventListener("click", () => { asked++; given = null; state.data = null; at("pasted").value = ""; said(""); tell("data"); });
  when("model", () => { asked++; given = null; at("pasted").value = ""; said(""); });
  when("model data answered", show);
}
