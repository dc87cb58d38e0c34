// Values for people: base units scaled to a readable prefix, times and ages, names of quantities.

const PREFIXED = new Set(["W", "Wh", "var", "varh", "VA", "VAh"]);
const DIGITS = { V: 1, A: 2, Hz: 2, "1": 3, "%": 1, deg: 1, "°C": 1 };
const numbers = new Map();

function plain(value, digits) {
  let format = numbers.get(digits);
  if (!format) numbers.set(digits, (format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })));
  return format.format(value);
}

/** The factor and the unit in which amounts of about `size` are shown. */
export function scaleFor(unit, size) {
  if (!PREFIXED.has(unit)) return { factor: 1, unit: unit === "1" ? "" : unit };
  const amount = Math.abs(size);
  if (amount >= 1e9) return { factor: 1e9, unit: "G" + unit };
  if (amount >= 1e6) return { factor: 1e6, unit: "M" + unit };
  if (amount >= 1e4 || (amount >= 1e3 && !unit.endsWith("h"))) return { factor: 1e3, unit: "k" + unit };
  return { factor: 1, unit };
}

/** [text, unit] of a value in its base unit. */
export function amount(value, unit) {
  if (value === null || value === undefined) return ["–", ""];
  if (typeof value === "boolean") return [value ? "yes" : "no", ""];
  if (typeof value !== "number") return [String(value), ""];
  const scale = scaleFor(unit, value);
  const shown = value / scale.factor;
  const digits = DIGITS[unit] ?? (scale.factor === 1 ? (Number.isInteger(value) ? 0 : 1) : Math.abs(shown) >= 100 ? 1 : 2);
  return [plain(shown, digits), scale.unit];
}

const registers = new Intl.NumberFormat("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 });

/** [text, unit] with all digits of a register, as the meter's own display has it; other values as `amount` has them. */
export function precise(value, unit) {
  return typeof value === "number" && PREFIXED.has(unit) && unit.endsWith("h") ? [registers.format(value / 1000), `k${unit}`] : amount(value, unit);
}

/** Whatever a meter said, in one text: lists and structures as JSON. */
export const said = (value, unit) => (value !== null && typeof value === "object" ? JSON.stringify(value) : precise(value, unit).join(" "));

export function age(at, now) {
  if (!at) return "never";
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
export const moment = (at) => (at ? clock.format(new Date(at)) : "–");

/** A time for an input of the browser, in local time. */
export const toLocal = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16);

export const plural = (count, one, many = one + "s") => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
