// A profile on a meter: what answers, what is odd, and how it is promoted.

import { html, useState } from "../vendor/preact-htm.js";
import { signedIn } from "../lib/access.js";
import { plural, said } from "../lib/format.js";
import { store, useStore } from "../lib/store.js";
import { api } from "../lib/api.js";

const OFFERED = 200;
const NEXT = { DRAFT: "EMULATED", EMULATED: "FIELD_VERIFIED" };

function Report({ trial }) {
  const [odd, setOdd] = useState(false);
  const items = odd ? trial.objects.filter((one) => one.error || one.remark) : trial.objects;
  return html`<p class="hint" role="status">${trial.answered} of ${plural(trial.objects.length, "object")} answered, ${trial.well} without a remark; ${trial.plans.map((plan) => `${plan.name}: ${plural(plan.objects, "object")} in ${plan.seconds.toFixed(2)} s`).join(", ")}
      <button class="chip" aria-pressed=${odd} onClick=${() => setOdd(!odd)}>only what is odd</button></p>
    ${trial.stopped && html`<p class="note bad">It ended early: ${trial.stopped}</p>`}
    <div class="wide scroll"><table class="list" aria-label="Objects that were read"><thead><tr><th scope="col">Object</th><th scope="col">Quantity</th><th scope="col" class="r">Value</th><th scope="col">Remark</th></tr></thead>
      <tbody>${items.map((one) => html`<tr key=${one.ref}><td class="mono">${one.ref}</td><td>${one.quantity}</td><td class="r num">${one.error ? "" : said(one.value, one.unit)}</td><td class=${one.error ? "fault" : ""}>${[one.error, one.remark].filter(Boolean).join(": ")}</td></tr>`)}</tbody></table></div>`;
}

function Promoted({ told }) {
  if (told.promoted) return html`<p class="note good" role="status">It is ${told.state} now, revision ${told.revision}${told.tests ? `, with ${plural(told.tests, "test")} kept in it` : ""}.</p>`;
  return html`<p class="note bad" role="alert">It stays ${told.state}: ${told.mismatches.length ? `${plural(told.mismatches.length, "object")} were not read back as they are` : "what the meter answered does not bear it out"}.</p>
    ${told.mismatches.length > 0 && html`<div class="wide"><table class="list" aria-label="Mismatches"><thead><tr><th scope="col">Object</th><th scope="col">Holds</th><th scope="col">Read</th></tr></thead>
      <tbody>${told.mismatches.map((one) => html`<tr><td class="mono">${one.ref}</td><td class="mono cut">${one.expected}</td><td class="mono cut">${one.got}</td></tr>`)}</tbody></table></div>`}`;
}

export function Trial({ profile, done }) {
  const { meters } = useStore();
  const mine = [...meters.values()].filter((one) => one.profile_id === profile.id).slice(0, OFFERED);
  const [given, setMeter] = useState(null);
  const meter = given ?? mine[0]?.id ?? "";
  const [busy, setBusy] = useState("");
  const [told, setTold] = useState({});
  const run = async (what, action) => {
    setBusy(what);
    try { setTold(await signedIn(action)); } catch (error) { setTold({ problem: [error.message, error.hint].filter(Boolean).join(" — ") }); }
    setBusy("");
  };
  const test = (event) => { event.preventDefault(); run("test", async () => ({ trial: await api.testProfile(profile.id, meter) })); };
  const next = NEXT[profile.state];
  const field = profile.state === "EMULATED";
  const promote = () => run("promote", async () => {
    const promotion = await api.promoteProfile(profile.id, field ? meter : "");
    if (promotion.promoted) done(promotion.revision);
    return { promotion, trial: promotion.trial };
  });
  return html`<section class="card" aria-label="Try it"><header><h2>Try it on a meter</h2><span class="quiet">It only reads.</span></header>
    <form class="body fields" onSubmit=${test}><label>Meter<input value=${meter} required list="profile-meters" autocomplete="off" placeholder="id of a meter" onInput=${(event) => setMeter(event.target.value.trim())} /></label>
      <datalist id="profile-meters">${mine.map((one) => html`<option value=${one.id}>${store.meters.get(one.id)?.name}</option>`)}</datalist>
      <button class="tool primary" disabled=${busy !== ""}>${busy === "test" ? "Reading …" : "Test"}</button>
      ${next && html`<button type="button" class="tool" disabled=${busy !== "" || (field && !meter)} onClick=${promote} title=${field ? "The meter in the field verifies it" : "A virtual meter is made of it and read back"}>${busy === "promote" ? "Trying …" : `Promote to ${next}`}</button>`}</form>
    ${told.problem && html`<p class="note bad" role="alert">${told.problem}</p>`}
    ${told.promotion && html`<${Promoted} told=${told.promotion} />`}
    ${told.trial && html`<${Report} trial=${told.trial} />`}</section>`;
}
