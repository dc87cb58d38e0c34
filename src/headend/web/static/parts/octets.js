// Octets and what they mean, side by side: what is pointed at in one is marked in the other.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { pad } from "../lib/octets.js";
import { plural } from "../lib/format.js";

const SHOWN = 2048;
const ROWS = 100;
const WIDTHS = { narrow: 8, wide: 16 };
const narrow = matchMedia("(max-width: 700px)");

/** The octets around what is marked; `wrong` are places of errors. */
export function Dump({ octets, mark, wrong, point, pin }) {
  const [first, setFirst] = useState(0);
  const [width, setWidth] = useState(narrow.matches ? WIDTHS.narrow : WIDTHS.wide);
  const body = useRef(null);
  const count = octets.length / 2;
  useEffect(() => {
    const turn = () => setWidth(narrow.matches ? WIDTHS.narrow : WIDTHS.wide);
    narrow.addEventListener("change", turn);
    return () => narrow.removeEventListener("change", turn);
  }, []);
  useEffect(() => setFirst(0), [octets]);
  useEffect(() => {
    if (!mark || mark.offset >= count) return;
    if (mark.offset < first || mark.offset >= first + SHOWN) setFirst(mark.offset - (mark.offset % (SHOWN / 2)));
    const line = body.current?.querySelector(`[data-at="${mark.offset}"]`)?.parentElement;
    if (!line) return;
    const top = line.offsetTop - body.current.offsetTop;
    if (top < body.current.scrollTop || top > body.current.scrollTop + body.current.clientHeight - 30) body.current.scrollTop = top - 40;
  }, [mark, first]);
  const lines = [];
  for (let at = first; at < Math.min(count, first + SHOWN); at += width) lines.push(at);
  const at = (event) => { const found = event.target.dataset.at; return found === undefined ? null : Number(found); };
  const look = (place) => (mark && place >= mark.offset && place < mark.offset + mark.length ? "on" : "") + (wrong.has(place) ? " wrong" : "");
  return html`<div class="dump mono" ref=${body} tabindex="0" role="group" aria-label="All octets" onMouseOver=${(event) => point(at(event))} onMouseLeave=${() => point(null)} onClick=${(event) => { if (at(event) !== null) pin(at(event)); }}>
    ${first > 0 && html`<button class="bare link" onClick=${() => setFirst(Math.max(0, first - SHOWN))}>${plural(first, "octet")} before</button>`}
    ${lines.map((start) => html`<div key=${start}><span class="quiet">${pad(start)}</span>${Array.from({ length: Math.min(width, count - start) }, (_, index) => {
      const place = start + index;
      return html`<span data-at=${place} class=${look(place)}>${octets.slice(2 * place, 2 * place + 2)}</span>`;
    })}</div>`)}
    ${count > first + SHOWN && html`<button class="bare link" onClick=${() => setFirst(first + SHOWN)}>${plural(count - first - SHOWN, "octet")} more</button>`}
  </div>`;
}

/** A layer and everything below it. The arrow keys go from part to part; what is closed, and long lists, are drawn when asked for. */
export function Layer({ layer, octets, view, depth = 0 }) {
  const { mark, pinned, setMark, setPinned, isOpen, toggle } = view;
  const [shown, setShown] = useState(ROWS);
  const open = isOpen(layer, depth);
  const place = (part) => html`${pad(part.offset)} <span class="nowrap">+${part.length}</span>`;
  const points = (part) => ({
    tabindex: pinned === part || (!pinned && depth === 0 && part === layer) ? 0 : -1,
    onMouseEnter: () => setMark(part), onMouseLeave: () => setMark(null),
    onFocus: () => setPinned(part), onClick: () => setPinned(part),
  });
  const whole = (part) => part.offset === layer.offset && part.length === layer.length; // the decoder does not say where in the layer
  const raw = (part) => { const text = octets.slice(2 * part.offset, 2 * (part.offset + Math.min(part.length, 12))).replace(/../g, "$& ").trim(); return part.length > 12 ? `${text} …` : text; };
  const inside = layer.fields.length + layer.layers.length > 0;
  const missing = layer.layers.length - shown;
  return html`<section class="layer"><h3 data-part ref=${(element) => view.keep(layer, element)} class=${mark === layer ? "on" : ""} aria-expanded=${inside ? open : undefined} ...${points(layer)}>
      ${inside ? html`<button class="bare fold" tabindex="-1" aria-label=${`${open ? "Close" : "Open"} ${layer.name}`} onClick=${(event) => { event.stopPropagation(); toggle(layer, depth); }}>${open ? "▾" : "▸"}</button>` : ""}${layer.name} <span class="quiet mono">${place(layer)}</span></h3>
    ${layer.error && html`<p class="note bad">${layer.error}</p>`}
    ${open && layer.fields.length > 0 && html`<table class="list"><thead><tr><th scope="col">Offset</th><th scope="col">Field</th><th scope="col">Value</th><th scope="col" class="raw">Octets</th></tr></thead><tbody>
      ${layer.fields.map((field, index) => html`<tr key=${index} data-part ref=${(element) => view.keep(field, element)} class=${(mark === field ? "on" : "") + (field.name === "peculiarity" ? " odd" : "")} ...${points(field)}><td class="mono quiet">${whole(field) ? "" : place(field)}</td><td>${field.name}</td><td class="value">${field.value}</td><td class="mono quiet raw">${whole(field) ? "" : raw(field)}</td></tr>`)}
    </tbody></table>`}
    ${open && layer.layers.slice(0, shown).map((inner, index) => html`<${Layer} key=${index} layer=${inner} octets=${octets} view=${view} depth=${depth + 1} />`)}
    ${open && missing > 0 && html`<button class="tool" onClick=${() => setShown(shown + ROWS)}>${plural(missing, "more layer")}</button>`}
  </section>`;
}
