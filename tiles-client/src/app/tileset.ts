/**
 * The count tiles of the map: which are wanted, which are on their way, and what to draw meanwhile. Requests run a few
 * at a time, nearest to the middle first; a new filter aborts the old filter's requests, and what was there stays on
 * screen until its successor has come.
 */

import {
  Shading,
  TileCache,
  createScale,
  isAbort,
  valueScale,
  type CountTile,
  type Dataset,
  type Distribution,
  type Measure,
  type Quality,
  type Style,
  type TileId,
  type ValueLegend,
} from "../core/index.js";
import type { Placed } from "../maplibre/index.js";
import type { Look } from "./state.js";

/** Browsers open six connections to one HTTP/1.1 origin; two are left for histograms and legends. */
const REQUESTS_MAX = 4;

/** A filter's tiles may take this long before a newer filter, still being dragged, aborts them. */
const PATIENCE_MS = 200;

/** So long a new filter's first tiles wait for the others: two frames. One drawing then shows most of them, instead of a patchwork in each frame. */
const GATHER_MS = 33;

/** Zoom levels to look up and down for something to draw while a tile is awaited. */
const FALLBACK_LEVELS = 4;

/** The server keeps an estimate of colours fresh for two seconds. */
const PREVIEW_MS = 2100;

/** Pixels around a click in which points are looked for. */
const REACH = 4;

/** What the tiles count, or measure. */
interface Subject {
  /** The column that makes the planes; null for the dataset's own, `none` for totals. */
  readonly by: string | null;
  /** What pixels show instead of counts. */
  readonly measure: Measure | null;
}

/** What the colours of a zoom are made from. */
type Source = Distribution | ValueLegend;

export interface Wanted {
  readonly id: TileId;
  readonly wrap: number;
}

interface TileSetEvents {
  readonly onChange: () => void;
  readonly onProgress: (done: number, all: number) => void;
  readonly onError: (error: unknown) => void;
}

export class TileSet {
  readonly #cache = new TileCache();
  readonly #distributions = new Map<string, Source>();
  readonly #shadings = new Map<Source, Shading>();
  /** The newest tile that was ever shown per place, whatever its filter. */
  #latest = new Map<string, CountTile>();
  #wanted: readonly Wanted[] = [];
  #zoom = 0;
  #filter = "";
  /** The radius by which points are drawn larger; colours are of the counts that makes. */
  #spread = 0;
  #since = 0;
  #nextFilter: { filter: string; timer: ReturnType<typeof setTimeout> } | null = null;
  #generation = new AbortController();
  #running = new Set<string>();
  #gathering: ReturnType<typeof setTimeout> | null = null;
  #failed = new Set<string>();
  /** Whether the colours on screen are an estimate. */
  #refining = false;
  #styleFor: ((source: Source) => Shading) | null = null;

  #version: string;

  constructor(
    readonly dataset: Dataset,
    version: string,
    readonly events: TileSetEvents,
    readonly subject: Subject = { by: null, measure: null },
  ) {
    this.#version = version;
  }

  /** Of the data that is asked for. */
  get version(): string {
    return this.#version;
  }

  /** The data has another version. Stale tiles are asked for again and stay on screen until then; all colours are, since they follow from all points. */
  changed(version: string, isStale: (id: TileId) => boolean): void {
    this.#version = version;
    this.#cache.forget(({ id }) => isStale(id));
    for (const key of this.#distributions.keys()) if (key.startsWith(DISTRIBUTION)) this.#distributions.delete(key);
    this.#restart();
  }

  /** The tiles in view, nearest to the middle first. All of one zoom. */
  want(wanted: readonly Wanted[]): void {
    this.#wanted = wanted;
    this.#zoom = wanted[0]?.id.z ?? this.#zoom;
    this.#failed.clear();
    this.#pump();
  }

  /** A new filter. While the old one's tiles are still coming they get a moment to finish, so that a drag shows something. */
  filter(filter: string): void {
    if (filter === (this.#nextFilter?.filter ?? this.#filter)) return;
    if (this.#nextFilter) clearTimeout(this.#nextFilter.timer);
    this.#nextFilter = null;
    const age = performance.now() - this.#since;
    if (this.#running.size > 0 && age < PATIENCE_MS) {
      this.#nextFilter = { filter, timer: setTimeout(() => this.#switch(filter), PATIENCE_MS - age) };
    } else this.#switch(filter);
  }

  #switch(filter: string): void {
    this.#nextFilter = null;
    this.#filter = filter;
    this.#since = performance.now();
    this.#restart();
  }

  /** Aborts what is on its way, and asks for what is missing now. */
  #restart(): void {
    this.#generation.abort();
    this.#generation = new AbortController();
    this.#running.clear();
    this.#failed.clear();
    this.#refining = false;
    this.#pump();
    // Where nothing of it has come yet, the screen stays as it is: drawing it anew would cost a frame.
    const isHere = ({ id }: Wanted): boolean => this.counts(id) !== undefined;
    if (this.#distributions.has(this.#distributionKey(this.#zoom, this.#filter)) || this.#wanted.some(isHere)) this.events.onChange();
  }

  /** Points are drawn larger by a radius of so many pixels. The colours of before stay until those of the new counts have come. */
  spread(pixels: number): void {
    if (pixels === this.#spread) return;
    this.#spread = pixels;
    this.#pump();
    this.events.onChange();
  }

  /** New colours: no request. */
  restyle(look: Look, style: (look: Look) => Style): void {
    const span = look.span ?? undefined;
    this.#styleFor = (source) => new Shading("ramp_values" in source ? valueScale(look.how, source, span) : createScale(look.how, source, span), style(look));
    this.#shadings.clear();
    this.events.onChange();
  }

  /** Colours of a zoom: by the current filter's distribution, or the zoom's last known one. */
  shading(zoom: number): Shading | null {
    const distribution = this.#distributions.get(this.#distributionKey(zoom, this.#filter)) ?? this.#distributions.get(`last/${zoom}`);
    if (!distribution || !this.#styleFor) return null;
    let shading = this.#shadings.get(distribution);
    if (!shading) {
      shading = this.#styleFor(distribution);
      this.#shadings.set(distribution, shading);
    }
    return shading;
  }

  /** What to draw now. */
  *placed(): Iterable<Placed> {
    for (const { id, wrap } of this.#wanted) {
      const counts = this.#known(id);
      if (counts) yield { counts, at: id, wrap };
      else yield* this.#instead(id, wrap);
    }
  }

  /** The current filter's counts of a tile, if they have come. Where there are no points, there are none under any filter: nobody has to be asked. */
  counts(id: TileId): CountTile | undefined {
    const counts = this.#cache.peek(this.#tileKey(id, this.#filter));
    if (counts || this.#filter === "") return counts;
    const all = this.#cache.peek(this.#tileKey(id, ""));
    return all?.empty ? all : undefined;
  }

  /** The pixel with points nearest to one, within a few pixels of the same tile: a finger is wider than a pixel. */
  nearest(id: TileId, [i, j]: readonly [number, number], visible: readonly boolean[], reach = REACH): readonly [number, number] | null {
    const counts = this.counts(id);
    if (!counts) return [i, j];
    let best: readonly [number, number] | null = null;
    let bestSquare = Number.POSITIVE_INFINITY;
    for (let dj = -reach; dj <= reach; dj++) {
      for (let di = -reach; di <= reach; di++) {
        const [x, y] = [i + di, j + dj];
        const square = di * di + dj * dj;
        if (x < 0 || y < 0 || x >= counts.size || y >= counts.size || square >= bestSquare) continue;
        if (counts.countsAt(x, y).some((count, c) => count > 0 && (visible[c] ?? true))) [best, bestSquare] = [[x, y], square];
      }
    }
    return best;
  }

  get idle(): boolean {
    return this.#running.size === 0 && this.#nextFilter === null;
  }

  close(): void {
    this.#generation.abort();
    if (this.#nextFilter) clearTimeout(this.#nextFilter.timer);
    this.#nextFilter = null;
    this.#stopGathering();
    this.#cache.clear();
  }

  /** Part of the nearest ancestor, or the descendants that are there. */
  *#instead(id: TileId, wrap: number): Iterable<Placed> {
    for (let up = 1; up <= Math.min(FALLBACK_LEVELS, id.z); up++) {
      const ancestor = { z: id.z - up, x: id.x >> up, y: id.y >> up };
      const counts = this.#known(ancestor);
      if (counts && this.shading(ancestor.z)) {
        yield { counts, at: id, wrap };
        return;
      }
    }
    for (const [dx, dy] of [[0, 0], [1, 0], [0, 1], [1, 1]] as const) {
      const child = { z: id.z + 1, x: 2 * id.x + dx, y: 2 * id.y + dy };
      const counts = this.#known(child);
      if (counts) yield { counts, at: child, wrap };
    }
  }

  #known(id: TileId): CountTile | undefined {
    return this.counts(id) ?? this.#latest.get(place(id));
  }

  #pump(): void {
    const missing = this.#wanted.filter(({ id }) => !this.counts(id));
    const places = new Set(missing.map(({ id }) => place(id)));
    const all = new Set(this.#wanted.map(({ id }) => place(id))).size;
    // Colours that are an estimate count as one more thing to come.
    this.events.onProgress(all - places.size, all + (this.#refining ? 1 : 0));
    const zoom = this.#zoom;
    if (this.#wanted.length > 0 && !this.#distributions.has(this.#distributionKey(zoom, this.#filter))) this.#loadDistribution(zoom);
    for (const { id } of missing) {
      if (this.#running.size >= REQUESTS_MAX) break;
      this.#loadTile(id);
    }
    if (this.#running.size === 0 && this.#nextFilter) {
      clearTimeout(this.#nextFilter.timer);
      this.#switch(this.#nextFilter.filter);
    }
  }

  #loadTile(id: TileId): void {
    const key = this.#tileKey(id, this.#filter);
    const filter = this.#filter;
    this.#run(key, async (signal) => {
      const tile = await this.#cache.load(key, (inner) => this.#fetchTile(id, filter, inner), signal);
      this.#remember(id, tile);
    });
  }

  #loadDistribution(zoom: number): void {
    const [filter, spread] = [this.#filter, this.#spread];
    const key = this.#distributionKey(zoom, filter);
    this.#run(key, async (signal) => {
      let quality: Quality = "preview";
      while (quality === "preview") {
        const legend = await this.#fetchLegend(zoom, filter, spread, signal);
        quality = legend.quality;
        this.#distributions.set(key, legend.source);
        this.#distributions.set(`last/${zoom}`, legend.source);
        forgetBeyond(this.#distributions, DISTRIBUTIONS_MAX);
        forgetBeyond(this.#shadings, DISTRIBUTIONS_MAX);
        if (quality === "preview") {
          // Counts are exact already; their colours are an estimate, to be seen at once and replaced by and by.
          this.#refining = true;
          this.events.onChange();
          await pause(PREVIEW_MS, signal);
        }
      }
      this.#refining = false;
    });
  }

  #fetchTile(id: TileId, filter: string, signal: AbortSignal): Promise<CountTile> {
    const { by, measure } = this.subject;
    const query = { ...(filter ? { filter } : {}), v: this.#version };
    return measure ? this.dataset.valueTile(id, measure, query, signal) : this.dataset.countTile(id, { ...query, ...(by ? { by } : {}) }, signal);
  }

  async #fetchLegend(zoom: number, filter: string, spread: number, signal: AbortSignal): Promise<{ source: Source; quality: Quality }> {
    const { by, measure } = this.subject;
    const query = { zoom, ...(filter ? { filter } : {}), v: this.#version };
    if (measure) {
      const legend = await this.dataset.valueLegend({ ...query, ...measure }, signal);
      return { source: legend, quality: legend.quality ?? "exact" };
    }
    const legend = await this.dataset.legend({ ...query, spread, ...(by ? { by } : {}) }, signal);
    return { source: legend.distribution, quality: legend.quality ?? "exact" };
  }

  #run(key: string, job: (signal: AbortSignal) => Promise<void>): void {
    if (this.#running.has(key) || this.#failed.has(key)) return;
    this.#running.add(key);
    const { signal } = this.#generation;
    job(signal)
      .then(
        () => true,
        (error: unknown) => {
          if (isAbort(error)) return false;
          // Asked for again with the next view or filter, not in a loop.
          this.#failed.add(key);
          this.events.onError(error);
          return false;
        },
      )
      .then((hasCome) => {
        if (signal.aborted) return;
        this.#running.delete(key);
        this.#pump();
        if (hasCome) this.#arrived();
      });
  }

  /** Something has come. The last of what was asked for, and whatever comes later than the first, is drawn at once. */
  #arrived(): void {
    const wait = GATHER_MS - (performance.now() - this.#since);
    const draw = (): void => {
      this.#stopGathering();
      this.events.onChange();
    };
    if (this.#running.size === 0 || wait <= 0) draw();
    else this.#gathering ??= setTimeout(draw, wait);
  }

  #stopGathering(): void {
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#gathering = null;
  }

  #remember(id: TileId, tile: CountTile): void {
    this.#latest.delete(place(id));
    this.#latest.set(place(id), tile);
    forgetBeyond(this.#latest, LATEST_MAX);
  }

  #tileKey(id: TileId, filter: string): string {
    return `${place(id)}?${filter}`;
  }

  #distributionKey(zoom: number, filter: string): string {
    return `${DISTRIBUTION}${zoom}+${this.#spread}?${filter}`;
  }
}

/** How the keys of a filter's own distributions begin. */
const DISTRIBUTION = "distribution/";

/** Two screens of tiles. */
const LATEST_MAX = 128;
const DISTRIBUTIONS_MAX = 64;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

function place({ z, x, y }: TileId): string {
  return `${z}/${x}/${y}`;
}

function forgetBeyond<K, V>(map: Map<K, V>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) break;
    map.delete(key);
  }
}
