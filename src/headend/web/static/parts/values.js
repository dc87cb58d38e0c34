// The values of a meter: the few that everybody looks for first, and all of them in groups.

import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { ENERGY, POWER, store } from "../lib/store.js";
import { amount, moment, precise } from "../lib/format.js";
import { grouped } from "../lib/groups.js";
import { qualityWords, receiptWords } from "../lib/words.js";

const PHASES = ["l1", "l2", "l3"];
const MANY = 24;

const labelOf = (key) => store.quantities.get(key)?.label || key;
const unitOf = (key) => store.quantities.get(key)?.unit || "";

/** Click or Enter charts the value alone; with Ctrl, ⌘ or Shift it joins. */
const choosing = (keys, choose) => ({
  onClick: (event) => choose(keys, event.ctrlKey || event.metaKey || event.shiftKey),
  onKeyDown: (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    choose(keys, true);
  },
});

function Tile({ name, keys, live, chosen, choose, short }) {
  const found = keys.filter((key) => live.has(key));
  if (!found.length) return null;
  const values = found.map((key) => (live.get(key).stale ? ["–", ""] : amount(live.get(key).value, unitOf(key))));
  const chart = found.filter((key) => typeof live.get(key).value === "number");
  return html`<button class="tile" aria-pressed=${chart.length > 0 && chart.every((key) => chosen.includes(key))} disabled=${!chart.length} title=${found.map(labelOf).join(", ")}
      ...${choosing(chart, choose)}>
    <span>${name}</span>
    ${found.length === 1
      ? html`<b>${values[0][0]} <small>${values[0][1]}</small></b>`
      : html`<b class="phases">${found.map((key, index) => html`<span class=${"phase " + short[index]}><i>${short[index].toUpperCase()}</i>${values[index][0]}</span>`)} <small>${values[0][1]}</small></b>`}
  </button>`;
}

/** Power, energy, voltages, currents, power factor, frequency: as far as the meter has them. */
export function Headline({ id, chosen, choose }) {
  const live = store.live.get(id) || new Map();
  const first = (keys) => keys.filter((key) => live.has(key)).slice(0, 1);
  const phased = (stem) => PHASES.map((phase) => `${stem}_${phase}`).filter((key) => live.has(key));
  const tile = (name, keys) => html`<${Tile} key=${name} name=${name} keys=${keys} short=${keys.map((key) => key.slice(-2))} live=${live} chosen=${chosen} choose=${choose} />`;
  const back = live.get("active_power_export_total")?.value > 0 ? ["active_power_export_total"] : [];
  const fed = live.get("active_energy_export_total")?.value > 0 ? ["active_energy_export_total"] : [];
  return html`<section class="tiles headline" aria-label="Main values">
    ${tile("Power", first(POWER))}${tile("Power, export", back)}
    ${tile("Energy, import", first(ENERGY))}${tile("Energy, export", fed)}
    ${tile("Voltage", phased("voltage").length ? phased("voltage") : first(["voltage_total", "voltage_phase_avg"]))}
    ${tile("Current", phased("current").length ? phased("current") : first(["current_total"]))}
    ${tile("Power factor", first(["power_factor_total", "power_factor_l1"]))}${tile("Frequency", first(["frequency", "frequency_l1"]))}
  </section>`;
}

function Cell({ cell: { key, part, at }, live, chosen, choose }) {
  const { value, at: time, quality, received, source, changed, stale } = live.get(key);
  const [text, unit] = stale ? ["–", ""] : precise(value, unitOf(key));
  const words = qualityWords(quality);
  const long = typeof value === "string" && value.length > 14;
  return html`<button class=${`cell p${at}${long ? " long" : ""}${stale ? " quiet" : ""}${performance.now() - changed < 1200 ? " fresh" : ""}`} aria-pressed=${chosen.includes(key)} aria-disabled=${typeof value !== "number"}
      aria-label=${`${labelOf(key)}: ${text} ${unit}${words ? `, ${words}` : ""}`} title=${`${labelOf(key)}\n${stale ? "last value, " : ""}measured ${moment(time)}\n${receiptWords(source, received)}\n${words || "good"}`}
      ...${typeof value === "number" ? choosing([key], choose) : {}}>
    ${part && html`<i>${part}</i>`}<b>${text}</b> <small>${unit}</small>${words && html`<em title=${words}>!</em>`}</button>`;
}

export function Values({ id, chosen, choose }) {
  const live = store.live.get(id);
  const [text, setText] = useState("");
  const keys = live ? [...live.keys()] : [];
  const groups = useMemo(() => grouped(keys, store.quantities), [keys.length, id, store.quantities]);
  if (!live?.size) return html`<section class="card" aria-label="All values"><header><h2>All values</h2></header><p class="empty">No readings yet.</p></section>`;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ label, cells }, group) => words.every((word) => `${group} ${label} ${cells.map((cell) => cell.key).join(" ")}`.toLowerCase().includes(word));
  const found = groups.map(([name, rows]) => [name, rows.filter((row) => fits(row, name))]).filter(([, rows]) => rows.length);
  const small = matchMedia("(max-width: 700px)").matches && keys.length > MANY;
  return html`<section class="card" aria-label="All values">
    <header><h2>All values</h2><span class="quiet num">${keys.length}</span><span class="space"></span>
      <input type="search" class="small" placeholder="Filter values" aria-label="Filter values" value=${text} onInput=${(event) => setText(event.target.value)} /></header>
    ${found.map(([name, rows]) => html`<details class="group" key=${name} open=${words.length > 0 || !small}><summary>${name} <span class="quiet num">${rows.reduce((sum, row) => sum + row.cells.length, 0)}</span></summary>
      ${rows.map((row) => html`<div class="values" key=${row.stem}><span class="label">${row.label}</span>${row.cells.map((cell) => html`<${Cell} key=${cell.key} cell=${cell} live=${live} chosen=${chosen} choose=${choose} />`)}</div>`)}
    </details>`)}
    ${!found.length && html`<p class="empty">No value fits the filter.</p>`}
    <p class="hint quiet">Click a value to chart it; with Ctrl or Shift it joins the chart.</p>
  </section>`;
}
