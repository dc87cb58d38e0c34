// Sign in: a modal dialog with a form; the browser keeps the focus inside, and gives it back afterwards.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { changed, store } from "../lib/store.js";
import { start } from "../lib/feed.js";
import { api } from "../lib/api.js";

export function SignIn() {
  const dialog = useRef(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus();
  }, []);
  const end = (how, what) => {
    const settle = store.signIn?.[how];
    store.signIn = null;
    settle?.(what);
    changed();
  };
  const close = () => end("reject", new Error("Nobody signed in."));
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      store.me = await api.signIn(form.get("user"), form.get("password"));
      if (store.problem) start();
      end("resolve");
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="signin">
    <form onSubmit=${submit}>
      <h2 id="signin">Sign in</h2>
      ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
      <label>User<input name="user" autocomplete="username" required /></label>
      <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>
      <p class="quiet">Talking to a meter needs the role operator. Users are made on the command line: <span class="mono">headend user add NAME --role operator</span></p>
      <div class="actions"><button type="button" class="tool" onClick=${close}>Cancel</button><button class="tool primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button></div>
    </form>
  </dialog>`;
}
