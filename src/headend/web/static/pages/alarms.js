// Alarms: those that stand first, the gravest on top, then those that are over; and one alarm with all that happened to it.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { store, useStore } from "../lib/store.js";
import { href, meterLink, remember } from "../lib/route.js";
import { moment, plural } from "../lib/format.js";
import { CLEARED, KINDS, SEVERITIES, alarmText, nowText, useAlarms } from "../lib/alarms.js";
import { api } from "../lib/api.js";
import { Acknowledge, AlarmList } from "../parts/alarms.js";

const STATES = { "": "all", active: "active", cleared: "over" };
const ACTIVE = 1000, PAGE = 100;
const RANK = Object.fromEntries(SEVERITIES.map((name, rank) => [name, rank]));

export function Alarms({ id, params }) {
  return id ? html`<${Detail} number=${id} />` : html`<${List} params=${params} />`;
}

function viewFrom(params) {
  const one = (name, known) => (known.includes(params.get(name)) ? params.get(name) : "");
  return { meter: params.get("meter") || "", state: one("state", Object.keys(STATES)), severity: one("severity", SEVERITIES), kind: one("kind", Object.keys(KINDS)), seen: one("seen", ["no"]) };
}

function List({ params }) {
  const { meters, alarms } = useStore();
  const [view, setView] = useState(() => viewFrom(params));
  const change = (next) => setView({ ...view, ...next });
  useEffect(() => { document.title = "Alarms · Headend"; remember("alarms", "", view); }, [view]);
  const known = meters.has(view.meter);
  const choice = { meter_id: known ? view.meter : "", severities: view.severity, kinds: view.kind, acknowledged: view.seen ? false : "" };
  const [standing, problem] = useAlarms({ ...choice, state: "active" }, ACTIVE);
  const [past, trouble, more] = useAlarms({ ...choice, state: "cleared" }, PAGE);
  const text = view.meter.toLowerCase();
  const fits = (alarm) => known || `${alarm.meter_id} ${meters.get(alarm.meter_id)?.name || ""}`.toLowerCase().includes(text);
  const active = (standing?.items || []).filter(fits).sort((a, b) => RANK[a.severity] - RANK[b.severity] || b.number - a.number);
  const over = (past?.items || []).filter(fits);
  const total = Object.values(alarms.active).reduce((sum, one) => sum + one, 0);
  const empty = (there, words) => html`<p class="empty">${there ? words : "Loading …"}</p>`;
  return html`
    <div class="head-line"><h1 tabindex="-1">Alarms</h1><span class="quiet" role="status">${total ? `${plural(total, "active alarm")}, ${alarms.unacknowledged.toLocaleString("en")} not acknowledged` : "no active alarm"}</span>
      <span class="space"></span><a class="tool" href="#/rules">Rules</a></div>
    <div class="filters" role="search">
      <input type="search" placeholder="Meter" aria-label="Only of this meter" value=${view.meter} onInput=${(event) => change({ meter: event.target.value })} />
      <div class="chips" role="group" aria-label="State">${Object.entries(STATES).map(([key, name]) => html`<button class="chip" aria-pressed=${view.state === key} onClick=${() => change({ state: key })}>${name}</button>`)}
        <button class="chip" aria-pressed=${view.seen === "no"} onClick=${() => change({ seen: view.seen ? "" : "no" })}>not acknowledged</button></div>
      <select aria-label="Severity" value=${view.severity} onChange=${(event) => change({ severity: event.target.value })}><option value="">all severities</option>${SEVERITIES.map((name) => html`<option value=${name}>${name}</option>`)}</select>
      <select aria-label="Kind of alarm" value=${view.kind} onChange=${(event) => change({ kind: event.target.value })}><option value="">all kinds</option>${Object.entries(KINDS).map(([key, name]) => html`<option value=${key}>${name}</option>`)}</select>
    </div>
    ${(problem || trouble) && html`<p class="note bad" role="alert">${problem || trouble}</p>`}
    ${view.state !== "cleared" && html`<section class="card" aria-label="Active alarms"><header><h2>Active</h2><span class="quiet num">${active.length}</span></header>
      ${active.length ? html`<${AlarmList} alarms=${active} />` : empty(standing, "Nothing is wrong.")}</section>`}
    ${view.state !== "active" && html`<section class="card" aria-label="History"><header><h2>Over</h2></header>
      ${over.length ? html`<${AlarmList} alarms=${over} />` : empty(past, "No alarm that is over.")}
      ${past?.next != null && html`<p class="hint"><button class="tool" onClick=${more}>Older alarms</button></p>`}</section>`}`;
}

const STEPS = { began: "The condition began", raised: "Raised", acknowledged: "Acknowledged", cleared: "Cleared" };

function Detail({ number }) {
  const { alarms } = useStore();
  const [alarm, setAlarm] = useState(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    api.alarm(number).then((found) => { setAlarm(found); setProblem(""); document.title = `${found.label} · Headend`; }).catch((error) => setProblem(error.message));
  }, [number, alarms.turn]);
  const back = html`<a class="tool" href="#/alarms" aria-label="Back to the alarms">←</a>`;
  if (!alarm) return html`<div class="head-line">${back}<h1 tabindex="-1">Alarm ${number}</h1></div><p class="empty" role="status">${problem || "Loading …"}</p>`;
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  return html`
    <div class="head-line">${back}<h1 tabindex="-1">${alarm.label} ${alarm.phase.toUpperCase()}</h1><span class=${"grave " + alarm.severity}>${alarm.severity}</span>
      <span class="quiet">${alarm.cleared ? CLEARED[alarm.cleared] : alarm.flapping ? "active, flapping" : "active"}</span><span class="space"></span>
      ${alarm.cleared_at === null && !alarm.acknowledged_by && html`<button class="tool primary" onClick=${() => setAsked(true)}>Acknowledge</button>`}</div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <section class="card"><div class="body"><dl class="facts">
      ${fact("meter", alarm.meter_id && html`<a href=${meterLink(alarm.meter_id, alarm.quantity ? { show: alarm.quantity } : {})}>${store.meters.get(alarm.meter_id)?.name || alarm.meter_id}</a>`)}
      ${fact("seen", [alarmText(alarm), alarm.cleared_at === null && nowText(alarm)].filter(Boolean).join(", "))}
      ${fact("quantity", alarm.quantity && (store.quantities.get(alarm.quantity)?.label || alarm.quantity))}
      ${fact("rule", html`<a href=${href("rules", "", alarm.meter_id ? { level: "meter", subject: alarm.meter_id } : {})}>${alarm.rule}</a>`)}
    </dl></div></section>
    <section class="card" aria-label="What happened"><header><h2>What happened</h2></header><table class="list steps"><tbody>
      ${alarm.steps.map((step) => html`<tr><td class="nowrap num">${moment(step.at)}</td><td>${STEPS[step.what]}${step.by && ` by ${step.by.replace(/^\w+:/, "")}`}${step.text && `: ${CLEARED[step.text] || step.text}`}</td></tr>`)}</tbody></table></section>
    ${alarm.earlier.length > 0 && html`<section class="card" aria-label="Earlier alarms"><header><h2>Earlier ones of the same</h2></header><${AlarmList} alarms=${alarm.earlier} ofMeter=${true} /></section>`}
    ${asked && html`<${Acknowledge} alarm=${alarm} close=${() => setAsked(false)} />`}`;
}
