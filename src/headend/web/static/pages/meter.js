// One meter: main values, a chart of any quantity over any range, all values, and what the meter itself says it has.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { POWER, loadLatest, store, useStore } from "../lib/store.js";
import { href, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { age } from "../lib/format.js";
import { PRESETS } from "../lib/series.js";
import { place, stateOf } from "../lib/words.js";
import { api } from "../lib/api.js";
import { Commands } from "../parts/commands.js";
import { Identity, MeterEvents, Settings } from "../parts/identity.js";
import { Headline, Values } from "../parts/values.js";
import { Plot, fits } from "../parts/plot.js";
import { MeterAlarms } from "../parts/alarms.js";
import { Objects } from "../parts/objects.js";
import { State } from "../parts/state.js";
import { Calendar } from "../parts/calendar.js";
import { MeterForm, RemoveMeter } from "../parts/meterform.js";
import { Performance } from "../parts/performance.js";

const USUAL = "1 h";

function rangeFrom(params) {
  const from = Number(params.get("from")), to = Number(params.get("to"));
  return to > from && from > 0 ? { from, to } : { span: PRESETS[params.get("range")] || PRESETS[USUAL] };
}

function rangeValues({ span, from, to }) {
  const name = Object.keys(PRESETS).find((one) => PRESETS[one] === span);
  return span ? { range: name === USUAL ? "" : name } : { from: Math.round(from), to: Math.round(to) };
}

/** What the chart shows; the address remembers it. */
function useView(id, params) {
  const [view, setView] = useState(() => ({ chosen: (params.get("show") || "").split(",").filter(Boolean), range: rangeFrom(params), bars: params.get("as") === "consumption" }));
  const change = (next) => {
    const made = { ...view, ...next };
    remember("meters", id, { show: made.chosen.join(), as: made.bars ? "consumption" : "", ...rangeValues(made.range) });
    setView(made);
  };
  return [view, change];
}

function ReadNow({ id }) {
  const [words, setWords] = useState("");
  const read = async () => {
    if (words === "Reading …") return;
    setWords("Reading …");
    try {
      const { values, missing } = await signedIn(() => api.read(id));
      setWords(`${values.length} values read${missing.length ? `, ${missing.length} missing` : ""}`);
    } catch (error) {
      setWords(error.message);
    }
  };
  return html`<span class="quiet" role="status">${words}</span><button class="tool" aria-disabled=${words === "Reading …"} onClick=${read}>Read now</button>`;
}

/** The device that became this meter, where a scan found it. */
function useDevice(id, url) {
  const [device, setDevice] = useState(null);
  useEffect(() => {
    let stop = false;
    setDevice(null);
    const where = url?.match(/^[^:]+:\/\/([^/?]+)/)?.[1];
    if (where) api.devices({ state: "adopted", search: where, limit: 1000 }).then((page) => !stop && setDevice(page.items.find((one) => one.meter_id === id) || null)).catch(() => {});
    return () => { stop = true; };
  }, [id, url]);
  return device;
}

export function Meter({ id, params }) {
  const { meters, loading, fleetAt } = useStore();
  const [told, setTold] = useState(null);
  const [problem, setProblem] = useState("");
  const [form, setForm] = useState("");
  const [view, change] = useView(id, params);
  const refresh = () => api.meter(id).then((meter) => { setTold(meter); setProblem(""); }).catch((error) => setProblem(error.message));
  useEffect(() => {
    refresh();
    loadLatest({ meters: id }).catch(() => {});
    const timer = setInterval(refresh, 10000);
    return () => clearInterval(timer);
  }, [id]);
  const meter = told || meters.get(id);
  const device = useDevice(id, meter?.url);
  const name = meter?.name || id;
  useEffect(() => { document.title = `${name} · Headend`; }, [name]);
  const live = store.live.get(id);
  const numbers = live ? [...live.keys()].filter((key) => typeof live.get(key).value === "number") : [];
  const usual = POWER.find((key) => numbers.includes(key)) || numbers[0];
  const chosen = view.chosen.length ? view.chosen : usual ? [usual] : [];
  const choose = (keys, add) => {
    if (!add) {
      document.querySelector(".plot")?.scrollIntoView({ block: "nearest" });
      return change({ chosen: keys });
    }
    const rest = chosen.filter((key) => !keys.includes(key));
    if (rest.length < chosen.length) return change({ chosen: rest.length ? rest : chosen });
    return change({ chosen: keys.every((key, index) => fits([...chosen, ...keys.slice(0, index)], key)) ? [...chosen, ...keys] : keys });
  };
  const back = html`<a class="tool" href=${fleetAt || "#/"} aria-label="Back to the fleet">←</a>`;
  if (!meter) return html`<div class="head-line">${back}<h1 tabindex="-1">${id}</h1></div><p class="empty" role="status">${problem || (loading ? "Loading …" : "No such meter.")}</p>`;
  const state = stateOf({ ...meter, state: meters.get(id)?.state || meter.state });
  const { last_seen: seen, last_error_code: code, last_error_text: text } = { ...meter.state, last_seen: meters.get(id)?.state?.last_seen || meter.state?.last_seen };
  return html`
    <div class="head-line">${back}<h1 tabindex="-1">${name}</h1><${State} state=${state} /><span class="where mono" title=${meter.url}>${place(meter)}</span>
      <span class="quiet num">${seen ? `last reading ${age(seen, Date.now())} ago` : "never read"}</span><span class="space"></span>${device && html`<a class="tool" href=${href("devices", device.id)}>How it was found</a>`}<a class="tool" href=${href("wire", "", { meter: id })}>Watch the wire</a><button class="tool" onClick=${() => setForm("change")}>Change</button><button class="tool" onClick=${() => setForm("remove")}>Remove</button><${ReadNow} id=${id} /></div>
    ${form === "change" && html`<${MeterForm} meter=${meter} done=${refresh} close=${() => setForm("")} />`}
    ${form === "remove" && html`<${RemoveMeter} meter=${meter} done=${() => { location.hash = fleetAt || "#/"; }} close=${() => setForm("")} />`}
    ${state === "offline" && code && html`<p class="note bad"><b>${code}</b> ${text}</p>`}
    <${Headline} id=${id} chosen=${chosen} choose=${choose} />
    <div class="cards">
      <div>
        ${chosen.length > 0 && html`<${Plot} id=${id} chosen=${chosen} range=${view.range} bars=${view.bars} keys=${numbers} change=${change} />`}
        <${Values} id=${id} chosen=${chosen} choose=${choose} />
        <${Objects} id=${id} />
        <section class="card" aria-label="Completeness"><header><h2>Completeness</h2><span class="space"></span><a class="tool" href=${href("completeness", "", { q: id })}>All meters</a></header><${Calendar} ids=${[id]} days=${31} own=${true} /></section>
        <${Performance} name="Reads of this meter" ask=${() => api.meterStatistics(id)} keys=${[id]} />
      </div>
      <aside><${MeterAlarms} id=${id} /><${Commands} id=${id} /><${Identity} meter=${meter} told=${refresh} /><${Settings} meter=${meter} /><${MeterEvents} id=${id} /></aside>
    </div>`;
}
