/**
 * Each adapter in its own map library, against the server's PNG tiles in the same library: the same pixels, or nearly so
 * where the library resamples. The pages exist only here; libraries come from node_modules, the package from the server.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { PNG } from "pngjs";
import { expect, test, url, type Dashboard } from "./fixture.js";

const MODULES = join(import.meta.dirname, "../node_modules");
const TYPES: Record<string, string> = { js: "text/javascript", mjs: "text/javascript", css: "text/css" };

/** What every page starts with: counts, colours and a map that fills the window. */
const PRELUDE = `
  import { Client, Shading, createScale, parseColor } from "/ui/lib/core.js";
  const dataset = new Client().dataset("towers");
  const stats = await dataset.stats();
  const load = (id, signal) => dataset.countTile({ z: id.z, x: id.x, y: id.y }, {}, signal);
  const shadings = new Map();
  for (let zoom = 0; zoom < 6; zoom++) {
    const { distribution } = await dataset.legend({ zoom });
    shadings.set(zoom, new Shading(createScale("eq_hist", distribution), {
      kind: "categories", colors: stats.categories.map(({ color }) => parseColor(color)), visible: stats.categories.map(() => true), minAlpha: 40,
    }));
  }
  const shading = (zoom) => shadings.get(zoom);
  const png = location.origin + "/towers/{z}/{x}/{y}.png?min_alpha=40";
  const blank = { version: 8, sources: {}, layers: [{ id: "paper", type: "background", paint: { "background-color": "#ffffff" } }] };
`;

/** Opens a page of the test's own, on the server's origin; resolves once its script has set `window.done`. */
async function open({ page }: Dashboard, styles: string, script: string, mapbox = join(MODULES, "mapbox-gl")): Promise<void> {
  await page.route("**/e2e/**", (route) => {
    const path = new URL(route.request().url()).pathname.slice("/e2e/".length);
    if (path === "page") {
      const body = `<!doctype html><link rel="icon" href="data:,">${styles}<style>html,body,#map{height:100%;margin:0;background:#fff}</style><div id="map"></div><script type="module">${PRELUDE}${script}</script>`;
      return route.fulfill({ contentType: "text/html", body });
    }
    const file = path.startsWith("mapbox-gl/") ? join(mapbox, path.slice("mapbox-gl/".length)) : join(MODULES, path);
    return route.fulfill({ contentType: TYPES[path.split(".").pop() ?? ""] ?? "application/octet-stream", body: readFileSync(file) });
  });
  await page.goto(`${url()}/e2e/page`);
  await page.waitForFunction(() => (window as { done?: boolean }).done === true);
  await page.waitForTimeout(500);
}

/** Share of pixels that differ by more than a few levels, and how many of the first are coloured. */
function difference(a: PNG, b: PNG, levels: number): { share: number; coloured: number } {
  let [different, coloured] = [0, 0];
  for (let p = 0; p < a.data.length; p += 4) {
    const at = [0, 1, 2].map((k) => [a.data[p + k] ?? 0, b.data[p + k] ?? 0] as const);
    if (at.some(([x]) => x < 250)) coloured++;
    if (at.some(([x, y]) => Math.abs(x - y) > levels)) different++;
  }
  return { share: different / (a.data.length / 4), coloured };
}

const LEAFLET = `<link rel="stylesheet" href="/e2e/leaflet/dist/leaflet.css">`;
const leafletMap = `
  import * as L from "/e2e/leaflet/dist/leaflet-src.esm.js";
  const map = L.map("map", { zoomControl: false, attributionControl: false, fadeAnimation: false, zoomAnimation: false }).setView([48, 10], 4);
  const bounds = [[-85.06, -180], [85.06, 180]];
`;

test("Leaflet: counts look as the PNG tiles do", async ({ dashboard }) => {
  await open(dashboard, LEAFLET, `${leafletMap}
    L.tileLayer(png, { bounds, noWrap: true }).on("load", () => (window.done = true)).addTo(map);`);
  const tiles = await dashboard.pixels();
  await open(dashboard, LEAFLET, `${leafletMap}
    import { countLayer } from "/ui/lib/leaflet.js";
    const layer = countLayer(L, { load, shading, bounds });
    layer.on("load", () => { window.counts = layer.countsAt(map.getCenter()); window.done = true; });
    layer.addTo(map);`);
  const counts = await dashboard.pixels();
  const { share, coloured } = difference(tiles, counts, 1);
  expect(coloured).toBeGreaterThan(1000);
  expect(share).toBe(0);
  expect(await dashboard.page.evaluate(() => Array.isArray((window as { counts?: unknown }).counts))).toBe(true);
});

const MAPLIBRE = `<link rel="stylesheet" href="/e2e/maplibre-gl/dist/maplibre-gl.css">`;
const maplibreMap = `
  import * as maplibregl from "/e2e/maplibre-gl/dist/maplibre-gl.mjs";
  maplibregl.setWorkerUrl("/e2e/maplibre-gl/dist/maplibre-gl-worker.mjs");
  const map = new maplibregl.Map({ container: "map", style: blank, center: [10, 48], zoom: 3, fadeDuration: 0, attributionControl: false });
  await map.once("load");
  const raster = (tiles) => {
    map.addSource("s", { type: "raster", tiles: [tiles], tileSize: 256 });
    map.addLayer({ id: "l", type: "raster", source: "s", paint: { "raster-fade-duration": 0, "raster-resampling": "nearest" } });
    map.once("idle", () => (window.done = true));
  };
`;

test("MapLibre: the graphics-card layer, the protocol and the PNG tiles look alike", async ({ dashboard }) => {
  await open(dashboard, MAPLIBRE, `${maplibreMap} raster(png);`);
  const tiles = await dashboard.pixels();
  await open(dashboard, MAPLIBRE, `${maplibreMap}
    import { countProtocol } from "/ui/lib/maplibre.js";
    countProtocol(maplibregl, { load, shading });
    raster("pointillist://{z}/{x}/{y}");`);
  const protocol = await dashboard.pixels();
  await open(dashboard, MAPLIBRE, `${maplibreMap}
    import { CountLayer } from "/ui/lib/maplibre.js";
    const ids = map.coveringTiles({ tileSize: 256, roundZoom: true });
    const placed = await Promise.all(ids.map(async ({ canonical, wrap }) => {
      const counts = await load(canonical);
      return { counts, at: counts.id, wrap };
    }));
    map.addLayer(new CountLayer({ tiles: () => placed, shading }));
    map.once("idle", () => (window.done = true));`);
  const card = await dashboard.pixels();
  const first = difference(tiles, protocol, 2);
  expect(first.coloured).toBeGreaterThan(1000);
  expect(first.share, "protocol against PNG").toBeLessThan(0.001);
  expect(difference(protocol, card, 2).share, "graphics card against protocol").toBeLessThan(0.001);
});

const MAPBOX = `<link rel="stylesheet" href="/e2e/mapbox-gl/dist/mapbox-gl.css"><script src="/e2e/mapbox-gl/dist/mapbox-gl.js"></script>`;
const mapboxMap = `
  const map = new mapboxgl.Map({ container: "map", style: blank, center: [10, 48], zoom: 3, fadeDuration: 0, attributionControl: false, projection: "mercator" });
  await new Promise((resolve) => map.once("load", resolve));
`;

/** Draws the server's PNG tiles, then counts on a canvas, and compares. */
async function compareMapbox(dashboard: Dashboard, prepare = "", folder?: string): Promise<void> {
  await open(dashboard, MAPBOX, `${prepare}${mapboxMap}
    map.addSource("s", { type: "raster", tiles: [png], tileSize: 256 });
    map.addLayer({ id: "l", type: "raster", source: "s", paint: { "raster-fade-duration": 0, "raster-resampling": "nearest" } });
    map.once("idle", () => (window.done = true));`, folder);
  const tiles = await dashboard.pixels();
  await open(dashboard, MAPBOX, `${prepare}${mapboxMap}
    import { countOverlay } from "/ui/lib/mapbox.js";
    let loads = 0;
    countOverlay(map, { minzoom: 0, maxzoom: 5, shading, load: async (id, signal) => { loads++; const tile = await load(id, signal); loads--; return tile; }, onError: (error) => console.error(String(error)) });
    const wait = setInterval(() => { if (loads === 0) { clearInterval(wait); setTimeout(() => (window.done = true), 500); } }, 100);`, folder);
  const canvas = await dashboard.pixels();
  const { share, coloured } = difference(tiles, canvas, 3);
  expect(coloured).toBeGreaterThan(1000);
  expect(share).toBeLessThan(0.005);
}

test("Mapbox GL 1.13: the canvas of counts looks as the PNG tiles do", async ({ dashboard }) => {
  await compareMapbox(dashboard);
});

/**
 * Mapbox GL 3 is not free software, and wants a token, so nothing here depends on it. Whoever may use it names a folder of the npm
 * package in `MAPBOX_GL_3` and a token in `MAPBOX_TOKEN`. It asks its maker whether the token is good; where that cannot be
 * reached, as in this browser, it draws a style of one's own all the same.
 */
test("Mapbox GL 3: the canvas of counts looks as the PNG tiles do", async ({ dashboard }) => {
  const [folder, token] = [process.env["MAPBOX_GL_3"], process.env["MAPBOX_TOKEN"]];
  test.skip(!folder || !token, "SKIPPED: MAPBOX_GL_3 and MAPBOX_TOKEN do not name a folder of Mapbox GL 3, which is not free software, and a token");
  dashboard.origins.push("https://api.mapbox.com", "https://events.mapbox.com");
  dashboard.expectErrors.push(/Failed to load resource/, /mapbox\.com/);
  await compareMapbox(dashboard, `mapboxgl.accessToken = ${JSON.stringify(token)};\n`, folder);
  expect(await dashboard.page.evaluate(() => (window as unknown as { mapboxgl: { version: string } }).mapboxgl.version)).toMatch(/^3\./);
});
