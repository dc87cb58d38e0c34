// REST: one function a call, problems as errors, the answer of bulk routes as columns.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the head-end answered ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.hint = body.hint || "";
    this.fields = body.errors || [];
  }
}

async function call(path, { body, method = "GET", headers: more = {}, plain = false } = {}) {
  const headers = { Accept: plain ? "text/plain, application/json" : "application/json", ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer, text;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
    text = await answer.text();
  } catch {
    throw new Problem(0, { detail: "The head-end does not answer." });
  }
  if (answer.ok && plain) return text;
  let found = null;
  try { found = text ? JSON.parse(text) : null; } catch { /* an answer that is no JSON is shown by its status */ }
  if (!answer.ok) throw new Problem(answer.status, found || {});
  return found;
}

/** Empty values are left out; one that is to be said though it is empty is given in a list. */
const query = (values = {}) => {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? "?" + new URLSearchParams(pairs) : "";
};
const meterPath = (id) => `/api/v1/meters/${encodeURIComponent(id)}`;

export const api = {
  status: () => call("/api/v1/status"),
  summary: () => call("/api/v1/summary"),
  quantities: () => call("/api/v1/quantities"),
  profiles: (values) => call("/api/v1/profiles" + query(values)),
  profile: (id) => call(`/api/v1/profiles/${encodeURIComponent(id)}`),
  checkProfile: (body) => call("/api/v1/profiles/check", { method: "POST", body }),
  createProfile: (id, text) => call("/api/v1/profiles", { method: "POST", body: { id, text } }),
  changeProfile: (id, body) => call(`/api/v1/profiles/${encodeURIComponent(id)}`, { method: "PUT", body }),
  retireProfile: (id) => call(`/api/v1/profiles/${encodeURIComponent(id)}`, { method: "DELETE" }),
  revisions: (id) => call(`/api/v1/profiles/${encodeURIComponent(id)}/revisions`),
  revision: (id, number) => call(`/api/v1/profiles/${encodeURIComponent(id)}/revisions/${number}`),
  restoreRevision: (id, number) => call(`/api/v1/profiles/${encodeURIComponent(id)}/revisions/${number}/restore`, { method: "POST" }),
  compareProfile: (id, other) => call(`/api/v1/profiles/${encodeURIComponent(id)}/difference` + query({ other })),
  testProfile: (id, meter) => call(`/api/v1/profiles/${encodeURIComponent(id)}/test`, { method: "POST", body: { meter_id: meter } }),
  promoteProfile: (id, meter) => call(`/api/v1/profiles/${encodeURIComponent(id)}/promote`, { method: "POST", body: meter ? { meter_id: meter } : {} }),
  importProfiles: (document, change) => call("/api/v1/profiles/import" + query({ change: change || "" }), { method: "POST", body: document }),
  profileExport: (id, format) => `/api/v1/profiles/${encodeURIComponent(id)}/export?format=${format}`,
  templates: () => call("/api/v1/emulators/templates"),
  putTemplate: (name, body) => call(`/api/v1/emulators/templates/${encodeURIComponent(name)}`, { method: "PUT", body }),
  deleteTemplate: (name) => call(`/api/v1/emulators/templates/${encodeURIComponent(name)}`, { method: "DELETE" }),
  instances: () => call("/api/v1/emulators/instances"),
  startInstances: (body) => call("/api/v1/emulators/instances", { method: "POST", body }),
  removeInstances: (group) => call(`/api/v1/emulators/instances/${encodeURIComponent(group)}`, { method: "DELETE" }),
  virtualMeters: (values) => call("/api/v1/emulators/meters" + query(values)),
  faults: () => call("/api/v1/emulators/faults"),
  breakMeters: (body) => call("/api/v1/emulators/break", { method: "POST", body }),
  mendMeters: (body) => call("/api/v1/emulators/mend", { method: "POST", body }),
  stopMeters: (body) => call("/api/v1/emulators/stop", { method: "POST", body }),
  startMeters: (body) => call("/api/v1/emulators/start", { method: "POST", body }),
  rebootMeters: (body) => call("/api/v1/emulators/reboot", { method: "POST", body }),
  setClock: (body) => call("/api/v1/emulators/clock", { method: "PUT", body }),
  meters: (cursor) => call("/api/v1/meters" + query({ limit: 1000, cursor })),
  meter: (id) => call(meterPath(id)),
  latest: (values) => call("/api/v1/readings/latest" + query(values)),
  series: (id, values) => call(`${meterPath(id)}/readings` + query(values)),
  objects: (id) => call(`${meterPath(id)}/objects`),
  identify: (id) => call(`${meterPath(id)}/identify`, { method: "POST" }),
  read: (id, refs) => call(`${meterPath(id)}/read`, { method: "POST", body: refs ? { refs } : {} }),
  history: (id, values) => call(`${meterPath(id)}/history` + query(values)),
  events: (values) => call("/api/v1/events" + query(values)),
  acknowledge: (number) => call(`/api/v1/events/${number}/acknowledge`, { method: "POST" }),
  connections: (values) => call("/api/v1/connections" + query(values)),
  closeConnection: (number) => call(`/api/v1/connections/${number}`, { method: "DELETE" }),
  callers: (values) => call("/api/v1/callers" + query(values)),
  adopt: (id, body) => call(`/api/v1/callers/${encodeURIComponent(id)}/adopt`, { method: "POST", body }),
  adoptMany: (body) => call("/api/v1/callers/adopt", { method: "POST", body }),
  blockCaller: (id) => call(`/api/v1/callers/${encodeURIComponent(id)}/block`, { method: "POST" }),
  forgetCaller: (id) => call(`/api/v1/callers/${encodeURIComponent(id)}`, { method: "DELETE" }),
  capture: (id) => call(`/api/v1/captures/${encodeURIComponent(id)}`),
  startCapture: (body) => call("/api/v1/captures", { method: "POST", body }),
  stopCapture: (id) => call(`/api/v1/captures/${encodeURIComponent(id)}/stop`, { method: "POST" }),
  alarms: (values) => call("/api/v1/alarms" + query(values)),
  alarm: (number) => call(`/api/v1/alarms/${encodeURIComponent(number)}`),
  acknowledgeAlarm: (number, note) => call(`/api/v1/alarms/${number}/acknowledge`, { method: "POST", body: { note } }),
  rules: (values) => call("/api/v1/alarm-rules" + query(values)),
  putRule: (level, subject, rule, fields) => call(`/api/v1/alarm-rules/${level}/${encodeURIComponent(rule)}` + query({ subject }), { method: "PUT", body: { fields } }),
  deleteRule: (level, subject, rule) => call(`/api/v1/alarm-rules/${level}/${encodeURIComponent(rule)}` + query({ subject }), { method: "DELETE" }),
  tryRule: (body) => call("/api/v1/alarm-rules/test", { method: "POST", body }),
  jobs: (values) => call("/api/v1/jobs" + query(values)),
  command: (id, body, key) => call(`${meterPath(id)}/commands`, { method: "POST", body, headers: { "Idempotency-Key": key } }),
  confirmJob: (id, code) => call(`/api/v1/jobs/${encodeURIComponent(id)}/confirm`, { method: "POST", body: { code } }),
  cancelJob: (id) => call(`/api/v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }),
  scans: (values) => call("/api/v1/scans" + query(values)),
  startScan: (body) => call("/api/v1/scans", { method: "POST", body }),
  cancelScan: (id) => call(`/api/v1/scans/${encodeURIComponent(id)}/cancel`, { method: "POST" }),
  scanReport: (id) => call(`/api/v1/scans/${encodeURIComponent(id)}/report`),
  devices: (values) => call("/api/v1/devices" + query(values)),
  device: (id) => call(`/api/v1/devices/${encodeURIComponent(id)}`),
  fingerprints: (id) => call(`/api/v1/devices/${encodeURIComponent(id)}/history`),
  difference: (values) => call("/api/v1/devices/difference" + query(values)),
  draft: (id) => call(`/api/v1/devices/${encodeURIComponent(id)}/draft`, { plain: true }),
  keepDraft: (id, body) => call(`/api/v1/devices/${encodeURIComponent(id)}/profile`, { method: "POST", body }),
  examine: (id, body) => call(`/api/v1/devices/${encodeURIComponent(id)}/examine`, { method: "POST", body }),
  adoptDevices: (body) => call("/api/v1/devices/adopt", { method: "POST", body }),
  ignoreDevices: (body) => call("/api/v1/devices/ignore", { method: "POST", body }),
  unignoreDevices: (body) => call("/api/v1/devices/unignore", { method: "POST", body }),
  forgetDevices: (body) => call("/api/v1/devices/forget", { method: "POST", body }),
  acquisition: (values) => call("/api/v1/acquisition" + query(values)),
  lanes: (values) => call("/api/v1/lanes" + query(values)),
  statistics: () => call("/api/v1/statistics"),
  meterStatistics: (id) => call(`${meterPath(id)}/statistics`),
  meterPlan: (id) => call(`${meterPath(id)}/plan`),
  completeness: (values) => call("/api/v1/completeness" + query(values)),
  completenessOf: (values) => call("/api/v1/completeness/meters" + query(values)),
  gaps: (id, values) => call(`${meterPath(id)}/gaps` + query(values)),
  refill: (id, body) => call(`${meterPath(id)}/gaps/refill`, { method: "POST", body }),
  sinks: () => call("/api/v1/sinks"),
  refused: (name) => call(`/api/v1/sinks/${encodeURIComponent(name)}/refused`),
  retryRefused: (name, id) => call(`/api/v1/sinks/${encodeURIComponent(name)}/refused/${encodeURIComponent(id)}/retry`, { method: "POST" }),
  replaySink: (name, body) => call(`/api/v1/sinks/${encodeURIComponent(name)}/replay`, { method: "POST", body }),
  tryMeter: (body) => call("/api/v1/meters/try", { method: "POST", body }),
  addMeter: (body) => call("/api/v1/meters", { method: "POST", body }),
  changeMeter: (id, body, revision) => call(meterPath(id), { method: "PATCH", body, headers: { "If-Match": `"${revision}"` } }),
  removeMeter: (id, revision, keep) => call(meterPath(id) + query({ keep_history: keep || "" }), { method: "DELETE", headers: { "If-Match": `"${revision}"` } }),
  putSecret: (id, name, value) => call(`${meterPath(id)}/secrets/${encodeURIComponent(name)}`, { method: "PUT", body: { value } }),
  decode: (body) => call("/api/v1/decode", { method: "POST", body }),
  whoAmI: () => call("/api/v1/session"),
  signIn: (user, password) => call("/api/v1/session", { method: "POST", body: { user, password } }),
  signOut: () => call("/api/v1/session", { method: "DELETE" }),
};
