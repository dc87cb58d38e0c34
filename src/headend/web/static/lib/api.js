// REST: one function a call, problems as errors, the answer of bulk routes as columns.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the head-end answered ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.hint = body.hint || "";
  }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", headers: { Accept: "application/json", ...(options.body ? { "Content-Type": "application/json" } : {}) }, ...options });
  } catch {
    throw new Problem(0, { detail: "the head-end does not answer" });
  }
  const text = await answer.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { /* an answer that is no JSON is shown by its status */ }
  if (!answer.ok) throw new Problem(answer.status, body || {});
  return body;
}

const query = (values) => {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? "?" + new URLSearchParams(pairs) : "";
};
const meterPath = (id) => `/api/v1/meters/${encodeURIComponent(id)}`;

export const api = {
  status: () => call("/api/v1/status"),
  meters: (cursor) => call("/api/v1/meters" + query({ limit: 500, cursor })),
  meter: (id) => call(meterPath(id)),
  latest: (values) => call("/api/v1/readings/latest" + query(values)),
  series: (id, values) => call(`${meterPath(id)}/readings` + query(values)),
  quantities: () => call("/api/v1/quantities"),
  objects: (id) => call(`${meterPath(id)}/objects`),
  read: (id, refs) => call(`${meterPath(id)}/read`, { method: "POST", body: JSON.stringify({ refs }) }),
  whoAmI: () => call("/api/v1/session"),
  signIn: (user, password) => call("/api/v1/session", { method: "POST", body: JSON.stringify({ user, password }) }),
  signOut: () => call("/api/v1/session", { method: "DELETE" }),
  events: (values) => call("/api/v1/events" + query(values)),
};
