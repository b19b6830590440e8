/** What is under the pointer: counts at once, some rows after a rest, all of them on a click. */

import { ValueTile, isAbort, type Row, type TileId } from "../core/index.js";
import { messageOf } from "./problems.js";
import type { Opened } from "./session.js";
import * as state from "./state.js";

/** Rows listed under a clicked pixel. */
const ROWS_MAX = 100;

/** Rows named in the tooltip, and how long the pointer rests before they are asked for. */
const ROWS_NAMED = 3;
const REST_MS = 250;

interface Hovered {
  readonly x: number;
  readonly y: number;
  readonly tile: TileId;
  readonly pixel: readonly [number, number];
  readonly row: Row | null;
}

export class Pointer {
  readonly #opened: Opened;
  readonly #rest = new Rest();
  #rowRequest = new AbortController();

  constructor(opened: Opened) {
    this.#opened = opened;
  }

  hovered(at: Hovered | null): void {
    const session = this.#opened();
    if (!at || !session) {
      this.#rest.forget();
      state.hover.value = null;
      return;
    }
    if (at.row) {
      state.hover.value = { x: at.x, y: at.y, counts: [], row: at.row };
      return;
    }
    const visible = state.visiblePlanes.value;
    const { tiles } = session;
    // An enlarged point answers wherever it is drawn.
    const pixel = state.showingMarkers.value ? null : tiles.nearest(at.tile, at.pixel, visible, state.spread.value);
    const counts = pixel ? tiles.counts(at.tile)?.countsAt(pixel[0], pixel[1]) : undefined;
    const seen = counts?.map((count, c) => ((visible[c] ?? true) ? count : 0));
    const tile = tiles.counts(at.tile);
    const value = pixel && tile instanceof ValueTile ? tile.valueAt(pixel[0], pixel[1]) : null;
    const hover: state.Hover | null = seen?.some((count) => count > 0) ? { x: at.x, y: at.y, counts: seen, ...(value === null ? {} : { value }) } : null;
    state.hover.value = hover;
    this.#rest.forget();
    if (hover && pixel) this.#rest.after(REST_MS, (signal) => this.#nameRows(hover, at.tile, pixel, signal));
  }

  /** The pointer rests: some of the rows under it. */
  async #nameRows(hover: state.Hover, tile: TileId, pixel: readonly [number, number], signal: AbortSignal): Promise<void> {
    const filter = state.rowFilter.value;
    const session = this.#opened();
    const points = await session?.dataset.points({ tile, pixel, limit: ROWS_NAMED, v: session.tiles.version, ...(filter ? { filter } : {}) }, signal);
    if (points && state.hover.value === hover) state.hover.value = { ...hover, rows: points.rows };
  }

  /** Lists the rows under a pixel, or under the nearest one that has some. */
  async listRows(tile: TileId, clicked: readonly [number, number]): Promise<void> {
    const session = this.#opened();
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
      const filter = state.rowFilter.value;
      const { total, rows } = await session.dataset.points({ tile, pixel, limit: ROWS_MAX, v: session.tiles.version, ...(filter ? { filter } : {}) }, controller.signal);
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
