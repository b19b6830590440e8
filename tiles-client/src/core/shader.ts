/**
 * From counts to colours on the CPU. A `Shading` is prepared once per distribution and style; colouring a tile is then
 * one pass over its counts with a table lookup per pixel. The graphics-card layer runs the same tables, so the two are
 * each other's test.
 */

import type { Scale } from "./scale.js";
import type { CountTile } from "./tile.js";

export type Rgb = readonly [red: number, green: number, blue: number];

/** `#rrggbb` or `rrggbb`. @throws Error naming the text when it is neither. */
export function parseColor(text: string): Rgb {
  const hex = /^#?([0-9a-f]{6})$/i.exec(text)?.[1];
  if (!hex) throw new Error(`not a colour: "${text}"; expected #rrggbb`);
  const value = Number.parseInt(hex, 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export interface CategoricalStyle {
  readonly kind: "categories";
  /** One colour per plane of the tile. */
  readonly colors: readonly Rgb[];
  /** Planes that count; a hidden plane contributes neither colour nor weight. */
  readonly visible: readonly boolean[];
  /** Alpha of the smallest total, 0-255. */
  readonly minAlpha: number;
}

export interface RampStyle {
  readonly kind: "ramp";
  /** Colours from the smallest to the largest total, at equal distances. */
  readonly ramp: readonly Rgb[];
  readonly visible: readonly boolean[];
}

export type Style = CategoricalStyle | RampStyle;

/** Totals below this are looked up in one step; greater ones are rare and searched for. */
const TABLE_SIZE = 8192;

/** `values[k]` holds for totals from `totals[k]` up to, not including, `totals[k + 1]`. Packed 0xAABBGGRR. */
export interface Steps {
  readonly totals: Uint32Array;
  readonly values: Uint32Array;
}

export class Shading {
  readonly steps: Steps;
  /** Of the first totals. Made when a tile is painted here: a graphics card needs the steps only. */
  #table: Uint32Array | null = null;

  constructor(
    readonly scale: Scale,
    readonly style: Style,
  ) {
    this.steps = stepsOf(scale, style);
  }

  #tableOfSteps(): Uint32Array {
    if (this.#table) return this.#table;
    const { totals, values } = this.steps;
    const table = new Uint32Array(Math.min(TABLE_SIZE, this.scale.max + 1));
    // From step to step, each a run of equal values.
    table.fill(values[0] ?? 0, 1);
    for (let k = 0; k < totals.length; k++) table.fill(values[k] ?? 0, Math.min(table.length, totals[k] ?? 0));
    return (this.#table = table);
  }

  /** The packed colour of a total: for categories only its alpha (top byte) means something. */
  value(total: number): number {
    if (total <= 0) return 0;
    const { totals, values } = this.steps;
    let low = 0;
    let high = totals.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((totals[middle] ?? 0) <= total) low = middle;
      else high = middle;
    }
    return values[low] ?? 0;
  }

  /** Colours a tile. `out` has size * size * 4 bytes, RGBA, not premultiplied, row 0 north. */
  paint(tile: CountTile, out: Uint8ClampedArray): void {
    const pixels = new Uint32Array(out.buffer, out.byteOffset, tile.size * tile.size);
    pixels.fill(0);
    if (tile.empty) return;
    if (this.style.kind === "categories") this.#paintCategories(tile, pixels, this.style);
    else this.#paintRamp(tile, pixels, this.style.visible);
  }

  #paintCategories(tile: CountTile, pixels: Uint32Array, style: CategoricalStyle): void {
    const plane = tile.size * tile.size;
    const { data, occupied } = tile;
    const table = this.#tableOfSteps();
    const planes = visiblePlanes(tile, style.visible);
    const offsets = Uint32Array.from(planes, (c) => c * plane);
    const [reds, greens, blues] = ([0, 1, 2] as const).map((channel) => Float64Array.from(planes, (c) => style.colors[c]?.[channel] ?? 0)) as [Float64Array, Float64Array, Float64Array];
    const pure = Uint32Array.from(planes, (_, k) => ((blues[k] as number) << 16) | ((greens[k] as number) << 8) | (reds[k] as number));
    for (let at = 0; at < occupied.length; at++) {
      const p = occupied[at] as number;
      let total = 0;
      let only = -1;
      for (let k = 0; k < offsets.length; k++) {
        const count = data[(offsets[k] as number) + p] as number;
        if (count === 0) continue;
        only = total === 0 ? k : -1;
        total += count;
      }
      if (total === 0) continue;
      const alpha = (total < table.length ? (table[total] as number) : this.value(total)) & 0xff000000;
      if (only >= 0) {
        // Most pixels have points of one category, whose colour needs no mixing.
        pixels[p] = (alpha | (pure[only] as number)) >>> 0;
        continue;
      }
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let k = 0; k < offsets.length; k++) {
        const count = data[(offsets[k] as number) + p] as number;
        red += count * (reds[k] as number);
        green += count * (greens[k] as number);
        blue += count * (blues[k] as number);
      }
      pixels[p] = (alpha | (((blue / total) | 0) << 16) | (((green / total) | 0) << 8) | ((red / total) | 0)) >>> 0;
    }
  }

  #paintRamp(tile: CountTile, pixels: Uint32Array, visible: readonly boolean[]): void {
    const plane = tile.size * tile.size;
    const { data, occupied } = tile;
    const table = this.#tableOfSteps();
    const offsets = Uint32Array.from(visiblePlanes(tile, visible), (c) => c * plane);
    for (let at = 0; at < occupied.length; at++) {
      const p = occupied[at] as number;
      let total = 0;
      for (let k = 0; k < offsets.length; k++) total += data[(offsets[k] as number) + p] as number;
      if (total > 0) pixels[p] = total < table.length ? (table[total] as number) : this.value(total);
    }
  }
}

function visiblePlanes(tile: CountTile, visible: readonly boolean[]): number[] {
  return Array.from({ length: tile.categories }, (_, c) => c).filter((c) => visible[c] ?? true);
}

/** The totals at which the 8-bit colour changes: a few hundred, however many totals there are. */
function stepsOf(scale: Scale, style: Style): Steps {
  const colour = style.kind === "categories" ? alphaOf(scale, style.minAlpha) : rampOf(scale, style.ramp);
  const totals: number[] = [];
  const values: number[] = [];
  const push = (total: number, value: number): void => {
    totals.push(total);
    values.push(value);
  };
  if (scale.max > 0) {
    const first = Math.max(1, scale.min);
    push(first, colour(first));
    bisect(first, scale.max, colour(first), colour(scale.max), colour, push);
  }
  return { totals: Uint32Array.from(totals), values: Uint32Array.from(values) };
}

/** Reports every change of a function between two totals; right because intensity is monotone. */
function bisect(lo: number, hi: number, atLo: number, atHi: number, colour: (total: number) => number, push: (total: number, value: number) => void): void {
  if (atLo === atHi) return;
  if (hi - lo <= 1) {
    push(hi, atHi);
    return;
  }
  const middle = Math.floor((lo + hi) / 2);
  const atMiddle = colour(middle);
  bisect(lo, middle, atLo, atMiddle, colour, push);
  bisect(middle, hi, atMiddle, atHi, colour, push);
}

function alphaOf(scale: Scale, minAlpha: number): (total: number) => number {
  return (total) => (Math.trunc(minAlpha + (255 - minAlpha) * scale.intensity(total)) << 24) >>> 0;
}

function rampOf(scale: Scale, ramp: readonly Rgb[]): (total: number) => number {
  return (total) => {
    const [red, green, blue] = rampColor(ramp, scale.intensity(total));
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  };
}

/** The colour at an intensity in [0, 1], each channel interpolated and truncated. */
export function rampColor(ramp: readonly Rgb[], intensity: number): Rgb {
  const last = ramp.length - 1;
  const at = intensity * last;
  const k = Math.min(Math.max(0, last - 1), Math.floor(at));
  const from = ramp[k] ?? [0, 0, 0];
  const to = ramp[k + 1] ?? from;
  const mix = (channel: 0 | 1 | 2): number => Math.trunc(from[channel] + (to[channel] - from[channel]) * (at - k));
  return [mix(0), mix(1), mix(2)];
}
