/** Numbers and times as people read them. All times are UTC, as the server's are. */

import type { Column, RangeBin, Row } from "../core/index.js";

const whole = new Intl.NumberFormat("en-GB");

export function count(value: number): string {
  return whole.format(value);
}

/** At most four characters and a letter: 12, 9.1k, 840k, 1.25M. */
export function compact(value: number): string {
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]] as const) {
    // 999,500 reads "1M", never "1000k".
    if (size >= unit * 0.9995) return `${trim((value / unit).toPrecision(3))}${letter}`;
  }
  return number(value);
}

export function number(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return whole.format(value);
  const size = Math.abs(value);
  return size >= 1e6 ? compact(value) : size >= 1e-3 ? trim(value.toFixed(Math.max(0, 3 - Math.floor(Math.log10(size) + 1)))) : value.toPrecision(3);
}

function trim(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

export function percent(part: number, total: number): string {
  if (total <= 0) return "0%";
  const share = (100 * part) / total;
  if (share > 0 && share < 0.1) return "<0.1%";
  if (share >= 99.95 && part < total) return ">99.9%";
  // "100%" says that nothing is missing.
  return `${trim(share.toFixed(share < 10 || (share >= 99.5 && part < total) ? 1 : 0))}%`;
}

/** A value of an aggregate: a number, or a time in microseconds. */
export function measured(value: number, column: Column, span: number): string {
  return column.type === "timestamp" ? time(value / 1000, span / 1000) : compact(Number(value.toPrecision(4)));
}

/** A duration: 4 ms, 310 ms, 1.2 s. */
export function duration(ms: number): string {
  return ms < 999.5 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const DAY_MS = 86_400_000;

/** As fine as the span on display needs it. */
function time(ms: number, spanMs: number): string {
  if (!Number.isFinite(ms)) return "";
  const iso = new Date(ms).toISOString();
  if (spanMs > 3 * 365 * DAY_MS) return iso.slice(0, 7);
  if (spanMs > 3 * DAY_MS) return iso.slice(0, 10);
  return spanMs > 600_000 ? iso.slice(11, 16) : iso.slice(11, 19);
}

export function timeFull(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : "";
}

/** The number behind a column's value: itself, or milliseconds since 1970 for times. */
export function position(value: number | string | null, fallback: number): number {
  if (value === null) return fallback;
  if (typeof value === "number") return value;
  const ms = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(value) ? value : `${value}Z`);
  return Number.isFinite(ms) ? ms : Number.isFinite(Number(value)) ? Number(value) : fallback;
}

/**
 * A column's value back from its position, as filters and the server take it. A position between two whole numbers
 * becomes the upper one, which selects the same rows at either end of a half-open range.
 */
export function valueAt(at: number, column: Column): number | string {
  if (column.type === "timestamp") return new Date(Math.round(at)).toISOString().replace(/\.000Z$/, "Z");
  return column.type === "integer" ? Math.ceil(at) : Number(at.toPrecision(9));
}

export function columnValue(at: number, column: Column, spanMs: number): string {
  return column.type === "timestamp" ? time(at, spanMs) : number(column.type === "integer" ? Math.round(at) : at);
}

export function binLabel(bin: RangeBin, column: Column, span: number): string {
  const [lo, hi] = [position(bin.lo, 0), position(bin.hi, 0)];
  const from = columnValue(lo, column, column.type === "timestamp" ? Math.min(span, (hi - lo) * 40) : span);
  const to = columnValue(hi, column, column.type === "timestamp" ? Math.min(span, (hi - lo) * 40) : span);
  return from === to ? from : `${from} – ${to}`;
}

/** "average_signal", "averageSignal" and "BaseDateTime" as words. */
export function title(name: string): string {
  const spaced = name.replace(/_/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2");
  if (/^[A-Z0-9 ]+$/.test(spaced)) return spaced;
  return spaced.charAt(0).toUpperCase() + spaced.slice(1).toLowerCase();
}

export function cell(value: Row[string] | undefined): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(9)));
  if (typeof value === "string") return value.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.0+)?Z?$/, "$1 $2");
  return String(value);
}
