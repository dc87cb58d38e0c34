// Templates of virtual meters: the list, the dialog that makes one, and the form that starts meters of one.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Ask } from "./alarms.js";

const FRAMINGS = { dlms: ["wrapper", "hdlc", "apdu"], modbus: ["tcp", "rtu"] };
const LOADS = { household: "household", solar: "solar, feeds in at noon", workshop: "workshop", steady: "steady" };
const AT_ONCE = [1, 10, 100, 1000];

/** The settings of a template out of its form; throws when the further ones are no object of JSON. */
function settingsOf(form) {
  let more;
  try { more = JSON.parse(form.get("more").trim() || "{}"); } catch (error) { throw new Error(`The further settings are no JSON: ${error.message}`); }
  if (more === null || typeof more !== "object" || Array.isArray(more)) throw new Error("The further settings are an object, as {\"drift\": 20}");
  const given = Object.fromEntries(["framing", "load"].map((name) => [name, form.get(name)]).filter(([, value]) => value));
  if (form.get("mean_watts")) given.mean_watts = Number(form.get("mean_watts"));
  return { ...more, ...given };
}

function Make({ template, close, done }) {
  const [library, setLibrary] = useState([]);
  const [problem, setProblem] = useState("");
  const { framing, load, mean_watts: watts, ...more } = template.settings;
  const [profile, setProfile] = useState(template.profile);
  useEffect(() => {
    api.profiles().then(({ items }) => { setLibrary(items); setProfile((old) => old || items[0]?.id || ""); }).catch((error) => setProblem(error.message));
  }, []);
  const framings = FRAMINGS[library.find((one) => one.id === profile)?.protocol] || [];
  const submit = async (form) => {
    await api.putTemplate(form.get("name"), { profile: form.get("profile"), settings: settingsOf(form), note: form.get("note") });
    await done();
  };
  return html`<${Ask} title=${template.name ? `Template ${template.name}` : "New template"} action="Save" submit=${submit} close=${close}>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <div class="rule-fields">
      <label>Name (a-z, 0-9, -)<input name="name" required readonly=${Boolean(template.name)} defaultValue=${template.name} pattern="[a-z0-9][a-z0-9\\-]{0,39}" autocomplete="off" /></label>
      <label>Profile<select name="profile" value=${profile} onChange=${(event) => setProfile(event.target.value)}>${library.map((one) => html`<option value=${one.id} selected=${one.id === profile}>${one.id}</option>`)}</select></label>
      <label>Framing<select name="framing"><option value="">as the profile says</option>${[...new Set([...framings, framing].filter(Boolean))].map((name) => html`<option value=${name} selected=${name === framing}>${name}</option>`)}</select></label>
      <label>Load<select name="load"><option value="">household, by default</option>${Object.entries(LOADS).map(([name, words]) => html`<option value=${name} selected=${name === load}>${words}</option>`)}</select></label>
      <label>Mean load, W<input name="mean_watts" type="number" min="0" step="any" defaultValue=${watts ?? ""} placeholder="500" /></label>
    </div>
    <label>Further settings of a group of a fleet file, as JSON<textarea name="more" rows="4" class="mono" spellcheck=${false} placeholder=${"{\"history_days\": 30, \"params\": {\"client\": 1}}"} defaultValue=${Object.keys(more).length ? JSON.stringify(more, null, 1) : ""}></textarea></label>
    <label>Note<input name="note" maxlength="200" defaultValue=${template.note} autocomplete="off" /></label><//>`;
}

const NEW = { name: "", profile: "", settings: {}, note: "" };
const words = (settings) => Object.entries(settings).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");

export function Templates({ templates, again, work }) {
  const [asked, setAsked] = useState(null);
  const forget = (name) => work(() => api.deleteTemplate(name).then(again), () => `template ${name} forgotten`);
  return html`<section class="card" aria-label="Templates"><header><h2>Templates</h2><span class="space"></span><button class="tool" onClick=${() => setAsked(NEW)}>New template</button></header>
    ${templates?.items.length ? html`<div class="wide scroll"><table class="list mid"><thead><tr><th scope="col">Name</th><th scope="col">Profile</th><th scope="col">Settings</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead><tbody>
      ${templates.items.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}${one.note && html`<br /><span class="quiet">${one.note}</span>`}</th><td><a href=${`#/profiles/${encodeURIComponent(one.profile)}`}>${one.profile}</a></td><td class="quiet">${words(one.settings)}</td>
        <td class="r nowrap"><button class="tool" aria-label=${`Change the template ${one.name}`} onClick=${() => setAsked(one)}>Change</button> <button class="tool" aria-label=${`Forget the template ${one.name}`} onClick=${() => forget(one.name)}>Forget</button></td></tr>`)}</tbody></table></div>`
      : html`<p class="empty">${templates ? "A template is a profile and how meters of it are to behave. There is none yet." : "Loading …"}</p>`}
    ${asked && html`<${Make} template=${asked} done=${again} close=${() => setAsked(null)} />`}</section>`;
}

export function Start({ templates, work }) {
  const [busy, setBusy] = useState(false);
  const [count, setCount] = useState(1);
  const names = templates?.items.map((one) => one.name) || [];
  const start = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    work(() => api.startInstances({ template: form.get("template"), count, group: form.get("group").trim() || null }), (made) => `${plural(made.meters, "meter")} started as ${made.group}`).then(() => setBusy(false));
  };
  return html`<section class="card" aria-label="Start meters"><header><h2>Start meters</h2></header>
    <form class="body fields" onSubmit=${start}>
      <label>Template<select name="template" required>${names.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
      <label>How many<input type="number" name="count" min="1" max="10000" required value=${count} onInput=${(event) => setCount(Number(event.target.value))} /></label>
      <div class="segmented" role="group" aria-label="How many">${AT_ONCE.map((each) => html`<button type="button" aria-pressed=${count === each} onClick=${() => setCount(each)}>${each.toLocaleString("en")}</button>`)}</div>
      <label>Group<input name="group" pattern="[a-z0-9][a-z0-9\\-]{0,39}" placeholder="as the template" autocomplete="off" /></label>
      <button class="tool primary" disabled=${busy || !names.length}>${busy ? "Starting …" : "Start"}</button>
    </form></section>`;
}
