/**
 * From a pixel's total count to its intensity, by the one distribution of a (dataset, filter, zoom). The formulas are
 * Datashader's, with the offset and range taken over a whole zoom instead of one image, as the server does it, so
 * that client and server agree in every level and tiles have no seams.
 */

import type { Distribution } from "./types.js";

export const SCALES = ["eq_hist", "log", "cbrt", "linear"] as const;
export type ScaleName = (typeof SCALES)[number];

export interface Scale {
  readonly how: ScaleName;
  /** Smallest and largest total of the zoom; 0 and 0 when it holds no points. */
  readonly min: number;
  readonly max: number;
  /** Intensity in [0, 1] of a total >= 1. Monotone; totals outside the distribution are clamped. */
  intensity(total: number): number;
}

export function createScale(how: ScaleName, distribution: Distribution, span?: readonly [number, number]): Scale {
  const { counts } = distribution;
  const min = span && how !== "eq_hist" ? span[0] : (counts[0] ?? 0);
  const max = span && how !== "eq_hist" ? span[1] : (counts[counts.length - 1] ?? 0);
  const curve = how === "eq_hist" ? equalised(distribution) : CURVES[how];
  const low = curve(0);
  const high = curve(max - min);
  return {
    how,
    min,
    max,
    intensity(total) {
      // The end exactly, so that the greatest total has the full colour whatever the rounding.
      if (total >= max || low >= high) return 1;
      const value = curve(Math.max(min, total) - min);
      return Math.max(0, Math.min(1, (value - low) / (high - low)));
    },
  };
}

type Curve = (excess: number) => number;

const CURVES: Record<Exclude<ScaleName, "eq_hist">, Curve> = {
  linear: (excess) => excess,
  log: (excess) => Math.log1p(excess),
  // As Datashader: a power, where Math.cbrt would round differently.
  cbrt: (excess) => excess ** (1 / 3),
};

/**
 * The share of non-empty pixels with at most a count. The distribution is exact, so the histogram needs no bins: its
 * nodes are the counts that occur.
 */
function equalised({ counts, pixels }: Distribution): Curve {
  const min = counts[0] ?? 0;
  const nodes = Float64Array.from(counts, (count) => count - min);
  const sum = pixels.reduce((total, here) => total + here, 0);
  let upTo = 0;
  const cdf = Float64Array.from(pixels, (here) => (upTo += here) / sum);
  return (excess) => interpolate(nodes, cdf, excess);
}

/** Linear between nodes, constant beyond the first and the last. */
function interpolate(nodes: Float64Array, values: Float64Array, at: number): number {
  const last = nodes.length - 1;
  if (last < 0) return 0;
  if (at <= (nodes[0] ?? 0)) return values[0] ?? 0;
  if (at >= (nodes[last] ?? 0)) return values[last] ?? 0;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((nodes[middle] ?? 0) <= at) low = middle;
    else high = middle;
  }
  const [x0, x1, y0, y1] = [nodes[low] ?? 0, nodes[high] ?? 0, values[low] ?? 0, values[high] ?? 0];
  return y0 + ((y1 - y0) / (x1 - x0)) * (at - x0);
}
