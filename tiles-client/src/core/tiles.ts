/**
 * Keeps count tiles: joins equal requests, aborts a request when nobody waits for it any longer, and forgets the
 * least recently used tiles when a budget of bytes is spent. Errors and aborted requests are never kept.
 */

import type { CountTile } from "./tile.js";

/** 96 MiB: about 150 dense u16 tiles of five categories, or four screens of them. */
const BUDGET_BYTES = 96 * 1024 * 1024;

interface Pending {
  readonly promise: Promise<CountTile>;
  readonly controller: AbortController;
  waiting: number;
}

export class TileCache {
  readonly #tiles = new Map<string, CountTile>();
  readonly #pending = new Map<string, Pending>();
  #bytes = 0;

  constructor(readonly budgetBytes: number = BUDGET_BYTES) {}

  get bytes(): number {
    return this.#bytes;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** A tile that is there already, without asking anyone. */
  peek(key: string): CountTile | undefined {
    const tile = this.#tiles.get(key);
    if (tile) {
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
    }
    return tile;
  }

  /** The tile of a key: held, or awaited with the others who asked, or loaded. */
  async load(key: string, load: (signal: AbortSignal) => Promise<CountTile>, signal?: AbortSignal): Promise<CountTile> {
    signal?.throwIfAborted();
    const held = this.peek(key);
    if (held) return held;
    const pending = this.#pending.get(key) ?? this.#start(key, load);
    pending.waiting += 1;
    return new Promise<CountTile>((resolve, reject) => {
      const leave = (): void => {
        pending.waiting -= 1;
        if (pending.waiting === 0) {
          this.#pending.delete(key);
          pending.controller.abort();
        }
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      pending.promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", leave));
    });
  }

  clear(): void {
    this.#tiles.clear();
    this.#bytes = 0;
  }

  /** Drops the tiles for which a test is true. */
  forget(test: (tile: CountTile) => boolean): void {
    for (const [key, tile] of this.#tiles) {
      if (!test(tile)) continue;
      this.#tiles.delete(key);
      this.#bytes -= tile.bytes;
    }
  }

  #start(key: string, load: (signal: AbortSignal) => Promise<CountTile>): Pending {
    const controller = new AbortController();
    const pending: Pending = {
      controller,
      waiting: 0,
      promise: load(controller.signal).then(
        (tile) => {
          this.#finish(key, pending);
          this.#keep(key, tile);
          return tile;
        },
        (error: unknown) => {
          this.#finish(key, pending);
          throw error;
        },
      ),
    };
    this.#pending.set(key, pending);
    return pending;
  }

  #finish(key: string, pending: Pending): void {
    // A key that was aborted and asked for again belongs to the newer request.
    if (this.#pending.get(key) === pending) this.#pending.delete(key);
  }

  #keep(key: string, tile: CountTile): void {
    const old = this.#tiles.get(key);
    if (old) this.#bytes -= old.bytes;
    this.#tiles.delete(key);
    this.#tiles.set(key, tile);
    this.#bytes += tile.bytes;
    for (const [oldest, { bytes }] of this.#tiles) {
      if (this.#bytes <= this.budgetBytes || oldest === key) break;
      this.#tiles.delete(oldest);
      this.#bytes -= bytes;
    }
  }
}
