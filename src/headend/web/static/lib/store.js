// What the console knows: meters, their live values, the catalogue. Pages subscribe; changes are told at most once a frame.

import { api } from "./api.js";
import { useEffect, useReducer } from "../vendor/preact-htm.js";

export const POWER = ["active_power_import_total", "active_power_total"];
export const ENERGY = ["active_energy_import_total", "active_energy_abs_total"];
const TRAIL = 60;

export const store = {
  meters: new Map(),
  quantities: new Map(),
  live: new Map(),      // meter id -> Map(quantity -> {value, at, quality, changed})
  trail: new Map(),     // meter id -> [[at, power], …], oldest first
  status: null,
  me: null,
  connected: false,
  loading: true,
  problem: null,
};

const listeners = new Set();
let scheduled = false;

export function changed() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; for (const listener of listeners) listener(); });
}

/** Draw the calling component again whenever something changed. */
export function useStore() {
  const [, draw] = useReducer((count) => count + 1, 0);
  useEffect(() => { listeners.add(draw); return () => listeners.delete(draw); }, []);
  return store;
}

export function firstOf(values, keys) {
  if (values) for (const key of keys) { const found = values.get(key); if (found) return found; }
  return null;
}

/** Columns of the live feed or of the latest readings become values; the power becomes the sparkline's trail. */
export function take(id, columns) {
  let values = store.live.get(id);
  if (!values) store.live.set(id, (values = new Map()));
  columns.quantities.forEach((quantity, index) => {
    const at = columns.measured_at[index];
    const known = values.get(quantity);
    if (known && known.at > at) return;
    values.set(quantity, { value: columns.values[index], at, quality: columns.quality[index], changed: performance.now() });
  });
  const power = firstOf(values, POWER);
  if (!power || typeof power.value !== "number") return;
  let trail = store.trail.get(id);
  if (!trail) store.trail.set(id, (trail = []));
  if (!trail.length || trail[trail.length - 1][0] < power.at) trail.push([power.at, power.value]);
  if (trail.length > TRAIL) trail.shift();
}

/** The past of a sparkline, put before what the feed brought meanwhile. */
export function prepend(id, points) {
  const trail = store.trail.get(id) || [];
  const first = trail.length ? trail[0][0] : Infinity;
  store.trail.set(id, [...points.filter(([at]) => at < first), ...trail].slice(-TRAIL));
  changed();
}

/** Load the catalogue, all meters page by page, and their latest values. */
export async function load() {
  try {
    const [catalogue, me] = await Promise.all([api.quantities(), api.whoAmI().catch(() => null)]);
    for (const row of catalogue.items) store.quantities.set(row.key, row);
    store.me = me;
    await reloadMeters();
    store.problem = null;
  } catch (error) {
    store.problem = error;
  }
  store.loading = false;
  changed();
}

export async function reloadMeters() {
  const found = new Map();
  let cursor;
  do {
    const page = await api.meters(cursor);
    for (const meter of page.items) found.set(meter.id, meter);
    cursor = page.next;
    store.meters = new Map([...store.meters, ...found]);
    changed();
  } while (cursor);
  store.meters = found;
  await loadLatest();
  changed();
}

async function loadLatest() {
  const columns = await api.latest({ limit: 1000000 });
  const perMeter = new Map();
  columns.rows.forEach(([meter, quantity, value, at, quality]) => {
    let one = perMeter.get(meter);
    if (!one) perMeter.set(meter, (one = { quantities: [], values: [], measured_at: [], quality: [] }));
    one.quantities.push(quantity); one.values.push(value); one.measured_at.push(at); one.quality.push(quality);
  });
  for (const [id, one] of perMeter) take(id, one);
}

export async function refreshStatus() {
  try { store.status = await api.status(); } catch { store.status = null; }
  changed();
}

/** Follow the live feed; the browser comes back by itself, and missed values are read again then. */
export function follow() {
  const feed = new EventSource("/api/v1/live?topics=readings,status,events");
  let lost = false;
  feed.onopen = () => {
    store.connected = true;
    if (lost) { lost = false; reloadMeters().catch(() => {}); }
    changed();
  };
  feed.onerror = () => { store.connected = false; lost = true; changed(); };
  feed.addEventListener("readings", (event) => {
    for (const [id, columns] of Object.entries(JSON.parse(event.data).meters)) {
      take(id, columns);
      const meter = store.meters.get(id);
      if (meter && meter.state) meter.state.last_seen = Math.max(meter.state.last_seen || 0, ...columns.measured_at);
    }
    changed();
  });
  feed.addEventListener("status", (event) => {
    for (const [id, change] of Object.entries(JSON.parse(event.data).meters)) {
      const meter = store.meters.get(id);
      if (meter && meter.state) Object.assign(meter.state, change);
    }
    changed();
  });
  feed.addEventListener("events", (event) => {
    const told = JSON.parse(event.data).events;
    if (told.some((one) => ["METER_ADDED", "METER_CHANGED", "METER_REMOVED"].includes(one.type))) reloadMeters().catch(() => {});
  });
}
