/**
 * What the dashboard does: opens datasets, turns choices into requests and colours, and leaves what it is not about itself
 * to its parts: questions, the pointer, single points, changes of the data, the address bar. Components call it and read signals.
 */

import { batch } from "@preact/signals";
import {
  Client,
  EVERYTHING,
  History,
  cmapColors,
  decodeView,
  parseColor,
  withBrush,
  type Brush,
  type Camera,
  type Measure,
  type Selection,
  type Stats,
  type Style,
  type ViewState,
} from "../core/index.js";
import { SERVER } from "../pages/server.js";
import { AddressBar, chartsFrom, lookFrom, measureFrom, measureToText, settingsOf } from "./address.js";
import { openArchive } from "./archive.js";
import { Changes, type Change } from "./changes.js";
import { inferCharts } from "./charts.js";
import { firstView } from "./firstview.js";
import * as format from "./format.js";
import type { MapView } from "./map.js";
import { Pointer } from "./pointer.js";
import { attempt, failed } from "./problems.js";
import { Questions } from "./questions.js";
import { Restart } from "./restart.js";
import type { Session } from "./session.js";
import { Singles } from "./singles.js";
import * as state from "./state.js";
import { TileSet } from "./tileset.js";

const NOTHING_REMEMBERED: ViewState = { camera: null, selection: EVERYTHING, settings: {} };

export class Controller {
  /** The page's own server, with the key of the page's own address. */
  readonly #client = new Client(SERVER, new URLSearchParams(location.search).get("key"));
  #map: MapView | null = null;
  #session: Session | null = null;
  readonly #opened = (): Session | null => this.#session;
  readonly #address = new AddressBar();
  readonly #singles = new Singles(this.#opened);
  readonly #questions = new Questions(this.#opened, () => this.#singles.decide(this.#map));
  readonly #changes = new Changes((change) => void this.#changed(change));
  readonly pointer = new Pointer(this.#opened);
  /** The dataset that is shown, or was to be; null for none. */
  #name: string | null = null;
  /** How often something was opened: an answer to an earlier wish comes too late. */
  #openings = 0;
  #isOpening = true;

  async start(map: MapView): Promise<void> {
    this.#map = map;
    new Restart(this.#client, () => this.#name, (name) => this.#openAsIs(name));
    window.addEventListener("hashchange", ({ newURL }) => this.#fromAddress(new URL(newURL).hash));
    await attempt("the server's datasets could not be listed", async () => {
      const { datasets, archives = [] } = await this.#client.catalog();
      state.datasets.value = datasets;
      state.archives.value = archives;
      const all = [...datasets, ...archives];
      const asked = decodeView(location.hash).settings["d"];
      const first = all.find(({ name }) => name === asked) ?? all[0];
      if (!first) {
        state.problem.value = nothingToShow(this.#client.key !== null);
        return;
      }
      if (asked !== undefined && asked !== first.name) {
        state.problem.value = { title: `There is no dataset “${asked}”`, detail: `Showing ${first.title ?? first.name} instead.`, retry: null };
      }
      await this.open(first.name, "keep");
    });
  }

  /**
   * Opens a dataset or an archive; `keep` takes the view from the address bar, `fresh` starts at the whole of it.
   * @param version Of the data, where a newer one is known than caches may have.
   */
  async open(name: string, from: "keep" | "fresh", version?: string): Promise<void> {
    const remembered = from === "keep" ? decodeView(location.hash) : NOTHING_REMEMBERED;
    this.#close();
    const opening = (this.#openings += 1);
    this.#isOpening = true;
    const isLate = (): boolean => opening !== this.#openings;
    const archive = state.archives.value.find((entry) => entry.name === name);
    this.#name = archive ? null : name;
    if (archive) await attempt(`the archive “${name}” could not be opened`, () => openArchive(this.#client, archive, remembered.camera, this.#map, isLate));
    else await attempt(`the dataset “${name}” could not be opened`, () => this.#openDataset(name, remembered, version, isLate));
    if (isLate()) return;
    this.#isOpening = false;
    this.#address.write();
  }

  #close(): void {
    this.#session?.tiles.close();
    this.#session = null;
    this.#questions.cancel();
    this.#changes.of(null, "");
    batch(() => {
      state.stats.value = null;
      state.archive.value = null;
      state.answer.value = null;
      state.ghosts.value = {};
      state.rowList.value = null;
      state.hover.value = null;
      state.shading.value = null;
    });
  }

  async #openDataset(name: string, { camera, selection, settings }: ViewState, version: string | undefined, isLate: () => boolean): Promise<void> {
    const measure = measureFrom(settings["show"]);
    // A measure has one plane.
    const by = measure ? "none" : (settings["by"] ?? null);
    const dataset = this.#client.dataset(name);
    const stats = await dataset.stats({ ...(version === undefined ? {} : { v: version }), ...(by === null ? {} : { by }) });
    const bounds = camera ? null : await firstView(dataset, stats);
    if (isLate()) return;
    const tiles = new TileSet(dataset, stats.data_version, {
      onChange: () => {
        this.#map?.repaint();
        this.#describeScale();
      },
      onProgress: (done, all) => batch(() => ((state.tilesDone.value = done), (state.tilesAll.value = all))),
      onError: (error) => failed("some tiles could not be loaded", error, () => this.#look()),
    }, { by, measure });
    this.#session = { dataset, tiles, history: new History(selection) };
    batch(() => {
      state.colourBy.value = by;
      state.measure.value = measure;
      state.selection.value = selection;
      state.look.value = lookFrom(settings, stats.categories.length > 0 && stats.by !== null);
      state.charts.value = chartsFrom(inferCharts(stats), settings, selection);
      state.stats.value = stats;
    });
    document.title = `${stats.title ?? stats.name} · pointillist`;
    this.#restyle();
    if (camera) this.#map?.look(camera);
    else this.#map?.fit(bounds ?? stats.bounds);
    this.#map?.setArea(selection.area);
    this.#map?.show(tiles, stats.zooms);
    this.#questions.refresh();
    this.#changes.of(dataset, stats.data_version);
  }

  /** Rows were added, or a new version of the dataset was published: what changed is asked for again, the view stays. */
  async #changed({ version, isStale }: Change): Promise<void> {
    const { value: before } = state.stats;
    const session = this.#session;
    if (!before || !session) return;
    await attempt("the changed data could not be loaded", async () => {
      const by = state.colourBy.value;
      const after = await session.dataset.stats({ v: version, ...(by === null ? {} : { by }) });
      if (this.#session !== session) return;
      const more = after.rows - before.rows;
      const news = more > 0 ? `${format.count(more)} ${more === 1 ? "point" : "points"} more` : "The data has changed";
      if (!hasSameShape(before, after)) {
        // Other planes or other charts.
        await this.#openAsIs(after.name, version);
      } else {
        state.stats.value = after;
        session.tiles.changed(version, isStale);
        this.#questions.refresh();
      }
      state.notice.value = news;
    });
  }

  /** All of it anew, from where it is. */
  async #openAsIs(name: string, version?: string): Promise<void> {
    const { value: stats } = state.stats;
    if (stats) this.#address.writeNow(state.selection.value, settingsOf(stats));
    await this.open(name, "keep", version);
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
    this.#address.writeNow({ ...state.selection.value, hidden: [] }, { ...settingsOf(stats), palette: fits, span: "", ...change });
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
    this.#address.camera = camera;
    if (JSON.stringify(view) === JSON.stringify(state.view.value)) return;
    state.view.value = view;
    this.#describeScale();
    this.#questions.refresh();
    this.#address.write();
  }

  brush(column: string, brush: Brush | null, gesture: string | null = null): void {
    this.#select(withBrush(state.selection.value, column, brush), gesture);
  }

  /** A column's brush is about to be dragged. */
  hold(column: string): void {
    this.#questions.hold(column);
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
    this.#singles.decide(this.#map);
    this.#address.write();
  }

  theme(theme: state.Theme): void {
    state.theme.value = theme;
    this.#map?.setTheme(theme);
    this.#address.write();
  }

  chart(column: string, change: Partial<Omit<state.Chart, "column">>): void {
    state.charts.value = state.charts.value.map((chart) => (chart.column.name === column ? { ...chart, ...change } : chart));
    if (change.scale !== undefined || change.open !== undefined || change.search !== undefined) this.#questions.refresh();
    this.#address.write();
  }

  basemapFailed(message: string, isStyle: boolean): void {
    const title = isStyle ? "The server's basemap could not be loaded; this is the built-in one" : "Part of the basemap could not be loaded";
    state.problem.value = { title, detail: message, retry: null };
  }

  /** All there is, far-off points included. */
  fit(): void {
    const bounds = state.stats.value?.bounds ?? state.archive.value?.about.bounds;
    if (bounds) this.#map?.fit(bounds);
  }

  zoomBy(levels: number): void {
    this.#map?.map.zoomTo(this.#map.map.getZoom() + levels, { duration: 200 });
  }

  exportUrl(kind: "csv" | "parquet", extent: "view" | "all"): string {
    const filter = state.rowFilter.value;
    const bbox = extent === "view" ? state.view.value?.bounds : undefined;
    return this.#session?.dataset.pointsUrl(kind, { ...(filter ? { filter } : {}), ...(bbox ? { bbox } : {}) }) ?? "";
  }

  async exportPicture(): Promise<void> {
    await attempt("the picture could not be made", async () => {
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
    return !this.#isOpening && !this.#questions.busy && (this.#session?.tiles.idle ?? true) && state.tilesDone.value === state.tilesAll.value;
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
    if (before.brushes !== next.brushes || before.area !== next.area) this.#questions.ask(next);
    this.#singles.decide(this.#map);
    this.#address.write();
  }

  #look(): void {
    const tiles = this.#session?.tiles;
    if (tiles && state.stats.value) this.#map?.show(tiles, state.stats.value.zooms);
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

  /** @param hash From the event: an earlier view that waits to be written could replace the address's own. */
  #fromAddress(hash: string): void {
    this.#address.forget();
    history.replaceState(null, "", hash || "#");
    const { camera, selection, settings } = decodeView(hash);
    const asked = settings["d"];
    const open = this.#session?.dataset.name ?? state.archive.value?.entry.name;
    if (asked !== undefined && asked !== open && [...state.datasets.value, ...state.archives.value].some(({ name }) => name === asked)) {
      void this.open(asked, "keep");
      return;
    }
    if (camera) this.#map?.look(camera);
    if (!this.#session) return;
    state.look.value = lookFrom(settings, state.stats.value?.by != null);
    this.#restyle();
    this.#select(selection);
  }
}

/** A catalog lists what its asker may see: without a key that may be nothing. */
function nothingToShow(hasKey: boolean): state.Problem {
  return hasKey
    ? { title: "There is nothing to show", detail: "This key opens no dataset, or the server has none.", retry: null }
    : { title: "There is nothing to show", detail: "The server has no dataset yet, or shows it with a key only: open this page as /?key=YOUR-KEY", retry: null };
}

/** Whether tiles have the same planes and the panel the same charts. */
function hasSameShape(before: Stats, after: Stats): boolean {
  const shape = ({ by, categories, columns }: Stats): string => JSON.stringify([by, categories.map(({ kind, value, color }) => [kind, value, color]), columns.map(({ name, type }) => [name, type])]);
  return shape(before) === shape(after);
}
