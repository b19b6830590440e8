/**
 * Listens for changes of the data while a dataset is open: what has changed is asked for again, and nothing else. A page that
 * nobody looks at does not listen, and catches up when it is looked at again: browsers open six connections to a server.
 */

import type { Dataset, ServerEvent, TileId } from "../core/index.js";

/** Zoom of the tiles that the server names: some 40 km a side. A deeper tile is asked for again with all of its neighbours there. */
const ZOOM = 10;

export interface Change {
  readonly version: string;
  /** Whether a tile may hold other points than before. */
  readonly isStale: (id: TileId) => boolean;
}

export class Changes {
  readonly #onChange: (change: Change) => void;
  #listening = new AbortController();
  #dataset: Dataset | null = null;
  /** The version of what is on screen. */
  #version = "";

  constructor(onChange: (change: Change) => void) {
    this.#onChange = onChange;
    document.addEventListener("visibilitychange", () => this.#listen());
  }

  /** Listens to a dataset from now on, and no longer to the one before. */
  of(dataset: Dataset | null, version: string): void {
    [this.#dataset, this.#version] = [dataset, version];
    this.#listen();
  }

  #listen(): void {
    this.#listening.abort();
    this.#listening = new AbortController();
    if (document.hidden || !this.#dataset) return;
    void this.#dataset.listen(this.#version, ZOOM, (event) => this.#heard(event), this.#listening.signal);
  }

  #heard(event: ServerEvent): void {
    const change = changeOf(event);
    if (!change || change.version === this.#version) return;
    this.#version = change.version;
    this.#onChange(change);
  }
}

/** What an event means; null for those that tell of no change, or of something that later servers may tell. */
export function changeOf({ name, data }: ServerEvent): Change | null {
  if (name !== "changed" && name !== "version") return null;
  const told = JSON.parse(data) as { data_version: string; zoom?: number; tiles?: readonly string[] | null };
  const { data_version: version, zoom, tiles } = told;
  // Too many to name, or unknown since when: all of them.
  if (zoom === undefined || !tiles) return { version, isStale: () => true };
  const changed = tiles.map((text) => text.split("/").map(Number)).map(([z = 0, x = 0, y = 0]) => ({ z, x, y }));
  const named = new Set(tiles);
  return {
    version,
    isStale: ({ z, x, y }) => {
      const up = z - zoom;
      if (up >= 0) return named.has(`${zoom}/${x >> up}/${y >> up}`);
      return changed.some((tile) => tile.x >> -up === x && tile.y >> -up === y);
    },
  };
}
