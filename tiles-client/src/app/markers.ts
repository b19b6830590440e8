/** Rows as markers: where they are and what colour their category has. */

import type { Row } from "../core/index.js";
import type { Marker } from "./map.js";
import * as state from "./state.js";

export function markerOf(row: Row): Marker[] {
  const place = (names: readonly string[]): number | null => {
    for (const name of names) {
      const value = row[name] ?? row[Object.keys(row).find((key) => key.toLowerCase() === name) ?? ""];
      if (typeof value === "number") return value;
    }
    return null;
  };
  const lon = place(["lon", "longitude", "lng", "x"]);
  const lat = place(["lat", "latitude", "y"]);
  if (lon === null || lat === null) return [];
  const by = state.stats.value?.by;
  const value = by ? row[by] : null;
  const categories = state.stats.value?.categories ?? [];
  const category =
    categories.find((candidate) => (value === null || value === undefined ? candidate.kind === "null" : candidate.kind === "value" && candidate.value === String(value))) ??
    categories.find(({ kind }) => kind === "other");
  return [{ lon, lat, row, color: by && category ? category.color : "#3b82f6" }];
}

