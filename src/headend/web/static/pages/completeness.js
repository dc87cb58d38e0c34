// Completeness: of the intervals that meters record, how many are there, meter by meter and day by day, and why some never will be.

import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { useAsked } from "../lib/asked.js";
import { remember } from "../lib/route.js";
import { api } from "../lib/api.js";
import { Calendar, dated, share, together } from "../parts/calendar.js";

const AGAIN = 30000;
const DAYS = 35;
const ROWS = 40;

function Totals({ days }) {
  const of = (name, some, more = "") => html`<div class="tile"><span>${name}</span><b>${share(together(some))} <small>${more}</small></b></div>`;
  const missing = days.reduce((sum, day) => sum + day.missing, 0), lost = days.reduce((sum, day) => sum + day.void, 0);
  const count = (name, value) => html`<div class="tile"><span>${name}</span><b>${value.toLocaleString("en")} <small>intervals</small></b></div>`;
  return html`<section class="tiles" aria-label="All meters">${of("Today", dated(days, 0), "by now")}${of("Yesterday", dated(days, 1))}${of("30 days", days.slice(-30))}${count("May still arrive", missing)}${count("Never will", lost)}</section>`;
}

export function Completeness({ params }) {
  const { meters } = useStore();
  const [search, setSearch] = useState(() => params.get("q") || "");
  const [page, problem] = useAsked(() => api.completeness({ days: DAYS, worst: 1000 }), [], AGAIN);
  useEffect(() => { document.title = "Completeness · Headend"; remember("completeness", "", { q: search }); }, [search]);
  const found = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const hay = ({ meter_id: id }) => `${id} ${meters.get(id)?.name || ""} ${(meters.get(id)?.tags || []).join(" ")}`.toLowerCase();
    return (page?.worst || []).filter((line) => words.every((word) => hay(line).includes(word))).map((line) => line.meter_id);
  }, [page, search, meters.size]);
  const shown = found.slice(0, ROWS);
  return html`
    <div class="head-line"><h1 tabindex="-1">Completeness</h1><span class="quiet" role="status">${page ? "" : "Loading …"}</span><span class="space"></span><a class="tool" href=${`/api/v1/completeness?days=${DAYS}&format=csv`} download="completeness.csv">Report as CSV</a></div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${page && html`<${Totals} days=${page.days} />`}
    <div class="filters" role="search"><input type="search" placeholder="Search meters" aria-label="Search meters" value=${search} onInput=${(event) => setSearch(event.target.value)} /></div>
    <section class="card" aria-label="Meters by day"><header><h2>Meters by day</h2><span class="quiet">those of which the least is there come first</span></header>
      ${shown.length ? html`<${Calendar} key=${shown.join()} ids=${shown} days=${DAYS} />` : html`<p class="empty">${page ? (search ? "No meter fits." : "No load profile has been read yet: it is, for meters whose file names load profiles, once a period is over.") : "Loading …"}</p>`}
      ${found.length > ROWS && html`<p class="hint">The first ${ROWS} of ${found.length.toLocaleString("en")}: search for the others.</p>`}</section>`;
}
