// What can be wrong with virtual meters, in words, by the layer where it is wrong.

export const LAYERS = { session: "Connections", octets: "Octets on their way", frame: "Frames", meter: "The meter itself" };

export const FAULTS = {
  silent: "Takes the connection and never answers.",
  refuse: "Drops the connection as soon as it is made.",
  close: "Drops the connection instead of answering.",
  cut: "Drops the connection in the middle of an answer.",
  garbage: "Answers with random octets, as many as the answer has.",
  half: "Stops in the middle of an answer.",
  truncate: "Leaves out the last one to four octets of an answer.",
  checksum: "One bit of the last octets is wrong, where most protocols have their checksum.",
  stale: "Says its previous answer again.",
  duplicate: "Says each answer twice.",
  flood: "Sends 16 KiB of noise before the answer.",
  slow: "Lets its answer drip over the seconds given, in eight pieces.",
  trickle: "Sends octet by octet, with the seconds given between them.",
  latency: "Each answer takes the seconds given on its way.",
  jitter: "Each answer takes up to the seconds given on its way; they keep their order.",
  late: "An answer comes the seconds given later, and later answers overtake it.",
  loss: "Requests get lost on their way to the meter.",
  hcs: "One bit of the check of the frame header is wrong (HDLC).",
  fcs: "One bit of the check of the frame is wrong (HDLC, Modbus RTU, DL/T 645).",
  "wrong-address": "Its answers are addressed to, or come from, somebody else.",
  "one-session": "Takes one connection at a time and drops all others.",
  zombie: "Takes one connection at a time, and believes in one that has ended for the seconds given.",
  reboot: "Reboots instead of answering: drops its connections, and is silent for the seconds given.",
  "refuse-association": "Refuses associations for good, whoever asks (DLMS).",
  exhausted: "Refuses associations for now: all that it can have are taken (DLMS).",
  "abort-blocks": "Aborts every long answer after its first block (DLMS).",
  "invocation-reset": "Begins its invocation counter at 1 with each association (DLMS with keys).",
  "wrong-scaler": "Says of each register that its scaler is one more than it is (DLMS).",
  "counter-reset": "Its registers begin at nothing; mended, they show all again.",
  "empty-profile": "Its load profiles have no rows.",
  "clock-jump": "Its clock jumps by the seconds given, and back when it is mended.",
  reject: "Wants a secret that nobody knows.",
};

const number = (address) => address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
const dotted = (value) => [24, 16, 8, 0].map((bits) => Math.floor(value / 2 ** bits) % 256).join(".");

/** What a scan is asked for so that it finds the meters of these groups: `{targets, ports}`. */
export function whereToLook(groups) {
  const span = ({ first_address: first, meters }) => (meters > 1 ? `${first}-${dotted(number(first) + meters - 1)}` : first);
  return { targets: groups.map(span).join(" "), ports: [...new Set(groups.map((one) => one.port))].join(",") };
}
