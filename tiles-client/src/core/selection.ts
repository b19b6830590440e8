/**
 * What the user has chosen, as one immutable value: brushes per column, hidden categories, an area drawn on the map.
 * Undo is then a list of values. Knows nothing of how it is shown or fetched.
 */

import { inPolygon, noneOf, oneOf, property } from "./filter.js";
import type { BrushValue, Category, Column } from "./types.js";

/** Half-open `[lo, hi)`; null ends are open. The server makes the upper end inclusive at the column's maximum. */
export interface RangeBrush {
  readonly kind: "range";
  readonly lo: number | string | null;
  readonly hi: number | string | null;
}

export interface ValuesBrush {
  readonly kind: "values";
  readonly values: readonly BrushValue[];
}

export type Brush = RangeBrush | ValuesBrush;

export interface Selection {
  readonly brushes: Readonly<Record<string, Brush>>;
  /** Values of the main category column that are switched off, by `categoryKey`. */
  readonly hidden: readonly string[];
  /** Corners of an area as [lon, lat], or null. */
  readonly area: readonly (readonly [number, number])[] | null;
}

export const EVERYTHING: Selection = { brushes: {}, hidden: [], area: null };

/** Names a category uniquely, nulls and "other" included. */
export function categoryKey(category: Pick<Category, "kind" | "value">): string {
  return category.kind === "value" ? `=${category.value ?? ""}` : `~${category.kind}`;
}

export function withBrush(selection: Selection, column: string, brush: Brush | null): Selection {
  const { [column]: _, ...others } = selection.brushes;
  const empty = brush === null || (brush.kind === "values" && brush.values.length === 0);
  return { ...selection, brushes: empty ? others : { ...others, [column]: brush } };
}

export function isEverything(selection: Selection): boolean {
  return Object.keys(selection.brushes).length === 0 && selection.hidden.length === 0 && selection.area === null;
}

/** Brushes as the crossfilter endpoint takes them. */
export function brushesForServer(selection: Selection): Record<string, readonly BrushValue[]> {
  return Object.fromEntries(
    Object.entries(selection.brushes).map(([column, brush]) => [column, brush.kind === "range" ? [brush.lo, brush.hi] : brush.values]),
  );
}

/** The drawn area as CQL2; empty when there is none. */
export function areaFilter(selection: Selection): string {
  return selection.area ? inPolygon(selection.area) : "";
}

/**
 * Hidden categories as CQL2, for exports and row lists, which see rows and not planes. "Other" stands for every
 * value without a plane of its own, so hiding it means keeping only the named ones.
 */
export function hiddenFilter(selection: Selection, by: Column | undefined, categories: readonly Category[]): string {
  if (!by || selection.hidden.length === 0) return "";
  const hidden = new Set(selection.hidden);
  const valueOf = ({ kind, value }: Category): BrushValue => (kind === "null" ? null : by.type === "integer" || by.type === "float" ? Number(value) : value);
  const dropOther = hidden.has("~other");
  const named = categories.filter(({ kind }) => kind !== "other");
  if (!dropOther) return noneOf(by.name, by.type, named.filter((category) => hidden.has(categoryKey(category))).map(valueOf));
  const kept = named.filter((category) => !hidden.has(categoryKey(category))).map(valueOf);
  // With nothing left to keep, a value and its absence at once: true for no row.
  return kept.length > 0 ? oneOf(by.name, by.type, kept) : `${property(by.name)} IS NULL AND ${property(by.name)} IS NOT NULL`;
}

/** A bounded undo list. Consecutive changes under one `gesture` name count as one step. */
export class History<T> {
  static readonly STEPS_MAX = 100;
  #past: T[] = [];
  #future: T[] = [];
  #gesture: string | null = null;

  constructor(public present: T) {}

  get canUndo(): boolean {
    return this.#past.length > 0;
  }

  get canRedo(): boolean {
    return this.#future.length > 0;
  }

  push(next: T, gesture: string | null = null): void {
    if (gesture === null || gesture !== this.#gesture) {
      this.#past.push(this.present);
      if (this.#past.length > History.STEPS_MAX) this.#past.shift();
    }
    this.#gesture = gesture;
    this.#future = [];
    this.present = next;
  }

  /** Ends a gesture: the next change is a step of its own. */
  settle(): void {
    this.#gesture = null;
  }

  undo(): T {
    const before = this.#past.pop();
    if (before !== undefined) {
      this.#future.push(this.present);
      this.present = before;
    }
    this.#gesture = null;
    return this.present;
  }

  redo(): T {
    const after = this.#future.pop();
    if (after !== undefined) {
      this.#past.push(this.present);
      this.present = after;
    }
    this.#gesture = null;
    return this.present;
  }
}
