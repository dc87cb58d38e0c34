// A time chart on uPlot, in the colours of the theme, as wide as its place. New data is set into the chart that stands;
// it is made anew only when its series or the theme change.

import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef } from "../vendor/preact-htm.js";

export const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });

// spans of the ticks and how they are written: twenty-four hours, the date where it changes
const DATE = "\n{D} {MMM} {YYYY}", DAY = "\n{D} {MMM}";
const STAMPS = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DATE, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DATE, null, DAY, null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}.{fff}", DATE, null, DAY, null, null, null, 1],
];

function lines(one) {
  const stroke = css(COLOURS[one.colour % COLOURS.length]);
  const points = { show: (_chart, _series, first, last) => last - first < 60, size: 5, fill: stroke };
  const main = { scale: one.unit || "1", stroke, width: 1.8, points };
  if (one.bars) return [{ ...main, points: { show: false }, fill: stroke + "55", width: 1, paths: uPlot.paths.bars({ size: [0.8, 60], align: 1 }) }];
  const edge = { scale: one.unit || "1", stroke: "transparent", width: 0, points: { show: false } };
  return one.band ? [main, edge, edge] : [main];
}

function options(size, series, range, tell) {
  const look = { stroke: css("--soft"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1, size: 5 } };
  const units = [...new Set(series.map((one) => one.unit || "1"))];
  const all = series.map(lines);
  const bands = [];
  let column = 1;
  all.forEach((parts, index) => {
    if (parts.length === 3) bands.push({ series: [column + 2, column + 1], fill: css(COLOURS[series[index].colour % COLOURS.length]) + "2e" });
    column += parts.length;
  });
  return {
    ...size, bands,
    legend: { show: false },
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
    scales: { x: { time: true, range: () => range.current }, ...Object.fromEntries(units.map((unit) => [unit, series.some((one) => one.bars) ? { range: (_, low, high) => [0, high * 1.05 || 1] } : {}])) },
    series: [{}, ...all.flat()],
    axes: [{ ...look, values: STAMPS, space: 70 }, ...units.slice(0, 2).map((unit, index) => ({
      ...look, scale: unit, side: index ? 1 : 3, size: 56, label: unit === "1" ? "" : unit, labelSize: unit === "1" ? 0 : 18,
      grid: { ...look.grid, show: !index }, values: (_, ticks) => ticks.map((tick) => number.format(tick)),
    }))],
    hooks: {
      setSelect: [(chart) => {
        const { left, width } = chart.select;
        if (width > 6) tell.current.onZoom(chart.posToVal(left, "x"), chart.posToVal(left + width, "x"));
        if (width) chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
      setCursor: [(chart) => tell.current.onCursor(chart.cursor.left >= 0 ? chart.cursor.idx : null)],
    },
  };
}

/** `data` is [seconds, column, …] as `series` says: one column, or three with a band. `from` and `to` are seconds. */
export function Chart({ data, series, from, to, label, onZoom, onCursor }) {
  const place = useRef(null), chart = useRef(null), range = useRef([from, to]), tell = useRef(null), latest = useRef(data);
  range.current = [from, to];
  tell.current = { onZoom, onCursor };
  latest.current = data;
  const kind = JSON.stringify(series);
  useEffect(() => {
    const size = () => ({ width: Math.max(120, place.current.clientWidth), height: place.current.clientHeight });
    const draw = () => {
      chart.current?.destroy();
      chart.current = new uPlot(options(size(), series, range, tell), latest.current, place.current);
    };
    draw();
    const watch = new ResizeObserver(() => chart.current.setSize(size()));
    watch.observe(place.current);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("theme", draw);
    dark.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      removeEventListener("theme", draw);
      dark.removeEventListener("change", draw);
      chart.current.destroy();
      chart.current = null;
    };
  }, [kind]);
  useEffect(() => chart.current?.setData(data), [data, from, to]);

  const keys = (event) => {
    const one = chart.current, span = to - from;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      const last = data[0].length - 1;
      const index = Math.min(last, Math.max(0, (one.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step));
      one.setCursor({ left: one.valToPos(data[0][index], "x"), top: one.bbox.height / devicePixelRatio / 2 });
    } else if (event.key === "+") onZoom(from + span / 4, to - span / 4);
    else if (event.key === "-") onZoom(from - span / 2, to + span / 2);
    else return;
    event.preventDefault();
  };
  return html`<div class="chart" ref=${place} tabindex="0" role="group" aria-roledescription="chart" aria-label=${label} onKeyDown=${keys}
    onDblClick=${() => onZoom(from - (to - from) / 2, to + (to - from) / 2)}></div>`;
}
