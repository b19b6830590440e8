/**
 * MapLibre's `addProtocol` route: raster tiles coloured on the CPU from counts. Works wherever MapLibre does, without
 * WebGL2 integer textures, and is the referee of the graphics-card layer.
 */

import type { Shading } from "../core/shader.js";
import type { CountTile } from "../core/tile.js";
import type { TileId } from "../core/mercator.js";

export interface ProtocolOptions {
  /** Scheme of the tile URLs, without the colon. */
  readonly scheme?: string;
  readonly load: (id: TileId, signal: AbortSignal) => Promise<CountTile>;
  readonly shading: (zoom: number, signal: AbortSignal) => Promise<Shading> | Shading;
}

/** The part of the maplibre-gl module that is used here. */
export interface ProtocolHost {
  addProtocol(
    scheme: string,
    load: (request: { url: string }, abort: AbortController) => Promise<{ data: ImageBitmap }>,
  ): void;
  removeProtocol(scheme: string): void;
}

/**
 * Registers the scheme. Use `tiles: ["SCHEME://{z}/{x}/{y}"]` with `tileSize: 256` in a raster source, and
 * `map.refreshTiles(source)` after a change of colours or filter.
 * @returns what removes the scheme again.
 */
export function countProtocol(host: ProtocolHost, { scheme = "pointillist", load, shading }: ProtocolOptions): () => void {
  host.addProtocol(scheme, async ({ url }, abort) => {
    const [z, x, y] = url.slice(scheme.length + 3).split("/").map((part) => Number.parseInt(part, 10));
    if (z === undefined || x === undefined || y === undefined || [z, x, y].some(Number.isNaN)) {
      throw new Error(`not a tile address: ${url}; expected ${scheme}://z/x/y`);
    }
    const [counts, colours] = await Promise.all([load({ z, x, y }, abort.signal), shading(z, abort.signal)]);
    const image = new ImageData(counts.size, counts.size);
    colours.paint(counts, image.data);
    return { data: await createImageBitmap(image) };
  });
  return () => host.removeProtocol(scheme);
}
