// The library of profiles: what came with the program, what lies in folders, what the head-end keeps; and one of them.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { changed, store } from "../lib/store.js";
import { href, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { useAsked } from "../lib/asked.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Ask } from "../parts/alarms.js";
import { Profile } from "./profile.js";

const STATES = { "": "all", DRAFT: "draft", EMULATED: "emulated", FIELD_VERIFIED: "field verified" };

export function Profiles({ id, params }) {
  return id ? html`<${Profile} key=${id} id=${id} params=${params} />` : html`<${Library} params=${params} />`;
}

function New({ library, close }) {
  const submit = async (form) => {
    const id = form.get("id").trim();
    await api.createProfile(id, (await api.profile(form.get("copy"))).text);
    location.hash = href("profiles", id, { show: "text" });
  };
  return html`<${Ask} title="New profile" action="Make it" submit=${submit} close=${close}>
    <label>Id<input name="id" required pattern="[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}" autocomplete="off" /></label>
    <label>A copy of<select name="copy">${library.map((one) => html`<option value=${one.id}>${one.id}</option>`)}</select></label>
    <p class="quiet">A device that discovery found makes a draft of its own: see its page.</p><//>`;
}

/** The documents of a file: one of JSON, an array of them, or a line for each. */
function documents(text) {
  try { return JSON.parse(text); } catch { /* then a document a line */ }
  return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
}

function Taken({ told, close }) {
  return html`<section class="card" aria-label="Import"><header><h2>What became of each</h2><span class="space"></span><button class="tool" onClick=${close}>Close</button></header>
    <div class="wide"><table class="list"><tbody>${told.items.map((one) => html`<tr><th scope="row">${one.id ? html`<a href=${href("profiles", one.id)}>${one.id}</a>` : one.place}</th><td>${one.outcome}${one.revision ? `, revision ${one.revision}` : ""}</td><td class="fault">${one.error}</td></tr>`)}</tbody></table></div></section>`;
}

function Row({ one }) {
  return html`<tr><th scope="row"><a href=${href("profiles", one.id)}>${one.id}</a>${one.kept && html` <span class="tag" title="The head-end keeps it">kept</span>`}</th><td>${one.vendor} ${one.model}</td><td class="not-small">${one.protocol}</td><td class="nowrap">${STATES[one.state]}</td>
    <td class="r num not-small">${one.revision}</td><td class="r num not-small">${one.object_count}</td><td class="r num">${one.meters || html`<span class="quiet">0</span>`}</td></tr>`;
}

function Library({ params }) {
  const [view, setView] = useState(() => ({ search: params.get("search") || "", protocol: params.get("protocol") || "", state: params.get("state") in STATES ? params.get("state") : "" }));
  const [page, problem, again] = useAsked(() => api.profiles(view), [view]);
  const [told, setTold] = useState({ items: [], problem: "" });
  const [asked, setAsked] = useState(false);
  const [over, setOver] = useState(false);
  useEffect(() => { document.title = "Profiles · Headend"; remember("profiles", "", view); }, [view]);
  useEffect(() => { api.profiles().then(({ items }) => { store.profiles = new Map(items.map((one) => [one.id, one])); changed(); }).catch(() => {}); }, []);
  const protocols = [...new Set([...store.profiles.values()].map((one) => one.protocol))].sort();
  const change = (next) => setView({ ...view, ...next });
  const take = async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (!file) return;
    try {
      const body = documents(await file.text());
      setTold({ ...(await signedIn(() => api.importProfiles(body, over))), problem: "" });
    } catch (error) {
      setTold({ items: [], problem: error instanceof SyntaxError ? `${file.name} is no JSON: ${error.message}` : error.message });
    }
    again();
  };
  return html`
    <div class="head-line"><h1 tabindex="-1">Profiles</h1><span class="quiet" role="status">${page ? plural(page.items.length, "profile") : "Loading …"}</span><span class="space"></span>
      <button class="tool" disabled=${!store.profiles.size} onClick=${() => setAsked(true)}>New profile</button>
      <label class="tool file">Import a file<input class="unseen" type="file" accept=".json,.ndjson,application/json" onChange=${take} /></label>
      <label class="quiet"><input type="checkbox" checked=${over} onChange=${(event) => setOver(event.target.checked)} /> also those that differ</label>
      <a class="tool" href="/api/v1/profiles/export" download>Export all</a></div>
    <div class="filters" role="search">
      <input type="search" placeholder="Id, maker or model" aria-label="Only what holds this" value=${view.search} onInput=${(event) => change({ search: event.target.value.slice(0, 64) })} />
      <div class="chips" role="group" aria-label="State">${Object.entries(STATES).map(([key, name]) => html`<button class="chip" aria-pressed=${view.state === key} onClick=${() => change({ state: key })}>${name}</button>`)}</div>
      <select aria-label="Protocol" value=${view.protocol} onChange=${(event) => change({ protocol: event.target.value })}><option value="">all protocols</option>${protocols.map((name) => html`<option value=${name} selected=${name === view.protocol}>${name}</option>`)}</select></div>
    ${(told.problem || problem) && html`<p class="note bad" role="alert">${told.problem || problem}</p>`}
    ${told.items.length > 0 && html`<${Taken} told=${told} close=${() => setTold({ items: [], problem: "" })} />`}
    <section class="card" aria-label="Library">${page?.items.length ? html`<div class="wide"><table class="list"><thead><tr><th scope="col">Id</th><th scope="col">Maker and model</th><th scope="col" class="not-small">Protocol</th><th scope="col">State</th><th scope="col" class="r not-small">Revision</th><th scope="col" class="r not-small">Objects</th><th scope="col" class="r">Meters</th></tr></thead>
      <tbody>${page.items.map((one) => html`<${Row} key=${one.id} one=${one} />`)}</tbody></table></div>` : html`<p class="empty">${page ? "No profile fits." : "Loading …"}</p>`}</section>
    ${asked && html`<${New} library=${[...store.profiles.values()]} close=${() => setAsked(false)} />`}`;
}
