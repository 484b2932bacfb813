// Everything is wired before the first model is chosen.

import { begin } from "./address.js";
import { startLook } from "./look.js";
import { startNumbers } from "./numbers.js";
import { startOwnData } from "./own_data.js";
import { startParameters } from "./parameters.js";
import { startPicture } from "./picture.js";
import { ask } from "./requests.js";
import { complain, state } from "./state.js";

startLook();
try {
  const { models, most_text: most } = await ask("page/models");
  state.models = models;
  startParameters();
  startNumbers();
  startPicture();
  startOwnData(most);
  if (models.length) begin(); else complain("this server has no model");
} catch (error) { complain(error); }
