// How fingerprints differ: those that one device had, and those of two devices.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { moment } from "../lib/format.js";
import { STABILITIES, VERDICTS, percent, titleOf } from "../lib/discovery.js";
import { place } from "../lib/words.js";
import { api } from "../lib/api.js";

const KINDS = { "fact-changed": "changed", "fact-added": "only there", "fact-gone": "gone", "object-changed": "object changed", "object-added": "object only there", "object-gone": "object gone" };
const MOST = 200;

function Table({ told, before, after }) {
  const [all, setAll] = useState(false);
  const changes = all ? told.changes : told.changes.slice(0, MOST);
  return html`<p role="status"><span class="tag"><b>${VERDICTS[told.verdict] || told.verdict}</b></span> ${told.text} <span class="quiet num">objects ${percent(told.similarity)} alike</span></p>
    ${told.changes.length ? html`<div class="wide"><table class="list diff"><thead><tr><th scope="col">What</th><th scope="col">${before}</th><th scope="col">${after}</th><th scope="col" class="not-small">Stability</th></tr></thead><tbody>${changes.map((one) => html`<tr key=${one.kind + one.name}><th scope="row"><span class="mono">${one.name}</span><div class="quiet">${KINDS[one.kind]}</div></th><td class="mono value gone">${one.before ?? html`<span class="quiet">–</span>`}</td><td class="mono value added">${one.after ?? html`<span class="quiet">–</span>`}${one.note && html`<div class="quiet">${one.note}</div>`}</td><td class="not-small"><span class="tag">${STABILITIES[one.stability]}</span></td></tr>`)}</tbody></table></div>` : html`<p class="quiet">No fact and no object differs.</p>`}
    ${changes.length < told.changes.length && html`<p><button class="tool" onClick=${() => setAll(true)}>All ${told.changes.length.toLocaleString("en")} differences</button></p>`}`;
}

/** What the search finds, without the device itself. */
function useOthers(id, text) {
  const [found, setFound] = useState([]);
  useEffect(() => {
    let stop = false;
    const timer = setTimeout(() => api.devices({ search: text, limit: 50 }).then((page) => !stop && setFound(page.items.filter((one) => one.id !== id))).catch(() => {}), 250);
    return () => { stop = true; clearTimeout(timer); };
  }, [id, text]);
  return found;
}

/** `other` is with which it is compared, or empty; `choose` takes another. */
export function Difference({ device, other, choose }) {
  const [past, setPast] = useState([]);
  const [at, setAt] = useState(0);
  const [text, setText] = useState("");
  const [told, setTold] = useState(null);
  const [problem, setProblem] = useState("");
  const others = useOthers(device.id, text);
  useEffect(() => { api.fingerprints(device.id).then((found) => setPast(found.items)).catch((error) => setProblem(error.message)); }, [device.id, device.digest, device.changed_at]);
  useEffect(() => {
    setTold(null);
    if (!other && !at) return undefined;
    let stop = false;
    api.difference(other ? { a: device.id, b: other } : { a: device.id, at }).then((found) => { if (!stop) { setTold(found); setProblem(""); } }).catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [device.id, device.digest, device.changed_at, other, at]);
  const chosen = others.find((one) => one.id === other);
  const label = (one) => `${titleOf(one)}${one.serial ? ` ${one.serial}` : ""} at ${place(one)}`;
  return html`<section class="card" aria-label="Differences"><header><h2>Differences</h2></header><div class="body">
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <div class="compare"><label>With another device <input type="search" placeholder="Search: maker, address, number" aria-label="Search another device" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      <select aria-label="Device to compare with" onChange=${(event) => { setAt(0); choose(event.target.value); }}><option value="" selected=${!other}>none</option>${other && !chosen && html`<option value=${other} selected>${other}</option>`}${others.map((one) => html`<option value=${one.id} selected=${one.id === other}>${label(one)}</option>`)}</select></div>
    <h3>How it was before</h3>
    <ol class="past">${past.toReversed().map((one, index) => html`<li key=${one.at}><time class="num">${moment(one.at)}</time> <span class="mono quiet" title=${one.digest}>${one.digest.slice(0, 15)}…</span> ${index === 0 ? html`<span class="tag">now</span>` : html`<button class="tool" aria-pressed=${!other && at === one.at} aria-label=${`Compare with what it was at ${moment(one.at)}`} onClick=${() => { choose(""); setAt(one.at); }}>Compare with now</button>`}</li>`)}</ol>
    ${past.length === 1 && html`<p class="quiet">It was always as it is now.</p>`}
    ${told && html`<${Table} told=${told} before=${other ? "this one" : moment(at)} after=${other ? (chosen ? label(chosen) : other) : "now"} />`}</div></section>`;
}
