// The object browser: the meter's own list, in groups, with what each object lets us do; values are read when asked for.

import { html, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { plural, said } from "../lib/format.js";
import { api } from "../lib/api.js";
import { History } from "./history.js";

const AT_ONCE = 25;
const TABLES = { holding: "Holding registers", input: "Input registers", coil: "Coils", discrete: "Discrete inputs" };

function kindOf(one) {
  if (one.class_name) return one.class_name;
  const table = one.ref.match(/^\w+:(\w+)\//)?.[1];
  return TABLES[table] || table || "Objects";
}

/** `r 1 3, rw 2`: attributes by what may be done with them. */
function rights(parts) {
  const by = new Map();
  for (const [number, access] of Object.entries(parts)) if (access !== "none") by.set(access, [...(by.get(access) || []), number]);
  return [...by].map(([access, numbers]) => html`<span class="right" title=${`${access}: ${numbers.join(", ")}`}><b>${access}</b> ${numbers.length > 4 ? `${numbers[0]}–${numbers[numbers.length - 1]}` : numbers.join(" ")}</span> `);
}

export function Objects({ id }) {
  const [objects, setObjects] = useState(null);
  const [values, setValues] = useState({});
  const [text, setText] = useState("");
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState("");
  const [rows, setRows] = useState(null);

  const work = async (what, action) => {
    if (busy || !what) return;
    setBusy(what);
    setProblem("");
    try { await signedIn(action); } catch (error) { setProblem(error.message); }
    setBusy("");
  };
  const load = () => work("list", async () => setObjects((await api.objects(id)).items));
  const read = (refs) => work(refs[0], async () => {
    for (let first = 0; first < refs.length; first += AT_ONCE) {
      const answer = await api.read(id, refs.slice(first, first + AT_ONCE));
      const found = {};
      for (const row of answer.values) found[row.ref] = { text: said(row.value, row.unit) };
      for (const gap of answer.missing) found[gap.ref] = { text: gap.reason || gap.code, bad: true };
      setValues((old) => ({ ...old, ...found }));
    }
  });
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map();
  for (const one of objects || []) {
    const hay = `${one.ref} ${one.name} ${one.quantity} ${kindOf(one)}`.toLowerCase();
    if (words.every((word) => hay.includes(word))) groups.set(kindOf(one), [...(groups.get(kindOf(one)) || []), one]);
  }
  const line = (one) => html`<tr key=${one.ref}><td class="mono ref">${one.ref.replace(/^\w+:/, "")}</td><td>${one.name || one.quantity || html`<span class="quiet">no name</span>`}</td>
    <td class="rights">${rights(one.attributes)}${rights(one.methods)}</td>
    <td class=${`num r value${values[one.ref]?.bad ? " fault" : ""}`}><div>${values[one.ref]?.text || ""}</div></td>
    <td class="r">${one.history ? html`<button class="tool" onClick=${() => setRows(one)} aria-label=${`Rows of ${one.ref}`}>Rows</button>` : html`<button class="tool" aria-disabled=${busy !== ""} aria-label=${`Read ${one.name || one.ref}`} onClick=${() => read([one.ref])}>${busy === one.ref ? "…" : "Read"}</button>`}</td></tr>`;
  const readable = [...groups.values()].flat().filter((one) => !one.history);
  return html`<section class="card" aria-label="Objects">
    <header><h2>Objects in the meter</h2>${objects && html`<span class="quiet num">${objects.length}</span>`}<span class="space"></span>
      ${objects && html`<button class="tool" aria-disabled=${busy !== "" || !readable.length} onClick=${() => read(readable.map((one) => one.ref))}>Read ${plural(readable.length, "value")}</button>
        <input type="search" class="small" placeholder="Filter objects" aria-label="Filter objects" value=${text} onInput=${(event) => setText(event.target.value)} />`}
      <button class="tool" aria-disabled=${busy !== ""} onClick=${load}>${busy === "list" ? "Reading …" : objects ? "Read the list anew" : "Read the object list"}</button></header>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${rows && html`<${History} id=${id} entry=${rows} close=${() => setRows(null)} />`}
    ${[...groups].map(([name, list], at) => html`<details class="group" key=${name} open=${words.length > 0 || groups.size < 4 || list.length < 9}><summary>${name} <span class="quiet num">${list.length}</span></summary>
      <div class="wide"><table class="list objects"><colgroup><col class="ref" /><col /><col class="access" /><col class="value" /><col class="act" /></colgroup>
        <thead class=${at ? "unseen" : ""}><tr><th scope="col">Object</th><th scope="col">Name</th><th scope="col">Access</th><th scope="col" class="r">Value</th><th scope="col"><span class="unseen">Read</span></th></tr></thead><tbody>${list.map(line)}</tbody></table></div></details>`)}
    ${objects && !groups.size && html`<p class="empty">No object fits the filter.</p>`}
    ${!objects && !problem && html`<p class="empty">What the meter itself says it has: its objects, what may be read, written or invoked, and the rows of its load profiles. It is read over the wire when you ask.</p>`}
  </section>`;
}
