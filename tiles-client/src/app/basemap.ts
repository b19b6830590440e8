/**
 * The offline basemap as a MapLibre style: Natural Earth land and borders and the names of large cities, light and
 * dark. No glyph files: MapLibre draws the letters itself. One request. And what is drawn over any basemap: an area
 * and markers.
 */

import type { LayerSpecification, StyleSpecification } from "maplibre-gl";
import { SERVER } from "../pages/server.js";
import type { Theme } from "./state.js";

const INK: Record<Theme, { sea: string; land: string; border: string; area: string; name: string }> = {
  light: { sea: "#e3e9ee", land: "#fbfaf8", border: "#cfd4da", area: "#1f5fd6", name: "#3c4652" },
  dark: { sea: "#0b0f14", land: "#171d25", border: "#2c3540", area: "#8ab4ff", name: "#c3ccd6" },
};

/** The style of a server with a basemap of its own, by theme; null where it has none. */
export function ownStyle(theme: Theme): string | null {
  return document.querySelector<HTMLMetaElement>(`meta[name=basemap-${theme}]`)?.content || null;
}

export function offlineStyle(theme: Theme): StyleSpecification {
  const ink = INK[theme];
  return {
    version: 8,
    sources: {
      world: { type: "geojson", data: `${SERVER}/ui/basemap.json`, maxzoom: 8, buffer: 16, tolerance: 0.3, attribution: "Natural Earth" },
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": ink.sea } },
      { id: "land", type: "fill", source: "world", filter: ["==", ["get", "kind"], "land"], paint: { "fill-color": ink.land, "fill-antialias": true } },
      {
        id: "borders",
        type: "line",
        source: "world",
        filter: ["==", ["get", "kind"], "border"],
        paint: { "line-color": ink.border, "line-width": ["interpolate", ["linear"], ["zoom"], 0, 0.5, 6, 1.2] },
      },
      ...[0, 1, 2, 3, 4].map((rank): LayerSpecification => ({
        id: `cities-${rank}`,
        type: "symbol",
        source: "world",
        minzoom: 1.5 + 1.25 * rank,
        filter: ["all", ["==", ["get", "kind"], "city"], ["==", ["get", "rank"], rank]],
        layout: { "text-field": ["get", "name"], "text-size": 11, "text-font": ["sans-serif"], "text-padding": 12, "text-max-width": 8 },
        paint: { "text-color": ink.name, "text-halo-color": ink.land, "text-halo-width": 1.75, "text-opacity": 0.95 },
      })),
    ],
  };
}

/** Lines of the selected area and single points, on sources `area` and `markers`. */
export function overlays(theme: Theme): LayerSpecification[] {
  const ink = INK[theme];
  return [
    { id: "area-line", type: "line", source: "area", paint: { "line-color": ink.area, "line-width": 1.5, "line-dasharray": [3, 2] } },
    {
      id: "markers",
      type: "circle",
      source: "markers",
      paint: {
        "circle-color": ["get", "color"],
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 2, 3, 14, 6],
        "circle-stroke-color": ink.land,
        "circle-stroke-width": 1,
        "circle-opacity": 0.9,
      },
    },
  ];
}

export const EMPTY: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };
