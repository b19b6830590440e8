/**
 * Where a map looks at first: at nearly all points, not at all of them. A few rows at (0, 0), where unknown positions end up,
 * or half a world away would make everything else a dot. Decided from counts that the server has anyway.
 */

import { latFromY, lonFromX, tileAt, xFromLon, yFromLat, type Bounds, type CountTile, type Dataset, type Stats } from "../core/index.js";

/** Share of the points that the first view holds. */
const KEPT = 0.99;

/** All points are shown unless leaving some out brings the rest this many zoom levels nearer. */
const GAIN_LEVELS = 1;

/** Each round looks closer at what the former one kept. */
const ROUNDS = 3;

/** Columns and rows of tiles that a round may ask for. */
const TILES_SIDE = 2;

const PIXELS = 256;

/** In pixels of a grid, ends included. */
interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

interface Grid {
  readonly width: number;
  readonly height: number;
  /** Points per pixel, row by row, row 0 north. */
  readonly counts: Float64Array;
}

/** What to look at first: the dataset's bounds, or a smaller box with nearly all of its points. */
export async function firstView(dataset: Dataset, { bounds, data_version, zooms }: Stats): Promise<Bounds> {
  let [view, left] = [bounds, false];
  for (let round = 0; round < ROUNDS; round++) {
    const inner = await denseBounds(dataset, view, data_version, zooms.max);
    if (!inner || Math.log2(extent(view) / extent(inner)) < GAIN_LEVELS) return left && inner ? inner : view;
    [view, left] = [inner, true];
  }
  return view;
}

async function denseBounds(dataset: Dataset, bounds: Bounds, version: string, zoomMax: number): Promise<Bounds | null> {
  const [x0, x1] = [xFromLon(bounds[0]), xFromLon(bounds[2])];
  const [y0, y1] = [yFromLat(bounds[3]), yFromLat(bounds[1])];
  // An antimeridian in between, or a single place: there is nothing to leave out.
  if (!(x1 > x0) || !(y1 > y0)) return null;
  // As deep as the tiles that cover it are few.
  let z = 0;
  const across = (from: number, to: number, zoom: number): number => tileAt(to, zoom) - tileAt(from, zoom) + 1;
  while (z < zoomMax && across(x0, x1, z + 1) <= TILES_SIDE && across(y0, y1, z + 1) <= TILES_SIDE) z += 1;
  const [left, top] = [tileAt(x0, z), tileAt(y0, z)];
  const [columns, rows] = [across(x0, x1, z), across(y0, y1, z)];
  const ids = Array.from({ length: columns * rows }, (_, k) => ({ z, x: left + (k % columns), y: top + Math.floor(k / columns) }));
  const tiles = await Promise.all(ids.map((id) => dataset.countTile(id, { by: "none", v: version })));
  const grid = joined(tiles, columns, rows);
  // The pixel south-east of (0, 0) is where the four middle tiles of the world meet.
  const middle = 2 ** z * (PIXELS / 2);
  const box = denseBox(grid, { i: middle - left * PIXELS, j: middle - top * PIXELS });
  if (!box) return null;
  const size = 2 ** z * PIXELS;
  const [west, east] = [lonFromX((left * PIXELS + box.left) / size), lonFromX((left * PIXELS + box.right + 1) / size)];
  const [north, south] = [latFromY((top * PIXELS + box.top) / size), latFromY((top * PIXELS + box.bottom + 1) / size)];
  // A pixel is coarser than a bound.
  return [Math.max(west, bounds[0]), Math.max(south, bounds[1]), Math.min(east, bounds[2]), Math.min(north, bounds[3])];
}

function joined(tiles: readonly CountTile[], columns: number, rows: number): Grid {
  const grid = { width: columns * PIXELS, height: rows * PIXELS, counts: new Float64Array(columns * rows * PIXELS * PIXELS) };
  tiles.forEach(({ data }, k) => {
    const [left, top] = [(k % columns) * PIXELS, Math.floor(k / columns) * PIXELS];
    for (let j = 0; j < PIXELS; j++) grid.counts.set(data.subarray(j * PIXELS, (j + 1) * PIXELS), (top + j) * grid.width + left);
  });
  return grid;
}

/**
 * The box that leaves out half a percent of the points on each of its four sides at most; null where there are no points.
 * @param zero The pixel of (0, 0), which may lie outside: it counts only where its neighbours have points too.
 */
export function denseBox({ width, height, counts }: Grid, zero: { readonly i: number; readonly j: number }): Box | null {
  const at = (i: number, j: number): number => (i < 0 || j < 0 || i >= width || j >= height ? 0 : (counts[j * width + i] ?? 0));
  let around = 0;
  for (let dj = -1; dj <= 1; dj++) for (let di = -1; di <= 1; di++) if (di !== 0 || dj !== 0) around += at(zero.i + di, zero.j + dj);
  const lost = around === 0 ? at(zero.i, zero.j) : 0;
  const byColumn = new Float64Array(width);
  const byRow = new Float64Array(height);
  let total = 0;
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const count = counts[j * width + i] ?? 0;
      if (count === 0 || (i === zero.i && j === zero.j && lost > 0)) continue;
      byColumn[i] = (byColumn[i] ?? 0) + count;
      byRow[j] = (byRow[j] ?? 0) + count;
      total += count;
    }
  }
  if (total === 0) return null;
  const spare = ((1 - KEPT) / 2) * total;
  const first = (line: Float64Array): number => {
    let passed = 0;
    return line.findIndex((count) => (passed += count) > spare);
  };
  const last = (line: Float64Array): number => line.length - 1 - first(line.slice().reverse());
  return { left: first(byColumn), top: first(byRow), right: last(byColumn), bottom: last(byRow) };
}

/** The longer side of a box, as a share of the world. */
function extent([west, south, east, north]: Bounds): number {
  return Math.max(xFromLon(east) - xFromLon(west), yFromLat(south) - yFromLat(north));
}
