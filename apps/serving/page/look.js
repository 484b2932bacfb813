// Light or dark: as the system has it, or as the user chose here.

import { at, tell } from "./state.js";

export function startLook() {
  const choice = at("look");
  const apply = () => {
    if (choice.value === "system") delete document.documentElement.dataset.look;
    else document.documentElement.dataset.look = choice.value;
    tell("look");
  };
  try { choice.value = localStorage.getItem("look") ?? "system"; } catch { /* a browser that keeps nothing */ }
  if (!choice.value) choice.value = "system";
  choice.addEventListener("change", () => { try { localStorage.setItem("look", choice.value); } catch { /* as above */ } apply(); });
  apply();
}
