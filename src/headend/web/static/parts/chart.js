// A time chart of one or more series on uPlot, in the colours of the theme, as wide as its place.

import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef } from "../vendor/preact-htm.js";

const COLOURS = ["--series", "--l1", "--l3", "--l2", "--bad", "--good"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(size, series, unit, onZoom) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  return {
    ...size,
    cursor: { drag: { x: true, y: false, setScale: false } },
    select: { show: true },
    series: [{ value: (_, at) => (at === null ? "–" : new Date(at * 1000).toLocaleString("en-GB")) },
      ...series.map((one, index) => ({
        label: one.label, stroke: css(COLOURS[index % COLOURS.length]), width: 1.6, spanGaps: false,
        points: { show: one.points }, value: (_, value) => (value === null ? "–" : `${value.toLocaleString("en", { maximumFractionDigits: 3 })} ${unit}`),
      }))],
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en", { maximumFractionDigits: 4 })) }],
    hooks: { setSelect: [(chart) => {
      if (chart.select.width > 6) onZoom(chart.posToVal(chart.select.left, "x"), chart.posToVal(chart.select.left + chart.select.width, "x"));
      chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    }] },
  };
}

/** `data` is [seconds, values, …]; `onZoom` is told the range that was drawn with the pointer, in seconds. */
export function Chart({ data, series, unit, onZoom }) {
  const place = useRef(null);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  useEffect(() => {
    if (!data || !data[0].length) return undefined;
    const size = () => ({ width: place.current.clientWidth - 12, height: place.current.clientHeight - 40 });
    let chart = null;
    const draw = () => { chart?.destroy(); chart = new uPlot(options(size(), series, unit, (from, to) => zoom.current(from, to)), data, place.current); };
    draw();
    const watch = new ResizeObserver(() => chart.setSize(size()));
    watch.observe(place.current);
    addEventListener("theme", draw);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => { watch.disconnect(); removeEventListener("theme", draw); dark.removeEventListener("change", draw); chart.destroy(); };
  }, [data, unit]);
  return html`<div class="chart" ref=${place}>${data && !data[0].length && html`<div class="empty">No readings in this range.</div>`}</div>`;
}
