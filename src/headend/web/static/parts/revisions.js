// The past of a profile, and how it differs from others.

import { html, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { useAsked } from "../lib/asked.js";
import { moment } from "../lib/format.js";
import { store } from "../lib/store.js";
import { api } from "../lib/api.js";
import { Changes } from "./changes.js";

const who = (actor) => actor.replace(/^\w+:/, "");

export function Revisions({ profile, done }) {
  const [known, problem] = useAsked(() => api.revisions(profile.id), [profile.id, profile.revision, profile.kept]);
  const [shown, setShown] = useState(null);
  const [trouble, setTrouble] = useState("");
  const look = (number) => api.revision(profile.id, number).then(setShown).catch((error) => setTrouble(error.message));
  const restore = (number) => signedIn(() => api.restoreRevision(profile.id, number)).then((made) => { setTrouble(""); done(made.number); }).catch((error) => setTrouble(error.message));
  const items = known?.items.toReversed() || [];
  return html`<section class="card" aria-label="Revisions"><header><h2>Revisions</h2></header>
    ${(problem || trouble) && html`<p class="note bad" role="alert">${problem || trouble}</p>`}
    ${items.length ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col" class="r">Number</th><th scope="col">When</th><th scope="col">By</th><th scope="col">How</th><th scope="col" class="not-small">Digest</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead><tbody>
      ${items.map((one, at) => html`<tr key=${one.number}><th scope="row" class="r num">${one.number}</th><td class="nowrap num">${moment(one.at)}</td><td>${who(one.actor)}</td><td>${one.action}</td><td class="mono not-small">${one.digest.slice(0, 12)}</td>
        <td class="r nowrap"><button class="tool" aria-label=${`Show revision ${one.number}`} onClick=${() => look(one.number)}>Show</button> ${at > 0 && html`<button class="tool" aria-label=${`Restore revision ${one.number}`} onClick=${() => restore(one.number)}>Restore</button>`}</td></tr>`)}</tbody></table></div>`
      : html`<p class="empty">${known ? "It came with the program: its first change makes a revision." : "Loading …"}</p>`}
    ${shown && html`<div class="body"><div class="bar"><h3>Revision ${shown.number}</h3><button class="tool" onClick=${() => setShown(null)}>Close</button></div>${shown.text === null ? html`<p class="quiet">It was taken out of use here.</p>` : html`<pre class="mono document" tabindex="0">${shown.text}</pre>`}</div>`}</section>`;
}

export function Difference({ profile }) {
  const [other, setOther] = useState("");
  const [told, problem] = useAsked(() => api.compareProfile(profile.id, other), [profile.id, profile.revision, other]);
  const others = [...store.profiles.values()].filter((one) => one.protocol === profile.protocol && one.id !== profile.id);
  return html`<section class="card" aria-label="Difference"><header><h2>What makes it of another profile</h2><span class="space"></span>
      <select aria-label="Compare with" value=${other} onChange=${(event) => setOther(event.target.value)}><option value="">the nearest of the library</option>${others.map((one) => html`<option value=${one.id}>${one.id}</option>`)}</select></header>
    ${problem ? html`<p class="note bad" role="alert">${problem}</p>` : !told ? html`<p class="empty">Loading …</p>` : !told.base ? html`<p class="empty">There is none to compare it with.</p>` : html`<p class="hint quiet" role="status">${told.changes.length ? `${told.changes.length} things are to be done to ${told.base}` : `The same as ${told.base}`}</p>`}
    ${told?.changes.length > 0 && html`<${Changes} changes=${told.changes} />`}</section>`;
}
