/** What `prewarm` writes, read by PMTiles' own library, in Node and as MapLibre's protocol: the server's tiles. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PMTiles, type RangeResponse, type Source } from "pmtiles";
import type { Page } from "@playwright/test";
import { expect, test, url } from "./fixture.js";

const MODULES = join(import.meta.dirname, "../node_modules");
const MAX_ZOOM = 5;

let folder = "";
let file = Buffer.alloc(0);

test.beforeAll(() => {
  const [binary, dataset] = [process.env["POINTILLIST"], process.env["POINTILLIST_DATASET"]];
  test.skip(!binary || !dataset, "SKIPPED: the tests use a server that runs already, and do not know its dataset");
  folder = mkdtempSync(join(tmpdir(), "pointillist-archive-"));
  const output = join(folder, "towers.pmtiles");
  execFileSync(binary ?? "", ["prewarm", dataset ?? "", "--max-zoom", String(MAX_ZOOM), "--backend", "cpu", "-o", output], { stdio: "ignore" });
  file = readFileSync(output);
});

test.afterAll(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const inMemory: Source = {
  getKey: () => "towers",
  getBytes: (offset, length): Promise<RangeResponse> => Promise.resolve({ data: new Uint8Array(file.subarray(offset, offset + length)).buffer }),
};

test("PMTiles' library finds exactly the server's tiles", async () => {
  const archive = new PMTiles(inMemory);
  const header = await archive.getHeader();
  expect([header.specVersion, header.tileType, header.minZoom, header.maxZoom, header.clustered]).toEqual([3, 2, 0, MAX_ZOOM, true]);
  const metadata = (await archive.getMetadata()) as Record<string, unknown>;
  expect(typeof metadata["name"]).toBe("string");
  const get = async (z: number, x: number, y: number): Promise<Buffer> => {
    const response = await fetch(`${url()}/towers/${z}/${x}/${y}.png`);
    expect(response.status).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  };
  const empty = await get(MAX_ZOOM, 0, 2 ** MAX_ZOOM - 1);
  let [found, missing] = [0, 0];
  for (let z = 0; z <= MAX_ZOOM; z++) {
    for (let x = 0; x < 2 ** z; x++) {
      for (let y = 0; y < 2 ** z; y++) {
        const tile = await archive.getZxy(z, x, y);
        // Deeper, a sample: asking costs more than reading.
        if (z === MAX_ZOOM && (x + 3 * y) % 7 > 0) continue;
        const served = await get(z, x, y);
        expect((tile ? Buffer.from(tile.data) : empty).equals(served), `${z}/${x}/${y}`).toBe(true);
        if (tile) found++;
        else missing++;
      }
    }
  }
  expect(found).toBeGreaterThan(20);
  expect(missing).toBeGreaterThan(20);
  expect(header.numAddressedTiles).toBeGreaterThan(found);
});

/** A MapLibre map of raster tiles, on the server's origin; resolves once it is drawn. */
async function draw(page: Page, source: string): Promise<Buffer> {
  const script = `
    import * as maplibregl from "/e2e/maplibre-gl/dist/maplibre-gl.mjs";
    import { Protocol } from "/e2e/pmtiles/dist/esm/index.js";
    maplibregl.setWorkerUrl("/e2e/maplibre-gl/dist/maplibre-gl-worker.mjs");
    maplibregl.addProtocol("pmtiles", new Protocol().tile);
    const blank = { version: 8, sources: {}, layers: [{ id: "paper", type: "background", paint: { "background-color": "#ffffff" } }] };
    const map = new maplibregl.Map({ container: "map", style: blank, center: [10, 48], zoom: 3, fadeDuration: 0, attributionControl: false });
    await map.once("load");
    map.addSource("s", { type: "raster", tileSize: 256, ...${source} });
    map.addLayer({ id: "l", type: "raster", source: "s", paint: { "raster-fade-duration": 0, "raster-resampling": "nearest" } });
    map.once("idle", () => (window.done = true));`;
  const imports = JSON.stringify({ imports: { fflate: "/e2e/fflate/esm/browser.js" } });
  await page.route("**/e2e/**", (route) => {
    const path = new URL(route.request().url()).pathname.slice("/e2e/".length);
    if (path === "page") {
      const head = `<link rel="icon" href="data:,"><script type="importmap">${imports}</script><link rel="stylesheet" href="/e2e/maplibre-gl/dist/maplibre-gl.css">`;
      const body = `<!doctype html>${head}<style>html,body,#map{height:100%;margin:0;background:#fff}</style><div id="map"></div><script type="module">${script}</script>`;
      return route.fulfill({ contentType: "text/html", body });
    }
    if (path === "towers.pmtiles") {
      const [from, to] = (/bytes=(\d+)-(\d+)/.exec(route.request().headers()["range"] ?? "") ?? []).slice(1).map(Number);
      if (from === undefined || to === undefined) return route.fulfill({ status: 400, body: "a range is wanted" });
      const body = file.subarray(from, to + 1);
      return route.fulfill({ status: 206, headers: { "content-range": `bytes ${from}-${from + body.length - 1}/${file.length}` }, contentType: "application/octet-stream", body });
    }
    const type = path.endsWith("css") ? "text/css" : "text/javascript";
    return route.fulfill({ contentType: type, body: readFileSync(join(MODULES, path)) });
  });
  await page.goto(`${url()}/e2e/page`);
  await page.waitForFunction(() => (window as { done?: boolean }).done === true);
  await page.waitForTimeout(500);
  const drawn = await page.screenshot();
  await page.unroute("**/e2e/**");
  return drawn;
}

test("MapLibre draws the archive through the pmtiles protocol as it draws the server's tiles", async ({ dashboard: { page } }) => {
  const served = await draw(page, `{ tiles: [location.origin + "/towers/{z}/{x}/{y}.png"], maxzoom: ${MAX_ZOOM} }`);
  const blank = await draw(page, `{ tiles: [location.origin + "/towers/{z}/{x}/{y}.png?filter=range%20%3C%200"], maxzoom: ${MAX_ZOOM} }`);
  const archived = await draw(page, `{ url: "pmtiles://" + location.origin + "/e2e/towers.pmtiles" }`);
  expect(archived.equals(blank), "it draws nothing").toBe(false);
  expect(archived.equals(served)).toBe(true);
});
