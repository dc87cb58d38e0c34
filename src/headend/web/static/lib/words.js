// States, events and qualities in words.

import { amount, moment, plural } from "./format.js";

export const STATES = ["online", "offline", "waiting", "disabled"];

export function stateOf(meter) {
  if (meter.enabled === false) return "disabled";
  if (meter.state?.online) return "online";
  return meter.state?.online === false ? "offline" : "waiting";
}

/** Where a meter is, without what is shown elsewhere: `modbus://127.0.0.1:5020/1`. */
export const place = (meter) => meter.url.split("?")[0];

const QUALITIES = ["estimated", "clock of the meter invalid", "out of range", "missing", "not all digits kept", "entered by hand"];

/** What the flags of a reading say; empty when it is good. */
export const qualityWords = (flags) => QUALITIES.filter((_, bit) => flags & (1 << bit)).join(", ");

const SOURCES = { poll: "polled", push: "pushed by the meter", history: "from a load profile", emulated: "emulated", submitted: "handed in" };

/** How a reading came, and when. */
export const receiptWords = (source, at) => `${SOURCES[source] || source}, ${moment(at)}`;

const EVENTS = {
  METER_ONLINE: ["Online", () => "answers"],
  METER_OFFLINE: ["Offline", because],
  METER_ADDED: ["Added", () => "was added"],
  METER_CHANGED: ["Changed", () => "was changed"],
  METER_REMOVED: ["Removed", () => "was removed"],
  READ_FAILED: ["Read failed", because],
  COMMAND_FINISHED: ["Command", (data) => `${data.command}: ${data.verdict}${data.detail ? `, ${data.detail}` : ""}${data.actor ? ` (by ${data.actor})` : ""}`],
  PUSH_UNKNOWN: ["Push of nobody known", (data) => `${[data.system_title, data.logical_device_name, data.serial].filter(Boolean).join(", ") || data.address} at ${data.source}${times(data)}`],
  PUSH_REFUSED: ["Push refused", (data) => `${because(data)}, from ${data.source}${times(data)}`],
  ALARM_RAISED: ["Alarm", alarm],
  ALARM_CLEARED: ["Alarm over", alarm],
  ALARM_ACKNOWLEDGED: ["Alarm acknowledged", (data) => `${alarm(data)}, by ${data.actor.replace(/^\w+:/, "")}${data.note ? `: ${data.note}` : ""}`],
  SCAN_STARTED: ["Scan started", ({ targets, actor }) => `${targets}, by ${actor.replace(/^\w+:/, "")}`],
  SCAN_ENDED: ["Scan over", ({ state, devices, new: fresh, error }) => `${state}: ${devices} meters, ${fresh} of them new${error ? `: ${error}` : ""}`],
  METER_DISCOVERED: ["Meter found", ({ vendor, model, serial, url }) => `${[vendor || "unknown maker", model, serial].filter(Boolean).join(" ")} at ${url.split("?")[0]}`],
  DELIVERY_LOST: ["Delivery lost", ({ sink, count, first, last }) => `${plural(count, "entry", "entries")} went before ${sink} had them${first ? `, stored from ${moment(first)} to ${moment(last)}` : ""}`],
  STORAGE_FULL: ["Storage full", () => "the database does not take readings"],
  STORAGE_RECOVERED: ["Storage works", () => "the database takes readings again"],
};
export const EVENT_TYPES = Object.keys(EVENTS);

function because(data) {
  return [data.code, data.reason].filter(Boolean).join(": ");
}

function alarm({ label, phase, value, threshold, unit }) {
  const seen = typeof value === "number" && typeof threshold === "number" ? `: ${amount(value, unit).join(" ")}, limit ${amount(threshold, unit).join(" ")}` : "";
  return `${label}${phase ? ` ${phase.toUpperCase()}` : ""}${seen}`;
}

const times = ({ count }) => (count > 1 ? `, ${count} times` : "");

export const eventName = (type) => EVENTS[type]?.[0] || type.toLowerCase().replaceAll("_", " ");

export function eventText({ type, data }) {
  const known = EVENTS[type];
  return known ? known[1](data) : Object.entries(data).map(([name, value]) => `${name} ${value}`).join(", ");
}
