// The object browser: asks the meter for its own list, filters it, reads one object at a time.

import { html, useState } from "../vendor/preact-htm.js";
import { amount } from "../lib/format.js";
import { api } from "../lib/api.js";

export function Objects({ id }) {
  const [objects, setObjects] = useState(null);
  const [values, setValues] = useState({});
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);

  const load = async () => {
    setBusy(true);
    setProblem(null);
    try { setObjects((await api.objects(id)).items); } catch (error) { setProblem(error); }
    setBusy(false);
  };
  const read = async (ref) => {
    setValues((old) => ({ ...old, [ref]: "…" }));
    try {
      const { values: [row], missing: [gap] } = await api.read(id, [ref]);
      const value = row && typeof row.value === "object" && row.value !== null ? JSON.stringify(row.value) : row?.value;
      setValues((old) => ({ ...old, [ref]: gap ? `! ${gap.reason}` : amount(value, row.unit).join(" ") }));
    } catch (error) {
      setValues((old) => ({ ...old, [ref]: `! ${error.message}` }));
    }
  };
  const found = (objects || []).filter((one) => `${one.ref} ${one.name} ${one.quantity} ${one.class_name}`.toLowerCase().includes(text.toLowerCase()));
  return html`<section class="card" aria-label="Objects">
    <header><h2>Objects</h2>${objects && html`<span class="quiet num">${found.length} of ${objects.length}</span>`}<span class="space"></span>
      ${objects && html`<input type="search" class="chip" placeholder="Filter" aria-label="Filter objects" value=${text} onInput=${(event) => setText(event.target.value)} />`}
      <button class="tool" disabled=${busy} onClick=${load}>${busy ? "Reading …" : objects ? "Read again" : "Read the object list"}</button></header>
    ${problem && html`<p class="note bad" role="alert">${problem.message}${[401, 403].includes(problem.status) ? " Sign in to ask the meter." : ""}</p>`}
    ${objects && html`<div class="scroll" tabindex="0"><table class="list"><thead><tr><th>Object</th><th>Class</th><th>Name</th><th>Value</th><th></th></tr></thead>
      <tbody>${found.map((one) => html`<tr key=${one.ref}><td class="mono">${one.ref}</td><td>${one.class_name || ""}</td><td>${one.name || one.quantity || ""}</td>
        <td class="num">${values[one.ref] || ""}</td><td>${!one.history && html`<button class="tool" aria-label=${`Read ${one.ref}`} onClick=${() => read(one.ref)}>Read</button>`}</td></tr>`)}</tbody></table></div>`}
    ${!objects && !problem && html`<p class="empty">What the meter itself says it has: its object list, read over the wire when you ask.</p>`}
  </section>`;
}
