// What was asked of meters, by whom, and how it ended; and whether the trail of it is whole.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useStore } from "../lib/store.js";
import { remember } from "../lib/route.js";
import { signedIn } from "../lib/access.js";
import { plural } from "../lib/format.js";
import { api } from "../lib/api.js";
import { JobLine, useJobs } from "../parts/commands.js";

const STATES = { "": "all", proposed: "to confirm", "queued,running": "under way", unknown: "unknown", "failed,expired": "failed" };

export function Jobs({ params }) {
  useStore();
  const [states, setStates] = useState(() => (params.get("states") in STATES ? params.get("states") : ""));
  const [problem, setProblem] = useState("");
  const [jobs, again, trouble] = useJobs({ states, limit: 200 });
  useEffect(() => { document.title = "Commands · Headend"; remember("jobs", "", { states }); }, [states]);
  const work = (action) => signedIn(action).then(() => setProblem("")).catch((error) => setProblem(error.message)).then(again);
  return html`
    <div class="head-line"><h1 tabindex="-1">Commands</h1><span class="quiet" role="status">${plural(jobs.length, "job")}</span></div>
    <div class="filters"><div class="chips" role="group" aria-label="Which jobs">${Object.entries(STATES).map(([key, name]) => html`<button class="chip" aria-pressed=${states === key} onClick=${() => setStates(key)}>${name}</button>`)}</div></div>
    ${(problem || trouble) && html`<p class="note bad" role="alert">${problem || trouble}</p>`}
    <section class="card" aria-label="Jobs">${jobs.length ? html`<ol class="events jobs">${jobs.map((job) => html`<${JobLine} key=${job.id} job=${job} work=${work} named=${true} />`)}</ol>` : html`<p class="empty">No job fits. Commands are given on the page of a meter.</p>`}</section>`;
}
