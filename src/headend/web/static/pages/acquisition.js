// Acquisition: how well meters are reached, wire by wire: circuits, lateness, round trips saved; and the fleet over 24 hours.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { href, meterLink, remember } from "../lib/route.js";
import { plural } from "../lib/format.js";
import { span } from "../lib/alarms.js";
import { api } from "../lib/api.js";
import { Performance } from "../parts/performance.js";

const AGAIN = 3000;
const SHOWN = 200;
const CHOICES = { "": "all wires", troubled: "with trouble" };
const DOTS = { closed: "online", open: "offline", "half-open": "waiting", locked: "offline" };

const percent = (share) => `${(Math.floor(share * 1000) / 10).toLocaleString("en")} %`;
const seconds = (value) => (value === null || value === undefined ? "–" : value < 1 ? `${Math.round(value * 1000)} ms` : value < 10 ? `${value.toFixed(1)} s` : span(value));

function Circuit({ standing }) {
  const more = standing.state === "open" && standing.retry_in !== null ? ` for ${span(standing.retry_in)}` : "";
  return html`<span class=${`state ${DOTS[standing.state]}`}><i class="dot"></i>${standing.state}${more}</span>`;
}

function Trouble({ standing }) {
  return html`<div class="trouble"><a href=${meterLink(standing.name)}>${standing.name}</a> <${Circuit} standing=${standing} /> <span class="quiet">${[standing.failures && `${plural(standing.failures, "failure")} in a row`, standing.reopenings && `reopened ${standing.reopenings} times within an hour`, standing.reason].filter(Boolean).join(", ")}</span></div>`;
}

function Wire({ wire, lane, now }) {
  const troubled = lane?.troubled || [];
  const circuit = lane?.wire || { state: wire.circuit, retry_in: null, reason: "" };
  return html`<tr><td class="nowrap"><${Circuit} standing=${circuit} /></td><th scope="row" class="mono">${wire.wire}${lane?.networks.map((name) => html` <span class="tag">${name}</span>`)}</th>
    <td class="r num">${wire.meters.toLocaleString("en")}${wire.failing > 0 && html` <span class="quiet nowrap">${wire.failing} fail</span>`}</td><td class="r num">${wire.waiting}</td><td class="r num nowrap">${percent(wire.busy_ratio)}</td>
    <td class="r num nowrap">${seconds(wire.lateness_p50)} <span class="quiet">/ ${seconds(wire.lateness_p99)}</span></td><td class="r num">${wire.singles ? percent(1 - wire.requests / wire.singles) : "–"}</td>
    <td class="why">${circuit.reason && html`<div>${circuit.reason}</div>`}${troubled.slice(0, 5).map((one) => html`<${Trouble} key=${one.name} standing=${one} now=${now} />`)}${troubled.length > 5 && html`<span class="quiet">and ${troubled.length - 5} more</span>`}</td></tr>`;
}

function Totals({ page }) {
  const tile = (name, value, unit) => html`<div class="tile"><span>${name}</span><b>${value} <small>${unit}</small></b></div>`;
  const times = page.requests ? (page.singles / page.requests).toLocaleString("en", { maximumFractionDigits: 1 }) : "–";
  return html`<section class="tiles" aria-label="Totals">${tile("Meters polled", page.meters.toLocaleString("en"), "")}${tile("Wires", page.wires.toLocaleString("en"), "")}
    ${tile("Reads under way", page.in_flight.toLocaleString("en"), "")}${tile("Requests sent", page.requests.toLocaleString("en"), "")}${tile("Values a round trip", times, "")}</section>`;
}

export function Acquisition({ params }) {
  useStore();
  const [choice, choose] = useState(() => (params.get("only") in CHOICES ? params.get("only") : ""));
  const [search, setSearch] = useState(() => params.get("search") || "");
  const [page, problem] = useAsked(() => api.acquisition({ search, troubled: choice === "troubled", limit: SHOWN }), [choice, search], AGAIN);
  const [lanes, trouble] = useAsked(() => api.lanes({ troubled: true, limit: 1000 }), [], AGAIN);
  useEffect(() => { document.title = "Acquisition · Headend"; remember("acquisition", "", { only: choice, search }); }, [choice, search]);
  const known = new Map((lanes?.items || []).map((lane) => [lane.wire.name, lane]));
  const found = page?.items || [];
  return html`
    <div class="head-line"><h1 tabindex="-1">Acquisition</h1><span class="quiet" role="status">${!page ? "Loading …" : page.troubled ? `${plural(page.troubled, "wire")} with trouble` : "no wire has trouble"}</span></div>
    ${(problem || trouble) && html`<p class="note bad" role="alert">${problem || trouble}</p>`}
    ${page && html`<${Totals} page=${page} />`}
    <${Performance} name="All meters" ask=${api.statistics} keys=${[]} />
    <div class="filters" role="search"><input type="search" placeholder="Wire or meter" aria-label="Only what holds this" value=${search} onInput=${(event) => setSearch(event.target.value)} />
      <div class="chips" role="group" aria-label="Which wires">${Object.entries(CHOICES).map(([key, name]) => html`<button class="chip" aria-pressed=${choice === key} onClick=${() => choose(key)}>${name}</button>`)}</div></div>
    <section class="card" aria-label="Wires"><header><h2>Wires</h2>${page && html`<span class="quiet num">${page.found.toLocaleString("en")}</span>`}<span class="space"></span><a class="tool" href=${href("connections")}>Meters that dial in</a></header>
      ${found.length ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col">Circuit</th><th scope="col">Wire</th><th scope="col" class="r">Meters</th><th scope="col" class="r">Waiting</th><th scope="col" class="r">Busy</th><th scope="col" class="r" title="From being due to being read: half of the reads, 99 % of them">Late</th><th scope="col" class="r">Saved</th><th scope="col">Trouble</th></tr></thead>
        <tbody>${found.map((wire) => html`<${Wire} key=${wire.wire} wire=${wire} lane=${known.get(wire.wire)} />`)}</tbody></table></div>`
    : html`<p class="empty">${page ? "No wire fits." : "Loading …"}</p>`}
      ${page && page.found > found.length && html`<p class="hint">The first ${found.length} of ${page.found.toLocaleString("en")}: search for the others.</p>`}
      ${page && html`<p class="hint">Late: from being due to being read, half of the reads and 99 % of them. Saved: round trips, against one for each value.</p>`}</section>`;
}
