/** The server's colour maps, from few points to many. */

import { TABLES } from "./cmap-tables.js";
import type { Rgb } from "./shader.js";

export type CmapName = keyof typeof TABLES | "gray";

export const CMAPS: readonly CmapName[] = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "fire", "gray"];

export function isCmap(name: string): name is CmapName {
  return (CMAPS as readonly string[]).includes(name);
}

/** The 256 colours of a map. */
export function cmapColors(name: CmapName): Rgb[] {
  if (name === "gray") return Array.from({ length: 256 }, (_, i) => [i, i, i] as const);
  const digits = TABLES[name];
  return Array.from({ length: 256 }, (_, i) => {
    const value = Number.parseInt(digits.slice(6 * i, 6 * i + 6), 16);
    return [value >> 16, (value >> 8) & 255, value & 255] as const;
  });
}
