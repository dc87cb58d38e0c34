// What the head-end says, asked again and again while the page is seen.

import { useEffect, useRef, useState } from "../vendor/preact-htm.js";

const SOON = 3000;

/** [what was said last, what is wrong, ask now]. Another value in `keys` asks anew; `every` is in milliseconds, 0 asks once.
 *  A head-end that did not answer is asked again soon. */
export function useAsked(ask, keys, every = 0) {
  const [said, setSaid] = useState({ found: null, problem: "" });
  const turn = useRef(0);
  const again = async () => {
    const mine = ++turn.current;
    let next, soon = false;
    try {
      const found = await ask();
      next = () => ({ found, problem: "" });
    } catch (error) {
      next = (old) => ({ ...old, problem: error.message });
      soon = every && !error.status;
    }
    if (mine !== turn.current) return; // an answer that was overtaken says nothing
    setSaid(next);
    if (soon) setTimeout(() => mine === turn.current && latest.current(), Math.min(every, SOON));
  };
  const latest = useRef(again);
  latest.current = again;
  useEffect(() => {
    latest.current();
    const timer = every ? setInterval(() => document.hidden || latest.current(), every) : 0;
    return () => { clearInterval(timer); turn.current += 1; };
  }, keys);
  return [said.found, said.problem, () => latest.current()];
}
