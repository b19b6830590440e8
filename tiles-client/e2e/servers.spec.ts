/** The dashboard on other servers: one that wants a key, one whose data grows, one under a path of its own, one with a stuck dataset, one that has archives only, one with strays at (0, 0). */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "../src/core/index.js";
import { expect, rgbAt, screenOf, test, type Dashboard } from "./fixture.js";
import { newKey, pointillist, serve, type Server } from "./serving.js";

let folder = "";
const servers: Server[] = [];

test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "pointillist-servers-"));
});

test.afterEach(() => {
  for (const server of servers.splice(0)) server.stop();
});

test.afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function started(...args: string[]): Promise<Server> {
  const server = await serve(folder, ...args);
  servers.push(server);
  return server;
}

/** Points in a square of a degree around a place, deterministic. */
function around(lon: number, lat: number, count: number, kind: string): string {
  const share = (k: number, prime: number): number => ((k * prime) % 1009) / 1009 - 0.5;
  return Array.from({ length: count }, (_, k) => `${(lon + share(k + 1, 353)).toFixed(5)},${(lat + share(k + 1, 617)).toFixed(5)},${kind},${(k % 97) + 1}\n`).join("");
}

function dataset(name: string, rows: string): void {
  writeFileSync(join(folder, `${name}.csv`), `lon,lat,kind,size\n${rows}`);
  pointillist(folder, "ingest", `${name}.csv`, "-o", name, "--name", name, "--category", "kind", "--force");
}

async function openAt(dashboard: Dashboard, server: Server, path: string): Promise<void> {
  dashboard.origins.push(server.url);
  await dashboard.page.goto(`${server.url}/${path}`);
  await dashboard.idle();
}

const total = async ({ page }: Dashboard): Promise<string> => page.getByTestId("selected").innerText();

test("a server that wants a key gets the page's with every request, and no link shows it that did not", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("secret", around(2.3, 48.8, 800, "a") + around(-3.7, 40.4, 400, "b"));
  const { key, line } = newKey(folder, "reader");
  writeFileSync(join(folder, "keys.yaml"), `access:\n  anonymous: none\n  keys:\n${line}`);
  const server = await started("secret", "--config", "keys.yaml");

  // Without it, the page says what to do.
  dashboard.origins.push(server.url);
  await page.goto(`${server.url}/`);
  await expect(page.getByRole("alert")).toContainText("/?key=");
  dashboard.expectErrors.push(/status of 401/);
  expect((await page.goto(`${server.url}/?key=wrong`))?.status(), "a wrong key opens not even the page").toBe(401);

  const asked: { url: string; key: string | undefined; shown: boolean }[] = [];
  page.on("request", (request) => asked.push({ url: request.url(), key: request.headers()["x-api-key"], shown: request.url().includes(key) }));
  await page.goto(`${server.url}/?key=${key}#at=4/45/0&markers=0`);
  await dashboard.idle();
  await expect.poll(() => total(dashboard)).toBe("1,200");
  const surface = page.getByRole("slider", { name: "Size, from" });
  await surface.focus();
  await page.keyboard.press("Shift+ArrowRight");
  await expect.poll(() => total(dashboard)).not.toBe("1,200");
  await expect.poll(() => asked.some(({ url }) => url.includes("/events"))).toBe(true);
  const data = asked.filter(({ url }) => url.includes("/secret/"));
  for (const part of [".npy", "/crossfilter", "/stats", "/legend.json", "/events"]) expect(data.some(({ url }) => url.includes(part)), part).toBe(true);
  expect(data.filter((request) => request.key !== key)).toEqual([]);
  // Headers only: an address with the key would lie in logs. The page's own is as it was opened.
  expect(asked.filter(({ url, shown }) => shown && !url.startsWith(`${server.url}/?key=`))).toEqual([]);
  await expect.poll(() => page.url()).toContain("b.size=");
  expect(page.url().split("#")[0]).toBe(`${server.url}/?key=${key}`);
  expect(page.url().split("#")[1]).not.toContain(key);

  // A link has no headers: the download carries the key.
  await page.getByRole("button", { name: "Export" }).click();
  const href = await page.getByRole("link", { name: "CSV" }).last().getAttribute("href");
  expect((await fetch(`${server.url}${href}`)).status).toBe(200);
  await page.goto(`${server.url}/ui/leaflet.html?key=${key}`);
  await expect(page.locator("#legend strong")).toHaveText("1,200");
  await expect(page.locator(".leaflet-tile-loaded").first()).toBeAttached();
});

test("rows that are appended show up by themselves: their tiles, the total, the histograms, a notice", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("grows", around(2.3, 48.8, 900, "a") + around(-74, 40.7, 600, "b"));
  const server = await started("grows");
  await openAt(dashboard, server, "#at=2.6/45/-55&markers=0");
  await expect.poll(() => total(dashboard)).toBe("1,500");
  const before = dashboard.requests.length;

  writeFileSync(join(folder, "more.csv"), `lon,lat,kind,size\n${around(-74, 40.7, 250, "b")}`);
  pointillist(folder, "append", "grows", "more.csv");
  server.reload();
  await expect(page.locator(".notice")).toHaveText("250 points more");
  await expect.poll(() => total(dashboard)).toBe("1,750");
  await dashboard.idle();
  const tiles = dashboard.requests.slice(before).flatMap((request) => /\/grows\/(\d+\/\d+\/\d+)\.npy/.exec(request)?.[1] ?? []);
  const zoom = Number(tiles[0]?.split("/")[0]);
  const tileOf = (lon: number, lat: number): string => {
    const y = 0.5 - Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360)) / (2 * Math.PI);
    return `${zoom}/${Math.floor((lon / 360 + 0.5) * 2 ** zoom)}/${Math.floor(y * 2 ** zoom)}`;
  };
  expect(tiles).toContain(tileOf(-74, 40.7));
  expect(tiles, "nothing has changed around Paris").not.toContain(tileOf(2.3, 48.8));
  expect(new Set(tiles).size, "a tile is asked for once").toBe(tiles.length);
  // What is shown is what the API says now.
  const answer = await new Client(server.url).dataset("grows").crossfilter({ bbox: null, zoom: 3, brushes: {}, columns: ["kind"] });
  expect(answer.selected).toBe(1750);
  await expect(page.locator(".legend li", { hasText: "b" }).locator(".value-count")).toHaveText("850");
  await expect(page.locator(".notice")).not.toHaveClass(/is-shown/, { timeout: 15_000 });

  // A value that was not there before is a category more: everything opens anew, where it was.
  writeFileSync(join(folder, "new.csv"), `lon,lat,kind,size\n${around(2.3, 48.8, 40, "c")}`);
  pointillist(folder, "append", "grows", "new.csv");
  server.reload();
  await expect(page.locator(".legend li", { hasText: "c" }).locator(".value-count")).toHaveText("40");
  await expect.poll(() => total(dashboard)).toBe("1,790");
  expect(page.url()).toContain("at=2.6/45/-55");
});

test("under a path of its own everything is asked for there: map, histograms, changes, exports, the plain page", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("under", around(2.3, 48.8, 900, "a") + around(-74, 40.7, 600, "b"));
  pointillist(folder, "prewarm", "under", "--max-zoom", "3", "--backend", "cpu", "-o", "before.pmtiles");
  const server = await started("under", "before.pmtiles", "--route-prefix", "/maps/tiles");
  const outside: string[] = [];
  const refused: string[] = [];
  page.on("request", (request) => {
    const { protocol, pathname } = new URL(request.url());
    if (protocol === "http:" && !pathname.startsWith("/maps/tiles/")) outside.push(pathname);
  });
  page.on("response", (response) => void (response.status() >= 400 && refused.push(`${response.status()} ${response.url()}`)));
  dashboard.origins.push(server.url);
  await page.goto(`${server.url}/maps/tiles/ui/leaflet.html?d=under`);
  await expect(page.locator("#legend strong")).toHaveText("1,500");
  await expect(page.locator(".leaflet-tile-loaded").first()).toBeAttached();

  await openAt(dashboard, server, "maps/tiles/#d=under&at=2.6/45/-55&markers=0");
  await expect.poll(() => total(dashboard)).toBe("1,500");
  await page.waitForFunction(() => (window.pointillist?.map as { loaded(): boolean }).loaded());
  const asked = (part: string): boolean => dashboard.requests.some((request) => request.includes(part));
  for (const part of ["/ui/basemap.json", "/ui/assets/maplibre-gl-worker.mjs", "/under/stats", ".npy", "/under/crossfilter"]) expect(asked(part), part).toBe(true);
  // Land is drawn by the worker, names and points above it.
  const image = await dashboard.pixels();
  const at = await screenOf(page, -100, 50);
  expect(rgbAt(image, ...at)).not.toEqual(rgbAt(image, ...(await screenOf(page, -40, 40))));

  const grip = page.getByRole("slider", { name: "Size, from" });
  await grip.focus();
  await page.keyboard.press("Shift+ArrowRight");
  await expect.poll(() => total(dashboard)).not.toBe("1,500");
  await page.getByRole("button", { name: "Export" }).click();
  const href = (await page.getByRole("link", { name: "CSV" }).last().getAttribute("href")) ?? "";
  expect(href).toMatch(/^\/maps\/tiles\/under\/points/);
  const lines = (await (await fetch(`${server.url}${href}`)).text()).trim().split("\n");
  await expect.poll(() => total(dashboard)).toBe((lines.length - 1).toLocaleString("en-US"));
  await page.getByRole("button", { name: "Clear all filters" }).click();

  writeFileSync(join(folder, "more.csv"), `lon,lat,kind,size\n${around(-74, 40.7, 250, "b")}`);
  pointillist(folder, "append", "under", "more.csv");
  server.reload();
  await expect(page.locator(".notice")).toHaveText("250 points more");
  await expect.poll(() => total(dashboard)).toBe("1,750");

  await page.getByLabel("Dataset", { exact: true }).selectOption("before");
  await expect(page.locator(".facts")).toContainText("/maps/tiles/before/{z}/{x}/{y}.png");
  await expect.poll(() => asked("/maps/tiles/before/")).toBe(true);
  expect(outside).toEqual([]);
  expect(refused).toEqual([]);
});

test("a dataset that is stuck is restarted by an admin, from beside its failure, and by nobody else", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("stuck", around(2.3, 48.8, 800, "a") + around(-3.7, 40.4, 400, "b"));
  const keys = [newKey(folder, "reader"), newKey(folder, "operator", "admin")] as const;
  const [reader, operator] = [keys[0].key, keys[1].key];
  writeFileSync(join(folder, "admin.yaml"), `access:\n  anonymous: none\n  keys:\n${keys.map(({ line }) => line).join("")}`);
  const server = await started("stuck", "--config", "admin.yaml", "--admin-listen", "127.0.0.1:0");
  await expect.poll(() => server.said()).toMatch(/admin on \S+\n/);
  const admin = /admin on (\S+)/.exec(server.said())?.[1] ?? "";
  const answers: string[] = [];
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (pathname.startsWith("/admin")) answers.push(`${response.status()} ${response.request().method()} ${pathname}`);
  });
  const restart = page.getByRole("button", { name: "Restart" });
  const file = join(folder, "stuck/parts/00000/hot.arrow");
  const bytes = readFileSync(file);
  /** Writes over the file in place, and waits until the server has seen that it is another. */
  const written = async (content: Buffer): Promise<void> => {
    writeFileSync(file, content);
    await expect.poll(async () => (await fetch(`${server.url}/stuck/crossfilter?key=${operator}`, { method: "POST", body: "{}" })).status).toBe(503);
  };
  const fails = async (key: string | undefined): Promise<void> => {
    await openAt(dashboard, server, `?key=${key}#at=3/45/0&markers=0&b.size=10..40`);
    await expect(page.getByRole("alert")).toContainText("(503)");
    await dashboard.idle();
  };
  dashboard.expectErrors.push(/status of (401|403|404|422|503)/);
  await openAt(dashboard, server, `?key=${operator}#at=3/45/0&markers=0&b.size=10..40`);
  await expect.poll(() => total(dashboard)).not.toBe("…");
  const selected = await total(dashboard);
  expect(answers, "nobody is asked while all is well").toEqual([]);

  await written(bytes);
  await fails(operator);
  await expect.poll(() => answers).toEqual(["404 GET /admin/datasets"]);
  await expect(restart, "the public listener has no /admin").toHaveCount(0);
  // As a proxy does that has both listeners under one address.
  await page.route("**/admin/**", async (route) => route.fulfill({ response: await route.fetch({ url: admin + new URL(route.request().url()).pathname }) }));
  await page.goto("about:blank");
  await fails(reader);
  await expect.poll(() => answers.at(-1)).toBe("403 GET /admin/datasets");
  await expect(restart).toHaveCount(0);
  await page.goto("about:blank");
  await fails(operator);
  await expect(restart).toBeVisible();
  await restart.click();
  await expect(page.locator(".notice")).toHaveText("stuck has been restarted");
  await expect.poll(() => total(dashboard)).toBe(selected);
  await expect(page.getByRole("alert")).toHaveCount(0);
  expect(page.url()).toContain("at=3/45/0");
  expect(answers.slice(-2)).toEqual(["200 GET /admin/datasets", "200 POST /admin/datasets/stuck/restart"]);

  // What is really damaged is not opened, and the server says why.
  const damaged = Buffer.from(bytes);
  const middle = damaged.length >> 1;
  damaged[middle] = (damaged[middle] ?? 0) ^ 0x55;
  await written(damaged);
  await page.goto("about:blank");
  await fails(operator);
  await restart.click();
  await expect(page.getByRole("alert")).toContainText("“stuck” could not be restarted");
  await expect(page.getByRole("alert")).toContainText("hot.arrow");
  writeFileSync(file, bytes);
  await page.getByRole("button", { name: "Try again" }).click();
  await expect.poll(() => total(dashboard)).toBe(selected);
});

test("a server with archives only shows them as maps with what they say of themselves", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("cells", around(10, 50, 3000, "a") + around(-100, 40, 3000, "b"));
  pointillist(folder, "prewarm", "cells", "--max-zoom", "4", "--backend", "cpu", "-o", "cells.pmtiles");
  pointillist(folder, "prewarm", "cells", "--max-zoom", "3", "--backend", "cpu", "-o", "older.mbtiles");
  const server = await started("cells.pmtiles", "older.mbtiles");
  const { archives = [] } = await new Client(server.url).catalog();
  expect(archives.length).toBe(2);
  await openAt(dashboard, server, "");
  const first = archives[0];
  await expect(page.locator(".facts")).toContainText(`0 to ${first?.maxzoom}`);
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect.poll(() => dashboard.requests.filter((request) => request.includes(".png")).length).toBeGreaterThan(0);
  await page.waitForFunction(() => (window.pointillist?.map as { loaded(): boolean }).loaded());
  // Points are drawn: colours that are not the basemap's.
  await expect
    .poll(async () => {
      const image = await dashboard.pixels();
      const colours = new Set<number>();
      for (let p = 0; p < image.data.length; p += 4) colours.add(((image.data[p] ?? 0) << 16) | ((image.data[p + 1] ?? 0) << 8) | (image.data[p + 2] ?? 0));
      return colours.size;
    })
    .toBeGreaterThan(100);
  const second = archives[1];
  await page.getByLabel("Dataset", { exact: true }).selectOption(second?.name ?? "");
  await expect(page.locator(".facts")).toContainText(`0 to ${second?.maxzoom}`);
  await expect.poll(() => page.url()).toContain(`d=${second?.name}`);
  await page.reload();
  await expect(page.locator(".facts")).toContainText(`0 to ${second?.maxzoom}`);
});

test("the first view is where the points are, whatever lies at (0, 0); all of them are one click away", async ({ dashboard }) => {
  const { page } = dashboard;
  dataset("strays", around(-74, 40.7, 2000, "a") + "0,0,a,1\n".repeat(150) + around(-115, 36, 3, "a"));
  const server = await started("strays");
  await openAt(dashboard, server, "#markers=0");
  await expect.poll(() => total(dashboard)).toBe("2,000");
  const width = await page.evaluate(() => {
    const bounds = (window.pointillist?.map as { getBounds(): { getEast(): number; getWest(): number } }).getBounds();
    return bounds.getEast() - bounds.getWest();
  });
  expect(width, "degrees across: the points are one wide").toBeLessThan(5);
  await page.getByRole("button", { name: "Show all points" }).click();
  await expect.poll(() => total(dashboard)).toBe("2,153");
});
