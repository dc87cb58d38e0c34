// The frame of the console: header, pages by the part of the address behind #, theme, sign-in, and what is wrong.

import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useState } from "./vendor/preact-htm.js";
import { refreshStatus, useStore } from "./lib/store.js";
import { askToSignIn } from "./lib/access.js";
import { useRoute } from "./lib/route.js";
import { SEVERITIES } from "./lib/alarms.js";
import { moment } from "./lib/format.js";
import { follow } from "./lib/feed.js";
import { api } from "./lib/api.js";
import { Acquisition } from "./pages/acquisition.js";
import { Alarms } from "./pages/alarms.js";
import { Completeness } from "./pages/completeness.js";
import { Connections } from "./pages/connections.js";
import { Delivery } from "./pages/delivery.js";
import { Device } from "./pages/device.js";
import { Discovery } from "./pages/discovery.js";
import { Decode } from "./pages/decode.js";
import { Emulators } from "./pages/emulators.js";
import { Events } from "./pages/events.js";
import { Fleet } from "./pages/fleet.js";
import { Jobs } from "./pages/jobs.js";
import { Meter } from "./pages/meter.js";
import { Overview } from "./pages/overview.js";
import { Profiles } from "./pages/profiles.js";
import { Rules } from "./pages/rules.js";
import { Wire } from "./pages/wire.js";
import { SignIn } from "./parts/signin.js";

const PAGES = { overview: Overview, acquisition: Acquisition, completeness: Completeness, delivery: Delivery, emulators: Emulators, profiles: Profiles, fleet: Fleet, meters: Meter, events: Events, alarms: Alarms, rules: Rules, decode: Decode, connections: Connections, wire: Wire, jobs: Jobs, discovery: Discovery, devices: Device };
const OF_ONE = ["meters", "devices"];
const NAVIGATION = [["Overview", "#/overview", ["overview"]], ["Fleet", "#/", ["fleet", "meters"]], ["Discovery", "#/discovery", ["discovery", "devices"]], ["Acquisition", "#/acquisition", ["acquisition"]], ["Completeness", "#/completeness", ["completeness"]], ["Delivery", "#/delivery", ["delivery"]], ["Profiles", "#/profiles", ["profiles"]], ["Emulator", "#/emulators", ["emulators"]], ["Connections", "#/connections", ["connections", "wire"]], ["Alarms", "#/alarms", ["alarms", "rules"]], ["Commands", "#/jobs", ["jobs"]], ["Events", "#/events", ["events"]], ["Decode", "#/decode", ["decode"]]];
const THEMES = { auto: ["light", "◐"], light: ["dark", "☀"], dark: ["auto", "☾"] };

function useTheme() {
  const [theme, setTheme] = useState(() => (THEMES[localStorage.getItem("theme")] ? localStorage.getItem("theme") : "auto"));
  useLayoutEffect(() => { // before it is painted: no button says one thing while the page shows another
    localStorage.setItem("theme", theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    dispatchEvent(new Event("theme"));
  }, [theme]);
  return [theme, () => setTheme(THEMES[theme][0])];
}

/** After a navigation the heading of the new page takes the focus, and the page begins at its top. */
function useFocus(turn) {
  useEffect(() => {
    if (!turn || document.querySelector("main").contains(document.activeElement)) return;
    scrollTo({ top: 0 });
    document.querySelector("main h1")?.focus({ preventScroll: true });
  }, [turn]);
}

/** How many alarms stand, in the colour of the gravest. */
function Standing() {
  const { active } = useStore().alarms;
  const total = Object.values(active).reduce((sum, one) => sum + one, 0);
  return total ? html` <span class=${"count " + SEVERITIES.find((name) => active[name])} title="active alarms">${total > 999 ? "999+" : total}</span>` : null;
}

function Account() {
  const { me } = useStore();
  const out = () => api.signOut().catch(() => {}).then(() => location.reload()); // nothing of what was shown remains
  if (me && me.kind !== "nobody") return html`<span class="quiet not-small" title=${`Signed in as ${me.name}`}>${me.name}, ${me.role}</span><button class="tool" onClick=${out}>Sign out</button>`;
  return html`<button class="tool" onClick=${() => askToSignIn().catch(() => {})}>Sign in</button>`;
}

function Trouble() {
  const { problem, connected, lostAt, loading } = useStore();
  if (problem) return html`<p class="note bad" role="alert">${problem.message} Trying again …</p>`;
  if (!connected && lostAt && !loading) return html`<p class="note bad" role="alert">The head-end does not answer. What you see is of ${moment(lostAt)}. Trying again …</p>`;
  return null;
}

function Locked() {
  useEffect(() => { document.title = "Headend"; }, []);
  return html`<div class="empty" role="alert"><h1 tabindex="-1">Sign in to go on</h1><p>This head-end shows nothing to strangers.</p>
    <button class="tool primary" onClick=${() => askToSignIn().catch(() => {})}>Sign in</button></div>`;
}

function Page({ route }) {
  const [error, again] = useErrorBoundary();
  if (error) return html`<div class="note bad" role="alert">This page broke: ${error.message} <button class="tool" onClick=${again}>Try again</button></div>`;
  const Shown = PAGES[route.page];
  return Shown && (!OF_ONE.includes(route.page) || route.id) ? html`<${Shown} id=${route.id} params=${route.params} />`
    : html`<div class="empty"><h1 tabindex="-1">No such page</h1><p><a href="#/">Go to the fleet</a></p></div>`;
}

function App() {
  const { connected, loading, signIn, problem } = useStore();
  const route = useRoute();
  const [theme, nextTheme] = useTheme();
  useFocus(route.turn);
  useEffect(() => {
    follow();
    const tick = () => { if (!document.hidden) refreshStatus(); };
    tick();
    const timer = setInterval(tick, 5000);
    return () => clearInterval(timer);
  }, []);
  const skip = (event) => { event.preventDefault(); document.querySelector("main").focus(); };
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="/static/icon.svg" alt="" />Headend</a>
      <nav aria-label="Pages">${NAVIGATION.map(([name, to, pages]) => html`<a href=${to} aria-current=${pages.includes(route.page) ? "page" : null}>${name}${name === "Alarms" && html`<${Standing} />`}</a>`)}</nav>
      <span class="space"></span>
      <span class="pulse" role="status"><i class=${"dot " + (connected ? "live" : loading ? "" : "lost")}></i>${connected ? "live" : loading ? "connecting" : "not connected"}</span>
      <button class="tool" onClick=${nextTheme} title=${`Theme: ${theme}`} aria-label=${`Theme: ${theme}. Change to ${THEMES[theme][0]}`}><span aria-hidden="true">${THEMES[theme][1]}</span><span class="not-small"> ${theme}</span></button>
      <${Account} />
    </header>
    <main tabindex="-1" id="main">${problem?.status === 401 ? html`<${Locked} />` : html`<${Trouble} /><${Page} route=${route} key=${route.turn} />`}</main>
    ${signIn && html`<${SignIn} />`}`;
}

render(html`<${App} />`, document.getElementById("app"));
