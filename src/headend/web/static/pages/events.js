// What happened: the newest events first, older ones on request, new ones as they come.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { changed, store, useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { EVENT_TYPES, eventName } from "../lib/words.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Happenings } from "../parts/happenings.js";

const GRAVE = { "": "all", warning: "warnings and worse", critical: "critical" };
const RANK = { info: 0, warning: 1, critical: 2 };
const PAGE = 200;

function usePast(meter, type) {
  const [past, setPast] = useState({ items: [], next: null, loading: true, problem: "" });
  const told = store.told.length ? store.told[0].occurred_at : 0;
  const ask = (cursor) => api.events({ meter_id: meter, types: type, cursor, limit: PAGE });
  useEffect(() => {
    let stop = false;
    ask().then((page) => !stop && setPast((old) => {
      const last = page.items.length ? page.items[page.items.length - 1].number : Infinity;
      const older = old.key === `${meter} ${type}` ? old.items.filter((event) => event.number < last) : [];
      return { ...page, key: `${meter} ${type}`, items: [...page.items, ...older], next: older.length ? old.next : page.next, loading: false, problem: "" };
    })).catch((error) => !stop && setPast((old) => ({ ...old, loading: false, problem: error.message })));
    return () => { stop = true; };
  }, [meter, type, told, store.connected]);
  const more = () => ask(past.next).then((page) => setPast({ ...past, next: page.next, items: [...past.items, ...page.items] })).catch((error) => setPast({ ...past, problem: error.message }));
  const put = (event) => setPast((old) => ({ ...old, items: old.items.map((one) => (one.number === event.number ? event : one)) }));
  return [past, more, put];
}

export function Events({ params }) {
  const { meters } = useStore();
  const [view, setView] = useState(() => ({ meter: params.get("meter") || "", type: EVENT_TYPES.includes(params.get("type")) ? params.get("type") : "", grave: params.get("grave") in RANK ? params.get("grave") : "" }));
  const [problem, setProblem] = useState("");
  const known = meters.has(view.meter);
  const [past, more, put] = usePast(known ? view.meter : "", view.type);
  useEffect(() => { document.title = "Events · Headend"; remember("events", "", view); }, [view]);
  const change = (next) => setView({ ...view, ...next });
  const seen = (event) => signedIn(() => api.acknowledge(event.number)).then((told) => { setProblem(""); put(told); changed(); }).catch((error) => setProblem(error.message));
  const text = view.meter.toLowerCase();
  const found = past.items.filter((event) => RANK[event.severity] >= RANK[view.grave || "info"] && (known || `${event.meter_id} ${meters.get(event.meter_id)?.name || ""}`.toLowerCase().includes(text)));
  return html`
    <div class="head-line"><h1 tabindex="-1">Events</h1><span class="quiet" role="status">${past.loading ? "Loading …" : `${plural(found.length, "event")}${past.next ? ", older ones below" : ""}`}</span></div>
    <div class="filters" role="search">
      <input type="search" placeholder="Meter" aria-label="Only of this meter" value=${view.meter} onInput=${(event) => change({ meter: event.target.value })} />
      <div class="chips" role="group" aria-label="Severity">${Object.entries(GRAVE).map(([key, name]) => html`<button class="chip" aria-pressed=${view.grave === key} onClick=${() => change({ grave: key })}>${name}</button>`)}</div>
      <select aria-label="Kind of event" value=${view.type} onChange=${(event) => change({ type: event.target.value })}><option value="">all kinds</option>${EVENT_TYPES.map((type) => html`<option value=${type}>${eventName(type)}</option>`)}</select>
    </div>
    ${(past.problem || problem) && html`<p class="note bad" role="alert">${past.problem || problem}</p>`}
    <section class="card" aria-label="Events">
      ${found.length ? html`<${Happenings} events=${found} seen=${seen} />` : html`<p class="empty">${past.loading ? "Loading …" : past.items.length ? "No event fits." : "Nothing has happened yet."}</p>`}
      ${past.next !== null && html`<p class="hint"><button class="tool" onClick=${more}>Older events</button></p>`}
    </section>`;
}
