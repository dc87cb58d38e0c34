// The chart of a meter: any quantities over any range, with what they are under the pointer, zoom and the way back.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { store } from "../lib/store.js";
import { amount, moment, toLocal } from "../lib/format.js";
import { PRESETS, bucketFor, growth, join, scaleOf, spread } from "../lib/series.js";
import { grouped } from "../lib/groups.js";
import { saveTable } from "../lib/save.js";
import { api } from "../lib/api.js";
import { Chart, COLOURS } from "./chart.js";

const unitOf = (key) => store.quantities.get(key)?.unit || "";
const labelOf = (key) => store.quantities.get(key)?.label || key;

/** Another value may join when it is one of at most two units. */
export const fits = (chosen, key) => new Set([...chosen, key].map(unitOf)).size <= 2 && chosen.length < COLOURS.length;

function useSeries(id, chosen, range, bars) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState("");
  const to = range.to ?? null;
  const span = range.span || range.to - range.from;
  const bucket = bucketFor(span, bars ? 48 : 400);
  const latest = Math.max(0, ...chosen.map((key) => store.live.get(id)?.get(key)?.at || 0));
  const tick = to === null ? Math.floor(latest / Math.max(5000, Math.min(bucket, 60e3))) : 0;
  useEffect(() => {
    let stop = false;
    const end = Math.floor(to ?? Date.now() + 1), start = Math.floor(end - span);
    const from = bars ? Math.floor(start / bucket) * bucket - bucket : start;
    Promise.all(chosen.map((quantity) => api.series(id, { quantity, start: Math.max(0, from), end, bucket: `${bucket / 1000}s` })))
      .then((all) => {
        if (stop) return;
        const shaped = all.map((one) => (bars ? growth(one, bucket) : spread(one, chosen.length <= 2)));
        setProblem("");
        setFound({ chosen, bars, bucket, from: start, to: end, bands: shaped.map((one) => one.columns.length === 3), data: join(shaped, bucket, !bars) });
      })
      .catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [id, chosen.join(), to, span, bars, tick]);
  return [found, problem];
}

/** Data in readable prefixes, and what the chart has to know of each series. */
function shape(found) {
  const places = [];
  let column = 1;
  for (const wide of found.bands) { places.push(column); column += wide ? 3 : 1; }
  const data = [found.data[0]];
  const series = found.chosen.map((key, index) => {
    const own = found.data.slice(places[index], places[index] + (found.bands[index] ? 3 : 1));
    const alike = found.chosen.flatMap((other, at) => (unitOf(other) === unitOf(key) ? [found.data[places[at]]] : []));
    const { factor, unit } = scaleOf(alike, unitOf(key));
    for (const values of own) data.push(factor === 1 ? values : values.map((value) => (typeof value === "number" ? value / factor : value)));
    return { label: labelOf(key), unit, band: found.bands[index], bars: found.bars, colour: index, column: places[index], factor };
  });
  return { data, series };
}

function Legend({ chosen, found, series, at, remove }) {
  const last = (column) => column.findLast((one) => typeof one === "number");
  const value = (key, index) => {
    const column = series[index] && found.data[series[index].column];
    const one = column && (at === null ? last(column) : column[at]);
    return typeof one === "number" ? amount(one, unitOf(key)).join(" ") : "–";
  };
  return html`<ul class="legend">
    ${chosen.map((key, index) => html`<li key=${key}><i class=${`swatch c${index + 1}`}></i><span>${labelOf(key)}</span> <b class="num">${value(key, index)}</b>
      ${chosen.length > 1 && html`<button class="bare" aria-label=${`Remove ${labelOf(key)} from the chart`} title="Remove" onClick=${() => remove(key)}>×</button>`}</li>`)}
    <li class="quiet num">${found && at !== null && found.data[0][at] ? moment(found.data[0][at] * 1000) : ""}</li>
  </ul>`;
}

function Picker({ keys, chosen, add }) {
  const groups = useMemo(() => grouped(keys, store.quantities), [keys.join()]);
  const pick = (event) => { if (event.target.value) add(event.target.value); event.target.value = ""; };
  return html`<select class="picker" aria-label="Add a quantity to the chart" onChange=${pick}><option value="">+ Add a quantity …</option>
    ${groups.map(([name, rows]) => html`<optgroup label=${name}>${rows.flatMap((row) => row.cells).map(({ key }) => html`<option value=${key} disabled=${chosen.includes(key)}>${labelOf(key)}${unitOf(key) ? ` (${unitOf(key)})` : ""}</option>`)}</optgroup>`)}
  </select>`;
}

function summary(found, series) {
  if (!found) return "Chart, loading";
  const parts = found.chosen.map((key, index) => {
    const values = found.data[series[index].column].filter((value) => typeof value === "number");
    if (!values.length) return `${labelOf(key)}: no readings`;
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    return `${labelOf(key)}: lowest ${amount(low, unitOf(key)).join(" ")}, highest ${amount(high, unitOf(key)).join(" ")}`;
  });
  return `Chart from ${moment(found.from)} to ${moment(found.to)}. ${parts.join(". ")}. Arrow keys read values, plus and minus zoom.`;
}

function Range({ range, setRange, back }) {
  const [own, setOwn] = useState(!range.span);
  const to = range.to ?? Date.now();
  const from = range.from ?? to - range.span;
  const pan = (by) => setRange({ from: from + by * (to - from), to: to + by * (to - from) });
  return html`
    <div class="ranges">
      <button class="tool" disabled=${!back} onClick=${back} title="Back to the range before">↶ Back</button>
      <div class="segmented presets" role="group" aria-label="Range">
        ${Object.entries(PRESETS).map(([name, span]) => html`<button aria-pressed=${range.span === span} onClick=${() => setRange({ span })}>${name}</button>`)}
        <button aria-pressed=${!range.span} aria-expanded=${own} onClick=${() => setOwn(!own)}>custom</button>
      </div>
      <div class="segmented" role="group" aria-label="Move"><button onClick=${() => pan(-0.5)} aria-label="Earlier" title="Earlier">‹</button><button onClick=${() => pan(0.5)} disabled=${!range.to} aria-label="Later" title="Later">›</button></div>
    </div>
    ${(own || !range.span) && html`<div class="ranges custom">
      <label>from <input type="datetime-local" value=${toLocal(from)} onChange=${(event) => event.target.value && setRange({ from: Date.parse(event.target.value), to: Math.max(to, Date.parse(event.target.value) + 60e3) })} /></label>
      <label>to <input type="datetime-local" value=${toLocal(to)} onChange=${(event) => event.target.value && setRange({ from: Math.min(from, Date.parse(event.target.value) - 60e3), to: Date.parse(event.target.value) })} /></label>
    </div>`}`;
}

export function Plot({ id, chosen, range, bars, keys, change }) {
  const past = useRef([]);
  const [at, setAt] = useState(null);
  const cumulative = chosen.every((key) => store.quantities.get(key)?.kind === "cumulative");
  const [found, problem] = useSeries(id, chosen, range, bars && cumulative);
  const { data, series } = useMemo(() => (found ? shape(found) : { data: null, series: [] }), [found]);
  const setRange = (next) => { past.current = [...past.current, range].slice(-20); setAt(null); change({ range: next }); };
  const back = past.current.length ? () => change({ range: past.current.pop() }) : null;
  const add = (key) => change({ chosen: fits(chosen, key) ? [...chosen, key] : [key] });
  const zoom = (from, to) => to - from > 1 && setRange({ from: from * 1000, to: Math.min(to * 1000, Date.now()) });
  const save = () => saveTable(`${id} ${chosen.join(" ")}`, ["time", ...chosen.map((key) => `${key} (${unitOf(key)})`)],
    found.data[0].map((time, index) => [new Date(time * 1000).toISOString(), ...series.map((one) => found.data[one.column][index])]).filter((row) => row.slice(1).some((value) => typeof value === "number")));
  return html`<section class="card plot" aria-label="Chart">
    <header><${Legend} chosen=${chosen} found=${found} series=${series} at=${at} remove=${(key) => change({ chosen: chosen.filter((one) => one !== key) })} />
      <${Picker} keys=${keys} chosen=${chosen} add=${add} /></header>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <div class="canvas">
      ${data && html`<${Chart} data=${data} series=${series} from=${found.from / 1000} to=${found.to / 1000} label=${summary(found, series)} onZoom=${zoom} onCursor=${setAt} />`}
      ${(!data || !data[0].length) && html`<p class="over">${data ? "No readings in this range." : "Loading …"}</p>`}
    </div>
    <footer><${Range} range=${range} setRange=${setRange} back=${back} />
      <div class="ranges">
        ${cumulative && html`<div class="segmented" role="group" aria-label="Show"><button aria-pressed=${!bars} onClick=${() => change({ bars: false })}>register</button><button aria-pressed=${bars} onClick=${() => change({ bars: true })}>consumption</button></div>`}
        <button class="tool" disabled=${!data || !data[0].length} onClick=${save}>Save as CSV</button></div>
    </footer>
  </section>`;
}
