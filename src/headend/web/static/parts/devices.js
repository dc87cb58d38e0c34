// The devices that scans found: a page of them at a time, chosen one by one or all that fit, adopted or ignored.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { store } from "../lib/store.js";
import { href, meterLink } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { age, moment, plural } from "../lib/format.js";
import { discovered, percent, titleOf } from "../lib/discovery.js";
import { place } from "../lib/words.js";
import { api } from "../lib/api.js";
import { Ask } from "./alarms.js";

const WORDS = { new: "waiting", adopted: "online", ignored: "disabled" };

export const DeviceState = ({ device }) => html`<span class=${`state ${WORDS[device.state]}`}><i class="dot"></i>${device.state}</span>`;

/** How sure it is, as a number and as a bar. */
export const Sure = ({ share }) => html`<span class="sure"><meter min="0" max="1" value=${share} aria-hidden="true"></meter><span class="num">${percent(share)}</span></span>`;

/** The dialog that makes meters of devices: `chosen` as the head-end takes it, `count` how many these are; `done` gets what became of each. */
export function Adopt({ chosen, count, protocol, done, close }) {
  const fitting = [...store.profiles.values()].filter((one) => !protocol || one.protocol === protocol).sort((a, b) => a.id.localeCompare(b.id));
  const submit = async (form) => {
    const body = {
      ...chosen, name: form.get("name"), tags: form.get("tags").split(/[\s,]+/).filter(Boolean), poll_seconds: Number(form.get("poll_seconds")),
      enabled: form.has("enabled"), drafts: form.has("drafts"), credentials: form.has("credentials"), profile_id: form.get("profile_id"),
    };
    const { items } = await api.adoptDevices(body);
    discovered();
    done(items);
  };
  const check = (name, label, checked) => html`<label class="check"><input type="checkbox" name=${name} checked=${checked} /> ${label}</label>`;
  return html`<${Ask} title=${`Adopt ${plural(count, "meter")}`} action="Adopt" submit=${submit} close=${close}>
    <label>Name<input name="name" required maxlength="200" defaultValue="{vendor} {serial}" autocomplete="off" /><small class="quiet">{vendor}, {model}, {serial}, {host}, {port}, {id} and the names of parameters stand for what they are</small></label>
    <div class="rule-fields"><label>Tags<input name="tags" autocomplete="off" placeholder="north, roof" /></label>
      <label>Polled every … seconds<input name="poll_seconds" type="number" min="0" max="86400" step="any" defaultValue="60" required /></label>
      <label>Meter file<select name="profile_id"><option value="">the one that fits each</option>${fitting.map((one) => html`<option value=${one.id}>${one.id}</option>`)}</select></label></div>
    ${check("drafts", "keep drafts of meter files where none fits", true)}${check("credentials", "read them with the credentials kept for their network", false)}${check("enabled", "poll them at once", true)}<//>`;
}

/** What became of those that were to be adopted. */
export function Adopted({ items, close }) {
  if (!items) return null;
  const wrong = items.filter((one) => one.error);
  const good = items.length - wrong.length;
  return html`<div class=${`note${wrong.length ? " bad" : ""}`} role="status"><b>${plural(good, "meter")} adopted</b>${good === 1 ? html`: <a href=${meterLink(items.find((one) => !one.error).meter_id)}>${items.find((one) => !one.error).meter_id}</a>` : ""}${wrong.length > 0 && `, ${wrong.length} not`} <button class="tool" onClick=${close}>Fine</button>
    ${wrong.length > 0 && html`<ul>${wrong.slice(0, 20).map((one) => html`<li><a href=${href("devices", one.device_id)}>${one.device_id}</a>: ${one.error}</li>`)}</ul>`}</div>`;
}

function Row({ device, marked, mark, now }) {
  const name = titleOf(device);
  return html`<tr class=${marked ? "marked" : ""}><td><input type="checkbox" aria-label=${`Choose ${name} at ${device.host || device.url}`} checked=${marked} onChange=${(event) => mark(event.target.checked)} /></td>
    <td><a href=${href("devices", device.id)}><b>${name}</b></a>${device.stopped && html` <span class="tag" title=${device.stopped}>cut short</span>`}<div class="quiet">${[device.serial && `no. ${device.serial}`, device.firmware && `firmware ${device.firmware}`].filter(Boolean).join(", ")}</div></td>
    <td><${Sure} share=${device.confidence} />${!device.vendor && html`<div class="quiet">of being none known</div>`}</td>
    <td class="mono where">${place(device)}</td>
    <td class="not-small">${device.profile_id || html`<span class="quiet">none fits</span>`}<div class="quiet num">${device.objects ? `${plural(device.objects, "object")}${device.coverage === null ? "" : `, ${percent(device.coverage)} understood`}` : ""}</div></td>
    <td><${DeviceState} device=${device} />${device.meter_id && html`<div><a href=${meterLink(device.meter_id)}>${device.meter_id}</a></div>`}</td>
    <td class="r num nowrap quiet not-small" title=${`first ${moment(device.first_seen)}, last ${moment(device.last_seen)}`}>${age(device.last_seen, now)} ago</td></tr>`;
}

/** `filter` is what the list was asked with; `turn` goes to the page before (-1) or after. */
export function Devices({ page, filter, turn, first, problem }) {
  const [marked, setMarked] = useState(() => new Map());
  const [all, setAll] = useState(false);
  const [adopting, setAdopting] = useState(null);
  const [became, setBecame] = useState(null);
  const [wrong, setWrong] = useState("");
  const key = JSON.stringify(filter);
  const clear = () => { setMarked(new Map()); setAll(false); };
  useEffect(clear, [key]);
  const items = page?.items || [];
  const mark = (some, on) => { setAll(false); setMarked((old) => { const next = new Map(old); for (const one of some) on ? next.set(one.id, one) : next.delete(one.id); return next; }); };
  const { state, vendor, protocol, scan, search } = filter;
  const count = all ? page.total : marked.size;
  const chosen = all ? { all: true, vendor: Array.isArray(vendor) ? "" : vendor || null, protocol: protocol || null, scan: scan || null, search } : { ids: [...marked.keys()] };
  const change = (what) => signedIn(() => what(chosen)).then(() => { setWrong(""); clear(); discovered(); }).catch((error) => setWrong([error.message, error.hint].filter(Boolean).join(": ")));
  const hideable = all ? state === "new" : [...marked.values()].some((one) => one.state === "new");
  const showable = all ? state === "ignored" : [...marked.values()].some((one) => one.state === "ignored");
  const wholePage = items.length > 0 && items.every((one) => marked.has(one.id));
  const now = Date.now();
  return html`<section class="card" aria-label="Meters found"><header><h2>Meters found</h2><span class="quiet num" role="status">${page ? page.total.toLocaleString("en") : ""}</span><span class="space"></span>
      ${count > 0 && html`<span class="quiet num">${count.toLocaleString("en")} chosen</span>
        <button class="tool primary" disabled=${all && state === "ignored"} onClick=${() => setAdopting({ chosen, count })}>Adopt</button>${hideable && html`<button class="tool" onClick=${() => change(api.ignoreDevices)}>Ignore</button>`}${showable && html`<button class="tool" onClick=${() => change(api.unignoreDevices)}>Show again</button>`}${!all && html`<button class="tool" onClick=${() => change(api.forgetDevices)}>Forget</button>`}<button class="tool" onClick=${clear}>Choose none</button>`}
      ${page && !all && page.total > 1 && (state === "new" || state === "ignored") && html`<button class="tool" onClick=${() => { setMarked(new Map()); setAll(true); }}>Choose all ${page.total.toLocaleString("en")}</button>`}</header>
    ${(wrong || problem) && html`<p class="note bad" role="alert">${wrong || problem}</p>`}
    ${became && html`<div class="body"><${Adopted} items=${became} close=${() => setBecame(null)} /></div>`}
    ${items.length ? html`<div class="wide"><table class="list devices"><thead><tr><th scope="col"><input type="checkbox" aria-label="Choose all of this page" checked=${all || wholePage} onChange=${(event) => mark(items, event.target.checked)} /></th><th scope="col">Meter</th><th scope="col">Certainty</th><th scope="col">Where</th><th scope="col" class="not-small">Meter file</th><th scope="col">State</th><th scope="col" class="r not-small">Seen</th></tr></thead>
      <tbody>${items.map((one) => html`<${Row} key=${one.id} device=${one} now=${now} marked=${all || marked.has(one.id)} mark=${(on) => mark([one], on)} />`)}</tbody></table></div>` : html`<p class="empty">${page ? "No meter fits. What scans find comes here as it is found." : problem ? "" : "Loading …"}</p>`}
    ${page && (first > 0 || page.next !== null) && html`<p class="hint bar"><button class="tool" disabled=${first === 0} onClick=${() => turn(-1)}>← Before</button><span class="num quiet">${(first + 1).toLocaleString("en")} to ${(first + items.length).toLocaleString("en")} of ${page.total.toLocaleString("en")}</span><button class="tool" disabled=${page.next === null} onClick=${() => turn(1)}>After →</button></p>`}
    ${adopting && html`<${Adopt} ...${adopting} protocol=${protocol} done=${(items_) => { setBecame(items_); clear(); }} close=${() => setAdopting(null)} />`}</section>`;
}
