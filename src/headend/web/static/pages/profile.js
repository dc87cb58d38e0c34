// One profile: what it is, its objects, its text, its past, how it differs, and how it does on a meter.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { href, remember } from "../lib/route.js";
import { useAsked } from "../lib/asked.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Ask } from "../parts/alarms.js";
import { Editor } from "../parts/editor.js";
import { Difference, Revisions } from "../parts/revisions.js";
import { Trial } from "../parts/trial.js";

const VIEWS = { "": "objects", text: "text", revisions: "revisions", difference: "difference", trial: "test and promote" };

function Facts({ profile }) {
  const fact = (name, value) => value && html`<dt>${name}</dt><dd>${value}</dd>`;
  return html`<section class="card" aria-label="Facts"><div class="body"><dl class="facts">
    ${fact("what", `${profile.vendor} ${profile.model}`)}${fact("protocol", profile.protocol)}${fact("state", `${profile.state}, revision ${profile.revision}`)}
    ${fact("kept", profile.kept ? (profile.original ? "by the head-end, before the one that came with the program" : "by the head-end") : "came with the program, or lies in a folder")}
    ${fact("meters", plural(profile.meters, "meter"))}${fact("dials in as", profile.registration)}${fact("source", profile.source)}${fact("note", profile.note)}</dl></div></section>`;
}

function Objects({ profile }) {
  const [text, setText] = useState("");
  const wanted = text.toLowerCase();
  const found = profile.objects.filter((one) => `${one.ref} ${one.quantity} ${one.name}`.toLowerCase().includes(wanted));
  return html`<section class="card" aria-label="Objects"><header><h2>Objects</h2><span class="quiet num">${found.length}</span><span class="space"></span><input type="search" class="small" aria-label="Filter objects" placeholder="Filter" value=${text} onInput=${(event) => setText(event.target.value)} /></header>
    ${found.length ? html`<div class="wide scroll"><table class="list"><thead><tr><th scope="col">Object</th><th scope="col">Quantity</th><th scope="col">Name</th><th scope="col">Unit</th><th scope="col">Polled</th><th scope="col" class="not-small">Note</th></tr></thead>
      <tbody>${found.map((one) => html`<tr key=${one.ref}><td class="mono">${one.ref}</td><td>${one.quantity}</td><td>${one.name}</td><td>${one.unit}</td><td>${[one.poll && "yes", one.writable && "writable"].filter(Boolean).join(", ")}</td><td class="quiet not-small">${one.note}</td></tr>`)}</tbody></table></div>` : html`<p class="empty">No object fits.</p>`}</section>
    ${profile.load_profiles.length > 0 && html`<section class="card" aria-label="Load profiles"><header><h2>Load profiles</h2></header><div class="wide"><table class="list"><tbody>
      ${profile.load_profiles.map((one) => html`<tr><td class="mono">${one.ref}</td><td>${one.name}</td><td class="num">every ${one.period_seconds} s</td><td class="num">${plural(one.columns.length, "column")}</td></tr>`)}</tbody></table></div></section>`}`;
}

function Retire({ profile, close }) {
  const submit = async () => {
    await api.retireProfile(profile.id);
    location.hash = href("profiles");
  };
  return html`<${Ask} title=${`Take ${profile.id} out of use`} action="Take it out of use" submit=${submit} close=${close}>
    <p>${profile.original ? "The one that came with the program is used again." : "No meter can be read by it any more."} Its revisions stay. It is refused while meters need it.</p><//>`;
}

export function Profile({ id, params }) {
  const [view, setView] = useState(() => (params.get("show") in VIEWS ? params.get("show") : ""));
  const [profile, problem, again] = useAsked(() => api.profile(id), [id]);
  const [asked, setAsked] = useState(false);
  useEffect(() => { document.title = `${id} · Headend`; remember("profiles", id, { show: view }); }, [id, view]);
  const back = html`<a class="tool" href="#/profiles" aria-label="Back to the profiles">←</a>`;
  if (!profile) return html`<div class="head-line">${back}<h1 tabindex="-1">${id}</h1></div><p class="empty" role="status">${problem || "Loading …"}</p>`;
  return html`
    <div class="head-line">${back}<h1 tabindex="-1">${profile.id}</h1><span class="quiet">${profile.vendor} ${profile.model}</span><span class="space"></span>
      <a class="tool" href=${api.profileExport(id, "json")} download>JSON</a><a class="tool" href=${api.profileExport(id, "csv")} download>CSV</a>
      ${profile.kept && html`<button class="tool" onClick=${() => setAsked(true)}>Retire</button>`}</div>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <div class="filters"><div class="chips" role="group" aria-label="What to show">${Object.entries(VIEWS).map(([key, name]) => html`<button class="chip" aria-pressed=${view === key} onClick=${() => setView(key)}>${name}</button>`)}</div></div>
    ${view === "" && html`<${Facts} profile=${profile} /><${Objects} profile=${profile} />`}
    ${view === "text" && html`<${Editor} profile=${profile} done=${again} />`}
    ${view === "revisions" && html`<${Revisions} profile=${profile} done=${again} />`}
    ${view === "difference" && html`<${Difference} profile=${profile} />`}
    ${view === "trial" && html`<${Trial} profile=${profile} done=${again} />`}
    ${asked && html`<${Retire} profile=${profile} close=${() => setAsked(false)} />`}`;
}
