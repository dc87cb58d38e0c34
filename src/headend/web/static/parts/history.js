// The rows of a load profile, read from the meter when somebody asks, newest first.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { moment, plural, said } from "../lib/format.js";
import { qualityWords } from "../lib/words.js";
import { saveTable } from "../lib/save.js";
import { store } from "../lib/store.js";
import { api } from "../lib/api.js";

const SPANS = { "6 hours": 6 * 3600e3, "24 hours": 86400e3, "7 days": 7 * 86400e3, "31 days": 31 * 86400e3 };
const LIMIT = 5000;
const SHOWN = 300;

export function History({ id, entry, close }) {
  const [span, setSpan] = useState("24 hours");
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let stop = false;
    setFound(null);
    setProblem("");
    const end = Date.now() + 60e3;
    signedIn(() => api.history(id, { ref: entry.ref, start: end - SPANS[span], end, limit: LIMIT }))
      .then((answer) => !stop && setFound(answer))
      .catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [id, entry.ref, span]);
  const name = (column) => store.quantities.get(column.quantity)?.label || column.ref;
  const rows = found ? found.rows.map((row, index) => ({ at: found.times[index], event: found.events[index], quality: found.quality[index], row })).reverse() : [];
  const tells = found?.events.length > 0;
  const save = () => saveTable(`${id} ${entry.ref}`, ["time", ...found.columns.map((column) => `${column.quantity || column.ref} (${column.unit})`), "quality", ...(tells ? ["event"] : [])],
    found.rows.map((row, index) => [found.times[index] && new Date(found.times[index]).toISOString(), ...row, found.quality[index], ...(tells ? [found.events[index]] : [])]));
  return html`<div class="rows">
    <div class="bar"><b>Load profile <span class="mono">${entry.ref}</span></b><span class="quiet" role="status">${found ? `${plural(found.rows.length, "row")}${found.truncated ? ", more in the meter" : ""}` : problem ? "" : "Reading from the meter …"}</span><span class="space"></span>
      <label class="quiet">last <select value=${span} onChange=${(event) => setSpan(event.target.value)}>${Object.keys(SPANS).map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <button class="tool" disabled=${!rows.length} onClick=${save}>Save as CSV</button><button class="tool" onClick=${close}>Close</button></div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${found && !rows.length && html`<p class="empty">The meter has no rows in this time.</p>`}
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Rows of the load profile"><table class="list"><thead><tr><th scope="col">Time</th>${found.columns.map((column) => html`<th scope="col" class="r" title=${column.ref}>${name(column)}</th>`)}${tells && html`<th scope="col">Event</th>`}<th scope="col">Quality</th></tr></thead>
      <tbody>${rows.slice(0, SHOWN).map(({ at, row, event, quality }) => html`<tr><td class="num nowrap">${moment(at)}</td>${row.map((value, index) => html`<td class="num r nowrap">${said(value, found.columns[index].unit)}</td>`)}${tells && html`<td>${event}</td>`}<td class="quiet">${qualityWords(quality) || "good"}</td></tr>`)}</tbody></table></div>`}
    ${rows.length > SHOWN && html`<p class="hint quiet">The newest ${SHOWN} rows are shown; the file holds all ${rows.length.toLocaleString("en")}.</p>`}
  </div>`;
}
