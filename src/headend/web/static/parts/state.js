// The state of a meter: a dot for the eye and the word for everybody.

import { html } from "../vendor/preact-htm.js";

export const State = ({ state }) => html`<span class=${"state " + state}><i class="dot"></i>${state}</span>`;
