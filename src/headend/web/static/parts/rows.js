// The rows of the fleet. Only those in view are in the document, so that ten thousand meters scroll like ten.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";
import { ENERGY, POWER, VOLTAGE, firstOf, prepend, store, useStore } from "../lib/store.js";
import { meterLink } from "../lib/route.js";
import { age, amount, moment } from "../lib/format.js";
import { place, stateOf } from "../lib/words.js";
import { Sparkline } from "./sparkline.js";
import { State } from "./state.js";
import { api } from "../lib/api.js";

const MORE = 8;    // rows drawn above and below those in view
const AT_ONCE = 3; // requests
const asked = new Set();

export const modelOf = (meter) => {
  const profile = store.profiles.get(meter.profile_id);
  return profile ? `${profile.vendor} ${profile.model}` : meter.profile_id;
};

function show(reading, unit) {
  if (reading?.stale) return html`<span class="quiet" title=${`last value ${moment(reading.at)}`}>–</span>`;
  const [text, symbol] = amount(reading?.value, unit);
  return html`${text} <span class="quiet">${symbol}</span>`;
}

/** One row: an element, not a component, so that scrolling moves no element that stays. */
function row(meter, index, height) {
  const live = store.live.get(meter.id);
  const state = stateOf(meter);
  const { last_error_code: code, last_error_text: text, last_seen: seen } = meter.state || {};
  const fault = state === "offline" && code;
  const below = meter.name && meter.name !== meter.id ? meter.id : (meter.tags || []).join(", ");
  return html`<div key=${meter.id} class="row" role="row" aria-rowindex=${index + 2} style=${{ top: `${index * height}px`, height: `${height}px` }}>
    <span role="cell" class="is"><${State} state=${state} /></span>
    <span role="cell" class="name"><a href=${meterLink(meter.id)} data-index=${index}>${meter.name || meter.id}</a>${fault && html`<small class="fault only-small">${state}: ${code}</small>`}<small class=${fault ? "not-small" : ""}>${below}</small></span>
    <span role="cell" class="quiet wide" title=${modelOf(meter)}>${modelOf(meter) || "–"}</span>
    <span role="cell" class="mid two"><span class="quiet mono" title=${meter.url}>${place(meter)}</span>${fault && html`<small class="fault" title=${`${code}: ${text}`}>${code}: ${text}</small>`}</span>
    <span role="cell" class="r num">${show(firstOf(live, POWER), "W")}</span>
    <span role="cell" class="r num mid">${show(firstOf(live, ENERGY), "Wh")}</span>
    <span role="cell" class="r num wide">${show(firstOf(live, VOLTAGE), "V")}</span>
    <span role="cell" class="trail"><${Sparkline} points=${store.trail.get(meter.id)} /></span>
    <span role="cell" class="r quiet num mid">${seen ? `${age(seen, Date.now())} ago` : "never"}</span>
  </div>`;
}

/** First and last row to draw. */
function useWindow(ref, count, height) {
  const [range, setRange] = useState([0, 40]);
  useLayoutEffect(() => {
    const look = () => {
      if (!ref.current) return;
      const above = Math.max(0, -ref.current.getBoundingClientRect().top);
      const first = Math.max(0, Math.floor(above / height) - MORE);
      const last = Math.ceil((above + innerHeight) / height) + MORE;
      setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => { removeEventListener("scroll", look); removeEventListener("resize", look); };
  }, [count, height]);
  return range;
}

/** Ask once for the last hour of power of a meter. */
async function askPast(meter) {
  const key = POWER.find((name) => store.live.get(meter.id)?.has(name));
  if (!key || asked.has(meter.id)) return;
  asked.add(meter.id);
  const end = Date.now();
  try {
    const past = await api.series(meter.id, { quantity: key, start: end - 3600e3, end, bucket: "60s" });
    prepend(meter.id, past.measured_at.map((at, index) => [at, past.mean[index]]));
  } catch {
    asked.delete(meter.id);
  }
}

/** Ask for the past of the meters in view when scrolling rests, a few at a time. */
function usePast(visible) {
  useEffect(() => {
    let stop = false;
    const timer = setTimeout(async () => {
      for (let first = 0; first < visible.length && !stop; first += AT_ONCE) await Promise.all(visible.slice(first, first + AT_ONCE).map(askPast));
    }, 200);
    return () => { stop = true; clearTimeout(timer); };
  }, [visible.map((meter) => meter.id).join()]);
}

/** `focus` is the index whose link takes the focus when it is drawn; `leave` is called above the first row. */
export function Rows({ found, height, focus, leave }) {
  useStore();
  const place = useRef(null), wanted = useRef(focus);
  const [first, last] = useWindow(place, found.length, height);
  const visible = found.slice(first, last);
  usePast(visible);
  useEffect(() => { wanted.current = focus; }, [focus]);
  useEffect(() => {
    if (wanted.current === null) return;
    const link = place.current?.querySelector(`[data-index="${wanted.current}"]`);
    if (link) { link.focus({ preventScroll: true }); wanted.current = null; }
  });
  const go = (index) => {
    const box = place.current.getBoundingClientRect();
    const top = box.top + scrollY + index * height;
    const edge = document.querySelector(".top").offsetHeight + 40;
    if (top < scrollY + edge) scrollTo({ top: top - edge });
    else if (top + height > scrollY + innerHeight) scrollTo({ top: top + height - innerHeight + 8 });
    const link = place.current.querySelector(`[data-index="${index}"]`);
    if (link) link.focus({ preventScroll: true });
    else wanted.current = index;
  };
  const move = (event) => {
    const at = Number(event.target.dataset.index ?? -1);
    const page = Math.max(1, Math.floor(innerHeight / height) - 4);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: found.length - 1 }[event.key];
    if (next === undefined || at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (next < 0 && event.key === "ArrowUp") leave();
    else go(Math.min(found.length - 1, Math.max(0, next)));
  };
  return html`<div class="window" ref=${place} role="rowgroup" style=${{ height: `${found.length * height}px` }} onKeyDown=${move}>
    ${visible.map((meter, index) => row(meter, first + index, height))}</div>`;
}
