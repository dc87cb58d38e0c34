// Delivery: each northbound system, whether it has all that is stored, what it refused, and sending again.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { meterLink, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { age, moment, plural, toLocal } from "../lib/format.js";
import { span } from "../lib/alarms.js";
import { api } from "../lib/api.js";
import { Ask } from "../parts/alarms.js";

const AGAIN = 3000;
const HOUR = 3600000;

/** In a word, how a sink is doing. */
function stateOf(sink) {
  if (!sink.enabled) return ["disabled", "switched off"];
  if (!sink.connected_since) return ["offline", "away"];
  return sink.backlog ? ["waiting", "catching up"] : ["online", "has everything"];
}

function Replay({ name, close, told }) {
  const now = Date.now();
  const submit = async (form) => {
    const times = { since: new Date(form.get("since")).toISOString(), until: new Date(form.get("until")).toISOString() };
    const { entries } = await api.replaySink(name, times);
    told(`${plural(entries, "entry", "entries")} of ${name} ${entries === 1 ? "is" : "are"} sent again`);
  };
  return html`<${Ask} title=${`Send again to ${name}`} action="Send again" submit=${submit} close=${close}>
    <p class="quiet">What was stored in this time goes once more, under the same ids and marked as late. A receiver that knows the ids drops what it has.</p>
    <div class="rule-fields"><label>From<input type="datetime-local" name="since" required defaultValue=${toLocal(now - HOUR)} /></label><label>To<input type="datetime-local" name="until" required defaultValue=${toLocal(now)} /></label></div><//>`;
}

function Refused({ name, turn }) {
  const asked = useRef(false); // a login is asked for once, not every few seconds
  const ask = () => {
    if (asked.current) return api.refused(name);
    asked.current = true;
    return signedIn(() => api.refused(name));
  };
  const [page, problem, again] = useAsked(ask, [name, turn], AGAIN);
  const [words, setWords] = useState("");
  const retry = (one) => signedIn(() => api.retryRefused(name, one.id)).then(() => setWords(`${one.id} is sent once more`)).catch((error) => setWords(error.message)).then(again);
  return html`<section class="card" aria-label=${`Refused by ${name}`}><header><h2>Refused by ${name}</h2><span class="quiet" role="status">${words || (page ? plural(page.items.length, "entry", "entries") : "")}</span></header>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${page && (page.items.length ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Meter</th><th scope="col">Why</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${page.items.map((one) => html`<tr key=${one.id}><td class="num nowrap" title=${one.id}>${moment(one.at)}</td><td>${one.what === "readings" ? plural(one.size, "reading") : one.what}</td><td>${one.meter_id ? html`<a href=${meterLink(one.meter_id)}>${one.meter_id}</a>` : ""}</td><td>${one.reason}</td><td class="r"><button class="tool" aria-label=${`Try ${one.id} again`} onClick=${() => retry(one)}>Try again</button></td></tr>`)}</tbody></table></div>`
    : html`<p class="empty">It has refused nothing.</p>`)}</section>`;
}

function Row({ sink, now, chosen, choose, replay }) {
  const [state, word] = stateOf(sink);
  const since = !sink.enabled ? "" : sink.connected_since ? `for ${age(sink.connected_since, now)}` : sink.last_error_at ? `tried ${age(sink.last_error_at, now)} ago` : "";
  return html`<tr><td class="nowrap"><span class=${`state ${state}`}><i class="dot"></i>${word}</span> <span class="quiet num">${since}</span></td>
    <th scope="row">${sink.name}${sink.kind !== sink.name && html` <span class="quiet">${sink.kind}</span>`}</th>
    <td class="r num">${sink.backlog.toLocaleString("en")}${sink.lag_seconds > 0 && sink.backlog > 0 && html`<div class="quiet nowrap" title=${moment(sink.oldest)}>${span(sink.lag_seconds)} behind</div>`}</td>
    <td class="r num">${sink.per_minute.toLocaleString("en")}</td><td class="r num">${sink.delivered.toLocaleString("en")}</td>
    <td class="r num">${sink.lost > 0 ? html`<b class="bad">${sink.lost.toLocaleString("en")}</b><div class="quiet nowrap" title=${`stored ${moment(sink.lost_from)} to ${moment(sink.lost_until)}`}>${age(sink.lost_from, now)} to ${age(sink.lost_until, now)} ago</div>` : "0"}</td><td class="r num">${sink.connections.toLocaleString("en")}</td>
    <td class="why">${sink.last_error && html`${sink.last_error} <span class="quiet nowrap">${age(sink.last_error_at, now)} ago</span>`}</td>
    <td class="r nowrap">${sink.enabled && html`<button class="tool" aria-pressed=${chosen} aria-label=${`Refused by ${sink.name}: ${sink.refused}`} onClick=${choose}>Refused${sink.refused ? ` ${sink.refused.toLocaleString("en")}` : ""}</button> <button class="tool" aria-label=${`Send again to ${sink.name}`} onClick=${replay}>Send again …</button>`}</td></tr>`;
}

export function Delivery({ params }) {
  useStore();
  const [chosen, choose] = useState(() => params.get("sink") || "");
  const [asking, ask] = useState("");
  const [words, setWords] = useState("");
  const [page, problem, again] = useAsked(api.sinks, [], AGAIN);
  useEffect(() => { document.title = "Delivery · Headend"; remember("delivery", "", { sink: chosen }); }, [chosen]);
  const sinks = page?.items || [];
  const away = sinks.filter((sink) => sink.enabled && !sink.connected_since).length, behind = sinks.filter((sink) => sink.connected_since && sink.backlog).length;
  const status = !page ? "Loading …" : !sinks.length ? "" : away || behind ? [away && `${away} away`, behind && `${behind} catching up`].filter(Boolean).join(", ") : "every sink has everything that is stored";
  const now = Date.now();
  return html`
    <div class="head-line"><h1 tabindex="-1">Delivery</h1><span class="quiet" role="status">${words || status}</span></div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <section class="card" aria-label="Sinks"><header><h2>Sinks</h2></header>
      ${sinks.length ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col">State</th><th scope="col">Sink</th><th scope="col" class="r">Waiting</th><th scope="col" class="r nowrap">A minute</th><th scope="col" class="r">Delivered</th><th scope="col" class="r">Lost</th><th scope="col" class="r">Connections</th><th scope="col">Last error</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
        <tbody>${sinks.map((sink) => html`<${Row} key=${sink.name} sink=${sink} now=${now} chosen=${chosen === sink.name} choose=${() => choose(chosen === sink.name ? "" : sink.name)} replay=${() => ask(sink.name)} />`)}</tbody></table></div>`
    : html`<p class="empty">${page ? html`Nothing is delivered to. Name sinks in the settings: <span class="mono">[sinks.NAME]</span>.` : "Loading …"}</p>`}
      ${sinks.length > 0 && html`<p class="hint">What is stored is delivered, in its order for each meter: what comes now before what has waited. What a sink does not have yet is kept on disk, also while it is switched off, until it is too old or too much: that is lost to it, and said here and among the events. The readings stay in the database.</p>`}</section>
    ${sinks.some((sink) => sink.name === chosen) && html`<${Refused} key=${chosen} name=${chosen} turn=${sinks.find((sink) => sink.name === chosen).refused} />`}
    ${asking && html`<${Replay} name=${asking} close=${() => ask("")} told=${(text) => { setWords(text); again(); }} />`}`;
}
