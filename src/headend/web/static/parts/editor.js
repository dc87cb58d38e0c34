// The text of a profile: lines with numbers, checked as it is written, kept as a new revision.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { Changes } from "./changes.js";

const SETTLED = 350;

/** What the head-end thinks of the text, a moment after it was written. */
function useCheck(id, text) {
  const [told, setTold] = useState(null);
  useEffect(() => {
    let stop = false;
    setTold((old) => old && { ...old, busy: true });
    const timer = setTimeout(() => {
      api.checkProfile({ id, text }).then((found) => !stop && setTold(found))
        .catch((error) => !stop && setTold({ ok: false, error: error.message, hint: error.hint, line: null, changes: [] }));
    }, SETTLED);
    return () => { stop = true; clearTimeout(timer); };
  }, [id, text]);
  return told;
}

/** A text with the numbers of its lines, the line of an error marked. */
function Lines({ text, change, wrong, place }) {
  const gutter = useRef(null);
  const count = text.split("\n").length;
  return html`<div class="lines mono"><div class="gutter" ref=${gutter} aria-hidden="true">${Array.from({ length: count }, (_, at) => html`<span class=${at + 1 === wrong ? "wrong" : ""}>${at + 1}</span>`)}</div>
    <textarea ref=${place} aria-label="Text of the profile" class="mono" wrap="off" spellcheck=${false} autocapitalize="off" autocomplete="off" rows="30" aria-invalid=${wrong ? "true" : null} value=${text}
      onInput=${(event) => change(event.target.value)} onScroll=${(event) => { gutter.current.scrollTop = event.target.scrollTop; }}></textarea></div>`;
}

/** Put the caret at the beginning of a line, and show it. */
function goTo(area, line) {
  const at = area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(at, at);
  area.scrollTop = Math.max(0, (line - 6) * parseFloat(getComputedStyle(area).lineHeight));
}

function Verdict({ told, area }) {
  if (!told || told.busy) return html`<p class="quiet" role="status">Checking …</p>`;
  if (told.ok) return html`<p class="quiet" role="status">${plural(told.objects, "object")}; ${told.changes.length ? `${plural(told.changes.length, "change")} to ${told.base || "nothing"}` : "nothing changed"}.</p>`;
  return html`<p class="note bad" role="alert">${told.line ? html`<button type="button" class="bare link" onClick=${() => goTo(area.current, told.line)}>Line ${told.line}</button>: ` : ""}${[told.error, told.hint].filter(Boolean).join(" — ")}</p>`;
}

/** The editor of one profile. `done` is called with the number of the revision that was made. */
export function Editor({ profile, done }) {
  const [text, setText] = useState(profile.text);
  const [base, setBase] = useState({ text: profile.text, revision: profile.revision });
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const area = useRef(null);
  const told = useCheck(profile.id, text);
  const dirty = text !== base.text;
  useEffect(() => {
    if (!dirty) return undefined;
    const warn = (event) => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [dirty]);
  const save = async (revision) => {
    setBusy(true);
    try {
      const made = await signedIn(() => api.changeProfile(profile.id, { text, revision }));
      setBase({ text, revision: made.number });
      setProblem(null);
      done(made.number);
    } catch (error) {
      setProblem({ conflict: error.status === 409, text: [error.message, error.hint].filter(Boolean).join(" — ") });
    }
    setBusy(false);
  };
  const theirs = () => api.profile(profile.id);
  const takeTheirs = () => theirs().then((found) => { setText(found.text); setBase({ text: found.text, revision: found.revision }); setProblem(null); }).catch((error) => setProblem({ text: error.message }));
  const saveOver = () => theirs().then((found) => save(found.revision)).catch((error) => setProblem({ text: error.message }));
  return html`<section class="card" aria-label="Text"><header><h2>Text</h2><span class="quiet">of revision ${base.revision}${dirty ? ", changed" : ""}</span><span class="space"></span>
      <button class="tool" disabled=${!dirty || busy} onClick=${() => setText(base.text)}>Take back</button>
      <button class="tool primary" disabled=${!dirty || busy || !told?.ok || told.busy} onClick=${() => save(base.revision)}>${busy ? "Saving …" : "Save"}</button></header>
    <div class="body">
      ${problem && html`<div class="note bad" role="alert">${problem.text}${problem.conflict && html`<div class="bar"><button class="tool" onClick=${takeTheirs}>Take the newest revision, mine is lost</button><button class="tool" onClick=${saveOver}>Save mine over it</button></div>`}</div>`}
      <${Lines} text=${text} change=${setText} wrong=${told && !told.ok ? told.line : 0} place=${area} />
      <${Verdict} told=${told} area=${area} />
    </div>
    ${told?.ok && told.changes.length > 0 && html`<${Changes} changes=${told.changes} />`}</section>`;
}
