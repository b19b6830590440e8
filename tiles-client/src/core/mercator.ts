/**
 * Web Mercator on the unit square: x grows east, y grows south, both in [0, 1]. The same projection as the server's
 * integer world, in doubles, which is exact to about a nanometre: good for pixels, not for deciding equality.
 */

/** The latitude at which the square world ends, degrees. */
export const LATITUDE_MAX = 85.05112878;

export type Bounds = readonly [west: number, south: number, east: number, north: number];

export interface TileId {
  readonly z: number;
  readonly x: number;
  readonly y: number;
}

export function xFromLon(lon: number): number {
  return lon / 360 + 0.5;
}

export function yFromLat(lat: number): number {
  const sin = Math.sin((Math.max(-LATITUDE_MAX, Math.min(LATITUDE_MAX, lat)) * Math.PI) / 180);
  return 0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI);
}

export function lonFromX(x: number): number {
  return (x - 0.5) * 360;
}

export function latFromY(y: number): number {
  return (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;
}

/** Column of the tile that holds an x in [0, 1] at a zoom, or row for a y; the world's far edge belongs to the last one. */
export function tileAt(share: number, zoom: number): number {
  return Math.min(2 ** zoom - 1, Math.floor(share * 2 ** zoom));
}

/** Bounds of a tile in degrees. */
export function tileBounds({ z, x, y }: TileId): Bounds {
  const n = 2 ** z;
  return [lonFromX(x / n), latFromY((y + 1) / n), lonFromX((x + 1) / n), latFromY(y / n)];
}

/** The tile of zoom `z` and the pixel in it (column i, row j, of `size` pixels) that hold a place. */
export function pixelFromLonLat(lon: number, lat: number, z: number, size = 256): { tile: TileId; i: number; j: number } {
  const n = 2 ** z * size;
  const wrapped = xFromLon(lon) - Math.floor(xFromLon(lon));
  const px = Math.min(n - 1, Math.floor(wrapped * n));
  const py = Math.max(0, Math.min(n - 1, Math.floor(yFromLat(lat) * n)));
  return { tile: { z, x: Math.floor(px / size), y: Math.floor(py / size) }, i: px % size, j: py % size };
}

/** Bounds of one pixel in degrees. */
export function pixelBounds(tile: TileId, i: number, j: number, size = 256): Bounds {
  const n = 2 ** tile.z * size;
  const px = tile.x * size + i;
  const py = tile.y * size + j;
  return [lonFromX(px / n), latFromY((py + 1) / n), lonFromX((px + 1) / n), latFromY(py / n)];
}
