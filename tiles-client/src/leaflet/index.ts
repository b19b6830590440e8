/**
 * Leaflet: a `GridLayer` that colours count tiles. A change of palette, scale or visible categories repaints what is
 * there without asking the server; a change of filter keeps the old picture until the new counts have come.
 */

import type * as Leaflet from "leaflet";
import { isAbort } from "../core/problem.js";
import type { Shading } from "../core/shader.js";
import type { CountTile } from "../core/tile.js";

export type { Shading } from "../core/shader.js";

export interface CountLayerOptions extends Leaflet.GridLayerOptions {
  /** Fetches the counts of a tile; called again for every visible tile after `reload`. */
  readonly load: (id: { z: number; x: number; y: number }, signal: AbortSignal) => Promise<CountTile>;
  /** Colours for a zoom, or null while they are not known yet: the tile then stays transparent until `repaint`. */
  readonly shading: (zoom: number) => Shading | null;
  readonly onError?: (error: unknown) => void;
}

export interface CountLayer extends Leaflet.GridLayer {
  /** Colours all visible tiles anew from the counts that are there. */
  repaint(): void;
  /** Fetches the counts of all visible tiles anew; a newer call aborts an older one. */
  reload(): void;
  /** Counts per category under a place, or null where no tile is loaded. */
  countsAt(place: Leaflet.LatLng): number[] | null;
}

interface Shown {
  readonly canvas: HTMLCanvasElement;
  readonly coords: Leaflet.Coords;
  counts: CountTile | null;
  controller: AbortController;
}

const TILE_SIZE = 256;

/** @param L The Leaflet module, so that this package need not depend on one. */
export function countLayer(L: typeof Leaflet, options: CountLayerOptions): CountLayer {
  const shown = new Map<HTMLElement, Shown>();
  // One buffer for all tiles: painting is synchronous, and putImageData copies.
  const image = new ImageData(TILE_SIZE, TILE_SIZE);

  const paint = ({ canvas, coords, counts }: Shown): void => {
    const shading = options.shading(coords.z);
    const context = canvas.getContext("2d");
    if (!counts || !shading || !context) return;
    shading.paint(counts, image.data);
    context.putImageData(image, 0, 0);
  };

  const fetchInto = async (tile: Shown): Promise<void> => {
    tile.controller.abort();
    const controller = new AbortController();
    tile.controller = controller;
    const counts = await options.load(tile.coords, controller.signal);
    if (controller.signal.aborted) return;
    tile.counts = counts;
    paint(tile);
  };

  const report = (error: unknown): void => {
    if (!isAbort(error)) options.onError?.(error);
  };

  const Grid = L.GridLayer.extend({
    createTile(coords: Leaflet.Coords, done: Leaflet.DoneCallback): HTMLElement {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = TILE_SIZE;
      const tile: Shown = { canvas, coords, counts: null, controller: new AbortController() };
      shown.set(canvas, tile);
      fetchInto(tile).then(
        () => done(undefined, canvas),
        (error: unknown) => {
          report(error);
          done(error instanceof Error ? error : new Error(String(error)), canvas);
        },
      );
      return canvas;
    },
  }) as new (options: Leaflet.GridLayerOptions) => Leaflet.GridLayer;

  const layer = new Grid({ noWrap: true, ...options, tileSize: TILE_SIZE });
  layer.on("tileunload", ({ tile }: Leaflet.TileEvent) => {
    shown.get(tile)?.controller.abort();
    shown.delete(tile);
  });

  return Object.assign(layer, {
    repaint(): void {
      for (const tile of shown.values()) paint(tile);
    },
    reload(): void {
      for (const tile of shown.values()) void fetchInto(tile).catch(report);
    },
    countsAt(place: Leaflet.LatLng): number[] | null {
      const map = (layer as unknown as { _map?: Leaflet.Map })._map;
      for (const { coords, counts } of shown.values()) {
        if (!map || !counts) continue;
        const at = map.project(place, coords.z).floor();
        const [i, j] = [at.x - coords.x * TILE_SIZE, at.y - coords.y * TILE_SIZE];
        if (i >= 0 && j >= 0 && i < TILE_SIZE && j < TILE_SIZE) return counts.countsAt(i, j);
      }
      return null;
    },
  });
}
