/**
 * Tiles of an aggregate (the mean speed in a pixel, say) as tiles of whole numbers: a value becomes its *level*, a
 * 32-bit number in the values' order, and 0 where a pixel has none. What colours counts then colours values too, on the
 * processor and on the graphics card, and a change of colours needs no request.
 */

import { createScale, type Scale, type ScaleName } from "./scale.js";
import { CountTile } from "./tile.js";
import type { TileId } from "./mercator.js";
import type { ValueLegend } from "./types.js";

const bits = new DataView(new ArrayBuffer(4));

/** The place of a value among all 32-bit floats: greater values have greater levels. 0 for NaN. */
export function levelOf(value: number): number {
  if (Number.isNaN(value)) return 0;
  bits.setFloat32(0, value);
  const pattern = bits.getUint32(0);
  // Negative floats run backwards; the sign bit goes first to last.
  return (pattern & 0x80000000 ? ~pattern : pattern | 0x80000000) >>> 0;
}

/** The value of a level, as a 32-bit float. */
export function valueOf(level: number): number {
  bits.setUint32(0, (level & 0x80000000 ? level & 0x7fffffff : ~level) >>> 0);
  return bits.getFloat32(0);
}

/** Levels to draw, and the values themselves to tell. */
export class ValueTile extends CountTile {
  constructor(
    id: TileId,
    readonly values: Float64Array,
  ) {
    const size = Math.sqrt(values.length);
    super(id, [1, size, size], Uint32Array.from(values, levelOf));
  }

  override get bytes(): number {
    return super.bytes + this.values.byteLength;
  }

  /** The value of the pixel in column `i`, row `j`; NaN where there is none. */
  valueAt(i: number, j: number): number {
    return this.values[j * this.size + i] ?? Number.NaN;
  }
}

/**
 * The scale of the levels of a zoom. Linear, log and cbrt are the server's own formulas; ranks are interpolated between
 * the values that the server names at even intensities.
 */
export function valueScale(how: ScaleName, legend: ValueLegend, span?: readonly [number, number]): Scale {
  const { lowest, highest, pixels } = legend.distribution;
  if (pixels === 0) return { how, min: 0, max: 0, intensity: () => 1 };
  const [lo, hi] = span && how !== "eq_hist" ? span : [lowest, highest];
  const ofValue = how === "eq_hist" ? ranks(legend.ramp_values) : createScale(how, { counts: [lo, hi], pixels: [1, 1] }).intensity;
  return { how, min: levelOf(lo), max: levelOf(hi), intensity: (level) => ofValue(valueOf(level)) };
}

function ranks(values: readonly number[]): (value: number) => number {
  const last = values.length - 1;
  return (value) => {
    if (last < 1 || value >= (values[last] ?? 0)) return 1;
    if (value <= (values[0] ?? 0)) return 0;
    let [low, high] = [0, last];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((values[middle] ?? 0) <= value) low = middle;
      else high = middle;
    }
    const [from, to] = [values[low] ?? 0, values[high] ?? 0];
    return (low + (to > from ? (value - from) / (to - from) : 1)) / last;
  };
}
