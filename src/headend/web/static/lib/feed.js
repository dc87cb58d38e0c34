// The live feed: one stream of server-sent events, kept only while the page is seen (a browser has few connections to
// one server), opened again when it broke, and what was missed meanwhile read anew.

import { countAlarms } from "./alarms.js";
import { discovered } from "./discovery.js";
import { changed, load, reloadMeters, store, takeEvents, takeReadings, takeStale, takeStatus } from "./store.js";

const AGAIN = 3000;
let feed = null;
let timer = 0;

const later = () => { clearTimeout(timer); timer = setTimeout(start, AGAIN); };

function lost() {
  if (store.connected || !store.lostAt) store.lostAt = Date.now();
  store.connected = false;
  changed();
}

function stop() {
  clearTimeout(timer);
  feed?.close();
  feed = null;
}

/** Load everything and follow; whatever goes wrong is tried again until it works. */
export async function start() {
  stop();
  if (document.hidden) return;
  const first = store.loading || store.problem;
  if (first && !(await load())) {
    lost();
    if (store.problem.status !== 401) later();
    return;
  }
  stop();
  feed = new EventSource("/api/v1/live?topics=readings,status,events");
  feed.onopen = () => {
    if (!first) reloadMeters().catch(() => {});
    countAlarms();
    discovered();
    store.connected = true;
    store.lostAt = 0;
    changed();
  };
  feed.onerror = () => { stop(); lost(); later(); };
  feed.addEventListener("readings", (event) => takeReadings(JSON.parse(event.data)));
  feed.addEventListener("stale", (event) => takeStale(JSON.parse(event.data)));
  feed.addEventListener("status", (event) => takeStatus(JSON.parse(event.data)));
  feed.addEventListener("events", (event) => {
    const told = JSON.parse(event.data);
    takeEvents(told);
    if (told.events.some((one) => one.type.startsWith("ALARM_"))) countAlarms();
    if (told.events.some((one) => one.type.startsWith("SCAN_") || one.type === "METER_DISCOVERED")) discovered();
  });
}

export function follow() {
  start();
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : feed || start()));
}
