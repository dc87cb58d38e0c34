// Readings of a range, made ready for a chart: one time axis, a column for each series, gaps that stay gaps.

import { scaleFor } from "./format.js";

export const PRESETS = { "15 min": 900e3, "1 h": 3600e3, "6 h": 6 * 3600e3, "24 h": 86400e3, "7 d": 7 * 86400e3, "30 d": 30 * 86400e3, "1 y": 365 * 86400e3 };
const BUCKETS = [1e3, 5e3, 15e3, 60e3, 300e3, 900e3, 3600e3, 6 * 3600e3, 86400e3, 7 * 86400e3];

/** The size of a bucket, so that about `points` of them fill a span. */
export const bucketFor = (span, points) => BUCKETS.find((size) => span / size <= points) || BUCKETS[BUCKETS.length - 1];

/** Spans of more than this are a hole in a series of such times. */
function holeOf(times, bucket) {
  const steps = times.slice(1).map((at, index) => at - times[index]).sort((a, b) => a - b);
  return 2.5 * Math.max(bucket, steps[Math.floor(steps.length / 2)] || 0);
}

/**
 * Columns of several series on one time axis: null is a hole, undefined only means that the series has no value at that time.
 * Each of `all` is {at: [ms], columns: [[values], …]}.
 */
export function join(all, bucket, holes = true) {
  const times = new Set();
  const maps = all.map(({ at, columns }) => {
    const map = new Map();
    const hole = holeOf(at, bucket);
    at.forEach((time, index) => {
      if (holes && index && time - at[index - 1] > hole) map.set(at[index - 1] + 1, columns.map(() => null));
      map.set(time, columns.map((column) => column[index]));
    });
    for (const time of map.keys()) times.add(time);
    return map;
  });
  const axis = [...times].sort((a, b) => a - b);
  const columns = maps.flatMap((map, index) => all[index].columns.map((_, column) => axis.map((at) => map.get(at)?.[column])));
  return [axis.map((at) => at / 1000), ...columns];
}

/** What a register grew by in each bucket, from its last value in this one and the one before; unknown after a hole. */
export function growth({ measured_at, last }, bucket) {
  const at = [], values = [];
  const hole = holeOf(measured_at, bucket);
  for (let index = 1; index < last.length; index += 1) {
    if (last[index] < last[index - 1] || measured_at[index] - measured_at[index - 1] > hole) continue;
    at.push(measured_at[index]);
    values.push(last[index] - last[index - 1]);
  }
  return { at, columns: [values] };
}

/** Mean, and minimum and maximum where they differ from it, of the buckets of a series. */
export function spread({ measured_at, mean, minimum, maximum }, band) {
  const wide = band && minimum.some((low, index) => low < maximum[index]);
  return { at: measured_at, columns: wide ? [mean, minimum, maximum] : [mean] };
}

/** The prefix in which all columns of a unit are readable. */
export function scaleOf(columns, unit) {
  let size = 0;
  for (const column of columns) for (const value of column) if (typeof value === "number") size = Math.max(size, Math.abs(value));
  return scaleFor(unit, size);
}
