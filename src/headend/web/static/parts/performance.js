// How well meters were reached over the last 24 hours: figures, and three charts by quarters of an hour.

import { html, useState } from "../vendor/preact-htm.js";
import { useAsked } from "../lib/asked.js";
import { moment } from "../lib/format.js";
import { size } from "../lib/octets.js";
import { Chart } from "./chart.js";

const AGAIN = 60000;
const SLOT = 900;
const share = (ratio) => (ratio === null ? "–" : `${(Math.floor(ratio * 10000) / 100).toLocaleString("en")} %`);
const took = (seconds) => (seconds === null ? "–" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
const VIEWS = {
  "time of a read": { series: [{ name: "half of them", unit: "ms", colour: 0 }, { name: "99 %", unit: "ms", colour: 3 }], columns: (slot) => [slot.read_seconds_p50, slot.read_seconds_p99].map((one) => (one === null ? null : one * 1000)) },
  reads: { series: [{ name: "went well", unit: "1", colour: 1 }, { name: "failed", unit: "1", colour: 5 }], columns: (slot) => [slot.reads_ok, slot.reads_failed] },
  "success": { series: [{ name: "success", unit: "%", colour: 1 }], columns: (slot) => [slot.success_ratio === null ? null : slot.success_ratio * 100] },
  octets: { series: [{ name: "octets a second, both ways", unit: "B/s", colour: 2 }], columns: (slot) => [slot.octets_per_second] },
};

function Legend({ series, slot, columns }) {
  const values = slot ? columns(slot) : [];
  return html`<p class="hint key">${series.map((one, index) => html`<span class="nowrap"><i class=${`swatch c${one.colour + 1}`}></i>${one.name}${slot && values[index] !== null ? html` <b class="num">${values[index].toLocaleString("en", { maximumFractionDigits: 1 })} ${one.unit === "1" ? "" : one.unit}</b>` : ""}</span> `)}${slot && html`<span class="quiet nowrap">${moment(slot.start)}</span>`}</p>`;
}

/** `ask` gives what statistics say; asked anew when `keys` change. */
export function Performance({ name, ask, keys }) {
  const [page, problem] = useAsked(ask, keys, AGAIN);
  const [view, setView] = useState("time of a read");
  const [at, setAt] = useState(null);
  const total = page?.total;
  const { series, columns } = VIEWS[view];
  const slots = page?.slots || [];
  const rows = slots.map(columns);
  const data = [slots.map((slot) => slot.start / 1000), ...series.map((_, index) => rows.map((row) => row[index]))];
  const fact = (label, value) => html`<div><dt>${label}</dt><dd class="num">${value}</dd></div>`;
  return html`<section class="card performance" aria-label=${`Performance: ${name}`}><header><h2>${name}, 24 hours</h2><span class="space"></span>
      <div class="chips" role="group" aria-label="What is shown">${Object.keys(VIEWS).map((one) => html`<button class="chip" aria-pressed=${view === one} onClick=${() => setView(one)}>${one}</button>`)}</div></header>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${total && html`<dl class="figures">${fact("Success", share(total.success_ratio))}${fact("Reads", (total.reads_ok + total.reads_failed).toLocaleString("en"))}${fact("Failed", total.reads_failed.toLocaleString("en"))}
      ${fact("Mean", took(total.read_seconds_mean))}${fact("Fastest", took(total.read_seconds_fastest))}${fact("Slowest", took(total.read_seconds_slowest))}${fact("90 %", took(total.read_seconds_p90))}${fact("99 %", took(total.read_seconds_p99))}
      ${fact("Requests", total.requests.toLocaleString("en"))}${fact("Received", size(total.octets_in))}${fact("Sent", size(total.octets_out))}${fact("Sessions", total.sessions.toLocaleString("en"))}
      ${fact("Reconnections", total.reconnections.toLocaleString("en"))}${total.cache_hit_ratio !== null && fact("Scalers remembered", share(total.cache_hit_ratio))}${fact("Delivered", total.messages.toLocaleString("en"))}${fact("Delivered late", total.messages_late.toLocaleString("en"))}</dl>`}
    ${slots.length > 0 ? html`<${Chart} data=${data} series=${series} from=${page.start / 1000} to=${page.end / 1000 + SLOT} label=${`${view} of ${name} over 24 hours`} onZoom=${() => {}} onCursor=${(index) => setAt(index)} />
      <${Legend} series=${series} columns=${columns} slot=${at === null ? slots[slots.length - 1] : slots[at]} />`
    : html`<p class="empty">${page ? "Nothing was read in this time." : problem ? "" : "Loading …"}</p>`}</section>`;
}
