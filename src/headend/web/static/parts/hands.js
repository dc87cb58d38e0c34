// Hands on virtual meters: which of them, what is to be wrong with them, off and on, and the clock of them all.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { FAULTS, LAYERS } from "../lib/faults.js";
import { moment, plural } from "../lib/format.js";
import { api } from "../lib/api.js";

const REBOOT_SECONDS = 10;
const touched = (word) => ({ meters }) => `${plural(meters, "meter")} ${word}`;

function Breaking({ kinds, selection, work }) {
  const [kind, setKind] = useState("silent");
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const body = { ...selection, kind, share: Number(form.get("share")) / 100, chance: Number(form.get("chance")) / 100, seconds: Number(form.get("seconds")) };
    work(() => api.breakMeters(body), touched(`broken: ${kind}`));
  };
  return html`<form class="fields" onSubmit=${submit} aria-label="Break">
      <label>What is to be wrong<select value=${kind} onChange=${(event) => setKind(event.target.value)}>${Object.entries(LAYERS).map(([layer, name]) => html`<optgroup label=${name}>${kinds.filter((one) => one.layer === layer).map((one) => html`<option value=${one.kind} selected=${one.kind === kind}>${one.kind}</option>`)}</optgroup>`)}</select></label>
      <label>Of the meters, %<input name="share" type="number" min="0.1" max="100" step="any" required defaultValue="100" /></label>
      <label>Of their answers, %<input name="chance" type="number" min="0.1" max="100" step="any" required defaultValue="100" /></label>
      <label>Seconds<input name="seconds" type="number" min="0" max="3600" step="any" required defaultValue="2" /></label>
      <button class="tool primary">Break</button> <button type="button" class="tool" onClick=${() => work(() => api.mendMeters({ ...selection, kinds: [kind] }), touched(`mended of ${kind}`))}>Mend this</button>
    </form><p class="quiet says" role="note">${FAULTS[kind] || kind}</p>`;
}

/** What is done to the meters of a group, or to those whose name fits a pattern, or to all. */
export function Hands({ view, change, groups, work }) {
  const [kinds, setKinds] = useState([]);
  useEffect(() => { api.faults().then(({ items }) => setKinds(items)).catch(() => {}); }, []);
  const selection = { group: view.group, name: view.name };
  const act = (label, action, word) => html`<button class="tool" onClick=${() => work(() => action(selection), touched(word))}>${label}</button>`;
  return html`<section class="card" aria-label="Break and mend"><header><h2>Break and mend</h2></header><div class="body">
      <div class="fields"><label>Of the group<select value=${view.group} onChange=${(event) => change({ group: event.target.value })}><option value="">all groups</option>${groups.map((one) => html`<option value=${one.group} selected=${one.group === view.group}>${one.group}</option>`)}</select></label>
        <label>Whose name fits<input type="search" placeholder="all names; house-* for some" value=${view.name} onInput=${(event) => change({ name: event.target.value.trim() })} /></label></div>
      <${Breaking} kinds=${kinds} selection=${selection} work=${work} />
      <div class="bar">${act("Mend everything", (chosen) => api.mendMeters(chosen), "mended")}
        ${act("Switch off", api.stopMeters, "switched off")}${act("Switch on", api.startMeters, "switched on")}
        ${act("Reboot", (chosen) => api.rebootMeters({ ...chosen, seconds: REBOOT_SECONDS }), "rebooting")}</div>
    </div></section>`;
}

/** The clock of all virtual meters: what it shows, and how fast it goes. */
export function Clock({ at, speed, work }) {
  const set = (body) => work(() => api.setClock(body), (told) => `the clock shows ${moment(told.at)}, at speed ${told.speed}`);
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const when = form.get("at") ? new Date(form.get("at")).getTime() : null;
    set({ at: when, speed: form.get("speed") ? Number(form.get("speed")) : null });
  };
  return html`<section class="card" aria-label="Clock"><header><h2>Clock of all virtual meters</h2><span class="quiet num">${at === null ? "" : `${moment(at)}, ${speed === 1 ? "as fast as ours" : `${speed} times as fast as ours`}`}</span></header>
    <form class="body fields" onSubmit=${submit}><label>Let it show<input type="datetime-local" step="1" name="at" /></label>
      <label>Seconds that pass in a second<input type="number" name="speed" min="0.001" step="any" placeholder=${speed ?? 1} /></label>
      <button class="tool">Set</button><button type="button" class="tool" onClick=${() => set({ at: Date.now(), speed: 1 })}>As ours</button></form></section>`;
}
