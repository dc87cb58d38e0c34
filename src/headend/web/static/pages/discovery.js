// Discovery: begin a scan, see how far each is, and who was found, as they are found.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { plural } from "../lib/format.js";
import { DEVICE_STATES, going, useDiscovered } from "../lib/discovery.js";
import { api } from "../lib/api.js";
import { Devices } from "../parts/devices.js";
import { Report, ScanForm, Scans } from "../parts/scans.js";

const PAGE = 100, SCANS = 5;
const UNKNOWN = "unknown";

export function Discovery({ id, params }) {
  return id ? html`<${OneScan} id=${id} />` : html`<${All} params=${params} />`;
}

function OneScan({ id }) {
  const [report, problem, again] = useDiscovered(() => api.scanReport(id), id, (found) => going(found.scan));
  useEffect(() => { document.title = "Scan · Headend"; }, []);
  if (!report) return html`<div class="head-line"><a class="tool" href="#/discovery" aria-label="Back to the scans">←</a><h1 tabindex="-1">Scan ${id}</h1></div><p class="empty" role="status">${problem || "Loading …"}</p>`;
  return html`<${Report} report=${report} again=${again} />`;
}

function viewFrom(params) {
  const state = params.get("state");
  return { state: state === "all" ? "" : state in DEVICE_STATES ? state : "new", vendor: params.get("vendor") || "", protocol: params.get("protocol") || "", scan: params.get("scan") || "", search: params.get("search") || "" };
}

/** Makers to choose from: those met on the pages seen, then those of the library. */
function useVendors(items) {
  const { profiles } = useStore();
  const [met, setMet] = useState(() => new Set());
  useEffect(() => { if (items.some((one) => one.vendor && !met.has(one.vendor))) setMet((old) => new Set([...old, ...items.map((one) => one.vendor).filter(Boolean)])); }, [items]);
  const others = new Set([...profiles.values()].map((one) => one.vendor).filter((name) => name && !met.has(name)));
  return [[...met].sort(), [...others].sort()];
}

const NOBODY = [];

function All({ params }) {
  const { profiles } = useStore();
  const [view, setView] = useState(() => viewFrom(params));
  const [starts, setStarts] = useState([0]);
  const [limit, setLimit] = useState(SCANS);
  useEffect(() => { document.title = "Discovery · Headend"; remember("discovery", "", { ...view, state: view.state === "new" ? "" : view.state || "all" }); }, [view]);
  const change = (next) => { setView({ ...view, ...next }); setStarts([0]); };
  const filter = { ...view, vendor: view.vendor === UNKNOWN ? [""] : view.vendor };
  const after = starts[starts.length - 1];
  const [scans, scanProblem, scansAgain] = useDiscovered(() => api.scans({ limit }), limit, (page) => page.items.some(going));
  const [page, problem] = useDiscovered(() => api.devices({ ...filter, after, limit: PAGE }), JSON.stringify([filter, after]));
  const [met, others] = useVendors(page?.items || NOBODY);
  const busy = scans?.items.filter(going).length || 0;
  const turn = (way) => setStarts(way > 0 ? [...starts, page.next] : starts.slice(0, -1));
  const choice = (name) => html`<option value=${name} selected=${view.vendor === name}>${name}</option>`;
  return html`
    <div class="head-line"><h1 tabindex="-1">Discovery</h1><span class="quiet" role="status">${scans ? (busy ? `${plural(busy, "scan")} under way` : "no scan under way") : "Loading …"}</span></div>
    <${ScanForm} targets=${params.get("targets") || ""} ports=${params.get("ports") || ""} />
    <${Scans} page=${scans} problem=${scanProblem} again=${scansAgain} more=${() => setLimit(Math.min(1000, limit * 4))} />
    <div class="filters" role="search">
      <input type="search" placeholder="Address, number, maker or model" aria-label="Only meters that hold this" value=${view.search} onInput=${(event) => change({ search: event.target.value })} />
      <div class="chips" role="group" aria-label="State">${Object.entries(DEVICE_STATES).map(([key, name]) => html`<button class="chip" aria-pressed=${view.state === key} onClick=${() => change({ state: key })}>${name}</button>`)}</div>
      <select aria-label="Maker" onChange=${(event) => change({ vendor: event.target.value })}><option value="">all makers</option>${choice(UNKNOWN)}<optgroup label="met here">${met.map(choice)}</optgroup><optgroup label="of the library">${others.map(choice)}</optgroup></select>
      <select aria-label="Protocol" onChange=${(event) => change({ protocol: event.target.value })}><option value="">all protocols</option>${[...new Set([...profiles.values()].map((one) => one.protocol))].sort().map((name) => html`<option value=${name} selected=${view.protocol === name}>${name}</option>`)}</select>
      ${view.scan && html`<span class="tag">of scan ${view.scan} <button class="bare" aria-label="Of all scans" onClick=${() => change({ scan: "" })}>×</button></span>`}
    </div>
    <${Devices} page=${page} filter=${filter} first=${(starts.length - 1) * PAGE} turn=${turn} problem=${problem} />`;
}
