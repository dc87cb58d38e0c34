// What a meter showed of itself: facts with what proves them, how it may be associated with, and what its objects stand for.

import { html, useState } from "../vendor/preact-htm.js";
import { OUTCOMES, STABILITIES, percent } from "../lib/discovery.js";
import { plural } from "../lib/format.js";
import { Proof, Steps, useOpen } from "./evidence.js";

const PAGE = 100;

/** Facts that were seen, then those that the wire did not show, with the reason. */
export function Facts({ device }) {
  const { facts, unobserved, digest } = device.page.fingerprint;
  const evidence = device.page.associations.evidence;
  const [open, toggle] = useOpen();
  const line = (fact) => html`<tr key=${fact.name} title=${fact.about}><th scope="row" class="mono">${fact.name}</th>
      <td class="value">${fact.value === null ? html`<span class="quiet">not observable: ${fact.note}</span>` : html`<span class="mono">${fact.value}</span>${fact.note && html`<div class="quiet">${fact.note}</div>`}`}</td>
      <td class="not-small"><span class="tag">${STABILITIES[fact.stability]}</span></td><td class="r nowrap">${(fact.value !== null || fact.evidence.length > 0) && html`<${Proof} steps=${fact.evidence} shown=${open.has(fact.name)} toggle=${() => toggle(fact.name)} about=${fact.name} />`}</td></tr>
    ${open.has(fact.name) && html`<tr class="proof"><td colspan="4"><p class="quiet">${fact.about}</p><${Steps} steps=${fact.evidence} evidence=${evidence} protocol=${device.protocol} /></td></tr>`}`;
  return html`<section class="card" aria-label="Fingerprint"><header><h2>Fingerprint</h2><span class="mono quiet digest" title=${digest}>${digest}</span></header>
    <div class="wide"><table class="list facts"><thead><tr><th scope="col">Fact</th><th scope="col">What it says</th><th scope="col" class="not-small">Stability</th><th scope="col" class="r">Evidence</th></tr></thead><tbody>${[...facts, ...unobserved].map(line)}</tbody></table></div></section>`;
}

const MECHANISMS = ["none", "lls", "hls", "md5", "sha1", "gmac", "sha256", "ecdsa"];
const columnOf = (trial) => `${trial.context} ${trial.mechanism}`;
const byMechanism = (one, other) => one.context.localeCompare(other.context) || MECHANISMS.indexOf(one.mechanism) - MECHANISMS.indexOf(other.mechanism);
const rowOf = (one) => `${one.server} ${one.client}`;

function Outcome({ trial, open, toggle }) {
  const [sign, word] = OUTCOMES[trial.outcome] || ["?", trial.outcome];
  return html`<button class=${`outcome ${trial.outcome}`} aria-expanded=${open} title=${[trial.result, trial.diagnostic, trial.note].filter(Boolean).join(", ")} aria-label=${`Client ${trial.client}, ${trial.context}, ${trial.mechanism}: ${word}`} onClick=${toggle}><i aria-hidden="true">${sign}</i> ${word}</button>`;
}

function Trial({ trial, evidence, protocol }) {
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  return html`<div class="trial-detail"><h3>Client ${trial.client} at server ${trial.server}, ${trial.context}, ${trial.mechanism}: ${(OUTCOMES[trial.outcome] || [])[1] || trial.outcome}</h3>
    <dl class="facts">${fact("result", trial.result)}${fact("diagnostic", trial.diagnostic)}${fact("note", trial.note)}${fact("services", trial.conformance.join(", "))}${fact("largest APDU", trial.max_pdu)}${fact("system title", trial.system_title)}</dl>
    <${Steps} steps=${trial.evidence} evidence=${evidence} protocol=${protocol} /></div>`;
}

/** Who may associate and how: clients down, contexts and mechanisms across. */
export function Associations({ device }) {
  const { trials, clients, evidence, associations, stopped } = device.page.associations;
  const [open, setOpen] = useState(null);
  if (!trials.length) return null;
  const columns = [...new Set(trials.toSorted(byMechanism).map(columnOf))];
  const at = new Map(trials.map((trial) => [`${rowOf(trial)} ${columnOf(trial)}`, trial]));
  const shown = open && at.get(open);
  return html`<section class="card" aria-label="Associations"><header><h2>Associations</h2><span class="quiet">${plural(associations, "request")} to associate${stopped && `; ended early: ${stopped}`}</span></header>
    <div class="wide"><table class="list matrix"><thead><tr><th scope="col">Client</th>${columns.map((name) => html`<th scope="col" key=${name}><span class="quiet">${name.split(" ")[0]}</span><br />${name.split(" ")[1]}</th>`)}</tr></thead>
      <tbody>${clients.map((one) => html`<tr key=${rowOf(one)}><th scope="row"><b class="num">${one.client}</b>${one.server === 1 ? "" : ` at ${one.server}`}<div class="quiet">${one.role}</div></th>${columns.map((name) => {
        const key = `${rowOf(one)} ${name}`;
        const trial = at.get(key);
        return html`<td>${trial ? html`<${Outcome} trial=${trial} open=${open === key} toggle=${() => setOpen(open === key ? null : key)} />` : html`<span class="quiet" title="not asked for">·</span>`}</td>`;
      })}</tr>`)}</tbody></table></div>
    ${shown && html`<div class="body"><${Trial} trial=${shown} evidence=${evidence} protocol=${device.protocol} /></div>`}</section>`;
}

function Share({ name, share }) {
  return html`<span class="sure"><span class="quiet">${name}</span><meter min="0" max="1" value=${share} aria-hidden="true"></meter><b class="num">${percent(share)}</b></span>`;
}

const STATUS = { mapped: "", named: "named", unmapped: "not understood" };

/** The objects of its list, or of the meter file that fits, and what they stand for. */
export function Meanings({ device }) {
  const { rows, coverage, variant } = device.page.objects;
  const [text, setText] = useState("");
  const [most, setMost] = useState(PAGE);
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length ? rows.filter((row) => { const about = Object.values(row).join(" ").toLowerCase(); return wanted.every((one) => about.includes(one)); }) : rows;
  return html`<section class="card" aria-label="Objects"><header><h2>Objects</h2><span class="quiet num">${rows.length}</span>${variant && html`<span class="tag">${variant}</span>`}<span class="space"></span>${rows.length > 12 && html`<input type="search" class="small" aria-label="Filter objects" placeholder="Filter" value=${text} onInput=${(event) => setText(event.target.value)} />`}</header>
    ${rows.length > 0 && html`<div class="body coverage"><${Share} name="understood" share=${coverage.meaning_share} /><${Share} name="of the standard's" share=${coverage.standard_share} /><${Share} name="measurements with a quantity" share=${coverage.quantity_share} />${coverage.own > 0 && html`<span class="quiet">${plural(coverage.own, "object")} of the maker's own</span>`}</div>`}
    ${found.length ? html`<div class="wide"><table class="list meanings"><thead><tr><th scope="col">Object</th><th scope="col">Meaning</th><th scope="col">Quantity</th><th scope="col">Unit</th><th scope="col">Phase</th><th scope="col">Tariff</th></tr></thead><tbody>${found.slice(0, most).map((row) => html`<tr key=${row.ref}><td class="mono nowrap" title=${row.ref}>${row.name}${row.class_id === null ? "" : html` <span class="quiet">class ${row.class_id}</span>`}</td>
      <td>${row.meaning || html`<span class="quiet">–</span>`}${STATUS[row.status] && html` <span class="tag">${STATUS[row.status]}</span>`}${row.own ? html` <span class="tag">maker's own</span>` : ""}</td><td class="mono">${row.key}</td><td>${row.unit}</td><td>${row.phase.toUpperCase()}</td><td class="num">${row.tariff || ""}</td></tr>`)}</tbody></table></div>` : html`<p class="empty">${rows.length ? "No object fits." : "It told no object, and no meter file fits that lists some."}</p>`}
    ${found.length > most && html`<p class="hint"><button class="tool" onClick=${() => setMost(most + 5 * PAGE)}>More of ${found.length.toLocaleString("en")} objects</button></p>`}</section>`;
}

/** What single objects held when it was examined. */
export function Held({ device }) {
  const values = Object.entries(device.values);
  if (!values.length) return null;
  return html`<section class="card" aria-label="Values"><header><h2>Values</h2><span class="quiet">as they were when it was examined</span></header>
    <div class="wide"><table class="list held"><tbody>${values.map(([ref, value]) => html`<tr key=${ref}><th scope="row" class="mono">${ref}</th><td class="mono value">${value}</td></tr>`)}</tbody></table></div></section>`;
}
