// Events as a list: when, how grave, of which meter, what.

import { html } from "../vendor/preact-htm.js";
import { meterLink } from "../lib/route.js";
import { store } from "../lib/store.js";
import { age, moment } from "../lib/format.js";
import { eventName, eventText } from "../lib/words.js";

export function Happenings({ events, short, seen }) {
  return html`<ul class=${"events" + (short ? " short" : "")}>
    ${events.map((event) => html`<li key=${event.number ?? `${event.occurred_at} ${event.meter_id} ${event.type}`} class=${event.severity}>
      <time class="quiet num" datetime=${new Date(event.occurred_at).toISOString()} title=${moment(event.occurred_at)}>${short ? `${age(event.occurred_at, Date.now())} ago` : moment(event.occurred_at)}</time>
      <span class=${"grave " + event.severity}>${event.severity}</span>
      <span class="what"><b>${eventName(event.type)}</b>${!short && event.meter_id && html` <a href=${meterLink(event.meter_id)}>${store.meters.get(event.meter_id)?.name || event.meter_id}</a>`} <span>${eventText(event)}</span></span>
      ${seen && html`<span class="ack">${event.acknowledged_by ? html`<span class="quiet">seen by ${event.acknowledged_by.replace(/^\w+:/, "")}</span>` : event.severity !== "info" && event.number !== undefined ? html`<button class="tool" onClick=${() => seen(event)}>Seen</button>` : ""}</span>`}
    </li>`)}
  </ul>`;
}
