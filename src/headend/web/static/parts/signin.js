// Sign in: a modal dialog with a form; the browser keeps the focus inside.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { api } from "../lib/api.js";
import { load, store } from "../lib/store.js";

export function SignIn({ close }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      await api.signIn(form.get("user"), form.get("password"));
      store.problem = null;
      await load();
      close();
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="signin">
    <form onSubmit=${submit}>
      <h1 id="signin">Sign in</h1>
      ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
      <label>User<input name="user" autocomplete="username" required autofocus /></label>
      <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>
      <p class="quiet">The first user is made on the command line: <span class="mono">headend user add NAME --role admin</span></p>
      <div class="actions"><button type="button" class="tool" onClick=${close}>Cancel</button><button class="tool primary" disabled=${busy}>Sign in</button></div>
    </form>
  </dialog>`;
}
