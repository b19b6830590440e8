/** A few round values for an axis, with labels short enough to stand side by side. */

import type { Column } from "../../core/index.js";
import { compact } from "../format.js";
import type { Axis } from "./bars.js";

interface Tick {
  /** 0-1 along the axis. */
  readonly at: number;
  readonly label: string;
}

/** Labels keep this share of the axis to themselves. */
const ROOM = 0.17;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function ticksOf(axis: Axis, column: Column, scale: "linear" | "log10"): Tick[] {
  const lo = axis.bins[0]?.lo;
  const hi = axis.bins[axis.bins.length - 1]?.hi;
  if (lo === undefined || hi === undefined || hi <= lo) return [];
  const values = column.type === "timestamp" ? times(lo, hi) : scale === "log10" ? powers(lo, hi) : rounds(lo, hi);
  const ticks = values.map(({ value, label }) => ({ at: axis.at(value), label })).filter(({ at }) => at >= 0 && at <= 1);
  const kept: Tick[] = [];
  for (const tick of ticks) if (kept.length === 0 || tick.at - (kept[kept.length - 1]?.at ?? 0) >= ROOM) kept.push(tick);
  return kept;
}

interface Value {
  readonly value: number;
  readonly label: string;
}

function rounds(lo: number, hi: number): Value[] {
  const step = niceStep((hi - lo) / 4);
  const values: Value[] = [];
  for (let value = Math.ceil(lo / step) * step; value <= hi + step * 1e-9; value += step) values.push({ value, label: compact(Number(value.toPrecision(12))) });
  return values;
}

function powers(lo: number, hi: number): Value[] {
  const first = Math.ceil(Math.log10(Math.max(lo, 1e-12)) - 1e-9);
  const last = Math.floor(Math.log10(hi) + 1e-9);
  const stride = Math.max(1, Math.ceil((last - first) / 5));
  const values: Value[] = lo <= 0 ? [{ value: lo, label: compact(lo) }] : [];
  for (let power = first; power <= last; power += stride) values.push({ value: 10 ** power, label: compact(10 ** power) });
  return values;
}

function times(lo: number, hi: number): Value[] {
  const span = hi - lo;
  const values: Value[] = [];
  if (span > 2 * 365 * DAY_MS) {
    const step = Math.max(1, niceStep(span / (365.25 * DAY_MS) / 4));
    for (let year = Math.ceil(new Date(lo).getUTCFullYear() / step) * step; Date.UTC(year, 0) <= hi; year += step) values.push({ value: Date.UTC(year, 0), label: String(year) });
    return values;
  }
  if (span > 100 * DAY_MS) {
    const step = [1, 2, 3, 6].find((months) => span / (30.4 * DAY_MS * months) <= 5) ?? 6;
    const from = new Date(lo);
    const first = Math.ceil((from.getUTCFullYear() * 12 + from.getUTCMonth()) / step) * step;
    const start = (month: number): number => Date.UTC(Math.floor(month / 12), month % 12);
    for (let month = first; start(month) <= hi; month += step) {
      const value = start(month);
      values.push({ value, label: new Date(value).toISOString().slice(0, 7) });
    }
    return values;
  }
  const step = [HOUR_MS / 60, HOUR_MS / 12, HOUR_MS / 4, HOUR_MS, 3 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS, DAY_MS, 2 * DAY_MS, 7 * DAY_MS, 14 * DAY_MS].find((size) => span / size <= 5) ?? 28 * DAY_MS;
  for (let value = Math.ceil(lo / step) * step; value <= hi; value += step) {
    const iso = new Date(value).toISOString();
    values.push({ value, label: step < DAY_MS ? iso.slice(11, 16) : iso.slice(5, 10) });
  }
  return values;
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const share = rough / power;
  return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}
