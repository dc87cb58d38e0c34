// One device that was found: who it is and why, all that it showed, and what may be done with it.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { store } from "../lib/store.js";
import { href, meterLink, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { moment, plural } from "../lib/format.js";
import { discovered, titleOf, useDiscovered } from "../lib/discovery.js";
import { place } from "../lib/words.js";
import { api } from "../lib/api.js";
import { Ask } from "../parts/alarms.js";
import { Adopt, Adopted, DeviceState, Sure } from "../parts/devices.js";
import { Difference } from "../parts/difference.js";
import { Associations, Facts, Held, Meanings } from "../parts/facts.js";

const SECRETS = { dlms: [["secret", "Password or secret"], ["ek", "Encryption key, hexadecimal"], ["ak", "Authentication key, hexadecimal"]] };
const METHODS = { identifier: "by an identifier of its maker", rules: "by the rules of meter files", model: "by the statistical model over object lists", none: "" };

/** A secret as the head-end takes it: keys are in hexadecimal, a password is a text unless it says otherwise. */
function secretOf(name, text) {
  if (/^(hex|text):/.test(text)) return text;
  return name === "secret" ? `text:${text}` : `hex:${text.replace(/0x|[\s:,-]/gi, "")}`;
}

function Reasons({ title, reasons }) {
  if (!reasons.length) return null;
  return html`<h3>${title}</h3><ul class="reasons">${reasons.map((one) => html`<li><span class="num weight" title="how much it weighs">${one.weight > 0 ? "+" : "−"}${Math.abs(one.weight).toFixed(2)}</span><span>${one.text}</span></li>`)}</ul>`;
}

/** Who it is, how sure that is, what speaks for and against it, and who else it may be. */
function Who({ device }) {
  const found = device.classification;
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  const known = Object.entries(device.identity).filter(([, value]) => value);
  return html`<section class="card" aria-label="Who it is"><header><h2>Who it is</h2><span class="quiet">${METHODS[found.method] ?? found.method}</span></header><div class="body">
    <dl class="facts"><dt>maker</dt><dd>${found.vendor ? html`<b>${found.vendor}</b>${found.flag && html` <span class="tag mono" title="FLAG identifier">${found.flag}</span>`}` : html`<b>unknown</b> <span class="quiet">none of those known</span>`} <${Sure} share=${found.confidence} /></dd>
      <dt>model</dt><dd>${found.model ? html`<b>${found.model}</b> <${Sure} share=${found.model_confidence} />` : html`<span class="quiet">unknown</span>`}</dd>
      ${fact("firmware", found.firmware)}<dt>meter file</dt><dd>${found.profile_id || html`<span class="quiet">none fits</span>`}</dd>
      ${known.filter(([name]) => !["firmware", "model"].includes(name)).map(([name, value]) => fact(name.replaceAll("_", " "), html`<span class="mono">${value}</span>`))}</dl>
    <${Reasons} title="What speaks for it" reasons=${found.reasons} /><${Reasons} title="What speaks against" reasons=${found.against} />
    ${found.runners_up.length > 0 && html`<h3>Who else it may be</h3><ul class="reasons">${found.runners_up.map((one) => html`<li><${Sure} share=${one.confidence} /><span>${one.vendor} ${one.model}</span></li>`)}</ul>`}</div></section>`;
}

function Place({ device }) {
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  return html`<section class="card" aria-label="Where it is"><header><h2>Where it is</h2></header><div class="body"><dl class="facts">
    ${fact("speaks", [device.protocol, device.framing].filter(Boolean).join(", "))}${fact("URL", html`<span class="mono">${device.url}</span>`)}${Object.entries(device.params).map(([name, value]) => fact(name, html`<span class="mono">${value}</span>`))}
    ${fact("first seen", moment(device.first_seen))}${fact("last seen", moment(device.last_seen))}${device.changed_at > device.first_seen && fact("changed", moment(device.changed_at))}${fact("scan", device.scan && html`<a href=${href("discovery", device.scan)}>${device.scan}</a>`)}${fact("cut short", device.stopped)}</dl></div></section>`;
}

/** Look again, deeper: parameters as `name=value`, secrets in fields that never show them. */
function Examine({ device, done, close }) {
  const given = Object.entries(device.params).map(([name, value]) => `${name}=${value}`).join("\n");
  const submit = async (form) => {
    const lines = form.get("params").split("\n").map((line) => line.trim()).filter(Boolean);
    const params = Object.fromEntries(lines.map((line) => { const at = line.indexOf("="); if (at < 1) throw new Error(`Parameters: “${line}” is not name=value`); return [line.slice(0, at).trim(), line.slice(at + 1).trim()]; }));
    const secrets = Object.fromEntries((SECRETS[device.protocol] || []).filter(([name]) => form.get(name)).map(([name]) => [name, secretOf(name, form.get(name))]));
    const seen = await api.examine(device.id, { params: lines.join("\n") === given ? {} : params, secrets, exhaustive: form.has("exhaustive"), credentials: form.has("credentials"), keep: form.has("keep"), reason: form.get("reason") });
    done(seen);
  };
  const check = (name, label) => html`<label class="check"><input type="checkbox" name=${name} /> ${label}</label>`;
  return html`<${Ask} title="Examine again" action="Examine" submit=${submit} close=${close}>
    <label>Parameters, one a line<textarea name="params" rows="3" class="mono" spellcheck=${false} defaultValue=${given}></textarea></label>
    ${SECRETS[device.protocol] && html`<p class="quiet">A secret is tried once and not shown again. A password is taken as a text; as octets, where it begins with hex:</p><div class="rule-fields">${SECRETS[device.protocol].map(([name, label]) => html`<label>${label}<input type="password" name=${name} autocomplete="new-password" /></label>`)}</div>${check("keep", "keep them for this device")}`}
    ${check("credentials", "use the credentials that are kept for its network")}${check("exhaustive", "exhaustive: every probe")}
    <label>Reason<input name="reason" maxlength="200" autocomplete="off" placeholder="for the audit trail" /></label><p class="quiet">It may take a minute.</p><//>`;
}

/** The meter file that was drafted for it, and keeping it in the library. */
function Draft({ device }) {
  const [text, setText] = useState("");
  const [name, setName] = useState("");
  const [told, setTold] = useState("");
  const [problem, setProblem] = useState("");
  useEffect(() => { setText(""); setTold(""); }, [device.digest]);
  const work = (action) => signedIn(action).then(() => setProblem("")).catch((error) => setProblem([error.message, error.hint].filter(Boolean).join(": ")));
  const show = () => work(async () => setText(text ? "" : await api.draft(device.id)));
  const keep = (event) => {
    event.preventDefault();
    work(async () => {
      const { id } = await api.keepDraft(device.id, { id: name.trim() });
      const library = await api.profiles();
      store.profiles = new Map(library.items.map((row) => [row.id, row]));
      setTold(id);
    });
  };
  return html`<section class="card" aria-label="Draft"><header><h2>Draft of a meter file</h2><span class="space"></span>${device.drafted && html`<button class="tool" aria-expanded=${Boolean(text)} onClick=${show}>${text ? "Hide" : "Show"}</button>`}</header><div class="body">
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}${told && html`<p class="note" role="status">Kept in the library as <b class="mono">${told}</b></p>`}
    ${device.drafted ? html`<form class="bar adopt" onSubmit=${keep}><label>Keep it as <input type="text" class="mono small" maxlength="100" placeholder="made of maker and model" value=${name} onInput=${(event) => setName(event.target.value)} /></label><button class="tool">Keep as a profile</button></form>${text && html`<pre class="mono document draft" tabindex="0" aria-label="Draft, TOML">${text}</pre>`}` : html`<p class="quiet">It showed too little for a draft.</p>`}</div></section>`;
}

export function Device({ id, params }) {
  const [device, problem, again] = useDiscovered(() => api.device(id), id);
  const [other, setOther] = useState(params.get("with") || "");
  const [asked, setAsked] = useState("");
  const [became, setBecame] = useState(null);
  const [told, setTold] = useState("");
  const [wrong, setWrong] = useState("");
  const name = device ? titleOf(device) : id;
  useEffect(() => { document.title = `${name} · Headend`; }, [name]);
  useEffect(() => remember("devices", id, { with: other }), [id, other]);
  const back = html`<a class="tool" href="#/discovery" aria-label="Back to the discovery">←</a>`;
  if (!device) return html`<div class="head-line">${back}<h1 tabindex="-1">${id}</h1></div><p class="empty" role="status">${problem || "Loading …"}</p>`;
  const change = (what) => signedIn(() => what({ ids: [id] })).then(() => { setWrong(""); discovered(); return again(); }).catch((error) => setWrong(error.message));
  const seen = (found) => {
    const same = found.devices.find((one) => one.id === id);
    setTold(found.nothing ? `Nobody was found: ${found.nothing}` : same ? `Examined: ${plural(found.evidence.length, "step")}${same.stopped ? `, ended early: ${same.stopped}` : ""}` : "Somebody else is there now");
    discovered();
    again();
  };
  return html`
    <div class="head-line">${back}<h1 tabindex="-1">${name}</h1><${DeviceState} device=${device} /><span class="where mono" title=${device.url}>${place(device)}</span>${device.serial && html`<span class="quiet num">no. ${device.serial}</span>`}<span class="space"></span>
      ${device.meter_id && html`<a class="tool" href=${meterLink(device.meter_id)}>Its meter</a>`}<button class="tool" onClick=${() => setAsked("examine")}>Examine again</button>
      ${device.state === "new" && html`<button class="tool" onClick=${() => change(api.ignoreDevices)}>Ignore</button><button class="tool primary" onClick=${() => setAsked("adopt")}>Adopt</button>`}${device.state === "ignored" && html`<button class="tool" onClick=${() => change(api.unignoreDevices)}>Show again</button>`}</div>
    ${(wrong || problem) && html`<p class="note bad" role="alert">${wrong || problem}</p>`}${told && html`<p class="note" role="status">${told}</p>`}
    ${became && html`<${Adopted} items=${became} close=${() => setBecame(null)} />`}
    <div class="cards wide-aside"><div><${Facts} device=${device} /><${Associations} device=${device} /><${Difference} device=${device} other=${other} choose=${setOther} /><${Meanings} device=${device} /><${Held} device=${device} /></div>
      <aside><${Who} device=${device} /><${Place} device=${device} /><${Draft} device=${device} /></aside></div>
    ${asked === "examine" && html`<${Examine} device=${device} done=${seen} close=${() => setAsked("")} />`}
    ${asked === "adopt" && html`<${Adopt} chosen=${{ ids: [id] }} count=${1} protocol=${device.protocol} done=${(items) => { setBecame(items); again(); }} close=${() => setAsked("")} />`}`;
}
