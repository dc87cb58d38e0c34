// Alarms in words, and what is known of them everywhere: how many stand, and that something changed.

import { useEffect, useState } from "../vendor/preact-htm.js";
import { changed, store } from "./store.js";
import { amount, moment } from "./format.js";
import { api } from "./api.js";

export const SEVERITIES = ["critical", "warning", "info"];
export const KINDS = {
  OVERVOLTAGE: "Over-voltage", UNDERVOLTAGE: "Under-voltage", PHASE_LOSS: "Phase loss", OVERCURRENT: "Over-current", OVERLOAD: "Overload",
  REVERSE_POWER: "Reverse power", LOW_POWER_FACTOR: "Low power factor", LOW_BALANCE: "Low balance", RELAY_TRIPPED: "Relay tripped",
  RELAY_CLOSED: "Relay closed", CLOCK_DRIFT: "Clock drift", COMMUNICATION_LOST: "Communication lost", METER_OFFLINE: "Meter offline",
  METER_ONLINE: "Meter online", CUSTOM: "Rules of your own",
};
export const CLEARED = { ended: "over", settled: "over, after flapping", rule: "over: the rule was changed", meter: "over: the meter was removed or disabled" };

/** A span of time in one or two words. */
export function span(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

const said = (value, unit) => amount(value, unit).join(" ").trim();

/** What was seen, against what was set. */
export function alarmText({ kind, value, threshold, unit }) {
  if (kind === "COMMUNICATION_LOST") return `no reading for ${span(threshold)}`;
  if (typeof value === "number" && typeof threshold === "number") return `${said(value, unit)}, limit ${said(threshold, unit)}`;
  return typeof value === "string" ? value : "";
}

/** What the meter says now of what the alarm is about; empty where nothing is known. */
export function nowText({ meter_id, quantity, unit, value }) {
  const found = store.live.get(meter_id)?.get(quantity);
  const now = found?.stale ? null : found?.value;
  return typeof now === "number" && typeof value === "number" ? `now ${said(unit === "kWh" ? now / 1000 : now, unit)}` : "";
}

export const lasted = ({ since, cleared_at: end }) => `${moment(since)}, for ${span(Math.max(0, (end - since) / 1000))}`;

let asked = 0;

/** Count the alarms that stand; many changes at once are asked for once. */
export function countAlarms() {
  if (asked) return;
  asked = setTimeout(async () => {
    asked = 0;
    try {
      const { active, unacknowledged } = await api.alarms({ limit: 1 });
      store.alarms = { active, unacknowledged, turn: store.alarms.turn + 1 };
      changed();
    } catch { /* the counter stays as it was; what is wrong is said elsewhere */ }
  }, 300);
}

/** Some alarms, asked for anew whenever an alarm changed; [{items, next}, error, more]. */
export function useAlarms(choice, limit) {
  const [past, setPast] = useState(null);
  const [problem, setProblem] = useState("");
  const key = JSON.stringify(choice);
  const turn = store.alarms.turn;
  useEffect(() => {
    let stop = false;
    api.alarms({ ...choice, limit }).then((page) => {
      if (stop) return;
      setPast((old) => {
        const last = page.items.length ? page.items[page.items.length - 1].number : Infinity;
        const older = old?.key === key ? old.items.filter((alarm) => alarm.number < last) : [];
        return { key, items: [...page.items, ...(page.next === null ? [] : older)], next: older.length ? old.next : page.next };
      });
      setProblem("");
    }).catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [key, turn]);
  const more = () => api.alarms({ ...choice, limit, cursor: past.next })
    .then((page) => setPast({ ...past, next: page.next, items: [...past.items, ...page.items] })).catch((error) => setProblem(error.message));
  return [past?.key === key ? past : null, problem, more];
}
