// Virtual meters one by one: where they are reached, and what is wrong with them.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { FAULTS } from "../lib/faults.js";
import { useAsked } from "../lib/asked.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";

const AGAIN = 3000;
const PAGE = 50;

const faultTitle = ({ kind, chance, seconds }) => `${FAULTS[kind] || kind} ${chance < 1 ? `${Math.round(chance * 1000) / 10} % of its answers; ` : ""}${seconds} s`;

function Meter({ one, choose }) {
  return html`<tr><th scope="row"><button class="bare link" title="Act on this one alone" onClick=${() => choose(one.name)}>${one.name}</button></th><td class="mono url">${one.url}</td><td class="not-small">${one.group}</td>
    <td class="not-small">${one.profile}</td><td><span class=${`state ${one.running ? "online" : "disabled"}`}><i class="dot"></i>${one.running ? "on" : "off"}</span></td>
    <td>${one.faults.map((fault) => html`<span class="tag fault" title=${faultTitle(fault)}>${fault.kind}</span> `)}</td></tr>`;
}

/** The meters that a group and a pattern choose, a page of them. */
export function VirtualMeters({ view, turn, choose }) {
  const [offset, setOffset] = useState(0);
  useEffect(() => setOffset(0), [view.group, view.name]);
  const [page, problem] = useAsked(() => api.virtualMeters({ ...view, offset, limit: PAGE }), [view.group, view.name, offset, turn], AGAIN);
  const shown = page?.items.length || 0;
  return html`<section class="card" aria-label="Virtual meters"><header><h2>Virtual meters</h2><span class="quiet num">${page ? page.total.toLocaleString("en") : ""}</span><span class="space"></span>
      ${page?.total > PAGE && html`<span class="quiet num">${offset + 1} to ${offset + shown}</span><button class="tool" disabled=${!offset} onClick=${() => setOffset(Math.max(0, offset - PAGE))}>Earlier</button><button class="tool" disabled=${offset + shown >= page.total} onClick=${() => setOffset(offset + PAGE)}>Further</button>`}</header>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${shown ? html`<div class="wide"><table class="list mid"><thead><tr><th scope="col">Name</th><th scope="col">Where</th><th scope="col" class="not-small">Group</th><th scope="col" class="not-small">Profile</th><th scope="col">State</th><th scope="col">What is wrong</th></tr></thead>
      <tbody aria-label=${plural(page.total, "virtual meter")}>${page.items.map((one) => html`<${Meter} key=${one.number} one=${one} choose=${choose} />`)}</tbody></table></div>`
      : html`<p class="empty">${page ? "None of them fits." : "Loading …"}</p>`}</section>`;
}
