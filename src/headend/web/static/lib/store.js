// What the console knows: meters, their live values, the catalogue. Pages subscribe; changes are told at most once a frame.

import { api } from "./api.js";
import { useEffect, useReducer } from "../vendor/preact-htm.js";

export const POWER = ["active_power_import_total", "active_power_total"];
export const ENERGY = ["active_energy_import_total", "active_energy_abs_total"];
export const VOLTAGE = ["voltage_l1", "voltage_total", "voltage_phase_avg"];
const HOUR = 3600e3;
const KEPT_EVENTS = 500;

export const store = {
  meters: new Map(),
  version: 0,           // grows when the list of meters or the state of one changed
  quantities: new Map(),
  profiles: new Map(),
  live: new Map(),      // meter id -> Map(quantity -> {value, at, quality, changed, stale})
  trail: new Map(),     // meter id -> [[at, power], …] of the last hour, oldest first
  told: [],             // events that came since the page was opened, newest first
  alarms: { active: {}, unacknowledged: 0, turn: 0 }, // how many stand, by severity; the turn grows when one changed
  discoveries: 0,       // grows when a scan or a device changed
  status: null,
  me: null,
  connected: false,
  lostAt: 0,            // when the live feed broke off
  loading: true,
  problem: null,
  fleetAt: "",          // where the list of meters was left
  signIn: null,         // {resolve, reject} while somebody is asked to sign in
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
    const at = columns.measured_at[index], value = columns.values[index];
    const known = values.get(quantity);
    if (known && known.at > at) return;
    const when = known && known.value !== value ? performance.now() : known?.changed ?? -Infinity;
    values.set(quantity, { value, at, quality: columns.quality[index], received: columns.received_at[index], source: columns.source[index], changed: when, stale: columns.stale?.[index] || false });
  });
  const power = firstOf(values, POWER);
  if (power && !power.stale && typeof power.value === "number") follows(id, [power.at, power.value]);
}

/** One more point of a trail. The newest point gives way while it is too near to the one before it, so a trail stays short. */
function follows(id, point) {
  let trail = store.trail.get(id);
  if (!trail) store.trail.set(id, (trail = []));
  const last = trail.length - 1;
  if (last >= 0 && trail[last][0] >= point[0]) return;
  if (last > 0 && trail[last][0] - trail[last - 1][0] < (point[0] - trail[0][0]) / 60) trail[last] = point;
  else trail.push(point);
  while (trail.length > 2 && trail[0][0] < point[0] - HOUR) trail.shift();
}

/** The past of a sparkline, put before what the feed brought meanwhile. */
export function prepend(id, points) {
  const trail = store.trail.get(id) || [];
  const first = trail.length ? trail[0][0] : Infinity;
  store.trail.set(id, [...points.filter(([at]) => at < first), ...trail]);
  changed();
}

/** Load the catalogue, all meters page by page, and the latest values of what the fleet shows. */
export async function load() {
  try {
    store.me = await api.whoAmI();
    const [catalogue, library] = await Promise.all([api.quantities(), api.profiles()]);
    store.quantities = new Map(catalogue.items.map((row) => [row.key, row]));
    store.profiles = new Map(library.items.map((row) => [row.id, row]));
    await reloadMeters();
    store.problem = null;
  } catch (error) {
    store.problem = error;
  }
  store.loading = false;
  changed();
  return store.problem === null;
}

export async function reloadMeters() {
  const found = new Map();
  let cursor;
  do {
    const page = await api.meters(cursor);
    for (const meter of page.items) found.set(meter.id, meter);
    cursor = page.next;
    if (cursor && found.size > store.meters.size) put(new Map(found));
  } while (cursor);
  put(found);
  await loadLatest({ quantities: [...POWER, ...ENERGY, ...VOLTAGE].join() });
}

function put(meters) {
  store.meters = meters;
  store.version += 1;
  changed();
}

/** Take the newest readings: of some quantities of all meters, or of all quantities of some meters. */
export async function loadLatest(choice) {
  const columns = await api.latest({ limit: 1000000, stale: true, ...choice });
  const perMeter = new Map();
  for (const [meter, quantity, value, at, quality, received, source, stale] of columns.rows) {
    let one = perMeter.get(meter);
    if (!one) perMeter.set(meter, (one = { quantities: [], values: [], measured_at: [], quality: [], received_at: [], source: [], stale: [] }));
    one.quantities.push(quantity); one.values.push(value); one.measured_at.push(at); one.quality.push(quality);
    one.received_at.push(received); one.source.push(source); one.stale.push(stale);
  }
  for (const [id, one] of perMeter) take(id, one);
  changed();
}

export async function refreshStatus() {
  if (store.problem) return;
  try { store.status = await api.status(); } catch (error) {
    store.status = null;
    if (error.status === 401) store.problem = error; // the login ended
  }
  changed();
}

export function takeReadings({ meters }) {
  for (const [id, columns] of Object.entries(meters)) {
    take(id, columns);
    const state = store.meters.get(id)?.state;
    if (state) for (const at of columns.measured_at) if (at > (state.last_seen || 0)) state.last_seen = at;
  }
  changed();
}

/** Values that are no longer of the present: they stay known, with the time of the last, and are shown as a dash. */
export function takeStale({ meters }) {
  for (const [id, quantities] of Object.entries(meters)) {
    const values = store.live.get(id);
    for (const quantity of quantities) if (values?.has(quantity)) values.set(quantity, { ...values.get(quantity), stale: true });
  }
  changed();
}

export function takeStatus({ meters }) {
  for (const [id, change] of Object.entries(meters)) {
    const meter = store.meters.get(id);
    if (change.online === false) takeStale({ meters: { [id]: [...(store.live.get(id)?.keys() || [])] } });
    if (meter?.state) Object.assign(meter.state, change, change.online ? { last_error_code: "", last_error_text: "" } : {});
  }
  store.version += 1;
  changed();
}

export function takeEvents({ events }) {
  const lasting = events.filter((one) => one.type !== "SCAN_PROGRESS").reverse();
  store.told = [...lasting, ...store.told].slice(0, KEPT_EVENTS);
  for (const { type, meter_id, data } of events) {
    const state = store.meters.get(meter_id)?.state;
    if (state && type === "METER_OFFLINE") Object.assign(state, { last_error_code: data.code || "", last_error_text: data.reason || "" });
  }
  if (events.some((one) => ["METER_ADDED", "METER_CHANGED", "METER_REMOVED"].includes(one.type))) reloadMeters().catch(() => {});
  changed();
}
