// Doing what needs a login: ask for it when it is missing, then go on where it stopped.

import { changed, store } from "./store.js";

/** Open the dialog; settles when somebody signed in, or gave up. */
export function askToSignIn() {
  store.signIn?.reject(new Error("not signed in"));
  return new Promise((resolve, reject) => {
    store.signIn = { resolve, reject };
    changed();
  });
}

/** The outcome of `action`, after a sign-in where the head-end wants one. */
export async function signedIn(action) {
  try {
    return await action();
  } catch (error) {
    if (error.status !== 401) throw error;
    await askToSignIn();
    return action();
  }
}
