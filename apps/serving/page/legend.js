// What the marks of the picture mean.

import { at, make, state } from "./state.js";

/** Entries: style, class of the mark, text. */
export function legend(entries) {
  at("legend").replaceChildren(...entries.map(([style, kind, text]) => make("li", {}, make("i", { style, class: kind }), text)));
}
export function ghostEntry(style = "") { return [style, "ghost", state.pinned ? "the pinned point" : "the point before"]; }
