// What the head-end says, asked again and again while the page is seen.

import { useEffect, useRef, useState } from "../vendor/preact-htm.js";

/** [what was said last, what is wrong, ask now]. Another value in `keys` asks anew; `every` is in milliseconds, 0 asks once. */
export function useAsked(ask, keys, every = 0) {
  const [said, setSaid] = useState({ found: null, problem: "" });
  const turn = useRef(0);
  const again = async () => {
    const mine = ++turn.current;
    let next;
    try {
      const found = await ask();
      next = () => ({ found, problem: "" });
    } catch (error) {
      next = (old) => ({ ...old, problem: error.message });
    }
    if (mine === turn.current) setSaid(next); // an answer that was overtaken says nothing
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
