// One meter: live values, identity, a chart of any quantity over any range, and what the meter itself says it has.

import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import { POWER, store, useStore } from "../lib/store.js";
import { age, amount, moment, scaleFor } from "../lib/format.js";
import { stateOf } from "./fleet.js";
import { Chart } from "../parts/chart.js";
import { Objects } from "../parts/objects.js";
import { api } from "../lib/api.js";

const RANGES = { "15 min": 900e3, "1 h": 3600e3, "24 h": 86400e3, "7 d": 7 * 86400e3, "30 d": 30 * 86400e3, "1 y": 365 * 86400e3 };
const BUCKETS = [1e3, 5e3, 15e3, 60e3, 300e3, 900e3, 3600e3, 6 * 3600e3, 86400e3];
const POINTS = 400;
const GROUPS = [["power", /power_(?!factor)|^active_power|demand/], ["energy", /energy/], ["voltage", /^voltage/], ["current", /^current/], ["other", /./]];

const bucketFor = (span) => BUCKETS.find((size) => span / size <= POINTS) || BUCKETS[BUCKETS.length - 1];
const toLocal = (at) => { const date = new Date(at - new Date(at).getTimezoneOffset() * 60000); return date.toISOString().slice(0, 16); };

function groupOf(key) { return GROUPS.findIndex(([, pattern]) => pattern.test(key)); }

function Live({ id, chosen, choose }) {
  const live = store.live.get(id);
  if (!live?.size) return html`<p class="empty">No readings yet.</p>`;
  const keys = [...live.keys()].sort((a, b) => groupOf(a) - groupOf(b) || a.localeCompare(b, "en", { numeric: true }));
  return html`<div class="live">${keys.map((key) => {
    const { value, at, changed, quality } = live.get(key);
    const row = store.quantities.get(key);
    const [text, unit] = amount(value, row?.unit || "");
    return html`<button key=${key} class=${performance.now() - changed < 1200 ? "fresh" : ""} aria-pressed=${chosen.includes(key)} disabled=${typeof value !== "number"}
      title=${`${key} · ${moment(at)}${quality ? ` · quality ${quality}` : ""}`} onClick=${(event) => choose(key, event.ctrlKey || event.metaKey || event.shiftKey)}>
      <span>${row?.label || key}</span><b>${text} <small>${unit}</small></b></button>`;
  })}</div>`;
}

function useSeries(id, chosen, range) {
  const [data, setData] = useState(null);
  const [problem, setProblem] = useState("");
  const latest = store.live.get(id)?.get(chosen[0])?.at || 0;
  const tick = range.to ? 0 : Math.floor(latest / 5000);
  useEffect(() => {
    let stop = false;
    const end = range.to || Date.now() + 1;
    const start = range.from ?? end - range.span;
    const bucket = bucketFor(end - start);
    Promise.all(chosen.map((quantity) => api.series(id, { quantity, start: Math.floor(start), end: Math.floor(end), bucket: `${bucket / 1000}s` })))
      .then((all) => {
        if (stop) return;
        setProblem("");
        setData(join(all, bucket));
      })
      .catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [id, chosen.join(), range, tick]);
  return [data, problem];
}

/** Columns of several series on one time axis; a hole of more than one bucket and a half stays a hole. */
function join(all, bucket) {
  const times = new Set();
  const maps = all.map((one) => {
    const map = new Map();
    one.measured_at.forEach((at, index) => { if (typeof one.mean[index] === "number") { map.set(at, one.mean[index]); times.add(at); } });
    return map;
  });
  const axis = [];
  let gap = Infinity;
  const sorted = [...times].sort((a, b) => a - b);
  for (let index = 1; index < sorted.length; index += 1) gap = Math.min(gap, sorted[index] - sorted[index - 1]);
  const step = Math.max(bucket, Number.isFinite(gap) ? gap : 0) * 3;
  sorted.forEach((at, index) => {
    if (index && at - sorted[index - 1] > step) axis.push(sorted[index - 1] + 1);
    axis.push(at);
  });
  return [axis.map((at) => at / 1000), ...maps.map((map) => axis.map((at) => map.get(at) ?? null))];
}

function Plot({ id, chosen }) {
  const [name, setName] = useState("1 h");
  const [range, setRange] = useState({ span: RANGES["1 h"] });
  const [data, problem] = useSeries(id, chosen, range);
  const unit = store.quantities.get(chosen[0])?.unit || "";
  const shown = useMemo(() => {
    if (!data) return null;
    let size = 0;
    for (const column of data.slice(1)) for (const value of column) if (value !== null) size = Math.max(size, Math.abs(value));
    const scale = scaleFor(unit, size);
    return { unit: scale.unit, data: scale.factor === 1 ? data : [data[0], ...data.slice(1).map((column) => column.map((value) => (value === null ? null : value / scale.factor)))] };
  }, [data, unit]);
  const custom = (from, to) => { setName("custom"); setRange({ from, to }); };
  const to = range.to || Date.now();
  const from = range.from ?? to - range.span;
  return html`<section class="card" aria-label="Chart">
    <header><h2>${chosen.map((key) => store.quantities.get(key)?.label || key).join(", ")}${shown?.unit ? html` <span class="quiet">${shown.unit}</span>` : ""}</h2><span class="space"></span>
      <div class="segmented" role="group" aria-label="Range">${Object.entries(RANGES).map(([label, span]) => html`<button aria-pressed=${name === label} onClick=${() => { setName(label); setRange({ span }); }}>${label}</button>`)}</div>
    </header>
    ${problem ? html`<p class="note bad" role="alert">${problem}</p>` : html`<${Chart} data=${shown?.data} unit=${shown?.unit || ""} onZoom=${(a, b) => custom(a * 1000, b * 1000)}
        series=${chosen.map((key) => ({ label: store.quantities.get(key)?.label || key, points: (shown?.data[0].length || 0) < 60 }))} />`}
    <header class="filters" style=${{ margin: 0 }}>
      <label class="quiet">from <input type="datetime-local" value=${toLocal(from)} onChange=${(event) => event.target.value && custom(new Date(event.target.value).getTime(), to)} /></label>
      <label class="quiet">to <input type="datetime-local" value=${toLocal(to)} onChange=${(event) => event.target.value && custom(from, new Date(event.target.value).getTime())} /></label>
      <span class="quiet hide-small">Draw over the chart to look closer. Ctrl-click values to compare.</span>
    </header>
  </section>`;
}

export function Meter({ id }) {
  const { meters, loading } = useStore();
  const [meter, setMeter] = useState(meters.get(id) || null);
  const [problem, setProblem] = useState("");
  const [chosen, setChosen] = useState([]);
  useEffect(() => {
    document.title = `${meters.get(id)?.name || id} · Headend`;
    const fetch = () => api.meter(id).then(setMeter).catch((error) => setProblem(error.message));
    fetch();
    const timer = setInterval(fetch, 10000);
    return () => clearInterval(timer);
  }, [id]);
  const live = store.live.get(id);
  const usual = live && (POWER.find((key) => live.has(key)) || [...live.keys()].find((key) => typeof live.get(key).value === "number"));
  const shown = chosen.length ? chosen : usual ? [usual] : [];
  const choose = (key, add) => setChosen(() => {
    const unit = store.quantities.get(key)?.unit;
    if (!add || store.quantities.get(shown[0])?.unit !== unit) return [key];
    return shown.includes(key) ? shown.filter((one) => one !== key) : [...shown, key];
  });
  if (!meter) return html`<p class="empty" role="status">${problem || (loading ? "Loading …" : "No such meter.")} <a href="#/">Back to the fleet</a></p>`;
  const known = meters.get(id) || meter;
  const state = stateOf({ ...meter, state: known.state || meter.state });
  const identity = Object.entries(meter.identity || {}).filter(([, value]) => value);
  const fact = (name, value) => html`<dt>${name}</dt><dd>${value || "–"}</dd>`;
  return html`
    <div class="head-line"><a class="tool" href="#/" aria-label="Back to the fleet">←</a><span class=${"dot " + state} title=${state}></span>
      <h1>${meter.name || meter.id}</h1><span class="where mono">${meter.url}</span><span class="quiet">${state}, seen ${age((known.state || meter.state)?.last_seen, Date.now())} ago</span></div>
    ${state === "offline" && meter.state?.last_error_code && html`<p class="note bad">${meter.state.last_error_code}: ${meter.state.last_error_text}</p>`}
    <div class="cards">
      <div>
        <section class="card" aria-label="Live values"><header><h2>Live values</h2></header><${Live} id=${id} chosen=${shown} choose=${choose} /></section>
        ${shown.length > 0 && html`<${Plot} id=${id} chosen=${shown} />`}
        <${Objects} id=${id} />
      </div>
      <aside>
        <section class="card" aria-label="Identity"><header><h2>Identity</h2></header><div class="body"><dl class="facts">
          ${identity.length ? identity.map(([name, value]) => fact(name.replaceAll("_", " "), value)) : html`<dt class="quiet">the meter has not said yet</dt><dd></dd>`}</dl></div></section>
        <section class="card" aria-label="Settings"><header><h2>Settings</h2></header><div class="body"><dl class="facts">
          ${fact("id", meter.id)}${fact("protocol", `${meter.protocol}${meter.framing ? ` (${meter.framing})` : ""}`)}${fact("meter file", meter.profile_id)}
          ${fact("polled", meter.enabled === false ? "no" : meter.poll_seconds ? `every ${meter.poll_seconds} s` : "no")}${fact("tags", (meter.tags || []).join(", "))}
          ${fact("reads", meter.state ? `${(meter.state.reads_ok ?? 0).toLocaleString("en")} well, ${(meter.state.reads_failed ?? 0).toLocaleString("en")} failed` : "")}
        </dl></div></section>
      </aside>
    </div>`;
}
