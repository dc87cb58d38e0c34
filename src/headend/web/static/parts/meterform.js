// A meter is added or changed: how it is reached, what it is, how often it is read; tried on the wire before it is kept. Or removed.

import { html, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { plural, said } from "../lib/format.js";
import { store } from "../lib/store.js";
import { api } from "../lib/api.js";
import { Ask } from "./alarms.js";

const SECRETS = { secret: "Password", ek: "Encryption key", ak: "Authentication key" };
const EXAMPLES = "dlms://192.0.2.7, dlms+hdlc://192.0.2.8:3333?client=1&auth=lls, modbus://192.0.2.9/1, dlt645://192.0.2.10:8899/000000001234, inbound://…";

/** Plain text, or octets as hex:…; nothing where the field is empty. */
function secretsOf(form) {
  const given = Object.keys(SECRETS).map((name) => [name, (form.get(name) || "").trim()]).filter(([, value]) => value);
  return Object.fromEntries(given.map(([name, value]) => [name, /^(hex|text):/.test(value) ? value : name === "secret" ? `text:${value}` : `hex:${value}`]));
}

function bodyOf(form, id) {
  const body = { url: form.get("url").trim(), name: form.get("name").trim(), poll_seconds: Number(form.get("poll_seconds")), enabled: form.has("enabled"), tags: form.get("tags").split(/[\s,]+/).filter(Boolean) };
  if (form.get("profile_id")) body.profile_id = form.get("profile_id");
  return id ? { id, ...body } : body;
}

const EDITED = ["url", "name", "poll_seconds", "enabled", "tags", "profile_id"];

/** The revision that a change is made to; the head-end itself makes revisions, too, of what it learns of a meter. */
async function revisionOf(before) {
  const now = await api.meter(before.id);
  if (EDITED.some((name) => JSON.stringify(now[name]) !== JSON.stringify(before[name]))) throw new Error("Somebody else has changed this meter meanwhile: close this, and look at it again.");
  return now.revision;
}

function Tried({ tried }) {
  if (!tried) return null;
  if (tried.problem) return html`<p class="note bad" role="alert"><b>${tried.problem}</b> ${tried.hint || ""}</p>`;
  if (!tried.found) return html`<p class="note" role="status">Trying …</p>`;
  const { identity, values, missing, seconds } = tried.found;
  const who = [identity.manufacturer, identity.model, identity.serial && `no. ${identity.serial}`, identity.logical_device_name, identity.firmware && `firmware ${identity.firmware}`].filter(Boolean).join(", ");
  return html`<div class="note" role="status"><b>It answers.</b> ${who && `It says it is ${who}. `}${values.length ? `${plural(values.length, "value")} read in ${seconds.toFixed(2)} s` : "It has no meter file, so nothing was read"}${missing.length ? `, ${missing.length} missing` : ""}.
    ${values.length > 0 && html`<ul class="tried">${values.slice(0, 6).map((one) => html`<li><span>${one.quantity || one.ref}</span> <b class="num">${said(one.value, one.unit)}</b></li>`)}</ul>`}
    ${missing.slice(0, 3).map((one) => html`<div class="quiet">${one.quantity || one.ref}: ${one.reason}</div>`)}</div>`;
}

/** `meter` is changed, or a new one is made; `done` gets its id. */
export function MeterForm({ meter: given, done, close }) {
  const [meter] = useState(given); // as it was when the form was opened
  const [tried, setTried] = useState(null);
  const files = [...store.profiles.values()].sort((a, b) => a.id.localeCompare(b.id));
  const attempt = async (event) => {
    const form = new FormData(event.target.form);
    if (!event.target.form.reportValidity()) return;
    setTried({});
    try {
      setTried({ found: await signedIn(() => api.tryMeter({ ...bodyOf(form, meter?.id), secrets: secretsOf(form) })) });
    } catch (error) {
      setTried({ problem: error.message, hint: error.hint });
    }
  };
  const submit = async (form) => {
    const body = bodyOf(form), secrets = secretsOf(form);
    if (!meter) return done((await api.addMeter({ ...body, secrets })).id);
    await api.changeMeter(meter.id, body, await revisionOf(meter));
    for (const [name, value] of Object.entries(secrets)) await api.putSecret(meter.id, name, value);
    return done(meter.id);
  };
  return html`<${Ask} title=${meter ? `Change ${meter.name || meter.id}` : "Add a meter"} action=${meter ? "Change" : "Add"} submit=${submit} close=${close}>
    <label>How it is reached<input name="url" required maxlength="500" class="mono" autocomplete="off" spellcheck="false" defaultValue=${meter?.url || ""} placeholder="dlms://192.0.2.7" /><small class="quiet">${EXAMPLES}</small></label>
    <label>Name<input name="name" maxlength="200" autocomplete="off" defaultValue=${meter?.name || ""} /></label>
    <div class="rule-fields"><label>Meter file<select name="profile_id" defaultValue=${meter?.profile_id || ""}><option value="">${meter ? "as it is" : "as the address says, or none"}</option>${files.map((one) => html`<option value=${one.id} selected=${one.id === meter?.profile_id}>${one.id}</option>`)}</select></label>
      <label>Read every … seconds<input name="poll_seconds" type="number" min="0" max="86400" step="any" required defaultValue=${meter?.poll_seconds ?? 60} /></label><label>Tags<input name="tags" autocomplete="off" placeholder="north, cell:12" defaultValue=${(meter?.tags || []).join(" ")} /></label></div>
    <details><summary>Password and keys</summary><p class="quiet">They are kept encrypted and never shown again. ${meter ? "What is left empty stays as it is." : ""} Keys in hexadecimal.</p>
      <div class="rule-fields">${Object.entries(SECRETS).map(([name, label]) => html`<label>${label}<input name=${name} type="password" autocomplete="new-password" maxlength="600" /></label>`)}</div></details>
    <label class="check"><input type="checkbox" name="enabled" checked=${meter?.enabled ?? true} /> read it from now on</label>
    <${Tried} tried=${tried} />
    <div class="actions try"><button type="button" class="tool" onClick=${attempt} disabled=${tried && !tried.found && !tried.problem}>Try the connection</button><span class="quiet">asks who it is and reads it once; nothing is kept</span></div><//>`;
}

/** Ask whether a meter is to go, and with it what was read of it. */
export function RemoveMeter({ meter, done, close }) {
  const name = meter.name || meter.id;
  const submit = async (form) => done(await api.removeMeter(meter.id, (await api.meter(meter.id)).revision, form.has("keep")));
  return html`<${Ask} title=${`Remove ${name}`} action="Remove" submit=${submit} close=${close}>
    <p>${name} is read no more from now on. Its password and keys are removed, too.</p>
    <label class="check"><input type="checkbox" name="keep" defaultChecked=${true} /> keep its readings</label>
    <p class="quiet">Readings that are not kept cannot be brought back.</p><//>`;
}
