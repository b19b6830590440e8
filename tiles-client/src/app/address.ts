/**
 * The dashboard's settings as parts of a link, and back; and the address bar, which always holds the link to what is seen. What
 * is as it would be without a link is left out. Only what follows `#` is written: a key in `?key=` is neither added nor removed.
 */

import { SCALES, encodeView, isCmap, type Camera, type Measure, type ScaleName, type Selection, type Stats } from "../core/index.js";
import { inferCharts } from "./charts.js";
import * as state from "./state.js";

type Settings = Readonly<Record<string, string>>;

/** The address bar is written this long after the last change: browsers refuse more than about ten writes a second. */
const DELAY_MS = 250;

export class AddressBar {
  camera: Camera | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** Writes the view soon. */
  write(): void {
    this.forget();
    this.#timer = setTimeout(() => {
      const { value: stats } = state.stats;
      const archive = state.archive.value?.entry.name;
      if (stats) this.writeNow(state.selection.value, settingsOf(stats));
      else if (archive !== undefined) this.writeNow(state.selection.value, { d: archive, theme: themeSetting() });
    }, DELAY_MS);
  }

  writeNow(selection: Selection, settings: Settings): void {
    this.forget();
    history.replaceState(null, "", `#${encodeView({ camera: this.camera, selection, settings })}`);
  }

  /** An earlier view that waits to be written is dropped. */
  forget(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

export function settingsOf(stats: Stats): Settings {
  const { how, palette, minAlpha, markersMax, spread, opacity, span, logLegend } = state.look.value;
  return {
    d: stats.name,
    how: how === state.LOOK_DEFAULT.how ? "" : how,
    palette: palette === (stats.by === null ? "viridis" : "categories") ? "" : palette,
    alpha: minAlpha === state.LOOK_DEFAULT.minAlpha ? "" : String(minAlpha),
    markers: markersMax === state.LOOK_DEFAULT.markersMax ? "" : String(markersMax),
    size: spread === null ? "" : String(spread),
    opacity: opacity === state.LOOK_DEFAULT.opacity ? "" : String(opacity),
    span: span === null ? "" : span.join(":"),
    legend: logLegend ? "log" : "",
    by: state.measure.value ? "" : (state.colourBy.value ?? ""),
    show: measureToText(state.measure.value),
    theme: themeSetting(),
    charts: chartsToText(state.charts.value, inferCharts(stats)),
  };
}

function themeSetting(): string {
  return state.theme.value === systemTheme() ? "" : state.theme.value;
}

export function systemTheme(): state.Theme {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function lookFrom(settings: Settings, hasCategories: boolean): state.Look {
  const how = SCALES.find((name): name is ScaleName => name === settings["how"]) ?? state.LOOK_DEFAULT.how;
  const asked = settings["palette"] ?? "";
  const palette = isCmap(asked) ? asked : hasCategories ? "categories" : "viridis";
  const within = (text: string | undefined, lo: number, hi: number, fallback: number): number => {
    const value = Number(text ?? Number.NaN);
    return Number.isFinite(value) ? Math.max(lo, Math.min(hi, Math.round(value))) : fallback;
  };
  return {
    how,
    palette,
    minAlpha: within(settings["alpha"], 1, 255, state.LOOK_DEFAULT.minAlpha),
    spread: settings["size"] === undefined ? null : within(settings["size"], 0, 3, 0),
    markersMax: within(settings["markers"], 0, 10_000, state.LOOK_DEFAULT.markersMax),
    opacity: within(settings["opacity"], 5, 100, state.LOOK_DEFAULT.opacity),
    span: spanFrom(settings["span"]),
    logLegend: settings["legend"] === "log",
  };
}

/** `mean:SOG`. */
export function measureToText(measure: Measure | null): string {
  return measure ? `${measure.agg}:${measure.column}` : "";
}

export function measureFrom(text: string | undefined): Measure | null {
  const [, agg, column] = /^(mean|sum|min|max):(.+)$/.exec(text ?? "") ?? [];
  return agg && column ? { agg: agg as Measure["agg"], column } : null;
}

function spanFrom(text: string | undefined): state.Look["span"] {
  const [lo, hi] = (text ?? "").split(":").map(Number);
  return lo !== undefined && hi !== undefined && Number.isFinite(lo) && Number.isFinite(hi) && lo < hi ? [lo, hi] : null;
}

/** Charts that differ from what was inferred: `+name` open, `-name` folded, `~name` other scale. */
function chartsToText(charts: readonly state.Chart[], inferred: readonly state.Chart[]): string {
  return charts
    .flatMap((chart) => {
      const before = inferred.find(({ column }) => column.name === chart.column.name);
      const name = chart.column.name;
      return [...(before?.open !== chart.open ? [`${chart.open ? "+" : "-"}${name}`] : []), ...(before?.scale !== chart.scale ? [`~${name}`] : [])];
    })
    .join(",");
}

export function chartsFrom(inferred: readonly state.Chart[], settings: Settings, selection: Selection): state.Chart[] {
  const marks = new Set((settings["charts"] ?? "").split(","));
  return inferred.map((chart): state.Chart => {
    const { name } = chart.column;
    const open = marks.has(`+${name}`) || name in selection.brushes || (chart.open && !marks.has(`-${name}`));
    return { ...chart, open, scale: marks.has(`~${name}`) ? (chart.scale === "log10" ? "linear" : "log10") : chart.scale };
  });
}
