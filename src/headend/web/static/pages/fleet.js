// The fleet: totals, search and filters, one row a meter. Only the rows in view are in the document, so that ten
// thousand meters scroll like ten.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { ENERGY, POWER, firstOf, prepend, store, useStore } from "../lib/store.js";
import { age, amount, plural } from "../lib/format.js";
import { Sparkline } from "../parts/sparkline.js";
import { api } from "../lib/api.js";

const STATES = ["all", "online", "offline", "waiting"];
const asked = new Set();

export function stateOf(meter) {
  if (meter.enabled === false) return "disabled";
  if (meter.state?.online) return "online";
  return meter.state?.last_error_code || meter.state?.last_seen ? "offline" : "waiting";
}

const SORTS = {
  name: (meter) => meter.name || meter.id,
  model: (meter) => meter.profile_id || "",
  power: (meter) => firstOf(store.live.get(meter.id), POWER)?.value ?? -Infinity,
  energy: (meter) => firstOf(store.live.get(meter.id), ENERGY)?.value ?? -Infinity,
  seen: (meter) => meter.state?.last_seen || 0,
};

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function Tiles() {
  const { meters, status } = useStore();
  let online = 0, power = 0, energy = 0;
  for (const meter of meters.values()) {
    if (stateOf(meter) === "online") online += 1;
    const now = firstOf(store.live.get(meter.id), POWER)?.value;
    const total = firstOf(store.live.get(meter.id), ENERGY)?.value;
    if (typeof now === "number") power += now;
    if (typeof total === "number") energy += total;
  }
  const tile = (value, unit, label) => html`<div class="tile"><b>${value} <small>${unit}</small></b><span>${label}</span></div>`;
  return html`<section class="tiles" aria-label="Totals">
    ${tile(meters.size.toLocaleString("en"), "", "meters")}
    ${tile(online.toLocaleString("en"), meters.size ? `${Math.round((100 * online) / meters.size)} %` : "", "online")}
    ${tile(...amount(power, "W"), "power now")}
    ${tile(...amount(energy, "Wh"), "energy, all meters")}
    ${tile(status ? (status.readings_per_second ?? 0).toLocaleString("en", { maximumFractionDigits: 0 }) : "–", "/s", "readings")}
  </section>`;
}

function Row({ meter, top, height }) {
  const live = store.live.get(meter.id);
  const state = stateOf(meter);
  const power = firstOf(live, POWER), energy = firstOf(live, ENERGY), volts = firstOf(live, ["voltage_l1", "voltage_total"]);
  const seen = meter.state?.last_seen;
  const show = (reading, unit) => { const [text, symbol] = amount(reading?.value, unit); return html`${text} <span class="quiet">${symbol}</span>`; };
  return html`<a class="row" role="row" href=${`#/meters/${encodeURIComponent(meter.id)}`} style=${{ top: `${top}px`, height: `${height}px` }}>
    <span role="cell"><span class=${"dot " + state} title=${state}></span><span class="skip">${state}</span></span>
    <span role="cell" class="name"><b>${meter.name || meter.id}</b><small>${meter.name ? meter.id : meter.protocol}</small></span>
    <span role="cell" class="quiet mid wide">${meter.profile_id || "–"}</span>
    <span role="cell" class="mid">${state === "offline" && meter.state?.last_error_code ? html`<span class="fault" title=${meter.state.last_error_text}>${meter.state.last_error_code}: ${meter.state.last_error_text}</span>` : html`<span class="quiet mono">${meter.url}</span>`}</span>
    <span role="cell" class="r num">${show(power, "W")}</span>
    <span role="cell" class="r num mid">${show(energy, "Wh")}</span>
    <span role="cell" class="r num mid wide">${show(volts, "V")}</span>
    <span role="cell"><${Sparkline} points=${store.trail.get(meter.id)} /></span>
    <span role="cell" class="r quiet num mid">${age(seen, Date.now())}</span>
  </a>`;
}

function useWindow(ref, count, height) {
  const [range, setRange] = useState([0, 40]);
  useLayoutEffect(() => {
    const look = () => {
      if (!ref.current) return;
      const above = Math.max(0, -ref.current.getBoundingClientRect().top);
      const first = Math.max(0, Math.floor(above / height) - 8);
      const last = Math.min(count, Math.ceil((above + innerHeight) / height) + 8);
      setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => { removeEventListener("scroll", look); removeEventListener("resize", look); };
  }, [count, height]);
  return range;
}

/** Ask once for the last hour of power of the meters in view, a few at a time. */
function usePast(visible) {
  useEffect(() => {
    let stop = false;
    const timer = setTimeout(async () => {
      for (const meter of visible) {
        if (stop) return;
        if (asked.has(meter.id)) continue;
        asked.add(meter.id);
        const key = POWER.find((name) => store.live.get(meter.id)?.has(name));
        if (!key) { asked.delete(meter.id); continue; }
        try {
          const end = Date.now();
          const past = await api.series(meter.id, { quantity: key, start: end - 3600000, end, bucket: "60s" });
          prepend(meter.id, past.measured_at.map((at, index) => [at, past.mean[index]]));
        } catch { /* the feed will draw it */ }
      }
    }, 300);
    return () => { stop = true; clearTimeout(timer); };
  }, [visible.map((meter) => meter.id).join()]);
}

export function Fleet() {
  const { meters, loading } = useStore();
  const [text, setText] = useState("");
  const [state, setState] = useState("all");
  const [protocol, setProtocol] = useState("");
  const [sort, setSort] = useState({ key: "name", down: false });
  const list = useRef(null);
  const search = useRef(null);
  const height = matchMedia("(max-width: 700px)").matches ? 54 : 44;

  useEffect(() => {
    document.title = "Fleet · Headend";
    const slash = (event) => {
      if (event.key !== "/" || event.target.closest("input, select, textarea, dialog")) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);

  const counts = { all: 0, online: 0, offline: 0, waiting: 0 };
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const protocols = useMemo(() => [...new Set([...meters.values()].map((meter) => meter.protocol))].sort(), [meters]);
  const found = [];
  for (const meter of meters.values()) {
    const hay = `${meter.id} ${meter.name} ${meter.profile_id} ${meter.url} ${(meter.tags || []).join(" ")}`.toLowerCase();
    if (!words.every((word) => hay.includes(word)) || (protocol && meter.protocol !== protocol)) continue;
    const is = stateOf(meter);
    counts.all += 1;
    if (is in counts) counts[is] += 1;
    if (state === "all" || is === state) found.push(meter);
  }
  const by = SORTS[sort.key];
  found.sort((a, b) => (sort.down ? -1 : 1) * compare(by(a), by(b)) || compare(a.id, b.id));
  const [first, last] = useWindow(list, found.length, height);
  const visible = found.slice(first, last);
  usePast(visible);

  const head = (key, label, extra = "") => html`<span role="columnheader" class=${extra} aria-sort=${sort.key === key ? (sort.down ? "descending" : "ascending") : "none"}>
    <button onClick=${() => setSort({ key, down: sort.key === key ? !sort.down : key !== "name" && key !== "model" })}>${label}${sort.key === key ? (sort.down ? " ↓" : " ↑") : ""}</button></span>`;
  const move = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("a.row");
    if (!step || !row) return;
    event.preventDefault();
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  };
  return html`
    <${Tiles} />
    <div class="filters" role="search">
      <input type="search" ref=${search} placeholder="Search name, id, model, address, tag    ( / )" aria-label="Search meters" value=${text} onInput=${(event) => setText(event.target.value)} />
      ${STATES.map((name) => html`<button class="chip" aria-pressed=${state === name} onClick=${() => setState(name)}>${name}<span class="num">${counts[name].toLocaleString("en")}</span></button>`)}
      ${protocols.length > 1 && html`<select aria-label="Protocol" value=${protocol} onChange=${(event) => setProtocol(event.target.value)}><option value="">all protocols</option>${protocols.map((name) => html`<option>${name}</option>`)}</select>`}
    </div>
    <div class="sheet" role="table" aria-label=${plural(found.length, "meter")} aria-rowcount=${found.length}>
      <div class="row head" role="row"><span role="columnheader"></span>${head("name", "Meter")}${head("model", "Model", "mid wide")}<span role="columnheader" class="mid">Address</span>
        ${head("power", "Power", "r")}${head("energy", "Energy", "r mid")}<span role="columnheader" class="r mid wide">Voltage</span><span role="columnheader">Last hour</span>${head("seen", "Seen", "r mid")}</div>
      ${found.length
        ? html`<div class="window" ref=${list} role="rowgroup" style=${{ height: `${found.length * height}px` }} onKeyDown=${move}>
            ${visible.map((meter, index) => html`<${Row} key=${meter.id} meter=${meter} top=${(first + index) * height} height=${height} />`)}</div>`
        : html`<p class="empty">${loading ? "Loading …" : meters.size ? "No meter fits the search." : "No meters yet. Add one with POST /api/v1/meters, or run headend demo."}</p>`}
    </div>`;
}
