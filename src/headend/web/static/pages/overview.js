// How much there is of everything, from the templates of virtual meters to alarms, and whether each part is ready.

import { html, useEffect } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { api } from "../lib/api.js";
import { dated, share, together } from "../parts/calendar.js";
import { Happenings } from "../parts/happenings.js";

const AGAIN = 4000;
const RARELY = 30000;
const SETTLED = 400;
const PLACES = { database: "#/events", acquisition: "#/acquisition", delivery: "#/delivery", discovery: "#/discovery", "virtual meters": "#/emulators" };

const names = (sinks) => (sinks.length < 3 ? sinks.map((one) => one.name).join(" and ") : `${sinks.length} are`);

function Tile({ to, name, count, more }) {
  return html`<a class="tile" href=${to}><b>${count.toLocaleString("en")}</b><span>${name}${more && html`, <span class="nowrap">${more}</span>`}</span></a>`;
}

/** How well readings come in and go out: what is complete, whose circuit is open, who waits for readings. */
function Flow() {
  const [complete] = useAsked(() => api.completeness({ days: 2, worst: 0 }), [], RARELY);
  const [lanes] = useAsked(() => api.lanes({ troubled: true, limit: 1000 }), [], AGAIN);
  const [sinks] = useAsked(api.sinks, [], AGAIN);
  const missing = complete ? dated(complete.days, 1).reduce((sum, day) => sum + day.missing, 0) : 0;
  const open = (lanes?.items || []).flatMap((lane) => [lane.wire, ...lane.troubled]).filter((one) => one.state !== "closed").length;
  const away = (sinks?.items || []).filter((one) => one.enabled && !one.connected_since), behind = (sinks?.items || []).filter((one) => one.connected_since && one.backlog);
  const late = [away.length && `${names(away)} away`, behind.length && `${names(behind)} catching up`].filter(Boolean).join(", ");
  return html`
    ${complete && html`<${Tile} to="#/completeness" name="of yesterday's intervals" count=${share(together(dated(complete.days, 1)))} more=${missing ? `${missing.toLocaleString("en")} may still arrive` : ""} />`}
    ${lanes && html`<${Tile} to=${open ? "#/acquisition?only=troubled" : "#/acquisition"} name=${open === 1 ? "open circuit" : "open circuits"} count=${open} />`}
    ${sinks && html`<${Tile} to="#/delivery" name=${sinks.items.length === 1 ? "sink" : "sinks"} count=${sinks.items.length} more=${late || (sinks.items.length ? "with everything" : "")} />`}`;
}

const some = (count, word) => (count ? `${count.toLocaleString("en")} ${word}` : "");

function Ready({ one }) {
  const to = PLACES[one.part];
  return html`<tr><td class="nowrap"><span class=${`state ${one.ready ? "online" : "offline"}`}><i class="dot"></i>${one.ready ? "ready" : "not ready"}</span></td>
    <th scope="row">${to ? html`<a href=${to}>${one.part}</a>` : one.part}</th><td class="num">${one.text}</td></tr>`;
}

export function Overview() {
  const { told } = useStore();
  const [sum, problem, again] = useAsked(api.summary, [], AGAIN);
  const newest = told[0];
  useEffect(() => { document.title = "Overview · Headend"; }, []);
  useEffect(() => {
    if (!newest) return undefined;
    const timer = setTimeout(again, SETTLED);
    return () => clearTimeout(timer);
  }, [newest]);
  const waiting = sum?.parts.filter((one) => !one.ready) || [];
  return html`
    <div class="head-line"><h1 tabindex="-1">Overview</h1><span class="quiet" role="status">${!sum ? "Loading …" : waiting.length ? `not ready: ${waiting.map((one) => one.part).join(", ")}` : "every part is ready"}</span></div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${sum && html`<nav class="tiles" aria-label="What there is">
      <${Tile} to="#/emulators" name="templates" count=${sum.templates} />
      <${Tile} to="#/emulators" name="virtual meters" count=${sum.instances} more="started" />
      <${Tile} to="#/" name="meters" count=${sum.meters} more=${`${sum.online.toLocaleString("en")} online`} />
      <${Tile} to="#/discovery" name="devices found" count=${sum.devices} more=${some(sum.new_devices, "new") || some(sum.scans_running, "scans under way")} />
      <${Tile} to="#/profiles" name="profiles" count=${sum.profiles} more=${some(sum.kept_profiles, "kept here")} />
      <${Tile} to="#/alarms" name="active alarms" count=${sum.alarms} />
      <${Flow} />
    </nav>
    <section class="card" aria-label="Parts"><header><h2>Parts</h2></header><div class="wide"><table class="list mid"><thead><tr><th scope="col">State</th><th scope="col">Part</th><th scope="col">Now</th></tr></thead>
      <tbody>${sum.parts.map((one) => html`<${Ready} key=${one.part} one=${one} />`)}</tbody></table></div></section>
    <section class="card" aria-label="What happened last"><header><h2>What happened last</h2><span class="space"></span><a class="tool" href="#/events">All events</a></header>
      ${told.length ? html`<${Happenings} events=${told.slice(0, 8)} />`
        : html`<p class="empty">Nothing since this page was opened.</p>`}</section>`}`;
}
