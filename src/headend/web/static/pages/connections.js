// Meters that dial in: their open connections as they are now, and the quarantine of callers that nobody knows.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { href, meterLink, remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { age, moment, plural } from "../lib/format.js";
import { size } from "../lib/octets.js";
import { api } from "../lib/api.js";
import { Quarantine } from "../parts/quarantine.js";

const AGAIN = 2000;
const SHOWN = 200;
const STAGES = { "": "all", known: "meters", unknown: "in quarantine", "new,nameless": "not yet known" };
const STAGE_WORDS = { new: ["waiting", "new"], nameless: ["waiting", "recognised"], unknown: ["disabled", "quarantine"], known: ["online", "meter"] };

/** What the head-end says about connections and callers, asked again while the page is seen. */
function useCalls(view) {
  const [calls, setCalls] = useState({ connections: null, callers: null, problem: "" });
  const ask = async () => {
    try {
      const [connections, callers] = await Promise.all([api.connections({ ...view, limit: SHOWN }), api.callers({ search: view.search, limit: SHOWN })]);
      setCalls({ connections, callers, problem: "" });
    } catch (error) {
      setCalls((old) => ({ ...old, problem: error.message }));
    }
  };
  useEffect(() => {
    ask();
    const timer = setInterval(() => document.hidden || ask(), AGAIN);
    return () => clearInterval(timer);
  }, [view.stage, view.search]);
  return [calls, ask];
}

function Connection({ one, now, close }) {
  const [state, word] = STAGE_WORDS[one.stage];
  const who = one.meters.length ? one.meters.map((id, index) => html`${index ? ", " : ""}<a href=${meterLink(id)}>${id}</a>`) : one.number || html`<span class="quiet">says nothing of itself</span>`;
  const beat = one.last_heartbeat || one.last_heard;
  return html`<tr><td><span class=${`state ${state}`}><i class="dot"></i>${word}</span></td><td>${who}${one.number && one.meters.length && !one.meters.includes(one.number) ? html` <span class="quiet mono">${one.number}</span>` : ""}${one.trusted ? "" : html` <span class="tag" title="The check octets of its login were wrong">unchecked</span>`}</td>
    <td class="mono">${one.peer}</td><td>${one.label || html`<span class="quiet">…</span>`} <span class="quiet">${[one.protocol, one.framing].filter(Boolean).join(" ")}</span></td>
    <td class="num" title=${moment(one.since)}>${age(one.since, now)}</td><td class="num" title=${beat ? moment(beat) : ""}>${beat ? `${age(beat, now)} ago` : "never"}</td>
    <td class="num r nowrap">${size(one.octets_in)} <span class="quiet">in</span> ${size(one.octets_out)} <span class="quiet">out</span></td>
    <td class="r nowrap">${one.held ? html`<span class="tag" title="It says more than it may, and is not read just now">held back</span> ` : ""}<a class="tool" href=${href("wire", "", { connection: one.id })} aria-label=${`Watch connection ${one.id}`}>Watch</a> <button class="tool" aria-label=${`Close connection ${one.id}`} onClick=${() => close(one)}>Close</button></td></tr>`;
}

export function Connections({ params }) {
  useStore();
  const [view, setView] = useState(() => ({ stage: params.get("stage") in STAGES ? params.get("stage") : "", search: params.get("search") || "" }));
  const [calls, again] = useCalls(view);
  const [problem, setProblem] = useState("");
  useEffect(() => { document.title = "Connections · Headend"; remember("connections", "", view); }, [view]);
  const work = (action) => signedIn(action).then(() => setProblem("")).catch((error) => setProblem(error.message)).then(again);
  const { connections, callers } = calls;
  const now = Date.now();
  return html`
    <div class="head-line"><h1 tabindex="-1">Connections</h1><span class="quiet" role="status">${connections ? `${plural(connections.total, "connection")} of meters that dial in` : "Loading …"}</span></div>
    <div class="filters" role="search">
      <input type="search" placeholder="Meter, number or address" aria-label="Only what holds this" value=${view.search} onInput=${(event) => setView({ ...view, search: event.target.value })} />
      <div class="chips" role="group" aria-label="Which connections">${Object.entries(STAGES).map(([key, name]) => html`<button class="chip" aria-pressed=${view.stage === key} onClick=${() => setView({ ...view, stage: key })}>${name}</button>`)}</div>
    </div>
    ${(calls.problem || problem) && html`<p class="note bad" role="alert">${problem || calls.problem}</p>`}
    ${callers && html`<${Quarantine} page=${callers} work=${work} now=${now} />`}
    <section class="card" aria-label="Open connections"><header><h2>Open connections</h2>${connections && html`<span class="quiet num">${connections.total}</span>`}</header>
      ${connections?.items.length ? html`<div class="wide"><table class="list"><thead><tr><th scope="col">State</th><th scope="col">Who</th><th scope="col">From</th><th scope="col">Speaks</th><th scope="col">Since</th><th scope="col">Heard</th><th scope="col" class="r">Octets</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
        <tbody>${connections.items.map((one) => html`<${Connection} key=${one.id} one=${one} now=${now} close=${(each) => work(() => api.closeConnection(each.id))} />`)}</tbody></table></div>`
        : html`<p class="empty">${connections ? "Nobody who fits is connected." : "Loading …"}</p>`}
      ${connections && connections.total > connections.items.length && html`<p class="hint">The first ${connections.items.length} of ${connections.total}: search for the others.</p>`}
    </section>`;
}
