// The octets that prove something: what was sent and received in single steps of an examination, each with the way to its meaning.

import { html, useState } from "../vendor/preact-htm.js";
import { href } from "../lib/route.js";
import { moment } from "../lib/format.js";

const MOST = 4000; // digits that go into an address

const spaced = (octets) => octets.replace(/../g, "$& ").trim();

function Octets({ way, name, octets, protocol }) {
  return html`<div class=${`octet-line ${way}`}><span class="way">${name}</span>${octets ? html`<pre class="mono">${spaced(octets)}</pre><a class="tool" href=${href("decode", "", { hex: octets.slice(0, MOST), protocol })} aria-label=${`Explain what was ${name}`}>Explain</a>` : html`<span class="quiet">nothing</span>`}</div>`;
}

export function Steps({ steps, evidence, protocol }) {
  const known = steps.filter((number) => evidence[number]);
  return html`<ol class="steps-of">${known.map((number) => {
    const one = evidence[number];
    return html`<li key=${number}><div class="quiet"><b>${number}</b> ${one.probe}${one.note && `: ${one.note}`} <time class="num">${moment(one.at)}</time></div>
      <${Octets} way="sent" name="sent" octets=${one.sent} protocol=${protocol} /><${Octets} way="got" name="received" octets=${one.received} protocol=${protocol} /></li>`;
  })}</ol>`;
}

/** A button that shows and hides the evidence of something; `about` says of what. */
export function Proof({ steps, shown, toggle, about }) {
  if (!steps.length) return html`<span class="quiet">follows from others</span>`;
  return html`<button class="tool" aria-expanded=${shown} aria-label=${`Evidence of ${about}`} onClick=${toggle}>${steps.length === 1 ? "1 step" : `${steps.length} steps`}</button>`;
}

/** A set of names of which some are open. */
export function useOpen() {
  const [open, setOpen] = useState(() => new Set());
  const toggle = (name) => setOpen((old) => { const next = new Set(old); next.has(name) ? next.delete(name) : next.add(name); return next; });
  return [open, toggle];
}
