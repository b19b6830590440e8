/**
 * Everything the dashboard shows, as signals. Components read them and call the controller; only the controller and
 * the map write them. Holds no logic beyond what follows from other signals.
 */

import { computed, signal } from "@preact/signals";
import {
  EVERYTHING,
  and,
  categoryKey,
  hiddenFilter,
  isEverything,
  type ArchiveEntry,
  type Bounds,
  type CmapName,
  type Column,
  type CrossfilterAnswer,
  type DatasetEntry,
  type Histogram,
  type Measure,
  type RangeBin,
  type Row,
  type ScaleName,
  type Shading,
  type Selection,
  type Stats,
  type TileId,
  type TileJson,
  type ValueBin,
} from "../core/index.js";

export type Theme = "light" | "dark";
export type Tool = "pan" | "box" | "lasso";
export type Palette = "categories" | CmapName;

export interface Look {
  readonly how: ScaleName;
  readonly palette: Palette;
  /** Opacity of the smallest count, 1-255. */
  readonly minAlpha: number;
  /** At this many points in view or fewer, they become markers; 0 for never. */
  readonly markersMax: number;
  /** Radius in pixels by which points are enlarged; null for as the number of points in view suggests. */
  readonly spread: number | null;
  /** Opacity of all points over the map, percent. */
  readonly opacity: number;
  /** Counts at the two ends of the colours, whatever the view and filter; null for those that occur. Not of `eq_hist`. */
  readonly span: readonly [lo: number, hi: number] | null;
  /** Logarithmic bars in the legend. */
  readonly logLegend: boolean;
}

export const LOOK_DEFAULT: Look = { how: "eq_hist", palette: "categories", minAlpha: 100, markersMax: 1000, spread: null, opacity: 100, span: null, logLegend: false };

/** One column's place in the panel. */
export interface Chart {
  readonly column: Column;
  readonly kind: "range" | "values";
  readonly open: boolean;
  readonly scale: "linear" | "log10";
  /** Logarithmic heights; null for as the counts suggest. */
  readonly logCounts: boolean | null;
  readonly search: string;
}

export interface Hover {
  /** Screen position, CSS pixels. */
  readonly x: number;
  readonly y: number;
  /** Visible counts per category, or of the only plane. */
  readonly counts: readonly number[];
  /** The value of the measure, where there is one. */
  readonly value?: number;
  /** A marker's row. */
  readonly row?: Row;
  /** Some of the rows under a pixel on which the pointer rests. */
  readonly rows?: readonly Row[];
}

interface RowList {
  readonly tile: TileId;
  readonly pixel: readonly [number, number];
  readonly total: number;
  readonly rows: readonly Row[];
  readonly loading: boolean;
  readonly problem: string | null;
}

export interface OpenArchive {
  readonly entry: ArchiveEntry;
  readonly about: TileJson;
}

export interface Problem {
  readonly title: string;
  readonly detail: string;
  readonly retry: (() => void) | null;
  /** Of the server's answer, where one is what failed. */
  readonly status?: number;
  /** Has the server open the dataset once more, where it lets us. */
  readonly restart?: () => void;
}

export const datasets = signal<readonly DatasetEntry[]>([]);
/** Tiles that were made before: a picture, without points to ask for. */
export const archives = signal<readonly ArchiveEntry[]>([]);
/** The archive that is open, in place of a dataset. */
export const archive = signal<OpenArchive | null>(null);
export const stats = signal<Stats | null>(null);
/** The column that makes the categories, as asked for: `none` for totals, null for the dataset's own. */
export const colourBy = signal<string | null>(null);
/** What pixels show instead of how many points they have; null for counts. */
export const measure = signal<Measure | null>(null);
export const selection = signal<Selection>(EVERYTHING);
export const canUndo = signal(false);
export const canRedo = signal(false);
export const look = signal<Look>(LOOK_DEFAULT);
export const theme = signal<Theme>("light");
export const view = signal<{ readonly bounds: Bounds; readonly zoom: number } | null>(null);
export const charts = signal<readonly Chart[]>([]);
export const answer = signal<CrossfilterAnswer | null>(null);
/** How long the server and the way to it took for the newest answer, milliseconds. */
export const answeredMs = signal<number | null>(null);
/** Histograms of the same view without any brush. */
export const ghosts = signal<Readonly<Record<string, Histogram>>>({});
export const tilesDone = signal(0);
export const tilesAll = signal(0);
export const asking = signal(false);
export const problem = signal<Problem | null>(null);
export const hover = signal<Hover | null>(null);
export const rowList = signal<RowList | null>(null);
export const tool = signal<Tool>("pan");
export const showingMarkers = signal(false);
export const playing = signal<string | null>(null);
/** What the map's colours mean at its zoom. */
export const shading = signal<Shading | null>(null);
/** News that nobody has to act on, shown for a while; empty for none. */
export const notice = signal("");
/** Said to screen readers, politely. */
export const announcement = signal("");

const byColumn = computed<Column | undefined>(() => stats.value?.columns.find(({ name }) => name === stats.value?.by));

/** Per plane: does it count? */
export const visiblePlanes = computed<readonly boolean[]>(() => {
  const hidden = new Set(selection.value.hidden);
  return (stats.value?.categories ?? []).map((category) => !hidden.has(categoryKey(category)));
});

/** The whole selection as CQL2, hidden categories included: for what sees rows. */
export const rowFilter = computed(() => and(answer.value?.filter, hiddenFilter(selection.value, byColumn.value, stats.value?.categories ?? [])));

export const isFiltered = computed(() => !isEverything(selection.value));

/** Points of a bin in visible categories. */
export function visibleCount(bin: RangeBin | ValueBin, visible: readonly boolean[]): number {
  if (!bin.counts || visible.every(Boolean)) return bin.count;
  return bin.counts.reduce((sum, count, c) => sum + ((visible[c] ?? true) ? count : 0), 0);
}

/** Points in view per category, under every brush. Hidden categories keep their number: they are there, not drawn. */
export const categoryCounts = computed<readonly number[] | null>(() => countsByCategory(answer.value?.histograms));

/** The same without any brush. */
export const categoryGhosts = computed<readonly number[] | null>(() => countsByCategory(ghosts.value));

function countsByCategory(histograms: Readonly<Record<string, Histogram>> | undefined): readonly number[] | null {
  const name = stats.value?.by;
  const histogram = name ? histograms?.[name] : undefined;
  if (!histogram || !stats.value) return null;
  // Bins keep the categories apart, whatever the type of the column that makes them; nulls lie in no bin.
  const parts = [...histogram.bins, ...(histogram.other ? [histogram.other] : [])];
  const listsNull = histogram.bins.some((bin) => "value" in bin && bin.value === null);
  return stats.value.categories.map(({ kind }, c) => parts.reduce((sum, part) => sum + (part.counts?.[c] ?? 0), 0) + (kind === "null" && !listsNull ? histogram.nulls : 0));
}

/** Points in view under every brush, in visible categories. */
export const selectedInView = computed<number | null>(() => {
  if (!answer.value) return null;
  const counts = categoryCounts.value;
  const visible = visiblePlanes.value;
  if (!counts || visible.every(Boolean)) return answer.value.selected;
  return counts.reduce((sum, count, c) => sum + ((visible[c] ?? true) ? count : 0), 0);
});

/** Radius by which points are enlarged now: sparse maps would be missed in single pixels. */
export const spread = computed<number>(() => {
  // Counts of neighbours add up; values don't.
  if (measure.value !== null) return 0;
  if (look.value.spread !== null) return look.value.spread;
  const selected = selectedInView.value ?? 0;
  return selected > SPARSE_MAX ? 0 : selected > VERY_SPARSE_MAX ? 1 : 2;
});

/** Points in view at or below which they are drawn three, and five, pixels wide: about 3 and 0.5 percent of a screen. */
const SPARSE_MAX = 30_000;
const VERY_SPARSE_MAX = 3_000;
