// What scans do and find, in words; and that something about it changed.

import { useEffect, useState } from "../vendor/preact-htm.js";
import { changed, store, useStore } from "./store.js";
import { api } from "./api.js";

const AGAIN = 2000;
export const DEVICE_STATES = { new: "new", adopted: "adopted", ignored: "ignored", "": "all" };
export const PORT_STATES = ["open", "closed", "silent", "unreachable", "limited"];
export const SCAN_STATES = { queued: "waiting", running: "live", finished: "online", cancelled: "disabled", failed: "offline" };
export const OUTCOMES = {
  accepted: ["✓", "accepted"], "wants-secret": ["◆", "wants a secret"], rejected: ["✕", "rejected"], exception: ["!", "exception"],
  silent: ["…", "no answer"], closed: ["⊘", "closed"], "not-tried": ["–", "not tried"],
};
export const STABILITIES = { model: "of the model", meter: "of this meter", setting: "a setting" };
export const VERDICTS = { "same-meter": "the same meter", "same-model": "the same model", "other-firmware": "another firmware", "other-model": "another model" };

export const going = (scan) => scan.state === "queued" || scan.state === "running";
export const percent = (share) => `${Math.round(share * 100)} %`;
export const actorName = (actor) => actor.replace(/^\w+:/, "");
export const titleOf = (device) => [device.vendor, device.model].filter(Boolean).join(" ") || "Unknown meter";

let waiting = 0;

/** Something changed; many changes at once are told once. */
export function discovered() {
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    store.discoveries += 1;
    changed();
  }, 500);
}

/** What `ask` gives, asked again when scans or devices changed, and every two seconds while `busy` says so; [found, problem, again]. */
export function useDiscovered(ask, key, busy = () => false) {
  const { discoveries } = useStore();
  const [told, setTold] = useState({ key: null, found: null });
  const [problem, setProblem] = useState("");
  const again = () => ask().then((found) => { setTold({ key, found }); setProblem(""); }).catch((error) => setProblem(error.message));
  const found = told.key === key ? told.found : null;
  const working = Boolean(found && busy(found));
  useEffect(() => {
    let stop = false;
    ask().then((one) => { if (!stop) { setTold({ key, found: one }); setProblem(""); } }).catch((error) => !stop && setProblem(error.message));
    return () => { stop = true; };
  }, [key, discoveries]);
  useEffect(() => {
    if (!working) return undefined;
    const timer = setInterval(() => document.hidden || discovered(), AGAIN);
    return () => clearInterval(timer);
  }, [working]);
  return [found, problem, again];
}

/** At which field of a scan the head-end's refusal is shown; empty where it is about none of them. */
export function faultyField({ code, fields, message }, { targets, exclude }) {
  if (fields[0]) return fields[0].field.replace(/^body\./, "");
  if (code !== "config") return "";
  if (/^(ports?\b|a scan needs)/.test(message)) return "ports";
  const entry = message.match(/^target '([^']*)'/)?.[1];
  return entry && exclude.includes(entry) && !targets.includes(entry) ? "exclude" : "targets";
}
