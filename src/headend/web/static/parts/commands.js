// Commands to one meter: asked for, confirmed where they switch something, followed to their outcome. And the jobs that they are.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { meterLink } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { moment, said } from "../lib/format.js";
import { api } from "../lib/api.js";

const AGAIN = 1500;
const NAMES = {
  disconnect: "Disconnect", "allow-reconnect": "Allow reconnection", reconnect: "Reconnect", "set-clock": "Set clock", freeze: "Freeze", "reset-demand": "Reset demand",
  "clear-meter": "Clear meter", "clear-events": "Clear events", "change-secret": "Change secret", write: "Write", invoke: "Invoke", read: "Read", "read-history": "Read load profile",
};
const USUAL = ["disconnect", "reconnect", "set-clock"];
const OTHERS = ["allow-reconnect", "freeze", "reset-demand", "clear-events", "clear-meter", "write", "invoke"];
const TAKES = { write: ["ref", "value"], invoke: ["ref", "value"], freeze: ["ref"], "clear-events": ["ref"] };
const WORDS = { proposed: "waits for confirmation", queued: "queued", running: "running", succeeded: "succeeded", failed: "failed", expired: "expired", cancelled: "cancelled", unknown: "outcome unknown" };
const open = (job) => ["proposed", "queued", "running"].includes(job.state) || (job.state === "unknown" && job.verify_by);

export const commandName = (kind) => NAMES[kind] || kind;

/** A number where it is one, a switch for yes and no, else the text. */
function valueOf(text) {
  if (text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  return { true: true, false: false }[text.trim()] ?? text;
}

function words(job) {
  if (job.state === "unknown" && job.verify_by) return "outcome unknown: the meter is being looked at";
  const end = job.verdict && job.verdict !== "confirmed" ? job.verdict : "";
  return [job.state === "succeeded" && job.verdict === "confirmed" ? "confirmed by the meter" : end || WORDS[job.state], job.detail, job.note].filter(Boolean).join(": ");
}

const tone = (job) => ({ succeeded: "online", failed: "offline", expired: "offline", unknown: "offline", cancelled: "disabled" }[job.state] || "waiting");

/** Jobs, asked again while one of them is under way. */
export function useJobs(values) {
  const [jobs, setJobs] = useState(null);
  const [problem, setProblem] = useState("");
  const key = JSON.stringify(values);
  const ask = () => api.jobs(values).then((page) => { setJobs(page.items); setProblem(""); }).catch((error) => setProblem(error.message));
  const busy = jobs?.some(open);
  const { connected } = useStore();
  useEffect(() => {
    ask();
    const timer = setInterval(() => document.hidden || ask(), busy ? AGAIN : 10 * AGAIN);
    return () => clearInterval(timer);
  }, [key, busy, connected]);
  return [jobs || [], ask, problem];
}

export function JobLine({ job, codes = {}, work, named = false }) {
  const params = Object.entries(job.params).map(([name, value]) => `${name} ${name === "at" ? moment(value) : value}`).join(", ");
  return html`<li><time class="quiet num" title=${moment(job.created_at)}>${moment(job.created_at)}</time>
    <div class="what"><b>${commandName(job.kind)}</b>${params ? html` <span class="mono">${params}</span>` : ""}${named ? html` <a href=${meterLink(job.meter_id)}>${job.meter_id}</a>` : ""} <span class="quiet">by ${job.actor}${job.confirmed_by && job.confirmed_by !== job.actor ? `, confirmed by ${job.confirmed_by}` : ""}</span>
      <div class=${`state ${tone(job)}`} role="status"><i class="dot"></i>${words(job)}</div>${job.observed !== null && job.observed !== undefined ? html`<div class="quiet">seen: ${said(job.observed, "")}</div>` : ""}</div>
    ${job.state === "proposed" && html`<button class="tool primary" onClick=${() => work(() => api.confirmJob(job.id, codes[job.id] || ""))}>Confirm</button>`}
    ${["proposed", "queued"].includes(job.state) && html`<button class="tool" onClick=${() => work(() => api.cancelJob(job.id))}>Cancel</button>`}</li>`;
}

export function Commands({ id }) {
  const [kind, setKind] = useState("");
  const [fields, setFields] = useState({});
  const [codes, setCodes] = useState({});
  const [problem, setProblem] = useState("");
  const [jobs, again, trouble] = useJobs({ meter_id: id, limit: 8 });
  const work = (action) => signedIn(action).then(() => setProblem("")).catch((error) => setProblem(error.hint ? `${error.message}: ${error.hint}` : error.message)).then(again);
  const send = (what, values = {}) => work(async () => {
    const params = Object.fromEntries(Object.entries(values).filter(([, text]) => text !== "").map(([name, text]) => [name, name === "value" ? valueOf(text) : text]));
    const job = await api.command(id, { kind: what, params }, crypto.randomUUID?.() || `${Date.now()}-${Math.random()}`);
    if (job.code) setCodes((old) => ({ ...old, [job.id]: job.code }));
    setKind("");
    setFields({});
  });
  const takes = TAKES[kind];
  const choose = (what) => { if (!what || TAKES[what]) setKind(what); else send(what); };
  return html`<section class="card" aria-label="Commands"><header><h2>Commands</h2></header>
    <div class="body bar">${USUAL.map((what) => html`<button class="tool" onClick=${() => send(what)}>${NAMES[what]}</button>`)}
      <select aria-label="Another command" value=${kind} onChange=${(event) => { choose(event.target.value); if (!TAKES[event.target.value]) event.target.value = ""; }}><option value="">more …</option>${OTHERS.map((what) => html`<option value=${what}>${NAMES[what]}</option>`)}</select></div>
    ${takes && html`<form class="body bar adopt" onSubmit=${(event) => { event.preventDefault(); send(kind, fields); }}>${takes.map((name) => html`<label>${name === "ref" ? "Object" : "Value"} <input type="text" class=${name === "ref" ? "mono" : ""} maxlength="200" required=${kind === "write"} value=${fields[name] || ""} onInput=${(event) => setFields({ ...fields, [name]: event.target.value })} /></label>`)}<button class="tool primary">${NAMES[kind]}</button><button type="button" class="tool" onClick=${() => setKind("")}>Cancel</button></form>`}
    ${(problem || trouble) && html`<p class="note bad" role="alert">${problem || trouble}</p>`}
    ${jobs.length ? html`<ol class="events short jobs">${jobs.map((job) => html`<${JobLine} key=${job.id} job=${job} codes=${codes} work=${work} />`)}</ol>` : html`<p class="hint quiet">Nothing was asked of this meter yet. What switches the supply is confirmed before it is sent, sent once, and read back.</p>`}
  </section>`;
}
