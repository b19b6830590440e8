/** What the server's JSON endpoints answer. Names and units are the server's; nothing is converted on the way in. */

import type { Bounds } from "./mercator.js";

export interface DatasetEntry {
  readonly name: string;
  readonly title?: string;
  readonly rows: number;
  readonly bounds: Bounds;
}

/** Tiles that were made before, and are served as they are. */
export interface ArchiveEntry {
  readonly name: string;
  readonly title?: string | null;
  /** `png`, `jpg`, `webp`, `avif`, or `pbf` for vector tiles. */
  readonly format: string;
  readonly minzoom: number;
  readonly maxzoom: number;
  readonly data_version: string;
}

export interface Catalog {
  readonly datasets: readonly DatasetEntry[];
  readonly archives?: readonly ArchiveEntry[];
}

export type ColumnType = "integer" | "float" | "boolean" | "text" | "timestamp";

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Smallest value, null where all are null or the type has no order that is worth telling. Timestamps: ISO 8601, UTC. */
  readonly min: number | string | null;
  readonly max: number | string | null;
  readonly nulls: number;
  /** Distinct values; null where the server stopped counting. */
  readonly distinct: number | null;
  /** False for columns that are stored but cannot be filtered. */
  readonly hot?: boolean;
}

export interface Category {
  readonly value: string | null;
  readonly label: string;
  readonly color: string;
  readonly count: number;
  readonly kind: "value" | "null" | "other";
}

export interface Stats {
  readonly name: string;
  readonly title?: string;
  readonly rows: number;
  readonly bounds: Bounds;
  readonly zooms: { readonly min: number; readonly max: number };
  readonly data_version: string;
  /** The main category column, whose categories are the planes of count tiles, in order. */
  readonly by: string | null;
  readonly categories: readonly Category[];
  readonly columns: readonly Column[];
}

export interface TileJson {
  readonly tilejson: string;
  readonly name?: string;
  readonly tiles: readonly string[];
  readonly minzoom: number;
  readonly maxzoom: number;
  readonly bounds: Bounds;
  readonly center?: readonly [number, number, number];
  readonly attribution?: string;
  readonly description?: string;
  readonly format?: string;
  readonly tileSize?: number;
}

/** How often each total count occurs among the non-empty pixels of a whole zoom, counts ascending. */
export interface Distribution {
  readonly counts: readonly number[];
  readonly pixels: readonly number[];
}

/** Whether colours are by all tiles of a zoom, by some that stand for it (of spread counts, for good), or an estimate that a later answer replaces. */
export type Quality = "exact" | "sample" | "preview";

export interface Legend {
  readonly zoom: number;
  readonly quality?: Quality;
  readonly how: string;
  readonly categories: readonly Category[];
  readonly stops: readonly { readonly count: number; readonly intensity: number }[];
  readonly distribution: Distribution;
}

/** What a pixel shows instead of how many points it has. */
export interface Measure {
  readonly agg: "mean" | "sum" | "min" | "max";
  readonly column: string;
}

/** The legend of a measure. Times are in microseconds since 1970. */
export interface ValueLegend {
  readonly zoom: number;
  readonly quality?: Quality;
  readonly how: string;
  /** The values of even intensities, ascending. */
  readonly ramp_values: readonly number[];
  /** Over the pixels of the whole zoom that have a value; both ends are null where none has. */
  readonly distribution: { readonly lowest: number; readonly highest: number; readonly pixels: number };
}

export interface RangeBin {
  readonly lo: number | string;
  readonly hi: number | string;
  readonly count: number;
  readonly counts?: readonly number[];
}

export interface ValueBin {
  readonly value: string | number | boolean | null;
  readonly count: number;
  readonly counts?: readonly number[];
}

export interface Histogram {
  readonly column: string;
  readonly type: ColumnType;
  readonly bins: readonly (RangeBin | ValueBin)[];
  readonly nulls: number;
  readonly total: number;
  readonly unit?: string;
  /** Values of a text column that are not listed. */
  readonly other?: { readonly values: number; readonly count: number; readonly counts?: readonly number[] };
  /** Points with a value beyond the axis. */
  readonly outside?: number;
}

export type BrushValue = number | string | boolean | null;

export interface CrossfilterRequest {
  readonly bbox: Bounds | null;
  readonly zoom: number;
  readonly brushes: Readonly<Record<string, readonly BrushValue[]>>;
  readonly columns: readonly (string | ColumnRequest)[];
  readonly filter?: string;
  readonly by?: string;
  readonly client?: string;
  /** The column whose brush is about to be dragged: behind its answer the server builds what answers the steps of the drag. */
  readonly active?: string;
}

export interface ColumnRequest {
  readonly column: string;
  readonly bins?: number;
  readonly scale?: "linear" | "log10";
  readonly search?: string;
  readonly limit?: number;
}

export interface CrossfilterAnswer {
  readonly histograms: Readonly<Record<string, Histogram>>;
  /** Points in view that pass every brush. */
  readonly selected: number;
  /** Points anywhere that pass every brush. */
  readonly selected_total: number;
  readonly total: number;
  /** CQL2 text to put into tile URLs; empty when nothing is filtered. */
  readonly filter: string;
}

export type Row = Readonly<Record<string, string | number | boolean | null>>;

export interface Points {
  readonly total: number;
  readonly rows: readonly Row[];
}
