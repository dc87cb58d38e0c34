// How much there is of everything, from the templates of virtual meters to alarms, and whether each part is ready.

import { html, useEffect } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { api } from "../lib/api.js";
import { Happenings } from "../parts/happenings.js";

const AGAIN = 4000;
const SETTLED = 400;
const PLACES = { database: "#/events", acquisition: "#/", discovery: "#/discovery", "virtual meters": "#/emulators" };

function Tile({ to, name, count, more }) {
  return html`<a class="tile" href=${to}><b>${count.toLocaleString("en")}</b><span>${name}${more && html`, <span class="nowrap">${more}</span>`}</span></a>`;
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
    </nav>
    <section class="card" aria-label="Parts"><header><h2>Parts</h2></header><div class="wide"><table class="list mid"><thead><tr><th scope="col">State</th><th scope="col">Part</th><th scope="col">Now</th></tr></thead>
      <tbody>${sum.parts.map((one) => html`<${Ready} key=${one.part} one=${one} />`)}</tbody></table></div></section>
    <section class="card" aria-label="What happened last"><header><h2>What happened last</h2><span class="space"></span><a class="tool" href="#/events">All events</a></header>
      ${told.length ? html`<${Happenings} events=${told.slice(0, 8)} />`
        : html`<p class="empty">Nothing since this page was opened.</p>`}</section>`}`;
}
