// The rules of alarms, for all meters, for those of a meter file, or for one; what is set at a level, and trying it on the past.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { store, useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { amount, moment, plural } from "../lib/format.js";
import { SEVERITIES, alarmText, span } from "../lib/alarms.js";
import { EVENT_TYPES } from "../lib/words.js";
import { api } from "../lib/api.js";
import { Ask } from "../parts/alarms.js";

const LEVELS = { global: "all meters", profile: "a meter file", meter: "one meter" };
const LAYERS = { settings: "settings", global: "set for all", file: "meter file", profile: "set for the file", meter: "set for the meter" };
const RATINGS = { nominal_voltage: ["Nominal voltage", "V"], rated_current: ["Rated current", "A"], rated_power: ["Rated power", "W"], utc_offset: ["Clock ahead of UTC", "min"] };
const RANGES = { "24 hours": 1, "7 days": 7, "30 days": 30 };
const WORDS = {
  label: "Name", severity: "Severity", enabled: "In use", quantity: "Quantity (voltage: of any phase)", comparison: "Comparison", threshold: "Threshold", percent: "Threshold, % of the rating",
  clear: "Cleared at", hysteresis: "Hysteresis, % of it", hold_seconds: "Must hold for, s", event: "Or an event that raises it", until: "Event that clears it",
  flap_changes: "Flaps from … alarms", flap_seconds: "… within, s", load: "With a load from, W",
};
const CHOICES = { severity: SEVERITIES, comparison: [">", ">=", "<", "<=", "==", "!="], enabled: ["true", "false"], event: EVENT_TYPES.filter((type) => !type.startsWith("ALARM_")), until: EVENT_TYPES.filter((type) => !type.startsWith("ALARM_")) };
const TEXTS = new Set(["label", "quantity", "severity", "comparison", "event", "until"]);
const OWN = { id: "", label: "", fields: ["label", "quantity", "comparison", "threshold", "event", "until", "severity", "enabled", "clear", "hysteresis", "hold_seconds", "flap_changes", "flap_seconds"], set: {} };

const ORDER = Object.keys(WORDS);

const shown = (value, unit) => amount(value, unit).join(" ").trim();

function condition(rule) {
  if (rule.event) return `${rule.event}${rule.until ? ` until ${rule.until}` : ""}`;
  if (rule.kind === "COMMUNICATION_LOST") return rule.threshold === null ? "no reading for 5 polls, at least 5 min" : `no reading for ${span(rule.threshold)}`;
  if (rule.threshold === null) return rule.rating ? `${rule.comparison} ${rule.percent} % of ${RATINGS[rule.rating][0].toLowerCase()}, which is not known` : "nothing to compare with";
  if (typeof rule.threshold === "boolean") return rule.kind === "RELAY_TRIPPED" ? "the relay is open" : `${rule.comparison} ${rule.threshold}`;
  const limit = typeof rule.threshold === "number" ? shown(rule.threshold, rule.unit) : rule.threshold;
  return `${rule.comparison} ${limit}${rule.percent === null ? "" : ` (${rule.percent} % of ${RATINGS[rule.rating][0].toLowerCase()})`}`;
}

/** The fields of a form that were filled in, as the head-end takes them. */
function filled(form, names) {
  const fields = {};
  for (const name of names) {
    const text = (form.get(name) ?? "").trim();
    if (!text) continue;
    if (name === "enabled") fields[name] = text === "true";
    else if (TEXTS.has(name)) fields[name] = text;
    else fields[name] = text === "true" || text === "false" ? text === "true" : Number.isNaN(Number(text)) ? text : Number(text);
  }
  return fields;
}

function Field({ name, rule, mine }) {
  const general = rule[name] === null || rule[name] === undefined ? "" : String(rule[name]);
  const value = mine[name] === undefined ? "" : String(mine[name]);
  if (CHOICES[name]) {
    const word = (key) => (name === "enabled" ? (key === "true" ? "yes" : "no") : key);
    return html`<label>${WORDS[name]}<select name=${name}><option value="" selected=${!value}>${general ? `as it is: ${word(general)}` : "–"}</option>${CHOICES[name].map((key) => html`<option value=${key} selected=${value === key}>${word(key)}</option>`)}</select></label>`;
  }
  return html`<label>${WORDS[name]}<input name=${name} defaultValue=${value} placeholder=${general} list=${name === "quantity" ? "quantities" : null} inputmode=${TEXTS.has(name) ? null : "decimal"} autocomplete="off" /></label>`;
}

/** What the rule, as the form has it, would have raised. */
function Trial({ rule, form, meter }) {
  const [told, setTold] = useState(null);
  const [at, setAt] = useState(meter || [...store.meters.values()].find((one) => one.state?.online)?.id || "");
  const [days, setDays] = useState(1);
  const run = async () => {
    setTold({ text: "Trying …", items: [] });
    try {
      const given = new FormData(form.current);
      const body = { meter_id: at, rule: rule.id || given.get("id") || "own", fields: filled(given, rule.fields), start: Date.now() - days * 86400e3 };
      const { items } = await signedIn(() => api.tryRule(body));
      setTold({ text: `${plural(items.length, "alarm")} would have been raised`, items });
    } catch (error) { setTold({ text: error.message, items: [] }); }
  };
  return html`<fieldset class="trial"><legend>Try it on the past</legend><div class="bar">
      <input aria-label="Meter to try it on" value=${at} onInput=${(event) => setAt(event.target.value)} />
      <select aria-label="How far back" onChange=${(event) => setDays(Number(event.target.value))}>${Object.entries(RANGES).map(([name, one]) => html`<option value=${one}>${name}</option>`)}</select>
      <button type="button" class="tool" onClick=${run}>Try</button></div>
    ${told && html`<p role="status">${told.text}</p>`}
    ${told?.items.length > 0 && html`<ul>${told.items.slice(-8).toReversed().map((alarm) => html`<li class="num">${moment(alarm.raised_at)} ${alarm.phase.toUpperCase()} <span class="quiet">${alarmText(alarm)}${alarm.cleared_at ? `, for ${span((alarm.cleared_at - alarm.since) / 1000)}` : ", still active"}</span></li>`)}</ul>`}
  </fieldset>`;
}

function Change({ rule, mine, level, subject, done, close }) {
  const place = useRef(null);
  const form = { get current() { return place.current?.closest("form"); } };
  const submit = async (given) => {
    const id = rule.id || given.get("id").trim();
    const fields = filled(given, rule.fields);
    if (Object.keys(fields).length) await api.putRule(level, subject, id, fields);
    else if (Object.keys(mine).length) await api.deleteRule(level, subject, id);
    await done();
  };
  return html`<${Ask} title=${rule.id ? rule.label : "A rule of your own"} action="Save" submit=${submit} close=${close} undo=${Object.keys(mine).length > 0 && (async () => { await api.deleteRule(level, subject, rule.id); await done(); })}>
    <p class="quiet" ref=${place}>Set for ${LEVELS[level]}${subject && ` ${subject}`}. What is left empty stays as it is at the more general levels.</p>
    <div class="rule-fields">${!rule.id && html`<label>Short name (a-z, 0-9, -)<input name="id" required pattern="[a-z0-9][a-z0-9._\\-]{0,63}" autocomplete="off" /></label>`}
      ${ORDER.filter((name) => rule.fields.includes(name)).map((name) => html`<${Field} key=${name} name=${name} rule=${rule} mine=${mine} />`)}</div>
    <datalist id="quantities">${[...store.quantities.keys()].filter((key) => rule.fields.includes("quantity") && !key.includes("demand")).map((key) => html`<option value=${key} />`)}</datalist>
    ${rule.id !== "communication_lost" && html`<${Trial} rule=${rule} form=${form} meter=${level === "meter" ? subject : ""} />`}<//>`;
}

function Ratings({ told, mine, level, subject, done }) {
  const [asked, setAsked] = useState(false);
  const names = Object.keys(RATINGS);
  const submit = async (form) => {
    const fields = filled(form, names);
    if (Object.keys(fields).length) await api.putRule(level, subject, "ratings", fields);
    else if (Object.keys(mine).length) await api.deleteRule(level, subject, "ratings");
    await done();
  };
  return html`<section class="card" aria-label="Ratings"><header><h2>What the meters are made for</h2><span class="space"></span><button class="tool" onClick=${() => setAsked(true)}>Change</button></header>
    <div class="body"><dl class="facts">${names.map((name) => html`<dt>${RATINGS[name][0]}</dt><dd>${told.ratings[name] === undefined ? html`<span class="quiet">not known</span>` : html`${shown(told.ratings[name], RATINGS[name][1])} <span class="quiet">${LAYERS[told.ratings_set[name]]}</span>`}</dd>`)}</dl></div>
    ${asked && html`<${Ask} title="What the meters are made for" action="Save" submit=${submit} close=${() => setAsked(false)}>
      ${names.map((name) => html`<label>${RATINGS[name][0]}, ${RATINGS[name][1]}<input name=${name} inputmode="decimal" defaultValue=${mine[name] ?? ""} placeholder=${told.ratings[name] ?? "not known"} /></label>`)}<//>`}
  </section>`;
}

export function Rules({ params }) {
  const { meters, profiles } = useStore();
  const [view, setView] = useState(() => ({ level: LEVELS[params.get("level")] ? params.get("level") : "global", subject: params.get("subject") || "" }));
  const [told, setTold] = useState(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(null);
  const { level, subject } = view;
  const ready = level === "global" || subject;
  const load = () => api.rules(level === "meter" ? { meter_id: subject } : level === "profile" ? { profile_id: subject } : {})
    .then((found) => { setTold(found); setProblem(""); }).catch((error) => { setTold(null); setProblem(error.message); });
  useEffect(() => {
    document.title = "Rules of alarms · Headend";
    remember("rules", "", { level: level === "global" ? "" : level, subject });
    if (ready) load(); else setTold(null);
  }, [level, subject]);
  const used = [...new Set([...meters.values()].map((meter) => meter.profile_id))].filter(Boolean).sort();
  const choose = (next) => setView({ level: next, subject: next === "profile" ? used[0] || "" : "" });
  const own = (rule) => told.changes.find((one) => one.level === level && one.subject === subject && one.rule === rule)?.fields || {};
  const origin = (rule) => [...new Set(Object.values(rule.set))].map((name) => LAYERS[name]).join(", ");
  return html`
    <div class="head-line"><a class="tool" href="#/alarms" aria-label="Back to the alarms">←</a><h1 tabindex="-1">Rules of alarms</h1><span class="space"></span>
      ${told && html`<button class="tool" onClick=${() => setAsked(OWN)}>New rule</button>`}</div>
    <div class="filters"><div class="chips" role="group" aria-label="Level">${Object.entries(LEVELS).map(([key, name]) => html`<button class="chip" aria-pressed=${level === key} onClick=${() => choose(key)}>${name}</button>`)}</div>
      ${level === "profile" && html`<select aria-label="Meter file" value=${subject} onChange=${(event) => setView({ level, subject: event.target.value })}>${[...new Set([subject, ...used])].filter(Boolean).map((id) => html`<option value=${id}>${profiles.get(id) ? `${profiles.get(id).vendor} ${profiles.get(id).model}` : id}</option>`)}</select>`}
      ${level === "meter" && html`<input type="search" aria-label="Meter" placeholder="Id of the meter" value=${subject} onChange=${(event) => setView({ level, subject: event.target.value.trim() })} />`}</div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${told ? html`<${Ratings} told=${told} mine=${own("ratings")} level=${level} subject=${subject} done=${load} />
    <section class="card wide" aria-label="Rules"><table class="list rules"><thead><tr><th>Alarm</th><th>Raised when</th><th class="not-small">Severity</th><th class="r not-small">Held for</th><th class="not-small">From</th><th></th></tr></thead><tbody>
      ${told.items.map((rule) => html`<tr key=${rule.id} class=${rule.in_force ? "" : "idle"}><td><b>${rule.label}</b>${!rule.enabled && html` <span class="tag">off</span>`}</td><td class="num">${condition(rule)}</td>
        <td class="not-small"><span class=${"grave " + rule.severity}>${rule.severity}</span></td><td class="r num nowrap not-small">${rule.hold_seconds ? span(rule.hold_seconds) : "–"}</td><td class="quiet not-small">${origin(rule) || "built in"}</td>
        <td class="r"><button class="tool" onClick=${() => setAsked(rule)} aria-label=${`Change ${rule.label}`}>Change</button></td></tr>`)}</tbody></table></section>`
      : !problem && html`<p class="empty">${ready ? "Loading …" : "Name a meter."}</p>`}
    ${asked && html`<${Change} rule=${asked} mine=${asked.id ? own(asked.id) : {}} level=${level} subject=${subject} done=${load} close=${() => setAsked(null)} />`}`;
}
