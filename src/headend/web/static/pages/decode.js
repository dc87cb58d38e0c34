// Decode: a frame as hexadecimal text, explained layer by layer; field and octets point at each other.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";

const SHOWN = 4096;
const EXAMPLES = [
  ["DLMS: get request", "dlms", "0001 0010 0001 000d c0 01 c1 00 03 01 00 01 08 00 ff 02 00"],
  ["DLMS: association request", "dlms", "0001 0010 0001 001f 60 1d a1 09 06 07 60 85 74 05 08 01 01 be 10 04 0e 01 00 00 00 06 5f 1f 04 00 00 1e 1d ff ff"],
  ["Modbus TCP: read input registers", "modbus", "0001 0000 0006 01 04 0000 0006"],
  ["Modbus RTU: answer", "modbus", "01 04 04 43 66 33 34 1b 38"],
];

const pad = (number) => number.toString(16).padStart(4, "0");
const octetsOf = (text) => (text.toLowerCase().replaceAll("0x", " ").replace(/[:,\-\s]/g, "").match(/../g) || []);

/** The innermost field or layer that covers an octet. */
function covering(layer, at) {
  for (const inner of layer.layers) if (at >= inner.offset && at < inner.offset + inner.length) return covering(inner, at);
  return layer.fields.find((field) => at >= field.offset && at < field.offset + field.length) || layer;
}

function Dump({ octets, mark, point }) {
  const lines = [];
  for (let first = 0; first < Math.min(octets.length, SHOWN); first += 16) lines.push(first);
  const over = (event) => { const at = event.target.dataset.at; point(at === undefined ? null : Number(at)); };
  return html`<div class="dump mono" aria-label="Octets" role="group" onMouseOver=${over} onMouseLeave=${() => point(null)}>
    ${lines.map((first) => html`<div key=${first}><span class="quiet">${pad(first)}</span>${octets.slice(first, first + 16).map((octet, index) => {
      const at = first + index;
      return html`<span data-at=${at} class=${mark && at >= mark.offset && at < mark.offset + mark.length ? "on" : ""}>${octet}</span>`;
    })}</div>`)}
    ${octets.length > SHOWN && html`<p class="quiet">… and ${plural(octets.length - SHOWN, "octet")} more</p>`}
  </div>`;
}

function Layer({ layer, octets, mark, setMark }) {
  const place = (part) => `${pad(part.offset)} +${part.length}`;
  const points = (part) => ({ onMouseEnter: () => setMark(part), onFocus: () => setMark(part), onMouseLeave: () => setMark(null), onBlur: () => setMark(null) });
  const whole = (part) => part.offset === layer.offset && part.length === layer.length; // the decoder does not say where in the layer
  const raw = (part) => { const text = octets.slice(part.offset, part.offset + Math.min(part.length, 12)).join(" "); return part.length > 12 ? `${text} …` : text; };
  return html`<section class="layer"><h3 tabindex="0" class=${mark === layer ? "on" : ""} ...${points(layer)}>${layer.name} <span class="quiet mono">${place(layer)}</span></h3>
    ${layer.error && html`<p class="note bad" role="alert">${layer.error}</p>`}
    ${layer.fields.length > 0 && html`<div class="wide"><table class="list"><thead><tr><th scope="col">Offset</th><th scope="col">Field</th><th scope="col">Value</th><th scope="col">Octets</th></tr></thead><tbody>
      ${layer.fields.map((field, index) => html`<tr key=${index} tabindex="0" class=${mark === field ? "on" : ""} ...${points(field)}><td class="mono quiet nowrap">${whole(field) ? "" : place(field)}</td><td>${field.name}</td><td class="value">${field.value}</td><td class="mono quiet">${whole(field) ? "" : raw(field)}</td></tr>`)}
    </tbody></table></div>`}
    ${layer.layers.map((inner, index) => html`<${Layer} key=${index} layer=${inner} octets=${octets} mark=${mark} setMark=${setMark} />`)}
  </section>`;
}

export function Decode({ params }) {
  const { profiles } = useStore();
  const [text, setText] = useState(params.get("hex") || "");
  const [protocol, setProtocol] = useState(params.get("protocol") || "");
  const [answer, setAnswer] = useState(null);
  const [problem, setProblem] = useState("");
  const [mark, setMark] = useState(null);
  const protocols = [...new Set([...profiles.values()].map((one) => one.protocol))].sort();

  const decode = async (hex, name) => {
    setMark(null);
    remember("decode", "", { hex: hex.length < 2000 ? hex.trim().replace(/\s+/g, " ") : "", protocol: name });
    try {
      setAnswer({ ...(await api.decode(hex, name)), octets: octetsOf(hex) });
      setProblem("");
    } catch (error) {
      setAnswer(null);
      setProblem(error.message);
    }
  };
  useEffect(() => {
    document.title = "Decode · Headend";
    if (text) decode(text, protocol);
  }, []);
  const submit = (event) => { event.preventDefault(); decode(text, protocol); };
  const show = ([, name, hex]) => { setText(hex); setProtocol(name); decode(hex, name); };
  const keys = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event); };
  return html`
    <div class="head-line"><h1 tabindex="-1">Decode</h1><span class="quiet">Any frame, layer by layer. Nothing is sent to a meter.</span></div>
    <form class="card" onSubmit=${submit}><div class="body decode">
      <textarea class="mono" rows="4" aria-label="Octets in hexadecimal" placeholder="Octets in hexadecimal, spaces as you like: 0001 0010 0001 000d c0 01 …" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${keys}></textarea>
      <div class="bar"><select aria-label="Protocol" value=${protocol} onChange=${(event) => setProtocol(event.target.value)}><option value="">find the protocol</option>${protocols.map((name) => html`<option value=${name}>${name}</option>`)}</select>
        <button class="tool primary" disabled=${!text.trim()}>Decode</button><span class="space"></span>
        <span class="examples quiet">Examples: ${EXAMPLES.map((example) => html`<button type="button" class="bare link" onClick=${() => show(example)}>${example[0]}</button> `)}</span></div>
    </div></form>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    ${answer && html`<div class="decoded">
      <section class="card" aria-label="Octets"><header><h2>Octets</h2><span class="quiet" role="status">${answer.protocol}, ${plural(answer.length, "octet")}</span></header><div class="body"><${Dump} octets=${answer.octets} mark=${mark} point=${(at) => setMark(at === null ? null : covering(answer.layer, at))} /></div></section>
      <section class="card" aria-label="Layers"><header><h2>Layers</h2></header><div class="body"><${Layer} layer=${answer.layer} octets=${answer.octets} mark=${mark} setMark=${setMark} /></div></section>
    </div>`}`;
}
