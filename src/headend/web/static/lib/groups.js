// The values of a meter in the order in which people look for them: groups, and in them one row for each quantity with its
// total, phases or tariffs side by side.

const GROUPS = [
  ["Power", ({ unit, kind }) => /^(W|var|VA)$/.test(unit) && kind !== "demand"],
  ["Energy", ({ unit }) => /^(Wh|varh|VAh|Ah)$/.test(unit)],
  ["Demand", ({ unit, kind }) => /^(W|var|VA|A)$/.test(unit) && kind === "demand"],
  ["Quality", ({ key }) => /^(power_factor|frequency|phase_angle)|_thd|_sag_|_swell_|missing_voltage/.test(key)],
  ["Voltage", ({ unit }) => unit === "V"],
  ["Current", ({ unit }) => unit === "A"],
  ["Other", () => true],
];
const ORDER = ["Power", "Energy", "Demand", "Voltage", "Current", "Quality", "Other"];
const END = /_(total|avg|l[123](?:l[123])?|t\d)$/;
const PLACES = { total: 0, avg: 0, l1: 1, l2: 2, l3: 3, l1l2: 1, l2l3: 2, l3l1: 3 };

/** Active before reactive before apparent, and then as the catalogue has it. */
const RANKS = ["active", "reactive", "apparent"];
const rankOf = (key) => (RANKS.indexOf(key.split("_")[0]) + RANKS.length + 1) % (RANKS.length + 1);

export const groupOf = (row) => GROUPS.find(([, fits]) => fits(row))[0];

/** `active_energy_import_l2` is the part `L2` of the row `active_energy_import`; a tariff belongs to a row of its own. */
function split(key) {
  const end = key.match(END)?.[1] || "";
  const stem = end ? key.slice(0, -end.length - 1) : key;
  if (/^t\d/.test(end)) return { stem: `${stem} tariffs`, part: end.toUpperCase(), at: Number(end[1]) - 1 };
  const part = end.startsWith("l") ? end.toUpperCase().replace(/(L\d)(L\d)/, "$1–$2") : "";
  return { stem: end.length > 3 && end.startsWith("l") ? `${stem} lines` : stem, part, at: PLACES[end] ?? 0 };
}

const bare = (label) => label.replace(/,? (L[123](L[123])?|tariff \d)$/, "");

/** [[group, [{stem, label, cells: [{key, part, at}]}]]] of the quantities of a meter, in the order of the catalogue. */
export function grouped(keys, catalogue) {
  const order = new Map([...catalogue.keys()].map((key, index) => [key, index]));
  const groups = new Map(ORDER.map((name) => [name, new Map()]));
  for (const key of [...keys].sort((a, b) => rankOf(a) - rankOf(b) || (order.get(a) ?? 1e9) - (order.get(b) ?? 1e9) || a.localeCompare(b))) {
    const row = catalogue.get(key) || { key, unit: "", kind: "", label: key };
    const rows = groups.get(groupOf(row));
    const { stem, part, at } = split(key);
    if (!rows.has(stem)) rows.set(stem, { stem, label: bare(row.label) + (stem.endsWith(" tariffs") ? ", by tariff" : ""), cells: [] });
    rows.get(stem).cells.push({ key, part, at });
  }
  for (const row of [...groups.values()].flatMap((rows) => [...rows.values()])) {
    row.cells.sort((a, b) => a.at - b.at);
    if (row.cells.length === 1) row.cells[0].at = 0;
  }
  return [...groups].filter(([, rows]) => rows.size).map(([name, rows]) => [name, [...rows.values()]]);
}
