// The frame of the console: header, pages by the part of the address behind #, theme, sign-in.

import { html, render, useEffect, useState } from "./vendor/preact-htm.js";
import { changed, follow, load, refreshStatus, store, useStore } from "./lib/store.js";
import { Fleet } from "./pages/fleet.js";
import { Meter } from "./pages/meter.js";
import { SignIn } from "./parts/signin.js";
import { api } from "./lib/api.js";

const THEMES = ["auto", "light", "dark"];

function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const turn = () => setHash(location.hash);
    addEventListener("hashchange", turn);
    return () => removeEventListener("hashchange", turn);
  }, []);
  const [, page, id] = hash.split("/");
  return { page: page || "fleet", id: id ? decodeURIComponent(id) : "" };
}

function useTheme() {
  const [theme, setTheme] = useState(() => localStorage.getItem("theme") || "auto");
  useEffect(() => {
    localStorage.setItem("theme", theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    dispatchEvent(new Event("theme"));
  }, [theme]);
  return [theme, () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])];
}

function Account() {
  const { me } = useStore();
  const [open, setOpen] = useState(false);
  const out = async () => { await api.signOut().catch(() => {}); store.me = await api.whoAmI().catch(() => null); changed(); };
  if (me && me.kind !== "nobody") {
    return html`<span class="quiet hide-small">${me.name} · ${me.role}</span><button class="tool" onClick=${out}>Sign out</button>`;
  }
  return html`<button class="tool" onClick=${() => setOpen(true)}>Sign in</button>${open && html`<${SignIn} close=${() => setOpen(false)} />`}`;
}

function App() {
  const { connected, problem } = useStore();
  const { page, id } = useRoute();
  const [theme, nextTheme] = useTheme();
  useEffect(() => {
    load();
    follow();
    refreshStatus();
    const timer = setInterval(refreshStatus, 5000);
    const age = setInterval(changed, 5000);
    return () => { clearInterval(timer); clearInterval(age); };
  }, []);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("main").focus(); }}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="/static/icon.svg" alt="" />Headend</a>
      <nav aria-label="Pages"><a href="#/" aria-current=${page === "fleet" ? "page" : null}>Fleet</a></nav>
      <span class="space"></span>
      <span class="pulse" role="status"><span class=${"dot " + (connected ? "live" : "offline")}></span>${connected ? "live" : "connecting"}</span>
      <button class="tool" onClick=${nextTheme} aria-label=${`Theme: ${theme}. Change`} title=${`Theme: ${theme}`}>${theme === "dark" ? "◐ dark" : theme === "light" ? "◑ light" : "◒ auto"}</button>
      <${Account} />
    </header>
    <main tabindex="-1" id="main">
      ${problem && html`<p class="note bad" role="alert">${problem.message}${problem.status === 401 ? " Sign in to go on." : ""}</p>`}
      ${page === "meters" && id ? html`<${Meter} id=${id} key=${id} />` : html`<${Fleet} />`}
    </main>`;
}

render(html`<${App} />`, document.getElementById("app"));
