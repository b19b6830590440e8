/**
 * Mapbox GL (1.13 and later): it has neither `addProtocol` nor, in 1.13, WebGL2, so the visible tiles are coloured into
 * one canvas that a canvas source lays over the map. The canvas covers whole tiles and is redrawn only when the set
 * of tiles, their counts or their colours change, never for a mere pan within it.
 */

import type { Shading } from "../core/shader.js";
import type { CountTile } from "../core/tile.js";
import { isAbort } from "../core/problem.js";
import { latFromY, lonFromX, xFromLon, yFromLat, type TileId } from "../core/mercator.js";

type Corner = [number, number];
type Corners = [Corner, Corner, Corner, Corner];

/** The parts of mapboxgl.Map that are used here. */
export interface MapboxMap {
  getBounds(): { getWest(): number; getSouth(): number; getEast(): number; getNorth(): number };
  getZoom(): number;
  addSource(id: string, source: { type: "canvas"; canvas: HTMLCanvasElement; coordinates: Corners; animate: boolean }): unknown;
  getSource(id: string): unknown;
  addLayer(layer: { id: string; type: "raster"; source: string; paint: Record<string, unknown> }, before?: string): unknown;
  removeLayer(id: string): unknown;
  removeSource(id: string): unknown;
  on(event: "moveend", listener: () => void): unknown;
  off(event: "moveend", listener: () => void): unknown;
}

interface CanvasSource {
  setCoordinates(corners: Corners): unknown;
  play(): void;
  pause(): void;
}

export interface CountOverlayOptions {
  readonly id?: string;
  readonly minzoom: number;
  readonly maxzoom: number;
  readonly load: (id: TileId, signal: AbortSignal) => Promise<CountTile>;
  readonly shading: (zoom: number) => Shading | null;
  readonly before?: string;
  readonly onError?: (error: unknown) => void;
}

export interface CountOverlay {
  /** Colours what is there anew. */
  repaint(): void;
  /** Fetches the visible tiles anew; a newer call aborts an older one. */
  reload(): void;
  remove(): void;
}

const TILE_SIZE = 256;

/**
 * Empty rows below the tiles, so that the canvas is never a square with a power of two for its side: Mapbox GL would
 * choose mipmap filtering for it, which it has no mipmaps for, and draw black.
 */
const MARGIN = 1;

/** Adds the overlay; call it once the map's style has loaded. */
export function countOverlay(map: MapboxMap, options: CountOverlayOptions): CountOverlay {
  const id = options.id ?? "pointillist";
  const canvas = document.createElement("canvas");
  const image = new ImageData(TILE_SIZE, TILE_SIZE);
  let range = rangeOf(map, options);
  let tiles: CountTile[] = [];
  let controller = new AbortController();

  canvas.width = TILE_SIZE;
  canvas.height = TILE_SIZE + MARGIN;
  map.addSource(id, { type: "canvas", canvas, coordinates: corners(range), animate: false });
  map.addLayer({ id, type: "raster", source: id, paint: { "raster-fade-duration": 0, "raster-resampling": "nearest" } }, options.before);

  const repaint = (): void => {
    const [columns, rows] = [range.x1 - range.x0 + 1, range.y1 - range.y0 + 1];
    canvas.width = columns * TILE_SIZE;
    canvas.height = rows * TILE_SIZE + MARGIN;
    const context = canvas.getContext("2d");
    const shading = options.shading(range.z);
    const source = map.getSource(id) as CanvasSource | undefined;
    if (!context || !source) return;
    for (const tile of shading ? tiles : []) {
      shading?.paint(tile, image.data);
      context.putImageData(image, (tile.id.x - range.x0) * TILE_SIZE, (tile.id.y - range.y0) * TILE_SIZE);
    }
    source.setCoordinates(corners(range));
    // A canvas source uploads its canvas only while it plays; one frame is enough.
    source.play();
    source.pause();
  };

  const reload = (): void => {
    controller.abort();
    const mine = new AbortController();
    controller = mine;
    const next = rangeOf(map, options);
    const loads: Promise<CountTile>[] = [];
    for (let y = next.y0; y <= next.y1; y++) for (let x = next.x0; x <= next.x1; x++) loads.push(options.load({ z: next.z, x, y }, mine.signal));
    Promise.all(loads).then(
      (loaded) => {
        if (mine.signal.aborted) return;
        [tiles, range] = [loaded, next];
        repaint();
      },
      (error: unknown) => {
        if (!isAbort(error)) options.onError?.(error);
      },
    );
  };

  map.on("moveend", reload);
  reload();
  return {
    repaint,
    reload,
    remove() {
      controller.abort();
      map.off("moveend", reload);
      map.removeLayer(id);
      map.removeSource(id);
    },
  };
}

interface Range {
  readonly z: number;
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** The tiles in view. Mapbox counts zooms in 512-pixel tiles, hence the one added; the world is not repeated. */
function rangeOf(map: MapboxMap, { minzoom, maxzoom }: CountOverlayOptions): Range {
  const bounds = map.getBounds();
  const z = Math.max(minzoom, Math.min(maxzoom, Math.floor(map.getZoom() + 1)));
  const n = 2 ** z;
  const clamp = (v: number): number => Math.max(0, Math.min(n - 1, Math.floor(v * n)));
  return { z, x0: clamp(xFromLon(bounds.getWest())), x1: clamp(xFromLon(bounds.getEast())), y0: clamp(yFromLat(bounds.getNorth())), y1: clamp(yFromLat(bounds.getSouth())) };
}

function corners({ z, x0, y0, x1, y1 }: Range): Corners {
  const n = 2 ** z;
  const [west, east, north, south] = [lonFromX(x0 / n), lonFromX((x1 + 1) / n), latFromY(y0 / n), latFromY((y1 + 1 + MARGIN / TILE_SIZE) / n)];
  return [[west, north], [east, north], [east, south], [west, south]];
}
