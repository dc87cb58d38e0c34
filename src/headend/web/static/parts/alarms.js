// Alarms as a list, the dialog that acknowledges one, and the alarms of one meter.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { href, meterLink } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { age, moment } from "../lib/format.js";
import { store } from "../lib/store.js";
import { alarmText, countAlarms, lasted, nowText, useAlarms } from "../lib/alarms.js";
import { api } from "../lib/api.js";

const who = (actor) => actor.replace(/^\w+:/, "");

function Line({ alarm, acknowledge, ofMeter }) {
  const active = alarm.cleared_at === null;
  const text = [alarmText(alarm), active && nowText(alarm)].filter(Boolean).join(", ");
  return html`<li class=${active ? alarm.severity : "past"}>
    <span class=${"grave " + alarm.severity}>${alarm.severity}</span>
    <span class="what"><a href=${href("alarms", alarm.number)}><b>${alarm.label}</b>${alarm.phase && ` ${alarm.phase.toUpperCase()}`}</a>${" "}
      ${alarm.flapping && html`<span class="tag">flapping</span> `}${!ofMeter && alarm.meter_id && html`<a href=${meterLink(alarm.meter_id)}>${store.meters.get(alarm.meter_id)?.name || alarm.meter_id}</a>${" "}`}
      <span class="quiet num">${text}</span></span>
    <span class="when quiet num" title=${moment(alarm.since)}>${active ? `for ${age(alarm.since, Date.now())}` : lasted(alarm)}</span>
    <span class="ack">${alarm.acknowledged_by ? html`<span class="quiet" title=${moment(alarm.acknowledged_at)}>${who(alarm.acknowledged_by)}${alarm.note && `: ${alarm.note}`}</span>`
      : active && acknowledge ? html`<button class="tool" onClick=${() => acknowledge(alarm)} aria-label=${`Acknowledge ${alarm.label} of ${alarm.meter_id}`}>Acknowledge</button>` : ""}</span>
  </li>`;
}

/** A list of alarms. With `ofMeter` the meter is not named. */
export function AlarmList({ alarms, ofMeter, short }) {
  const [asked, setAsked] = useState(null);
  return html`<ul class=${"alarms" + (short ? " short" : "")}>${alarms.map((alarm) => html`<${Line} key=${alarm.number} alarm=${alarm} acknowledge=${setAsked} ofMeter=${ofMeter} />`)}</ul>
    ${asked && html`<${Acknowledge} alarm=${asked} close=${() => setAsked(null)} />`}`;
}

/** A modal dialog with a form; `submit` gets what was filled in and may throw, and so may `undo`, which takes back what is set. */
export function Ask({ title, submit, close, action, undo, children }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus();
  }, []);
  const work = async (what) => {
    setBusy(true);
    try { await signedIn(what); close(); } catch (error) { setProblem([error.message, error.hint].filter(Boolean).join(" — ")); setBusy(false); }
  };
  const send = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    work(() => submit(form));
  };
  return html`<dialog ref=${dialog} onClose=${(event) => event.target === dialog.current && close()} aria-label=${title} class="ask"><form onSubmit=${send}>
    <h2>${title}</h2>${problem && html`<p class="note bad" role="alert">${problem}</p>`}${children}
    <div class="actions">${undo && html`<button type="button" class="tool" disabled=${busy} onClick=${() => work(undo)}>Take back what is set</button><span class="space"></span>`}
      <button type="button" class="tool" onClick=${close}>Cancel</button><button class="tool primary" disabled=${busy}>${action}</button></div>
  </form></dialog>`;
}

export function Acknowledge({ alarm, close }) {
  const submit = (form) => api.acknowledgeAlarm(alarm.number, form.get("note")).then(countAlarms);
  return html`<${Ask} title=${`Acknowledge: ${alarm.label}`} action="Acknowledge" submit=${submit} close=${close}>
    <p class="quiet">${store.meters.get(alarm.meter_id)?.name || alarm.meter_id || "the head-end"}: ${alarmText(alarm) || "no value"}</p>
    <label>Note<textarea name="note" rows="3" maxlength="1000" placeholder="What is done about it"></textarea></label><//>`;
}

/** The alarms of one meter: those that stand, and the last ones that are over. */
export function MeterAlarms({ id }) {
  const [past, problem] = useAlarms({ meter_id: id }, 6);
  const [standing] = useAlarms({ meter_id: id, state: "active" }, 100);
  const active = standing?.items || [];
  const over = (past?.items || []).filter((alarm) => alarm.cleared_at !== null).slice(0, Math.max(0, 6 - active.length));
  return html`<section class="card" aria-label="Alarms"><header><h2>Alarms</h2>${active.length > 0 && html`<span class="count ${active[0].severity}">${active.length}</span>`}<span class="space"></span>
      <a class="tool" href=${href("rules", "", { level: "meter", subject: id })}>Rules</a><a class="tool" href=${href("alarms", "", { meter: id })}>All</a></header>
    ${problem ? html`<p class="note bad">${problem}</p>` : active.length + over.length ? html`<${AlarmList} alarms=${[...active, ...over]} ofMeter=${true} short=${true} />` : html`<p class="empty">${past ? "No alarm." : "Loading …"}</p>`}</section>`;
}
