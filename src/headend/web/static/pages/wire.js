// What goes over one wire, as it goes: the wire of a meter, or a connection that somebody opened. Each piece opens into its layers.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { href, meterLink } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { plural } from "../lib/format.js";
import { findings, size } from "../lib/octets.js";
import { api } from "../lib/api.js";
import { Layer } from "../parts/octets.js";

const KEPT = 500;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

/** Pieces as they come, newest last; while it is halted they are counted, and dropped beyond what is kept. */
function usePieces(path) {
  const [pieces, setPieces] = useState([]);
  const [state, setState] = useState("connecting");
  const [lost, setLost] = useState(0);
  const halted = useRef(false);
  useEffect(() => {
    let number = 0;
    let feed = null;
    let waiting = [];
    const open = () => {
      feed = new EventSource(path);
      feed.onopen = () => setState("watching");
      feed.onerror = () => { // the browser tries again by itself unless the head-end said no
        if (feed.readyState !== EventSource.CLOSED) { setState("connecting"); return; }
        setState("refused");
        fetch(path, { headers: { Accept: "application/json" } }).then((answer) => answer.body?.cancel()).catch(() => {});
      };
      feed.addEventListener("packet", (event) => { waiting.push({ ...JSON.parse(event.data), number: ++number }); });
      feed.addEventListener("lost", (event) => setLost((old) => old + Number(event.data)));
    };
    const draw = setInterval(() => {
      if (halted.current || !waiting.length) return;
      const came = waiting;
      waiting = [];
      setPieces((old) => [...old, ...came].slice(-KEPT));
    }, 250);
    open();
    return () => { clearInterval(draw); feed.close(); };
  }, [path]);
  return { pieces, state, lost, halted, clear: () => setPieces([]) };
}

/** In a few words what a piece is: the innermost layers that have names of their own. */
function summary(layer) {
  const names = [];
  const descend = (one) => { if (!one.layers.length) names.push(one.name); else one.layers.forEach(descend); };
  descend(layer);
  return [...new Set(names)].slice(0, 4).join(", ").replace(/ \([^)]*\)/g, "");
}

function Piece({ piece, open, toggle }) {
  const [turned, setTurned] = useState(() => new Map());
  const isOpen = (one) => turned.get(one) ?? true;
  const view = { mark: null, pinned: null, setMark: () => {}, setPinned: () => {}, isOpen, toggle: (one) => setTurned(new Map(turned).set(one, !isOpen(one))), keep: () => {} };
  const wrong = piece.layer ? findings(piece.layer).filter((one) => one.wrong).length : 0;
  return html`<li class=${piece.sent ? "sent" : "got"}>
    <button class="piece" aria-expanded=${open} onClick=${toggle}><time class="mono quiet">${clock.format(piece.at)}</time><span class="way" title=${piece.sent ? "sent" : "received"}>${piece.sent ? "→" : "←"}</span><span class="num quiet">${size(piece.octets.length / 2)}</span>
      <span class="said">${piece.layer ? summary(piece.layer) : html`<span class="quiet">not explained</span>`}${piece.masked ? html` <span class="tag">secret masked</span>` : ""}${wrong ? html` <span class="tag fault">${plural(wrong, "problem")}</span>` : ""}</span><span class="mono quiet raw">${piece.octets.slice(0, 48).replace(/../g, "$& ").trim()}${piece.octets.length > 48 ? " …" : ""}</span></button>
    ${open && html`<div class="inside">${piece.layer && html`<${Layer} layer=${piece.layer} octets=${piece.octets} view=${view} />`}
      <pre class="mono document">${piece.octets.replace(/../g, "$& ").trim()}</pre><a class="tool" href=${href("decode", "", { hex: piece.octets.slice(0, 4000) })}>Decode with keys</a></div>`}</li>`;
}

function Record({ target }) {
  const [capture, setCapture] = useState(null);
  const [words, setWords] = useState("");
  const work = (action) => signedIn(action).then((found) => { setCapture(found); setWords(""); }).catch((error) => setWords(error.message));
  useEffect(() => {
    if (!capture?.running) return undefined;
    const timer = setInterval(() => api.capture(capture.id).then(setCapture).catch(() => {}), 2000);
    return () => clearInterval(timer);
  }, [capture?.id, capture?.running]);
  return html`<span class="quiet" role="status">${words || (capture && `${plural(capture.packets, "piece")}${capture.running ? " recorded …" : " recorded"}`)}</span>
    ${capture && html`<a class="tool" href=${`/api/v1/captures/${encodeURIComponent(capture.id)}/file`} download>Download pcapng</a>`}
    ${capture?.running ? html`<button class="tool" onClick=${() => work(() => api.stopCapture(capture.id))}>Stop recording</button>`
      : html`<button class="tool" onClick=${() => work(() => api.startCapture({ ...target, seconds: 600 }))}>Record</button>`}`;
}

export function Wire({ params }) {
  const meter = params.get("meter") || "", connection = Number(params.get("connection")) || 0;
  const path = meter ? `/api/v1/meters/${encodeURIComponent(meter)}/packets` : `/api/v1/connections/${connection}/packets`;
  const { pieces, state, lost, halted, clear } = usePieces(path);
  const [halt, setHalt] = useState(false);
  const [open, setOpen] = useState(() => new Set());
  const list = useRef(null);
  const following = useRef(true);
  useEffect(() => { document.title = "Wire · Headend"; }, []);
  useEffect(() => { if (following.current && list.current) list.current.scrollTop = list.current.scrollHeight; }, [pieces]);
  const scrolled = (event) => { const { scrollTop, clientHeight, scrollHeight } = event.currentTarget; following.current = scrollTop + clientHeight > scrollHeight - 40; };
  const turn = (number) => setOpen((old) => { const next = new Set(old); if (!next.delete(number)) next.add(number); return next; });
  const hold = () => { halted.current = !halt; setHalt(!halt); };
  return html`
    <div class="head-line"><a class="tool" href=${meter ? meterLink(meter) : "#/connections"} aria-label="Back">←</a><h1 tabindex="-1">${meter || `Connection ${connection}`}</h1><span class="pulse" role="status"><i class=${`dot ${state === "watching" && !halt ? "live" : state === "refused" ? "lost" : ""}`}></i>${halt ? "halted" : state}</span><span class="space"></span>
      <${Record} target=${meter ? { meter_id: meter } : { connection }} /><button class="tool" aria-pressed=${halt} onClick=${hold}>${halt ? "Go on" : "Halt"}</button><button class="tool" onClick=${clear}>Clear</button></div>
    ${state === "refused" && html`<p class="note bad" role="alert">The head-end does not show this wire: there may be no such ${meter ? "meter" : "connection any more"}, or it needs the role operator.</p>`}
    ${lost > 0 && html`<p class="note">${plural(lost, "piece")} came faster than this page could take them.</p>`}
    <section class="card" aria-label="Pieces"><header><h2>On the wire</h2><span class="quiet num">${plural(pieces.length, "piece")}</span><span class="space"></span><span class="quiet">secrets are masked; → sent, ← received</span></header>
      ${pieces.length ? html`<ol class="pieces" ref=${list} onScroll=${scrolled}>${pieces.map((piece) => html`<${Piece} key=${piece.number} piece=${piece} open=${open.has(piece.number)} toggle=${() => turn(piece.number)} />`)}</ol>`
        : html`<p class="empty">${state === "watching" ? "Nothing has gone over the wire since you look. A read shows here at once." : "…"}</p>`}</section>`;
}
