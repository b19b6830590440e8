// MapLibre GL: counts stay on the graphics card and are coloured there. The page says which tiles it has; here, those
// that cover the view, fetched when the map comes to rest.
import "maplibre-gl/dist/maplibre-gl.css";
import * as maplibregl from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { TileCache } from "pointillist-client";
import { CountLayer } from "pointillist-client/maplibre";
import { Colours, dataset, land, panel, stats } from "./common.js";

// A bundler hides the worker from MapLibre; without it land is missing.
maplibregl.setWorkerUrl(workerUrl);
const map = new maplibregl.Map({
  container: "map",
  bounds: stats.bounds,
  fitBoundsOptions: { padding: 40 },
  attributionControl: { customAttribution: "Natural Earth" },
  style: {
    version: 8,
    sources: { land: { type: "geojson", data: land } },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": "#e3e9ee" } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": "#fbfaf8" } },
    ],
  },
});
window.map = map; // for the console
await map.once("load");

const colours = new Colours();
const cache = new TileCache();
let placed = [];
let newest = new AbortController();

async function load() {
  newest.abort();
  const { signal } = (newest = new AbortController());
  // One tile pixel for one screen pixel: MapLibre counts zooms in tiles of 512.
  const wanted = map.coveringTiles({ tileSize: 256, roundZoom: false });
  const { filter } = colours;
  try {
    await colours.prepare(wanted[0]?.canonical.z ?? 0);
    const loaded = await Promise.all(
      wanted.map(async ({ canonical: { z, x, y }, wrap }) => {
        const counts = await cache.load(`${z}/${x}/${y} ${filter}`, (inner) => dataset.countTile({ z, x, y }, { filter }, inner), signal);
        return { counts, at: counts.id, wrap };
      }),
    );
    if (signal.aborted) return;
    placed = loaded;
    layer.repaint();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

const layer = new CountLayer({ tiles: () => placed, shading: (zoom) => colours.at(zoom) });
map.addLayer(layer);
map.on("moveend", load);
await load();

panel({
  title: "MapLibre GL",
  onFilter(filter) {
    colours.filter = filter;
    return load();
  },
  onHide(hidden) {
    colours.hide(hidden);
    layer.repaint();
  },
});
