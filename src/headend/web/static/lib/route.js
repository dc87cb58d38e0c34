// Where we are: `#/page/id?names=values`. Links navigate; what a page remembers of itself is written into the address too,
// so that a filtered list or a chart can be bookmarked and sent to somebody.

import { useEffect, useState } from "../vendor/preact-htm.js";

const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };

function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [page, id] = path.split("/");
  return { page: page || "fleet", id: decode(id || ""), params: new URLSearchParams(query || "") };
}

/** The address of a page. Empty values are left out. */
export function href(page, id = "", values = {}) {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `#/${page}${id ? `/${encodeURIComponent(id)}` : ""}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

export const meterLink = (id, values) => href("meters", id, values);

/** Write what the page shows into the address, without a step in the browser's history. */
export function remember(page, id, values) {
  history.replaceState(null, "", href(page, id, values));
}

/** The route, and a number that grows with every navigation. */
export function useRoute() {
  const [route, setRoute] = useState(() => ({ ...parse(location.hash), turn: 0 }));
  useEffect(() => {
    const turn = () => setRoute((old) => ({ ...parse(location.hash), turn: old.turn + 1 }));
    addEventListener("hashchange", turn);
    return () => removeEventListener("hashchange", turn);
  }, []);
  return route;
}
