// A sparkline of [time, value] points: one path that fills its box, broken where nothing was read for long.

import { html } from "../vendor/preact-htm.js";

const LONG = 180e3; // a hole is at least this wide

/** The points in runs without holes. */
function runs(points) {
  const steps = points.slice(1).map(([at], index) => at - points[index][0]).sort((a, b) => a - b);
  const hole = Math.max(LONG, 3 * steps[Math.floor(steps.length / 2)]);
  const found = [[points[0]]];
  for (let index = 1; index < points.length; index += 1) {
    if (points[index][0] - points[index - 1][0] > hole) found.push([]);
    found[found.length - 1].push(points[index]);
  }
  return found;
}

export function Sparkline({ points }) {
  const shown = points?.length ? runs(points).filter((run) => run.length > 1) : [];
  if (!shown.length) return html`<span class="spark" aria-hidden="true"></span>`;
  const first = shown[0][0][0];
  const span = points[points.length - 1][0] - first || 1;
  let low = Infinity, high = -Infinity;
  for (const [, value] of shown.flat()) { low = Math.min(low, value); high = Math.max(high, value); }
  const range = high - low || 1;
  const x = (at) => (((at - first) / span) * 100).toFixed(1);
  const lines = shown.map((run) => ({ from: x(run[0][0]), to: x(run[run.length - 1][0]), line: run.map(([at, value]) => `${x(at)},${(22 - ((value - low) / range) * 20).toFixed(1)}`).join("L") }));
  return html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    <path class="area" d=${lines.map(({ from, to, line }) => `M${from},24L${line}L${to},24Z`).join("")} /><path d=${lines.map(({ line }) => `M${line}`).join("")} />
  </svg>`;
}
