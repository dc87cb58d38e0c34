// Scans: the form that begins one, how far each is, and what one found, network by network.

import { html, useState } from "../vendor/preact-htm.js";
import { href } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { moment, plural } from "../lib/format.js";
import { span } from "../lib/alarms.js";
import { PORT_STATES, SCAN_STATES, actorName, discovered, faultyField, going } from "../lib/discovery.js";
import { api } from "../lib/api.js";

const EMPTY = { targets: "", ports: "", exclude: "", rate: "", window: "", timeout: "", reason: "", examine: true, exhaustive: false, again: false, credentials: false };
const NUMBERS = ["rate", "window", "timeout"];
const MORE = [...NUMBERS, "exclude"];
const CHECKS = { examine: "find out who is behind open ports", exhaustive: "exhaustive: every probe everywhere", again: "also places looked into a short while ago", credentials: "with the credentials kept for networks" };

/** The form, filled in with where somebody wants to look. What is left empty is as the settings of the head-end say. */
export function ScanForm({ targets, ports }) {
  const [values, setValues] = useState({ ...EMPTY, targets, ports });
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [open, setOpen] = useState(false);
  const set = (name, value) => setValues((old) => ({ ...old, [name]: value }));
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    const body = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "").map(([name, value]) => [name, NUMBERS.includes(name) ? Number(value) : value]));
    try {
      await signedIn(() => api.startScan(body));
      setProblem(null);
      discovered();
    } catch (error) {
      const field = faultyField({ code: error.code, fields: error.fields || [], message: error.message }, values);
      if (MORE.includes(field)) setOpen(true);
      setProblem({ field, text: [error.fields?.[0]?.expected || error.message, error.hint].filter(Boolean).join(": ") });
    }
    setBusy(false);
  };
  const field = (name, label, extra = {}) => {
    const wrong = problem?.field === name;
    const about = { ...extra, name, value: values[name], onInput: (event) => set(name, event.target.value), "aria-invalid": wrong || null, "aria-describedby": wrong ? `wrong-${name}` : null, autocomplete: "off" };
    return html`<div class=${`field ${name}`}><label>${label}${extra.rows ? html`<textarea ...${about}></textarea>` : html`<input ...${about} />`}</label>${wrong && html`<span class="fault" id=${`wrong-${name}`} role="alert">${problem.text}</span>`}</div>`;
  };
  const known = problem && (problem.field in EMPTY);
  return html`<form class="card" aria-label="Start a scan" onSubmit=${submit}><header><h2>Look for meters</h2><span class="quiet">Networks and serial lines that you may scan. Nothing is written to a meter.</span></header>
    <div class="body scan-form">
      ${problem && !known && html`<p class="note bad" role="alert">${problem.text}</p>`}
      <div class="scan-fields">
        ${field("targets", "Targets", { rows: 2, required: true, class: "mono", spellcheck: false, placeholder: "10.1.0.0/24 10.2.0.1-10.2.0.99 meter.example serial:/dev/ttyUSB0?baud=9600" })}
        ${field("ports", "Ports", { class: "mono", placeholder: "those of all protocols" })}
        ${field("reason", "Reason", { maxlength: 200, placeholder: "for the audit trail" })}
      </div>
      <details open=${open} onToggle=${(event) => setOpen(event.target.open)}><summary>How <span class="quiet">excluded addresses, speed, depth; what is left empty is as the settings say</span></summary>
        <div class="scan-fields more">
          ${field("exclude", "Leave out", { class: "mono", placeholder: "10.1.0.1 10.1.0.128/25" })}
          ${field("rate", "Connections a second", { type: "number", step: "any", placeholder: "as the settings say" })}
          ${field("window", "Connections at once", { type: "number", step: 1, placeholder: "as the settings say" })}
          ${field("timeout", "Wait for a connection, s", { type: "number", step: "any", placeholder: "as the settings say" })}
        </div>
        <div class="checks">${Object.entries(CHECKS).map(([name, label]) => html`<label><input type="checkbox" name=${name} checked=${values[name]} onChange=${(event) => set(name, event.target.checked)} /> ${label}</label>`)}</div></details>
      <div class="bar"><button class="tool primary" aria-disabled=${busy}>${busy ? "Starting …" : "Start the scan"}</button></div>
    </div></form>`;
}

/** Targets asked for a connection and open ones looked into, as one bar. */
function Bar({ scan }) {
  const { targets, done, states, examined, skipped } = scan.progress;
  const open = scan.request.examine ? states.open || 0 : 0;
  const most = targets + open, now = Math.min(most, done + (open ? examined + skipped : 0));
  return html`<progress max=${most || 1} value=${scan.state === "finished" ? most || 1 : now} aria-label="How far the scan is"></progress>`;
}

export function Counts({ scan }) {
  const { targets, done, states, examined, skipped, devices, new: fresh, nobody } = scan.progress;
  const found = PORT_STATES.filter((name) => states[name]).map((name) => html`<span><b class="num">${states[name].toLocaleString("en")}</b> ${name}</span>`);
  return html`<div class="counts num"><span><b>${done.toLocaleString("en")}</b> of ${plural(targets, "place")}</span>${found}
    ${examined + skipped > 0 && html`<span><b>${examined.toLocaleString("en")}</b> looked into${skipped ? `, ${skipped.toLocaleString("en")} left alone` : ""}</span>`}
    <span><b>${devices.toLocaleString("en")}</b> ${devices === 1 ? "meter" : "meters"}${fresh ? `, ${fresh.toLocaleString("en")} new` : ""}</span>${nobody > 0 && html`<span><b>${nobody.toLocaleString("en")}</b> nobody known</span>`}</div>`;
}

export function ScanState({ scan }) {
  const left = scan.state === "running" && scan.progress.seconds_left !== null ? `, about ${span(scan.progress.seconds_left)} left` : "";
  return html`<span class=${`state ${scan.state === "running" ? "online" : SCAN_STATES[scan.state]}`}><i class=${`dot${scan.state === "running" ? " live" : ""}`}></i>${scan.state}${left}</span>`;
}

function Line({ scan, cancel }) {
  return html`<li key=${scan.id}><div class="scan-line"><${ScanState} scan=${scan} /><a class="mono what" href=${href("discovery", scan.id)} aria-label=${`Report of the scan of ${scan.request.targets}`}>${scan.request.targets}${scan.request.ports && ` : ${scan.request.ports}`}</a>
      <span class="quiet" title=${moment(scan.created_at)}>${moment(scan.started_at || scan.created_at)}, ${actorName(scan.actor)}${scan.reason && `: ${scan.reason}`}</span>
      ${going(scan) && html`<button class="tool" aria-label=${`Cancel the scan of ${scan.request.targets}`} onClick=${() => cancel(scan)}>Cancel</button>`}</div>
    ${going(scan) && html`<${Bar} scan=${scan} />`}<${Counts} scan=${scan} />${scan.error && html`<p class="fault">${scan.error}</p>`}</li>`;
}

export function Scans({ page, problem, again, more }) {
  const [wrong, setWrong] = useState("");
  const cancel = (scan) => signedIn(() => api.cancelScan(scan.id)).then(() => setWrong("")).catch((error) => setWrong(error.message)).then(again);
  return html`<section class="card" aria-label="Scans"><header><h2>Scans</h2></header>
    ${(wrong || problem) && html`<p class="note bad" role="alert">${wrong || problem}</p>`}
    ${page?.items.length ? html`<ul class="scans">${page.items.map((scan) => html`<${Line} key=${scan.id} scan=${scan} cancel=${cancel} />`)}</ul>` : html`<p class="empty">${page ? "Nothing was scanned yet." : "Loading …"}</p>`}
    ${page?.next && html`<p class="hint"><button class="tool" onClick=${more}>Older scans</button></p>`}</section>`;
}

const nameOf = (vendor) => vendor || "unknown";

/** How often each of something was found, the most frequent first. */
function Shares({ title, counts, link }) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  const most = rows[0]?.[1] || 1;
  return html`<section class="card" aria-label=${title}><header><h2>${title}</h2></header>${rows.length ? html`<table class="list shares"><tbody>${rows.map(([name, count]) => html`<tr><th scope="row">${link ? html`<a href=${link(name)}>${nameOf(name)}</a>` : nameOf(name)}</th><td><progress max=${most} value=${count} aria-hidden="true"></progress></td><td class="r num">${count.toLocaleString("en")}</td></tr>`)}</tbody></table>` : html`<p class="empty">None.</p>`}</section>`;
}

/** What one scan found. */
export function Report({ report, again }) {
  const [wrong, setWrong] = useState("");
  const { scan, networks, vendors, protocols, nobody } = report;
  const cancel = () => signedIn(() => api.cancelScan(scan.id)).then(() => setWrong("")).catch((error) => setWrong(error.message)).then(again);
  const chosen = ["exhaustive", "again", "credentials"].filter((name) => scan.request[name]);
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  const states = PORT_STATES.filter((name) => networks.some((one) => one.states[name]));
  return html`<div class="head-line"><a class="tool" href="#/discovery" aria-label="Back to the scans">←</a><h1 tabindex="-1">Scan of ${scan.request.targets.slice(0, 80)}${scan.request.targets.length > 80 ? " …" : ""}</h1><${ScanState} scan=${scan} /><span class="space"></span>
      <a class="tool" href=${href("discovery", "", { scan: scan.id, state: "all" })}>Its meters</a>${going(scan) && html`<button class="tool" onClick=${cancel}>Cancel</button>`}</div>
    ${(wrong || scan.error) && html`<p class="note bad" role="alert">${wrong || scan.error}</p>`}
    <section class="card" aria-label="The scan"><div class="body scan-told"><${Bar} scan=${scan} /><${Counts} scan=${scan} /><dl class="facts">
      ${fact("targets", html`<span class="mono">${scan.request.targets}</span>`)}${fact("ports", html`<span class="mono">${scan.request.ports || "those of all protocols"}</span>`)}${fact("left out", scan.request.exclude)}
      ${fact("how", chosen.join(", "))}${fact("asked by", `${actorName(scan.actor)}${scan.reason ? `: ${scan.reason}` : ""}`)}${fact("began", moment(scan.started_at || scan.created_at))}${fact("ended", scan.ended_at && `${moment(scan.ended_at)}, after ${span((scan.ended_at - (scan.started_at || scan.created_at)) / 1000)}`)}</dl></div></section>
    <section class="card" aria-label="Networks"><header><h2>Networks</h2></header><div class="wide"><table class="list"><thead><tr><th scope="col">Target</th>${states.map((name) => html`<th scope="col" class="r">${name}</th>`)}<th scope="col" class="r">meters</th><th scope="col">of</th></tr></thead>
      <tbody>${networks.map((one) => html`<tr><th scope="row" class="mono">${one.target}</th>${states.map((name) => html`<td class="r num">${(one.states[name] || 0).toLocaleString("en")}</td>`)}<td class="r num">${one.devices.toLocaleString("en")}</td><td>${Object.entries(one.vendors).sort((a, b) => b[1] - a[1]).map(([name, count]) => `${nameOf(name)} ${count}`).join(", ")}</td></tr>`)}</tbody></table></div></section>
    <div class="thirds"><${Shares} title="Makers" counts=${vendors} link=${(name) => href("discovery", "", { scan: scan.id, state: "all", vendor: name || "unknown" })} /><${Shares} title="Protocols" counts=${protocols} link=${(name) => href("discovery", "", { scan: scan.id, state: "all", protocol: name })} /><${Shares} title="Open, and nobody known" counts=${nobody} /></div>`;
}
