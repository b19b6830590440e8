/**
 * Builds OGC CQL2 text. Every value goes through a literal function, so that no name or value of the data can change
 * what a filter means. The empty string is "no filter".
 */

import type { BrushValue, ColumnType } from "./types.js";

/** A column name, quoted where CQL2 asks for it. */
export function property(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !KEYWORDS.has(name.toUpperCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}

const KEYWORDS = new Set(["AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "FALSE", "DATE", "TIMESTAMP", "INTERVAL", "CASEI", "ACCENTI", "DIV"]);

export function literal(value: Exclude<BrushValue, null>, type: ColumnType): string {
  if (type === "timestamp") return `TIMESTAMP('${quote(String(value))}')`;
  if (typeof value === "string") return `'${quote(value)}'`;
  return typeof value === "boolean" ? String(value).toUpperCase() : String(value);
}

function quote(text: string): string {
  return text.replaceAll("'", "''");
}

/** `lo <= column < hi`; a null end is open, and `closed` makes the upper end inclusive. */
export function between(column: string, type: ColumnType, lo: number | string | null, hi: number | string | null, end: "open" | "closed" = "open"): string {
  const terms: string[] = [];
  if (lo !== null) terms.push(`${property(column)} >= ${literal(lo, type)}`);
  if (hi !== null) terms.push(`${property(column)} ${end === "closed" ? "<=" : "<"} ${literal(hi, type)}`);
  return and(...terms);
}

/** The column is one of the values; null among them stands for "has no value". */
export function oneOf(column: string, type: ColumnType, values: readonly BrushValue[]): string {
  const given = values.filter((value): value is Exclude<BrushValue, null> => value !== null);
  const terms: string[] = [];
  if (given.length > 0) terms.push(`${property(column)} IN (${given.map((value) => literal(value, type)).join(", ")})`);
  if (given.length < values.length) terms.push(`${property(column)} IS NULL`);
  return terms.length > 1 ? `(${terms.join(" OR ")})` : (terms[0] ?? "");
}

/** The column is none of the values; rows without a value stay unless null is among them. */
export function noneOf(column: string, type: ColumnType, values: readonly BrushValue[]): string {
  const given = values.filter((value): value is Exclude<BrushValue, null> => value !== null);
  const nullsLeave = given.length < values.length;
  const terms: string[] = [];
  if (given.length > 0) {
    const list = `${property(column)} NOT IN (${given.map((value) => literal(value, type)).join(", ")})`;
    terms.push(nullsLeave ? list : `(${list} OR ${property(column)} IS NULL)`);
  }
  if (nullsLeave) terms.push(`${property(column)} IS NOT NULL`);
  return and(...terms);
}

/** Inside a polygon of [lon, lat] corners, closed here if it is not. */
export function inPolygon(ring: readonly (readonly [number, number])[], geometry = "geometry"): string {
  const first = ring[0];
  const last = ring[ring.length - 1];
  if (!first || !last || ring.length < 3) return "";
  const closed = first[0] === last[0] && first[1] === last[1] ? ring : [...ring, first];
  return `S_INTERSECTS(${geometry}, POLYGON((${closed.map(([lon, lat]) => `${lon} ${lat}`).join(", ")})))`;
}

/** All terms that say something, joined; terms with OR at their top level must come in parentheses. */
export function and(...terms: readonly (string | undefined)[]): string {
  return terms.filter((term): term is string => term !== undefined && term !== "").join(" AND ");
}
