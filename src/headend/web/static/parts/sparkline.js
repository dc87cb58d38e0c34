// A sparkline of [time, value] points, as one path that fills its box.

import { html } from "../vendor/preact-htm.js";

export function Sparkline({ points }) {
  if (!points || points.length < 2) return html`<span class="spark" aria-hidden="true"></span>`;
  const first = points[0][0];
  const span = points[points.length - 1][0] - first || 1;
  let low = Infinity, high = -Infinity;
  for (const [, value] of points) { low = Math.min(low, value); high = Math.max(high, value); }
  const range = high - low || 1;
  const line = points.map(([at, value]) => `${(((at - first) / span) * 100).toFixed(1)},${(22 - ((value - low) / range) * 20).toFixed(1)}`).join("L");
  return html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    <path class="area" d=${`M0,24L${line}L100,24Z`} /><path d=${`M${line}`} />
  </svg>`;
}
