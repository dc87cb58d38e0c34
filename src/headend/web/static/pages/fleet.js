// The fleet: totals, search and filters, one row a meter. What is searched, filtered and sorted stands in the address.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { ENERGY, POWER, VOLTAGE, firstOf, store, useStore } from "../lib/store.js";
import { href, remember } from "../lib/route.js";
import { amount, plural } from "../lib/format.js";
import { STATES, place, stateOf } from "../lib/words.js";
import { MeterForm } from "../parts/meterform.js";
import { Rows, modelOf } from "../parts/rows.js";

const SLOW = 5000; // how often the order of rows may change by itself

const valueOf = (keys) => (meter) => {
  const found = firstOf(store.live.get(meter.id), keys);
  return found && !found.stale ? found.value : -Infinity;
};
const SORTS = {
  state: (meter) => stateOf(meter), name: (meter) => meter.name || meter.id, model: (meter) => modelOf(meter) || "", address: place,
  power: valueOf(POWER), energy: valueOf(ENERGY), voltage: valueOf(VOLTAGE), seen: (meter) => meter.state?.last_seen || 0,
};
const TEXTS = new Set(["state", "name", "model", "address"]);
const natural = new Intl.Collator("en", { numeric: true }).compare;
const hays = new WeakMap();
const left = { top: 0, id: "" }; // where the list was left, for the way back

function hayOf(meter) {
  let hay = hays.get(meter);
  if (!hay) hays.set(meter, (hay = `${meter.id} ${meter.name} ${meter.profile_id} ${modelOf(meter)} ${meter.url} ${meter.identity?.serial || ""} ${(meter.tags || []).join(" ")}`.toLowerCase()));
  return hay;
}

function find({ q, state, protocol, sort, down }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = { all: 0, online: 0, offline: 0, waiting: 0, disabled: 0 };
  const found = [];
  for (const meter of store.meters.values()) {
    if (protocol && meter.protocol !== protocol) continue;
    if (words.length && !words.every((word) => hayOf(meter).includes(word))) continue;
    const is = stateOf(meter);
    counts.all += 1;
    counts[is] += 1;
    if (!state || is === state) found.push([SORTS[sort](meter), meter]);
  }
  const compare = TEXTS.has(sort) ? (a, b) => natural(a[0], b[0]) : (a, b) => a[0] - b[0];
  found.sort((a, b) => (down ? -1 : 1) * compare(a, b) || natural(a[1].id, b[1].id));
  return { found: found.map(([, meter]) => meter), counts };
}

function Tiles() {
  const { meters, status } = store;
  let online = 0, power = 0, energy = 0;
  for (const meter of meters.values()) {
    if (stateOf(meter) === "online") online += 1;
    const live = store.live.get(meter.id);
    const now = firstOf(live, POWER)?.value, total = firstOf(live, ENERGY)?.value;
    if (typeof now === "number") power += now;
    if (typeof total === "number") energy += total;
  }
  const share = meters.size ? `${(Math.floor((1000 * online) / meters.size) / 10).toLocaleString("en")} %` : "";
  const tile = (name, value, unit) => html`<div class="tile"><span>${name}</span><b>${value} <small>${unit}</small></b></div>`;
  return html`<section class="tiles" aria-label="Totals">
    ${tile("Meters", meters.size.toLocaleString("en"), "")}${tile("Online", online.toLocaleString("en"), share)}${tile("Power now", ...amount(power, "W"))}
    ${tile("Energy, all registers", ...amount(energy, "Wh"))}${tile("Readings stored", status ? status.readings_per_second.toLocaleString("en", { maximumFractionDigits: 0 }) : "–", "/s")}
  </section>`;
}

function useMedia(query) {
  const [is, setIs] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const turn = () => setIs(media.matches);
    media.addEventListener("change", turn);
    return () => media.removeEventListener("change", turn);
  }, [query]);
  return is;
}

function viewFrom(params) {
  const sort = SORTS[params.get("sort")] ? params.get("sort") : "name";
  return { q: params.get("q") || "", state: STATES.includes(params.get("state")) ? params.get("state") : "", protocol: params.get("protocol") || "", sort, down: params.get("down") === "1" };
}

function Empty({ clear }) {
  const { loading, problem, meters } = store;
  if (loading) return html`<p class="empty" role="status">Loading …</p>`;
  if (meters.size) return html`<div class="empty"><p>No meter fits.</p><button class="tool" onClick=${clear}>Show all ${meters.size.toLocaleString("en")}</button></div>`;
  if (problem) return html`<p class="empty">Nothing to show yet.</p>`;
  return html`<div class="empty"><p><b>No meters yet.</b></p><p>Start a demonstration with <span class="mono">headend demo</span>, find meters by <a href="#/discovery">Discovery</a>, or add one here.</p></div>`;
}

export function Fleet({ params }) {
  const { meters, version } = useStore();
  const [view, setView] = useState(() => viewFrom(params));
  const [form, setForm] = useState(false);
  const search = useRef(null);
  const small = useMedia("(max-width: 700px)");
  const height = small ? 56 : 46;
  const change = (next) => setView({ ...view, ...next });
  useEffect(() => {
    const { q, state, protocol, sort, down } = view;
    const values = { q, state, protocol, sort: sort === "name" ? "" : sort, down: down ? 1 : "" };
    remember("", "", values);
    store.fleetAt = href("", "", values);
  }, [view]);

  useEffect(() => {
    document.title = "Fleet · Headend";
    const slash = (event) => {
      if (event.key !== "/" || event.target.closest("input, select, textarea, dialog")) return;
      event.preventDefault();
      search.current?.focus();
      search.current?.select();
    };
    const note = () => { left.top = scrollY; left.id = document.activeElement?.dataset?.index ? decodeURIComponent(document.activeElement.getAttribute("href").split("/")[2]) : ""; };
    addEventListener("keydown", slash);
    addEventListener("hashchange", note, { capture: true });
    return () => { removeEventListener("keydown", slash); removeEventListener("hashchange", note, { capture: true }); };
  }, []);

  const slow = ["power", "energy", "voltage", "seen"].includes(view.sort) ? Math.floor(Date.now() / SLOW) : 0;
  const { found, counts } = useMemo(() => find(view), [view, version, slow, meters.size, store.profiles]);
  const protocols = useMemo(() => [...new Set([...meters.values()].map((meter) => meter.protocol))].sort(), [meters]);
  const [focus] = useState(() => { const index = left.id ? found.findIndex((meter) => meter.id === left.id) : -1; return index >= 0 ? index : null; });
  useLayoutEffect(() => { if (left.id) scrollTo({ top: left.top }); left.id = ""; }, []);

  const head = (key, label, extra = "") => html`<span role="columnheader" class=${extra} aria-sort=${view.sort === key ? (view.down ? "descending" : "ascending") : "none"}>
    <button onClick=${() => change({ sort: key, down: view.sort === key ? !view.down : !TEXTS.has(key) })}>${label}${view.sort === key && html`<i aria-hidden="true">${view.down ? "▼" : "▲"}</i>`}</button></span>`;
  const keys = (event) => {
    if (event.key === "Escape" && view.q) change({ q: "" });
    else if (event.key === "Enter" && view.q && found.length) location.hash = document.querySelector("[data-index='0']").getAttribute("href");
    else if (event.key === "ArrowDown") document.querySelector("[data-index='0']")?.focus();
    else return;
    event.preventDefault();
  };
  const clear = () => { change({ q: "", state: "", protocol: "" }); search.current?.focus(); };
  const chips = ["", ...STATES.filter((name) => name !== "disabled" || counts.disabled)];
  return html`
    <h1 tabindex="-1" class="unseen">Fleet</h1>
    <${Tiles} />
    <div class="filters" role="search">
      <input type="search" ref=${search} placeholder=${small ? "Search meters" : "Search by name, address, model, tag …   press /"} aria-label="Search meters" value=${view.q} onInput=${(event) => change({ q: event.target.value })} onKeyDown=${keys} />
      <div class="chips" role="group" aria-label="State">${chips.map((name) => html`<button class="chip" aria-pressed=${view.state === name} onClick=${() => change({ state: name })}>${name || "all"} <span class="num">${counts[name || "all"].toLocaleString("en")}</span></button>`)}</div>
      ${protocols.length > 1 && html`<select aria-label="Protocol" value=${view.protocol} onChange=${(event) => change({ protocol: event.target.value })}><option value="">all protocols</option>${protocols.map((name) => html`<option value=${name}>${name}</option>`)}</select>`}
      <button class="tool" onClick=${() => setForm(true)}>Add a meter</button>
      <select class="only-small" aria-label="Sort by" value=${view.sort} onChange=${(event) => change({ sort: event.target.value, down: !TEXTS.has(event.target.value) })}>${Object.keys(SORTS).map((key) => html`<option value=${key}>by ${key}</option>`)}</select>
    </div>
    ${form && html`<${MeterForm} done=${(id) => { location.hash = href("meters", id); }} close=${() => setForm(false)} />`}
    <p class="unseen" role="status">${plural(found.length, "meter")} shown</p>
    <div class="sheet" role="table" aria-label="Meters" aria-rowcount=${found.length + 1}>
      <div role="rowgroup"><div class="row head" role="row" aria-rowindex="1">${head("state", "State")}${head("name", "Meter")}${head("model", "Model", "wide")}${head("address", "Address", "mid")}
        ${head("power", "Power", "r")}${head("energy", "Energy", "r mid")}${head("voltage", "Voltage", "r wide")}<span role="columnheader" class="trail">Power, last hour</span>${head("seen", "Last reading", "r mid")}</div></div>
      ${found.length ? html`<${Rows} found=${found} height=${height} focus=${focus} leave=${() => search.current?.focus()} />` : html`<${Empty} clear=${clear} />`}
    </div>`;
}
