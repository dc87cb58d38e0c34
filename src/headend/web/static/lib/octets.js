// Octets that somebody drops or picks, and explained layers: how to walk them and where things stand.

/** What the head-end takes of a file; the command line takes any size. */
export const LARGEST_FILE = 300_000;

/** The number of an octet, counted as errors and the command line count them. */
export const pad = (number) => String(number).padStart(4, "0");

/** Text for the hexadecimal field, or base64 for everything that is no text. */
export async function readFile(file) {
  if (file.size > LARGEST_FILE) throw new Error(`${file.name} has ${file.size.toLocaleString("en")} octets, the head-end takes ${LARGEST_FILE.toLocaleString("en")}: use headend decode @${file.name}`);
  const octets = new Uint8Array(await file.arrayBuffer());
  if (octets.length > 0 && octets.every((octet) => (octet >= 32 && octet < 127) || octet === 9 || octet === 10 || octet === 13)) return { text: new TextDecoder().decode(octets) };
  let binary = "";
  for (let first = 0; first < octets.length; first += 4096) binary += String.fromCharCode(...octets.subarray(first, first + 4096));
  return { base64: btoa(binary), name: file.name, size: file.size };
}

/** Every layer with its own below it, outermost first. */
export function* walk(layer) {
  yield layer;
  for (const inner of layer.layers) yield* walk(inner);
}

const covers = (part, at) => at >= part.offset && at < part.offset + part.length;

/** The way from the outermost layer to the innermost layer or field that covers an octet; what is told again is passed over. */
export function wayTo(layer, at) {
  const inner = layer.layers.find((one) => covers(one, at) && !/^Readings/.test(one.name));
  if (inner) return [layer, ...wayTo(inner, at)];
  const fields = layer.fields.filter((one) => covers(one, at) && one.name !== "peculiarity");
  const field = fields.sort((one, other) => one.length - other.length)[0];
  return field ? [layer, field] : [layer];
}

/** What is wrong, with the octet that it is about, and what is peculiar. */
export function findings(layer) {
  const found = [];
  for (const one of walk(layer)) {
    if (one.error) {
      const place = one.error.match(/at octet (\d+)/);
      found.push({ wrong: true, words: one.error, layer: one, offset: place ? Number(place[1]) : one.offset, length: 1 });
    }
    for (const field of one.fields) if (field.name === "peculiarity") found.push({ wrong: false, words: field.value, layer: one, offset: field.offset, length: Math.max(1, field.length) });
  }
  return found.sort((one, other) => other.wrong - one.wrong);
}

/** How many octets, for people. */
export const size = (count) => (count < 10_000 ? `${count} B` : count < 10_000_000 ? `${Math.round(count / 1000)} kB` : `${Math.round(count / 1e6)} MB`);
