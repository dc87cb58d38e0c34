// Differences of profiles, as a table: what came, what went, what is different.

import { html } from "../vendor/preact-htm.js";

const KINDS = { added: "new", gone: "gone", changed: "changed" };

export function Changes({ changes }) {
  return html`<div class="wide"><table class="list" aria-label="Changes"><thead><tr><th scope="col">Change</th><th scope="col">Where</th><th scope="col">What</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
    <tbody>${changes.map((one) => html`<tr><td><span class=${`change ${one.kind}`}>${KINDS[one.kind] || one.kind}</span></td><td>${one.table}</td><td><span class="mono">${one.what}</span> ${one.key}</td><td class="mono cut">${one.before}</td><td class="mono cut">${one.after}</td></tr>`)}</tbody></table></div>`;
}
