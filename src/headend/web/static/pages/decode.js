// Decode: frames as text, or a file of octets or a capture, explained layer by layer; field and octets point at each other.
// Keys live in this page's memory alone: not in the address, not in the browser's storage, and the head-end keeps none.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { plural } from "../lib/format.js";
import { findings, pad, readFile, walk, wayTo } from "../lib/octets.js";
import { api } from "../lib/api.js";
import { Dump, Layer } from "../parts/octets.js";

const MANY = 150;
const EXAMPLES = [
  ["DLMS: get request", "dlms", "0001 0010 0001 000d c0 01 c1 00 03 01 00 01 08 00 ff 02 00"],
  ["DLMS: association request", "dlms", "0001 0010 0001 001f 60 1d a1 09 06 07 60 85 74 05 08 01 01 be 10 04 0e 01 00 00 00 06 5f 1f 04 00 00 1e 1d ff ff"],
  ["Modbus TCP: read input registers", "modbus", "0001 0000 0006 01 04 0000 0006"],
  ["Modbus RTU: answer", "modbus", "01 04 04 43 66 33 34 1b 38"],
];
const KEYS = [
  ["ek", "Encryption key"], ["ak", "Authentication key"], ["client_title", "System title of the client"], ["server_title", "System title of the meter"],
  ["dk", "Dedicated key"], ["bk", "Broadcast key"], ["mk", "Master key"], ["ka", "Private key-agreement key"],
  ["ka_peer", "Certificate of the other side (key agreement)"],
  ["client_signer", "Certificate of the client (signing)"], ["server_signer", "Certificate of the meter (signing)"],
];

/** Keys as the head-end takes them: hexadecimal, however it was grouped; a certificate also in PEM. */
function keysOf(values) {
  const found = {};
  for (const [name, text] of Object.entries(values)) if (text.trim()) found[name] = text.includes("-----BEGIN") ? `text:${text}` : `hex:${text.replace(/0x|[\s:,-]/gi, "")}`;
  return found;
}

function Keys({ values, change }) {
  return html`<details class="keys"><summary>Keys <span class="quiet">for ciphered frames, in hexadecimal; used for the answer and stored nowhere</span></summary>
    <div class="key-fields">${KEYS.map(([name, label]) => html`<label key=${name}>${label}<input class=${`mono${/title|signer|peer/.test(name) ? "" : " masked"}`} autocomplete="off" spellcheck=${false} value=${values[name] || ""} onInput=${(event) => change({ ...values, [name]: event.target.value })} /></label>`)}</div>
  </details>`;
}

/** What is wrong and what is peculiar, each with the way to its place. */
function Findings({ found, go }) {
  if (!found.length) return null;
  const wrong = found.filter((one) => one.wrong).length;
  const title = [wrong && plural(wrong, "problem"), found.length - wrong && plural(found.length - wrong, "peculiarity", "peculiarities")].filter(Boolean).join(", ");
  return html`<section class="card findings" aria-label="Findings"><header><h2>${title}</h2></header><ul>
    ${found.slice(0, MANY).map((one, index) => html`<li key=${index} class=${one.wrong ? "fault" : ""}><button class="bare link mono" aria-label=${`Go to octet ${one.offset}`} onClick=${() => go(one)}>${pad(one.offset)}</button><span>${one.words}</span></li>`)}
    ${found.length > MANY && html`<li class="quiet">… and ${found.length - MANY} more</li>`}
  </ul></section>`;
}

/** The same as a document, to be copied. */
function Text({ kind, answer, again }) {
  const [xml, setXml] = useState(null);
  useEffect(() => {
    if (kind === "XML") again().then((found) => setXml(found.xml), (error) => setXml(error.message));
  }, [kind]);
  const text = kind === "JSON" ? JSON.stringify(answer.layer, null, 1) : xml;
  if (text === null) return html`<p class="quiet">Loading …</p>`;
  return text ? html`<pre class="mono document" tabindex="0" aria-label=${kind}>${text}</pre>` : html`<p class="quiet">Nothing here can be written in XML.</p>`;
}

function Answer({ answer, again }) {
  const { layer, octets } = answer;
  const [kind, setKind] = useState("Layers");
  const [mark, setMark] = useState(null);
  const [pinned, setPinned] = useState(null);
  const [turned, setTurned] = useState(() => new Map());
  const elements = useRef(new Map());
  const wanted = useRef(null);
  const few = [...walk(layer)].length <= MANY;
  useEffect(() => {
    const element = wanted.current && elements.current.get(wanted.current);
    if (element) { wanted.current = null; element.focus({ preventScroll: true }); element.scrollIntoView({ block: "nearest" }); }
  });
  const isOpen = (one, depth) => turned.get(one) ?? (few || depth < 1);
  const view = {
    mark: mark || pinned, pinned, setMark, setPinned, isOpen,
    toggle: (one, depth) => setTurned(new Map(turned).set(one, !isOpen(one, depth))),
    keep: (part, element) => (element ? elements.current.set(part, element) : elements.current.delete(part)),
  };
  const show = (way) => {
    setTurned(new Map([...turned, ...way.map((one) => [one, true])]));
    wanted.current = way[way.length - 1];
    setPinned(way[way.length - 1]);
  };
  const found = findings(layer);
  const wrong = new Set(found.filter((one) => one.wrong).map((one) => one.offset));
  const go = (one) => { show(wayTo(layer, Math.min(one.offset, octets.length / 2 - 1))); setPinned({ offset: one.offset, length: one.length }); };
  const keys = (event) => {
    const parts = [...event.currentTarget.querySelectorAll("[data-part]")];
    const at = parts.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: parts.length - 1 }[event.key];
    if (at >= 0 && next !== undefined && parts[next]) { event.preventDefault(); parts[next].focus(); }
    const fold = { ArrowRight: "false", ArrowLeft: "true" }[event.key];
    if (at >= 0 && fold && parts[at].getAttribute("aria-expanded") === fold) { event.preventDefault(); parts[at].querySelector(".fold").click(); }
  };
  return html`<${Findings} found=${found} go=${go} />
    <div class="decoded">
      <section class="card" aria-label="Octets"><header><h2>Octets</h2><span class="quiet" role="status">${answer.protocol ? `${answer.protocol}, ` : ""}${plural(answer.length, "octet")}${found.some((one) => one.wrong) ? "" : ", nothing wrong"}</span></header>
        <div class="body"><${Dump} octets=${octets} mark=${view.mark} wrong=${wrong} point=${(at) => setMark(at === null ? null : wayTo(layer, at).pop())} pin=${(at) => show(wayTo(layer, at))} /></div></section>
      <section class="card" aria-label="Layers"><header><h2>Layers</h2><span class="quiet">${kind === "Layers" ? "arrow keys go from part to part" : ""}</span><span class="space"></span>
        <div class="segmented" role="group" aria-label="Show as">${["Layers", "XML", "JSON"].map((name) => html`<button aria-pressed=${kind === name} onClick=${() => setKind(name)}>${name}</button>`)}</div></header>
        <div class="body" onKeyDown=${keys}>${kind === "Layers" ? html`<${Layer} layer=${layer} octets=${octets} view=${view} />` : html`<${Text} kind=${kind} answer=${answer} again=${again} />`}</div></section>
    </div>`;
}

export function Decode({ params }) {
  const { profiles } = useStore();
  const [text, setText] = useState(params.get("hex") || "");
  const [file, setFile] = useState(null);
  const [over, setOver] = useState(false);
  const [protocol, setProtocol] = useState(params.get("protocol") || "");
  const [secrets, setSecrets] = useState({});
  const [answer, setAnswer] = useState(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const turn = useRef(0);
  const protocols = [...new Set([...profiles.values()].map((one) => one.protocol))].sort();

  const decode = async (what, name) => {
    const mine = ++turn.current;
    remember("decode", "", { hex: what.hex && what.hex.length < 2000 ? what.hex.trim().replace(/\s+/g, " ") : "", protocol: name });
    setBusy(true);
    try {
      const asked = { ...what, protocol: name, keys: keysOf(secrets) };
      const found = await api.decode(asked);
      if (mine !== turn.current) return;
      setAnswer({ ...found, number: mine, asked });
      setProblem("");
    } catch (error) {
      if (mine !== turn.current) return;
      setAnswer(null);
      setProblem(error.hint ? `${error.message}: ${error.hint}` : error.message);
    }
    setBusy(false);
  };
  const take = async (picked) => {
    if (!picked) return;
    try {
      const read = await readFile(picked);
      if (read.text !== undefined) { setText(read.text); setFile(null); await decode({ hex: read.text }, protocol); }
      else { setText(""); setFile(read); await decode({ base64: read.base64 }, protocol); }
    } catch (error) {
      setAnswer(null);
      setProblem(error.message);
    }
  };
  useEffect(() => {
    document.title = "Decode · Headend";
    if (text) decode({ hex: text }, protocol);
  }, []);
  const submit = (event) => { event.preventDefault(); if (!busy) decode(file ? { base64: file.base64 } : { hex: text }, protocol); };
  const show = ([, name, hex]) => { setFile(null); setText(hex); setProtocol(name); decode({ hex }, name); };
  const keys = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event); };
  const drag = (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); setOver(event.type === "dragover"); } };
  const drop = (event) => { drag(event); setOver(false); take(event.dataTransfer.files[0]); };
  return html`
    <div class="head-line"><h1 tabindex="-1">Decode</h1><span class="quiet">Any frame, layer by layer. Nothing is sent to a meter.</span></div>
    <form class=${`card${over ? " over" : ""}`} onSubmit=${submit} onDragOver=${drag} onDragLeave=${drag} onDrop=${drop}><div class="body decode">
      <textarea class="mono" rows="4" aria-label="Octets in hexadecimal" placeholder=${file ? `${file.name}, ${plural(file.size, "octet")}` : "Octets in hexadecimal, spaces as you like, a hexdump, or base64; or drop a file here, also a capture (pcap, pcapng)"} spellcheck=${false} value=${text} onInput=${(event) => { setFile(null); setText(event.target.value); }} onKeyDown=${keys}></textarea>
      <${Keys} values=${secrets} change=${setSecrets} />
      <div class="bar"><label class="tool file">Open a file<input class="unseen" type="file" aria-label="Open a file" onChange=${(event) => { take(event.target.files[0]); event.target.value = ""; }} /></label>
        <select aria-label="Protocol" value=${protocol} onChange=${(event) => setProtocol(event.target.value)}><option value="">find the protocol</option>${protocols.map((name) => html`<option value=${name}>${name}</option>`)}</select>
        <button class="tool primary" disabled=${!text.trim() && !file} aria-disabled=${busy}>${busy ? "Decoding …" : "Decode"}</button>
        ${file && html`<span class="tag">${file.name} <button type="button" class="bare" aria-label=${`Take ${file.name} away`} onClick=${() => { setFile(null); setAnswer(null); }}>×</button></span>`}<span class="space"></span>
        <span class="examples quiet">Examples: ${EXAMPLES.map((example) => html`<button type="button" class="bare link" onClick=${() => show(example)}>${example[0]}</button> `)}</span></div>
    </div></form>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${answer && html`<${Answer} key=${answer.number} answer=${answer} again=${() => api.decode({ ...answer.asked, xml: true })} />`}`;
}
