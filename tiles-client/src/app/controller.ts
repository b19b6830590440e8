/**
 * What the dashboard does: loads a dataset, turns choices into requests and answers into signals. The one place that
 * talks to the server, the map and the address bar; components call it and read signals.
 */

import { batch } from "@preact/signals";
import {
  Client,
  EVERYTHING,
  History,
  Latest,
  RequestError,
  ValueTile,
  and,
  areaFilter,
  brushesForServer,
  cmapColors,
  decodeView,
  encodeView,
  hiddenFilter,
  isAbort,
  parseColor,
  withBrush,
  type Brush,
  type Camera,
  type ColumnRequest,
  type CrossfilterAnswer,
  type Dataset,
  type Histogram,
  type Measure,
  type Row,
  type Selection,
  type Style,
  type TileId,
} from "../core/index.js";
import { chartsFrom, lookFrom, measureFrom, measureToText, settingsOf } from "./address.js";
import { inferCharts } from "./charts.js";
import * as format from "./format.js";
import type { MapView } from "./map.js";
import { markerOf } from "./markers.js";
import * as state from "./state.js";
import { TileSet } from "./tileset.js";

/** Bars per chart: four CSS pixels each in the panel. */
export const BINS = 64;

/** Rows listed under a clicked pixel. */
const ROWS_MAX = 100;

/** Rows named in the tooltip, and how long the pointer rests before they are asked for. */
const ROWS_NAMED = 3;
const REST_MS = 250;

/** The address bar is written this long after the last change: browsers refuse more than about ten writes a second. */
const ADDRESS_DELAY_MS = 250;

/** Tells the server whose newer question makes an older one moot. */
const CLIENT = Math.random().toString(36).slice(2, 12);

type Session = { readonly dataset: Dataset; readonly tiles: TileSet; readonly history: History<Selection> };

export class Controller {
  readonly #client = new Client();
  #map: MapView | null = null;
  #session: Session | null = null;
  #camera: Camera | null = null;
  #addressTimer: ReturnType<typeof setTimeout> | null = null;
  #rowRequest = new AbortController();
  #markerRequest = new AbortController();
  #markerKey = "";
  readonly #restTimer = new Rest();

  readonly #crossfilter = new Latest<Selection, CrossfilterAnswer>(
    (selection, signal) => this.#ask(selection, signal, CLIENT),
    (answer, selection) => this.#answered(answer, selection),
    (error) => this.#failed("the histograms could not be loaded", error, () => this.#refresh()),
  );
  readonly #ghosts = new Latest<null, Readonly<Record<string, Histogram>>>(
    async (_, signal) => (await this.#ask(EVERYTHING, signal, `${CLIENT}-ghosts`)).histograms,
    (histograms) => (state.ghosts.value = histograms),
    () => {
      // The same request with brushes reports the same failure.
    },
  );

  async start(map: MapView): Promise<void> {
    this.#map = map;
    window.addEventListener("hashchange", ({ newURL }) => this.#fromAddress(new URL(newURL).hash));
    await this.#attempt("the server's datasets could not be listed", async () => {
      const { datasets } = await this.#client.catalog();
      state.datasets.value = datasets;
      const asked = decodeView(location.hash).settings["d"];
      const first = datasets.find(({ name }) => name === asked) ?? datasets[0];
      if (!first) {
        state.problem.value = { title: "This server has no datasets yet", detail: "Start it with the folder of an ingested dataset, or with a CSV or Parquet file.", retry: null };
        return;
      }
      if (asked !== undefined && asked !== first.name) {
        state.problem.value = { title: `There is no dataset “${asked}”`, detail: `Showing ${first.title ?? first.name} instead.`, retry: null };
      }
      await this.open(first.name, "keep");
    });
  }

  /** Opens a dataset; `keep` takes the view from the address bar, `fresh` starts at the whole dataset. */
  async open(name: string, from: "keep" | "fresh"): Promise<void> {
    const remembered = from === "keep" ? decodeView(location.hash) : { camera: null, selection: EVERYTHING, settings: {} as Record<string, string> };
    const measure = measureFrom(remembered.settings["show"]);
    // A measure has one plane.
    const by = measure ? "none" : (remembered.settings["by"] ?? null);
    const dataset = this.#client.dataset(name);
    this.#session?.tiles.close();
    this.#crossfilter.cancel();
    this.#ghosts.cancel();
    state.stats.value = null;
    await this.#attempt(`the dataset “${name}” could not be opened`, async () => {
      const stats = await dataset.stats(by === null ? {} : { by });
      const tiles = new TileSet(dataset, stats.data_version, {
        onChange: () => {
          this.#map?.repaint();
          this.#describeScale();
        },
        onProgress: (done, all) => batch(() => ((state.tilesDone.value = done), (state.tilesAll.value = all))),
        onError: (error) => this.#failed("some tiles could not be loaded", error, () => this.#map && this.#look()),
      }, { by, measure });
      this.#session = { dataset, tiles, history: new History(remembered.selection) };
      batch(() => {
        state.answer.value = null;
        state.ghosts.value = {};
        state.rowList.value = null;
        state.hover.value = null;
        state.colourBy.value = by;
        state.measure.value = measure;
        state.selection.value = remembered.selection;
        state.look.value = lookFrom(remembered.settings, stats.categories.length > 0 && stats.by !== null);
        state.charts.value = chartsFrom(inferCharts(stats), remembered.settings, remembered.selection);
        state.stats.value = stats;
      });
      document.title = `${stats.title ?? stats.name} · pointillist`;
      this.#restyle();
      if (remembered.camera) this.#map?.look(remembered.camera);
      else this.#map?.fit(stats.bounds);
      this.#map?.setArea(remembered.selection.area);
      this.#map?.show(tiles, stats.zooms);
      this.#refresh();
    });
  }

  /** Another column makes the categories, or none does; everything else stays, but for what was hidden of the old ones. */
  async colourBy(column: string): Promise<void> {
    await this.#reopen({ by: column, show: "" }, column === "none");
  }

  /** Pixels show an aggregate of a column; null for how many points they have. */
  async show(measure: Measure | null): Promise<void> {
    await this.#reopen({ by: "", show: measureToText(measure) }, measure !== null);
  }

  async #reopen(change: Record<string, string>, isRamp: boolean): Promise<void> {
    const { value: stats } = state.stats;
    if (!stats) return;
    const { palette } = state.look.value;
    const fits = isRamp ? (palette === "categories" ? "viridis" : palette) : "categories";
    // Counts at the ends of a scale mean nothing to other numbers.
    const settings = { ...settingsOf(stats), palette: fits, span: "", ...change };
    const selection = { ...state.selection.value, hidden: [] };
    history.replaceState(null, "", `#${encodeView({ camera: this.#camera, selection, settings })}`);
    await this.open(stats.name, "keep");
  }

  /** Keeps the counts that the colours stand for now, whatever is looked at next; or lets them go with the view again. */
  fixScale(): void {
    const { value: shading } = state.shading;
    if (state.look.value.span !== null || !shading) this.restyle({ span: null });
    else {
      const { how, span } = { how: state.look.value.how, span: [shading.scale.min, shading.scale.max] as const };
      // Ranks are of one view and filter only.
      this.restyle({ span, how: how === "eq_hist" ? "log" : how });
    }
  }

  /** The map looks elsewhere. */
  moved(view: { bounds: readonly [number, number, number, number]; zoom: number }, camera: Camera): void {
    this.#camera = camera;
    if (JSON.stringify(view) === JSON.stringify(state.view.value)) return;
    state.view.value = view;
    this.#describeScale();
    this.#refresh();
    this.#writeAddress();
  }

  brush(column: string, brush: Brush | null, gesture: string | null = null): void {
    this.#select(withBrush(state.selection.value, column, brush), gesture);
  }

  /** Ends a drag: the next change is an undo step of its own. */
  settle(): void {
    this.#session?.history.settle();
  }

  hide(hidden: readonly string[]): void {
    this.#select({ ...state.selection.value, hidden });
  }

  area(ring: Selection["area"]): void {
    this.#select({ ...state.selection.value, area: ring });
  }

  clear(): void {
    this.#select(EVERYTHING);
  }

  undo(): void {
    if (this.#session) this.#show(this.#session.history.undo());
  }

  redo(): void {
    if (this.#session) this.#show(this.#session.history.redo());
  }

  restyle(change: Partial<state.Look>): void {
    state.look.value = { ...state.look.value, ...change };
    this.#restyle();
    this.#markersOrCounts();
    this.#writeAddress();
  }

  theme(theme: state.Theme): void {
    state.theme.value = theme;
    this.#map?.setTheme(theme);
    this.#writeAddress();
  }

  chart(column: string, change: Partial<Omit<state.Chart, "column">>): void {
    state.charts.value = state.charts.value.map((chart) => (chart.column.name === column ? { ...chart, ...change } : chart));
    if (change.scale !== undefined || change.open !== undefined || change.search !== undefined) this.#refresh();
    this.#writeAddress();
  }

  basemapFailed(message: string, isStyle: boolean): void {
    const title = isStyle ? "The server's basemap could not be loaded; this is the built-in one" : "Part of the basemap could not be loaded";
    state.problem.value = { title, detail: message, retry: null };
  }

  fit(): void {
    if (state.stats.value) this.#map?.fit(state.stats.value.bounds);
  }

  zoomBy(levels: number): void {
    this.#map?.map.zoomTo(this.#map.map.getZoom() + levels, { duration: 200 });
  }

  hovered(at: { x: number; y: number; tile: TileId; pixel: readonly [number, number]; row: Row | null } | null): void {
    if (!at || !this.#session) {
      this.#restTimer.forget();
      state.hover.value = null;
      return;
    }
    if (at.row) {
      state.hover.value = { x: at.x, y: at.y, counts: [], row: at.row };
      return;
    }
    const visible = state.visiblePlanes.value;
    const { tiles } = this.#session;
    // An enlarged point answers wherever it is drawn.
    const pixel = state.showingMarkers.value ? null : tiles.nearest(at.tile, at.pixel, visible, state.spread.value);
    const counts = pixel ? tiles.counts(at.tile)?.countsAt(pixel[0], pixel[1]) : undefined;
    const seen = counts?.map((count, c) => ((visible[c] ?? true) ? count : 0));
    const tile = tiles.counts(at.tile);
    const value = pixel && tile instanceof ValueTile ? tile.valueAt(pixel[0], pixel[1]) : null;
    const hover: state.Hover | null = seen?.some((count) => count > 0) ? { x: at.x, y: at.y, counts: seen, ...(value === null ? {} : { value }) } : null;
    state.hover.value = hover;
    this.#restTimer.forget();
    if (hover && pixel) this.#restTimer.after(REST_MS, (signal) => this.#nameRows(hover, at.tile, pixel, signal));
  }

  /** The pointer rests: some of the rows under it. */
  async #nameRows(hover: state.Hover, tile: TileId, pixel: readonly [number, number], signal: AbortSignal): Promise<void> {
    const filter = this.rowFilter();
    const points = await this.#session?.dataset.points({ tile, pixel, limit: ROWS_NAMED, ...(filter ? { filter } : {}) }, signal);
    if (points && state.hover.value === hover) state.hover.value = { ...hover, rows: points.rows };
  }

  /** Lists the rows under a pixel, or under the nearest one that has some. */
  async listRows(tile: TileId, clicked: readonly [number, number]): Promise<void> {
    const session = this.#session;
    if (!session) return;
    this.#rowRequest.abort();
    const controller = new AbortController();
    this.#rowRequest = controller;
    const pixel = session.tiles.nearest(tile, clicked, state.visiblePlanes.value);
    if (!pixel) {
      state.rowList.value = null;
      return;
    }
    const list = { tile, pixel, total: 0, rows: [], loading: true, problem: null };
    state.rowList.value = list;
    try {
      const filter = this.rowFilter();
      const { total, rows } = await session.dataset.points({ tile, pixel, limit: ROWS_MAX, ...(filter ? { filter } : {}) }, controller.signal);
      state.rowList.value = total > 0 ? { ...list, total, rows, loading: false } : null;
      if (total > 0) state.announcement.value = `${total} rows under this place`;
    } catch (error) {
      if (!isAbort(error)) state.rowList.value = { ...list, loading: false, problem: messageOf(error) };
    }
  }

  closeRows(): void {
    this.#rowRequest.abort();
    state.rowList.value = null;
  }

  /** The whole selection as CQL2, hidden categories included: for what sees rows. */
  rowFilter(): string {
    const hidden = hiddenFilter(state.selection.value, state.byColumn.value, state.stats.value?.categories ?? []);
    return and(state.answer.value?.filter, hidden);
  }

  exportUrl(kind: "csv" | "parquet", extent: "view" | "all"): string {
    const filter = this.rowFilter();
    const bbox = extent === "view" ? state.view.value?.bounds : undefined;
    return this.#session?.dataset.pointsUrl(kind, { ...(filter ? { filter } : {}), ...(bbox ? { bbox } : {}) }) ?? "";
  }

  async exportPicture(): Promise<void> {
    await this.#attempt("the picture could not be made", async () => {
      const blob = await this.#map?.picture();
      if (!blob) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${state.stats.value?.name ?? "map"}.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  /** Whether all tiles of the view, and the histograms, are those of the current choices. For tests. */
  get idle(): boolean {
    return !this.#crossfilter.busy && (this.#session?.tiles.idle ?? true) && state.tilesDone.value === state.tilesAll.value;
  }

  #select(next: Selection, gesture: string | null = null): void {
    this.#session?.history.push(next, gesture);
    this.#show(next);
  }

  #show(next: Selection): void {
    const before = state.selection.value;
    const history = this.#session?.history;
    batch(() => {
      state.selection.value = next;
      state.canUndo.value = history?.canUndo ?? false;
      state.canRedo.value = history?.canRedo ?? false;
    });
    if (before.hidden !== next.hidden) this.#restyle();
    if (before.area !== next.area) this.#map?.setArea(next.area);
    // Hiding a category is a matter of colours: no request.
    if (before.brushes !== next.brushes || before.area !== next.area) this.#crossfilter.ask(next);
    this.#markersOrCounts();
    this.#writeAddress();
  }

  #refresh(): void {
    if (!this.#session || !state.view.value || !state.stats.value) return;
    this.#crossfilter.ask(state.selection.value);
    if (brushed(state.selection.value)) this.#ghosts.ask(null);
  }

  #look(): void {
    const tiles = this.#session?.tiles;
    if (tiles && state.stats.value) this.#map?.show(tiles, state.stats.value.zooms);
  }

  async #ask(selection: Selection, signal: AbortSignal, client: string): Promise<CrossfilterAnswer> {
    const { value: view } = state.view;
    const { value: stats } = state.stats;
    if (!this.#session || !view || !stats) throw new DOMException("nothing is open", "AbortError");
    state.asking.value = true;
    const since = performance.now();
    const columns: (string | ColumnRequest)[] = state.charts.value
      .filter(({ open }) => open)
      .map(({ column, kind, scale, search }): ColumnRequest =>
        kind === "range" ? { column: column.name, bins: BINS, scale } : { column: column.name, ...(search ? { search } : {}) },
      );
    if (stats.by) columns.unshift({ column: stats.by });
    const filter = areaFilter(selection);
    try {
      const answer = await this.#session.dataset.crossfilter(
        { bbox: view.bounds, zoom: view.zoom, brushes: brushesForServer(selection), columns, client, by: stats.by ?? "none", ...(filter ? { filter } : {}) },
        signal,
      );
      state.answeredMs.value = performance.now() - since;
      return answer;
    } finally {
      state.asking.value = false;
    }
  }

  #answered(answer: CrossfilterAnswer, selection: Selection): void {
    batch(() => {
      state.answer.value = answer;
      if (!brushed(selection)) state.ghosts.value = answer.histograms;
      if (state.problem.value?.retry) state.problem.value = null;
    });
    this.#session?.tiles.filter(answer.filter);
    if (brushed(selection) && this.#ghostsMissing()) this.#ghosts.ask(null);
    const selected = state.selectedInView.value ?? 0;
    state.announcement.value = `${format.count(selected)} points selected in view`;
    this.#markersOrCounts();
  }

  #ghostsMissing(): boolean {
    return Object.keys(state.answer.value?.histograms ?? {}).some((column) => !(column in state.ghosts.value));
  }

  #restyle(): void {
    const { value: stats } = state.stats;
    if (!stats) return;
    const visible = state.visiblePlanes.value;
    const colors = stats.categories.map(({ color }) => parseColor(color));
    this.#session?.tiles.restyle(state.look.value, ({ palette, minAlpha }): Style =>
      palette === "categories" ? { kind: "categories", colors, visible, minAlpha } : { kind: "ramp", ramp: cmapColors(palette), visible },
    );
  }

  /** Keeps the legend of counts true to what the map's colours mean now. */
  #describeScale(): void {
    const zoom = state.view.value?.zoom;
    const shading = zoom === undefined ? null : (this.#session?.tiles.shading(zoom) ?? null);
    if (state.shading.value !== shading) state.shading.value = shading;
  }

  /** Few enough points in view become markers. */
  #markersOrCounts(): void {
    const { value: selected } = state.selectedInView;
    const { value: view } = state.view;
    const { markersMax } = state.look.value;
    const wanted = selected !== null && view !== null && selected > 0 && selected <= markersMax && this.#session !== null;
    const filter = this.rowFilter();
    const key = wanted ? JSON.stringify([this.#session?.dataset.name, view.bounds, filter]) : "";
    if (key === this.#markerKey) return;
    this.#markerKey = key;
    this.#markerRequest.abort();
    if (!wanted || !this.#session) {
      state.showingMarkers.value = false;
      this.#map?.setMarkers([]);
      return;
    }
    const controller = new AbortController();
    this.#markerRequest = controller;
    this.#session.dataset.points({ bbox: view.bounds, limit: markersMax, ...(filter ? { filter } : {}) }, controller.signal).then(
      ({ rows, total }) => {
        // More than were counted: another answer is on its way.
        const markers = total <= markersMax ? rows.flatMap(markerOf) : [];
        state.showingMarkers.value = markers.length > 0;
        this.#map?.setMarkers(markers);
      },
      (error: unknown) => {
        if (!isAbort(error)) this.#failed("the single points could not be loaded", error, null);
      },
    );
  }

  /** @param hash From the event: an earlier view that waits to be written could replace the address's own. */
  #fromAddress(hash: string): void {
    if (this.#addressTimer !== null) clearTimeout(this.#addressTimer);
    history.replaceState(null, "", hash || "#");
    const { camera, selection, settings } = decodeView(hash);
    const dataset = settings["d"];
    if (dataset !== undefined && dataset !== this.#session?.dataset.name && state.datasets.value.some(({ name }) => name === dataset)) {
      void this.open(dataset, "keep");
      return;
    }
    state.look.value = lookFrom(settings, state.stats.value?.by != null);
    if (camera) this.#map?.look(camera);
    this.#restyle();
    this.#select(selection);
  }

  #writeAddress(): void {
    if (this.#addressTimer !== null) clearTimeout(this.#addressTimer);
    this.#addressTimer = setTimeout(() => {
      const { value: stats } = state.stats;
      if (!stats) return;
      history.replaceState(null, "", `#${encodeView({ camera: this.#camera, selection: state.selection.value, settings: settingsOf(stats) })}`);
    }, ADDRESS_DELAY_MS);
  }

  async #attempt(title: string, job: () => Promise<void>): Promise<void> {
    try {
      await job();
    } catch (error) {
      this.#failed(title, error, () => void this.#attempt(title, job));
    }
  }

  #failed(title: string, error: unknown, retry: (() => void) | null): void {
    if (isAbort(error)) return;
    const again = retry
      ? (): void => {
          state.problem.value = null;
          retry();
        }
      : null;
    state.problem.value = { title: title.charAt(0).toUpperCase() + title.slice(1), detail: messageOf(error), retry: again };
  }
}

/** One thing that is done a while after a rest, and dropped or aborted by the next move. */
class Rest {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #controller = new AbortController();

  after(ms: number, job: (signal: AbortSignal) => Promise<void>): void {
    this.forget();
    const { signal } = (this.#controller = new AbortController());
    this.#timer = setTimeout(() => {
      // The tooltip has its counts already; rows that do not come are not worth a word.
      job(signal).catch(() => undefined);
    }, ms);
  }

  forget(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

function brushed(selection: Selection): boolean {
  return Object.keys(selection.brushes).length > 0 || selection.area !== null;
}

function messageOf(error: unknown): string {
  if (error instanceof RequestError) return error.status > 0 ? `${error.message} (${error.status})` : error.message;
  return error instanceof Error ? error.message : String(error);
}
