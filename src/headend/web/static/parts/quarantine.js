// Callers that nobody knows: what they said of themselves, and what becomes of them. Adopting one, or many of a kind, makes meters.

import { html, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { href } from "../lib/route.js";
import { age, moment, plural } from "../lib/format.js";
import { api } from "../lib/api.js";

const nameOf = (one) => one.key.slice(one.key.indexOf(" ") + 1);

/** What the chosen callers are to become. */
function Adopt({ chosen, work, done }) {
  const { profiles } = useStore();
  const [profile, setProfile] = useState(() => [...profiles.values()].find((one) => one.registration && one.registration === chosen[0].registration)?.id || "");
  const [seconds, setSeconds] = useState("60");
  const [name, setName] = useState("");
  const protocols = new Set(chosen.map((one) => one.protocol).filter(Boolean));
  const fitting = [...profiles.values()].filter((one) => !protocols.size || protocols.has(one.protocol));
  const submit = (event) => {
    event.preventDefault();
    const what = { profile_id: profile, poll_seconds: Number(seconds) };
    work(async () => {
      if (chosen.length === 1) await api.adopt(chosen[0].id, { ...what, name });
      else {
        const { items } = await api.adoptMany({ ...what, callers: chosen.map((one) => one.id) });
        const failed = items.filter((one) => one.problem);
        if (failed.length) throw new Error(`${plural(failed.length, "caller")} of ${items.length} could not be adopted: ${failed[0].problem}`);
      }
      done();
    });
  };
  return html`<form class="bar adopt" onSubmit=${submit} aria-label="Adopt">
    <b>Adopt ${chosen.length === 1 ? nameOf(chosen[0]) : plural(chosen.length, "caller")}</b>
    ${chosen.length === 1 && html`<label>Name <input type="text" value=${name} maxlength="200" placeholder=${nameOf(chosen[0])} onInput=${(event) => setName(event.target.value)} /></label>`}
    <label>Meter file <select value=${profile} onChange=${(event) => setProfile(event.target.value)}><option value="">none: only listen</option>${fitting.map((one) => html`<option value=${one.id}>${one.id}</option>`)}</select></label>
    <label>Poll every <input type="number" class="seconds" min="0" max="86400" value=${seconds} onInput=${(event) => setSeconds(event.target.value)} /> s</label>
    <button class="tool primary">Adopt</button><button type="button" class="tool" onClick=${done}>Cancel</button></form>`;
}

export function Quarantine({ page, work, now }) {
  const [marked, setMarked] = useState(() => new Set());
  const [adopting, setAdopting] = useState(null);
  const waiting = page.items.filter((one) => !one.blocked);
  const chosen = waiting.filter((one) => marked.has(one.id));
  const mark = (ids, on) => setMarked((old) => { const next = new Set(old); for (const id of ids) on ? next.add(id) : next.delete(id); return next; });
  const line = (one) => html`<tr key=${one.id}><td>${!one.blocked && html`<input type="checkbox" aria-label=${`Choose ${nameOf(one)}`} checked=${marked.has(one.id)} onChange=${(event) => mark([one.id], event.target.checked)} />`}</td>
    <td><b>${nameOf(one)}</b>${one.trusted ? "" : html` <span class="tag" title="The check octets of its login were wrong">unchecked</span>`}${one.blocked ? html` <span class="tag">blocked</span>` : ""}<div class="quiet mono">${one.address}</div></td>
    <td>${one.label || html`<span class="quiet">nothing known</span>`} <span class="quiet">${[one.protocol, one.framing].filter(Boolean).join(" ")}</span><div class="quiet">${one.reason}</div></td>
    <td class="mono octets">${one.octets ? html`<a href=${href("decode", "", { hex: one.octets })} title="What these octets mean">${one.octets.replace(/../g, "$& ").trim()}</a>` : ""}</td>
    <td class="num" title=${`first ${moment(one.first_seen)}, last ${moment(one.last_seen)}`}>${age(one.last_seen, now)} ago<div class="quiet">${plural(one.count, "time")}</div></td>
    <td class="r nowrap">${one.connections.length ? html`<a class="tool" href=${href("wire", "", { connection: one.connections[0] })} aria-label=${`Watch ${nameOf(one)}`}>Watch</a> ` : ""}${one.blocked ? "" : html`<button class="tool" aria-label=${`Adopt ${nameOf(one)}`} onClick=${() => setAdopting([one])}>Adopt</button> <button class="tool" aria-label=${`Block ${nameOf(one)}`} onClick=${() => work(() => api.blockCaller(one.id))}>Block</button> `}<button class="tool" aria-label=${`Forget ${nameOf(one)}`} onClick=${() => work(() => api.forgetCaller(one.id))}>Forget</button></td></tr>`;
  return html`<section class="card" aria-label="Quarantine"><header><h2>Quarantine</h2><span class="quiet num">${page.total}</span><span class="space"></span>
      ${waiting.length > 1 && html`<button class="tool" aria-disabled=${!chosen.length} onClick=${() => chosen.length && setAdopting(chosen)}>Adopt ${chosen.length || "those"} chosen</button>`}</header>
    ${adopting && html`<div class="body"><${Adopt} key=${adopting.map((one) => one.id).join()} chosen=${adopting} work=${work} done=${() => { setAdopting(null); setMarked(new Set()); }} /></div>`}
    ${page.items.length ? html`<div class="wide scroll"><table class="list"><thead><tr><th scope="col"><input type="checkbox" aria-label="Choose all" checked=${waiting.length > 0 && chosen.length === waiting.length} onChange=${(event) => mark(waiting.map((one) => one.id), event.target.checked)} /></th><th scope="col">Caller</th><th scope="col">Recognised as</th><th scope="col">First octets</th><th scope="col">Seen</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead><tbody>${page.items.map(line)}</tbody></table></div>`
      : html`<p class="empty">Nobody waits here. Callers that are no known meter come here, and are neither trusted nor dropped.</p>`}
    ${page.total > page.items.length && html`<p class="hint">The newest ${page.items.length} of ${page.total}.</p>`}
  </section>`;
}
