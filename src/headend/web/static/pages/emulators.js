// Virtual meters: their templates, the groups that were started, what is wrong with them on purpose, their clock.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { href, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { useAsked } from "../lib/asked.js";
import { whereToLook } from "../lib/faults.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Clock, Hands } from "../parts/hands.js";
import { Start, Templates } from "../parts/templates.js";
import { VirtualMeters } from "../parts/virtual.js";

const AGAIN = 2000;

const lookLink = (groups) => href("discovery", "", whereToLook(groups));

function Group({ one, chosen, choose, work }) {
  const remove = () => work(() => api.removeInstances(one.group), (told) => `${plural(told.meters, "virtual meter")} of ${one.group} removed`);
  return html`<tr class=${chosen ? "chosen" : ""}><th scope="row"><button class="bare link" aria-pressed=${chosen} title="Show its meters, and act on them" onClick=${() => choose(chosen ? "" : one.group)}>${one.group}</button></th>
    <td>${one.template}</td><td class="r num">${one.meters.toLocaleString("en")}</td>
    <td class="r num">${one.running === null ? html`<span class="quiet">not running</span>` : one.running.toLocaleString("en")}</td>
    <td class="r num">${one.faulty ? html`<span class="fault">${one.faulty.toLocaleString("en")}</span>` : html`<span class="quiet">0</span>`}</td>
    <td class="mono">${one.first_url || `${one.first_address}:${one.port}`}</td>
    <td class="r nowrap"><a class="tool" href=${lookLink([one])} aria-label=${`Look for the meters of ${one.group} by discovery`}>Discover</a> <button class="tool" aria-label=${`Remove the group ${one.group}`} onClick=${remove}>Remove</button></td></tr>`;
}

function Groups({ told, group, choose, work }) {
  return html`<section class="card" aria-label="Groups"><header><h2>Groups</h2><span class="quiet num">${told.items.length}</span><span class="space"></span>
      ${told.items.length > 1 && html`<a class="tool" href=${lookLink(told.items)}>Discover all of them</a>`}</header>
    ${told.items.length ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col">Group</th><th scope="col">Template</th><th scope="col" class="r">Meters</th><th scope="col" class="r">Running</th><th scope="col" class="r">Faulty</th><th scope="col">First one</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${told.items.map((one) => html`<${Group} key=${one.group} one=${one} chosen=${one.group === group} choose=${choose} work=${work} />`)}</tbody></table></div>`
      : html`<p class="empty">No virtual meter has been started. Make a template, then start as many meters of it as you like.</p>`}
  </section>`;
}

export function Emulators({ params }) {
  useStore();
  const [view, setView] = useState(() => ({ group: params.get("group") || "", name: params.get("name") || "" }));
  const [templates, trouble, moreTemplates] = useAsked(api.templates, []);
  const [groups, problem, again] = useAsked(api.instances, [], AGAIN);
  const [said, setSaid] = useState({ text: "", bad: "" });
  const [turn, setTurn] = useState(0);
  useEffect(() => { document.title = "Emulator · Headend"; remember("emulators", "", view); }, [view]);
  useEffect(() => {
    if (groups && view.group && !groups.items.some((one) => one.group === view.group)) setView({ group: "", name: view.name });
  }, [groups]);
  const work = (action, words) => signedIn(action)
    .then((told) => setSaid({ text: words(told), bad: "" })).catch((error) => setSaid({ text: "", bad: [error.message, error.hint].filter(Boolean).join(" — ") }))
    .then(() => { again(); setTurn((old) => old + 1); });
  const total = groups?.items.reduce((sum, one) => sum + one.meters, 0) || 0;
  const counted = !groups ? "Loading …" : total ? `${plural(total, "virtual meter")} in ${plural(groups.items.length, "group")}, ${plural(groups.links, "open connection")}` : "no virtual meter has been started";
  return html`
    <div class="head-line"><h1 tabindex="-1">Emulator</h1><span class="quiet" role="status">${said.text ? `${said.text}; ${counted}` : counted}</span></div>
    ${(said.bad || problem || trouble) && html`<p class="note bad" role="alert">${said.bad || problem || trouble}</p>`}
    <div class="halves"><${Templates} templates=${templates} again=${moreTemplates} work=${work} />
      <${Start} templates=${templates} work=${work} /></div>
    ${groups && html`<${Groups} told=${groups} group=${view.group} choose=${(group) => setView({ ...view, group })} work=${work} />`}
    ${total > 0 && html`<${Hands} view=${view} change=${(next) => setView({ ...view, ...next })} groups=${groups.items} work=${work} />
      <${Clock} at=${groups.at} speed=${groups.speed} work=${work} />
      <${VirtualMeters} view=${view} turn=${turn} choose=${(name) => setView({ ...view, name })} />`}`;
}
