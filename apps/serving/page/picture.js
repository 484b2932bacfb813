// The picture: curves or images, and the domain beside them; what is wrong with the point; drawn once a frame.

import { drawCurves } from "./curves.js";
import { keep, narrow } from "./drawing.js";
import { drawImages } from "./images.js";
import { pin } from "./point.js";
import { drawScene } from "./scene.js";
import { at, state, when } from "./state.js";

function draw() {
  const { answer, model } = state;
  warn();
  if (!answer) { for (const id of ["picture", "more", "legend"]) at(id).replaceChildren(); return; }
  const withScene = Boolean(answer.scene);
  at("picture").classList.toggle("with-domain", withScene); // first, as it decides how wide the rest is
  at("views").hidden = !withScene || !narrow();
  document.body.classList.toggle("domain", withScene && narrow() && at("view-domain").getAttribute("aria-pressed") === "true");
  const parts = model.observables.kind === "images" ? drawImages(at("picture"), at("more")) : drawCurves(at("picture"), at("more"));
  if (withScene) drawScene(at("picture"));
  keep(at("picture"), withScene ? ["main", "scene"] : ["main"]);
  keep(at("more"), parts);
  at("pin").setAttribute("aria-pressed", String(state.pinned));
}

function warn() {
  const { answer, impossible } = state;
  at("warning").textContent = impossible ? `No such point: ${impossible.why.join("; ")}. The picture stays at the last possible point.`
    : answer?.outside.length ? `Outside the training range: no error is promised here, and no band is drawn. ${answer.outside.join("; ")}.` : "";
}

let asked = 0;
function soon() { if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); }); }

export function startPicture() {
  at("scale").addEventListener("change", () => { state.keepScale = at("scale").checked; soon(); });
  at("pin").addEventListener("click", () => pin(!state.pinned));
  for (const [one, other] of [["view-picture", "view-domain"], ["view-domain", "view-picture"]]) at(one).addEventListener("click", () => {
    at(one).setAttribute("aria-pressed", "true"); at(other).setAttribute("aria-pressed", "false"); soon();
  });
  when("model answered solved scale data look", soon);
  let width = 0;
  new ResizeObserver(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; soon(); } }).observe(document.body);
}
