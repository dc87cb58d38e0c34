// Who the meter says it is, how it is reached, and what happened to it lately.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { href } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { store } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { api } from "../lib/api.js";
import { Happenings } from "./happenings.js";

const Fact = ({ name, children }) => html`<dt>${name}</dt><dd>${children || "–"}</dd>`;

export function Identity({ meter, told }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const known = Object.entries(meter.identity || {}).filter(([, value]) => value);
  const ask = async () => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    try { await signedIn(() => api.identify(meter.id)); await told(); } catch (error) { setProblem(error.message); }
    setBusy(false);
  };
  return html`<section class="card" aria-label="Identity"><header><h2>Identity</h2><span class="space"></span><button class="tool" aria-disabled=${busy} onClick=${ask}>${busy ? "Asking …" : "Ask the meter"}</button></header>
    <div class="body">
      ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
      ${known.length ? html`<dl class="facts">${known.map(([name, value]) => html`<${Fact} name=${name.replaceAll("_", " ")}><span class="mono">${value}</span><//>`)}</dl>` : html`<p class="quiet">Nobody has asked the meter yet.</p>`}
    </div></section>`;
}

export function Settings({ meter }) {
  const profile = store.profiles.get(meter.profile_id);
  const params = Object.entries(meter.params || {});
  const state = meter.state || {};
  const [plan] = useAsked(() => api.meterPlan(meter.id), [meter.id, meter.revision], 60000);
  return html`<section class="card" aria-label="Settings"><header><h2>Settings</h2></header><div class="body"><dl class="facts">
    <${Fact} name="id"><span class="mono">${meter.id}</span><//>
    <${Fact} name="model">${profile ? `${profile.vendor} ${profile.model}` : ""}<//>
    <${Fact} name="meter file">${meter.profile_id}<//>
    <${Fact} name="protocol">${meter.protocol}${meter.framing ? `, ${meter.framing}` : ""}<//>
    ${params.map(([name, value]) => html`<${Fact} name=${name}>${value}<//>`)}
    <${Fact} name="polled">${meter.enabled === false || !meter.poll_seconds ? "no" : `every ${meter.poll_seconds} s`}<//>
    <${Fact} name="tags">${(meter.tags || []).map((tag) => html`<a class="tag" href=${href("fleet", "", { q: tag })}>${tag}</a> `)}<//>
    <${Fact} name="reads">${(state.reads_ok ?? 0).toLocaleString("en")} good, ${(state.reads_failed ?? 0).toLocaleString("en")} failed<//>
    ${plan?.last_requests > 0 && html`<${Fact} name="requests">${plan.last_requests} a read, for ${plan.groups.reduce((sum, group) => sum + group.quantities.length, 0)} values<//>`}
  </dl></div></section>`;
}

export function MeterEvents({ id }) {
  const [past, setPast] = useState(null);
  const [problem, setProblem] = useState("");
  const told = store.told.filter((event) => event.meter_id === id).length;
  useEffect(() => {
    api.events({ meter_id: id, limit: 8 }).then((page) => { setPast(page.items); setProblem(""); }).catch((error) => setProblem(error.message));
  }, [id, told]);
  return html`<section class="card" aria-label="Events"><header><h2>Events</h2><span class="space"></span><a class="tool" href=${href("events", "", { meter: id })}>All events</a></header>
    ${problem ? html`<p class="note bad">${problem}</p>` : past?.length ? html`<${Happenings} events=${past} short=${true} />` : html`<p class="empty">${past ? "Nothing has happened." : "Loading …"}</p>`}</section>`;
}
