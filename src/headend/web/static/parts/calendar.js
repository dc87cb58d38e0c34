// The calendar of completeness: a row a load profile, a cell a day; what is missing on a day, and asking for it again.

import { html, useState } from "../vendor/preact-htm.js";
import { store } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { meterLink } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { moment, plural } from "../lib/format.js";
import { api } from "../lib/api.js";

const AGAIN = 30000;
const DAY = 86400000;
const WHY = { "": "may still arrive", wrapped: "the meter no longer holds it", "power-down": "the meter had no power", "clock-shift": "the meter's clock was set over it", "not-recorded": "the meter did not record it", "before-first": "before its first record", "meter-exchanged": "another meter was there", "meter exchanged": "another meter was there" };

export const share = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(Math.floor(ratio * 1000) / 10).toLocaleString("en")} %`);

/** The figure of some days together: none where nothing was expected. */
export function together(days) {
  const expected = days.reduce((sum, day) => sum + day.expected - day.void, 0), arrived = days.reduce((sum, day) => sum + day.arrived, 0);
  return expected ? Math.min(1, arrived / expected) : null;
}

/** Of days of all meters (UTC) the one that was so many days ago, in a list; nothing where nothing was expected on it. */
export const dated = (days, ago) => days.filter((one) => one.day === new Date(Date.now() - ago * DAY).toISOString().slice(0, 10));

/** 0 to 4: nothing expected, and four shades from little to all. */
function shade(day) {
  if (!day || !day.expected) return "none";
  if (day.missing) return day.arrived / day.expected >= 0.98 ? "most" : day.arrived ? "some" : "bad";
  return day.void ? "void" : "all";
}

function words(day) {
  if (!day || !day.expected) return "nothing expected";
  const why = Object.entries(day.reasons || {}).map(([reason, count]) => `${count} never: ${WHY[reason] || reason}`);
  return [`${day.arrived} of ${day.expected} intervals`, day.missing && `${day.missing} may still arrive`, ...why].filter(Boolean).join("; ");
}

function Drawer({ id, day, close }) {
  const start = Date.parse(`${day}T00:00:00Z`) - DAY / 2, end = start + 2 * DAY;
  const [page, problem, again] = useAsked(() => api.gaps(id, { start, end: Math.min(end, Date.now()) }), [id, day]);
  const [said, setSaid] = useState("");
  const refill = () => signedIn(() => api.refill(id, { start: String(start), end: String(Math.min(end, Date.now())) })).then(({ intervals }) => { setSaid(`${plural(intervals, "interval")} asked for`); again(); }).catch((error) => setSaid(error.message));
  return html`<div class="drawer" role="region" aria-label=${`What is missing of ${id} about ${day}`}><div class="bar"><b><a href=${meterLink(id)}>${id}</a>, about ${day}</b><span class="quiet" role="status">${said}</span><span class="space"></span><button class="tool" onClick=${refill}>Ask the meter again</button><button class="tool" onClick=${close}>Close</button></div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${page && (page.items.length ? html`<div class="wide"><table class="list"><thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col" class="r">Intervals</th><th scope="col">Why</th></tr></thead><tbody>${page.items.slice(0, 100).map((gap) => html`<tr><td class="num nowrap">${moment(gap.first)}</td><td class="num nowrap">${moment(gap.last)}</td><td class="r num">${gap.count}</td><td>${WHY[gap.reason] || gap.reason}</td></tr>`)}</tbody></table></div>` : html`<p class="quiet">Nothing is missing.</p>`)}</div>`;
}

/** `ids` of meters, the newest `days`; `own` leaves the names away, on the page of the meter itself. */
export function Calendar({ ids, days, own = false }) {
  const [page, problem] = useAsked(() => api.completenessOf({ meters: ids.join(), days }), [ids.join(), days], AGAIN);
  const [open, setOpen] = useState(null);
  if (problem) return html`<p class="note bad" role="alert">${problem}</p>`;
  if (!page) return html`<p class="empty">Loading …</p>`;
  const rows = page.items.flatMap((meter) => meter.load_profiles.map((one) => ({ id: meter.meter_id, ...one, byDay: new Map(one.days.map((day) => [day.day, day])) })));
  if (!rows.length) return html`<p class="empty">Nothing is kept account of yet.</p>`;
  const columns = [...new Set(rows.flatMap((row) => [...row.byDay.keys()]))].sort().slice(-days);
  const name = (row) => [own ? "" : store.meters.get(row.id)?.name || row.id, row.name || row.load_profile].filter(Boolean);
  return html`<div class="wide"><table class="calendar"><thead><tr><th scope="col">${own ? "Load profile" : "Meter"}</th>${columns.map((day) => html`<th scope="col" class=${day.endsWith("-01") ? "first" : ""} title=${day}>${day.endsWith("-01") ? new Date(day).toLocaleString("en", { month: "short", timeZone: "UTC" }) : Number(day.slice(8))}</th>`)}<th scope="col" class="r">All</th></tr></thead>
    <tbody>${rows.map((row) => {
      return html`<tr key=${row.id + row.load_profile}><th scope="row" title=${`${row.load_profile}, every ${row.period / 60000} min, ${row.time_zone || "UTC"}`}>${own ? name(row)[0] : html`<a href=${meterLink(row.id)}>${name(row)[0]}</a> <span class="quiet">${name(row)[1]}</span>`}</th>
        ${columns.map((date) => {
          const day = row.byDay.get(date);
          const is = open && open.id === row.id && open.day === date;
          return html`<td><button class=${`shade ${shade(day)}`} aria-pressed=${Boolean(is)} title=${`${date}: ${words(day)}`} aria-label=${`${row.id}, ${date}: ${words(day)}`} onClick=${() => setOpen(is ? null : { id: row.id, day: date })}></button></td>`;
        })}<td class="r num">${share(together(row.days))}</td></tr>`;
    })}</tbody></table></div>
    ${open && html`<${Drawer} key=${open.id + open.day} id=${open.id} day=${open.day} close=${() => setOpen(null)} />`}
    <p class="hint legend"><span><i class="shade all"></i>all there</span> <span><i class="shade most"></i>98 % and more</span> <span><i class="shade some"></i>less</span> <span><i class="shade bad"></i>nothing yet</span> <span><i class="shade void"></i>some never will be</span> <span><i class="shade none"></i>nothing expected</span></p>`;
}
