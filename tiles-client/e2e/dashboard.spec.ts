/** The dashboard as people use it: what they see is compared with what the API says. */

import type { Page } from "@playwright/test";
import type { ColumnRequest, CrossfilterAnswer, CrossfilterRequest } from "../src/core/index.js";
import { expect, rgbAt, screenOf, test, url } from "./fixture.js";

const SEA = [227, 233, 238];
const LAND = [251, 250, 248];

test("shows land, sea and points, and the total", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open("#at=1.5/25/-10&markers=0");
  const image = await dashboard.pixels();
  const at = async (lon: number, lat: number): Promise<[number, number, number]> => rgbAt(image, ...(await screenOf(page, lon, lat)));
  expect(await at(-30, 35), "the Atlantic").toEqual(SEA);
  expect(await at(-38, 72), "Greenland's ice").toEqual(LAND);
  const colours = new Set<number>();
  for (let p = 0; p < image.data.length; p += 4) colours.add(((image.data[p] ?? 0) << 16) | ((image.data[p + 1] ?? 0) << 8) | (image.data[p + 2] ?? 0));
  expect(colours.size).toBeGreaterThan(40);
  await dashboard.open();
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
  for (const { label } of stats.categories) await expect(page.locator(".legend").getByText(label, { exact: true })).toBeVisible();
});

test("a brush filters tiles and histograms to the API's numbers, and undo takes it back", async ({ dashboard, dataset, stats }) => {
  const { page } = dashboard;
  await dashboard.open();
  const before = dashboard.requests.length;
  const surface = page.locator(".range[data-column=range] .range-surface");
  await surface.scrollIntoViewIfNeeded();
  const box = await surface.boundingBox();
  if (!box) throw new Error("the range histogram has no size");
  await page.mouse.move(box.x + 0.3 * box.width, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.6 * box.width, box.y + 30, { steps: 8 });
  await page.mouse.up();
  await dashboard.idle();
  await expect.poll(() => page.url()).toContain("b.range=");
  // The address follows the brush with a delay: on a slow machine it is that of the middle of the drag for a while.
  const answerOfTheAddress = async () => {
    const [lo, hi] = (/b\.range=([\d.]+)\.\.([\d.]+)/.exec(page.url()) ?? []).slice(1).map(Number);
    if (lo === undefined || hi === undefined) throw new Error(`no brush in ${page.url()}`);
    return dataset.crossfilter({ bbox: null, zoom: 0, brushes: { range: [lo, hi] }, columns: ["radio", "range"] });
  };
  await expect.poll(async () => (await dashboard.selected()) - (await answerOfTheAddress()).selected).toBe(0);
  const answer = await answerOfTheAddress();
  expect(answer.selected).toBeGreaterThan(0);
  expect(answer.selected).toBeLessThan(stats.rows);
  const filtered = dashboard.requests.slice(before).filter((request) => request.includes(".npy") && request.includes("filter="));
  expect(filtered.length, "tiles asked for with a filter").toBeGreaterThan(0);
  expect(filtered.some((request) => decodeURIComponent(request).includes(answer.filter))).toBe(true);

  await page.keyboard.press("Control+z");
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
  await page.keyboard.press("Control+Shift+z");
  await expect.poll(() => dashboard.selected()).toBe(answer.selected);
  await page.getByRole("button", { name: "Clear Range" }).click();
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
});

test("the legend hides categories without a request, and shift-click leaves one", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open();
  const lte = stats.categories.find(({ value }) => value === "LTE");
  if (!lte) throw new Error("generated towers have LTE");
  const before = await dashboard.pixels();
  const asked = dashboard.requests.length;
  await page.locator(".legend").getByText("LTE", { exact: true }).click();
  await expect.poll(() => dashboard.selected()).toBe(stats.rows - lte.count);
  await page.locator(".legend").getByText("LTE", { exact: true }).click({ modifiers: ["Shift"] });
  await expect.poll(() => dashboard.selected()).toBe(lte.count);
  await page.waitForTimeout(500);
  const after = await dashboard.pixels();
  expect(Buffer.compare(before.data, after.data)).not.toBe(0);
  expect(dashboard.requests.slice(asked)).toEqual([]);
});

test("a link is the view", async ({ dashboard, dataset }) => {
  const brushes = { range: [100, 2000], created: ["2015-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] };
  await dashboard.open("#d=towers&at=3/45/10&b.range=100..2000&b.created='2015-01-01T00:00:00Z..'2020-01-01T00:00:00Z&hide==GSM&how=log&palette=magma&theme=dark&markers=0");
  const { page } = dashboard;
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await expect(page.getByRole("button", { name: "Clear Range" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Clear Created" })).toBeVisible();
  const answer = await dataset.crossfilter({ bbox: null, zoom: 3, brushes, columns: [] });
  expect(dashboard.requests.some((request) => request.includes(".npy") && decodeURIComponent(request).includes(answer.filter))).toBe(true);
  await page.waitForTimeout(600);
  for (const part of ["at=3/45/10", "b.range=100..2000", "hide==GSM", "how=log", "palette=magma", "theme=dark"]) expect(decodeURIComponent(page.url())).toContain(part);
  // Back to the bare address: everything is as at first.
  const filtered = await dashboard.selected();
  await page.evaluate(() => (location.hash = "#d=towers&at=3/45/10&markers=0"));
  await expect.poll(() => dashboard.selected()).toBeGreaterThan(filtered);
});

test("hovering tells the counts, clicking lists the rows", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  await dashboard.open("#at=1.5/25/10&markers=0");
  // The fullest pixel of zoom 2 in the visible part of the world.
  const tile = { z: 2, x: 2, y: 1 };
  const counts = await dataset.countTile(tile);
  let best = { i: 0, j: 0, total: 0 };
  for (let j = 10; j < 246; j++) {
    for (let i = 10; i < 200; i++) {
      const total = counts.countsAt(i, j).reduce((sum, count) => sum + count, 0);
      if (total > best.total) best = { i, j, total };
    }
  }
  const n = 4 * 256;
  const lon = ((tile.x * 256 + best.i + 0.5) / n) * 360 - 180;
  const lat = (Math.atan(Math.sinh((0.5 - (tile.y * 256 + best.j + 0.5) / n) * 2 * Math.PI)) * 180) / Math.PI;
  // Browsers cut mouse positions to whole pixels; a count pixel is 1.4 of them wide here.
  const [x, y] = (await screenOf(page, lon, lat)).map(Math.round) as [number, number];
  await page.mouse.move(x - 3, y);
  await page.mouse.move(x, y);
  await expect(page.locator(".tooltip strong")).toHaveText(new Intl.NumberFormat("en-GB").format(best.total));
  await page.mouse.click(x, y);
  await expect(page.locator(".rows h2")).toHaveText(`${new Intl.NumberFormat("en-GB").format(best.total)} rows here`);
  const { rows } = await dataset.points({ tile, pixel: [best.i, best.j], limit: 5 });
  await expect(page.locator(".rows tbody tr").first()).toContainText(String(rows[0]?.["radio"]));
  await page.keyboard.press("Escape");
  await expect(page.locator(".rows")).toHaveCount(0);
});

test("a drawn box selects what the API selects", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open("#at=1.5/25/10&markers=0");
  await page.getByRole("button", { name: "Select a box" }).click();
  await page.mouse.move(620, 200);
  await page.mouse.down();
  await page.mouse.move(800, 380, { steps: 5 });
  await page.mouse.up();
  await dashboard.idle();
  await expect(page.getByRole("button", { name: "Clear the drawn area" })).toBeVisible();
  const [west, north] = await page.evaluate(() => (window.pointillist?.map as { unproject(at: [number, number]): { lng: number; lat: number } }).unproject([620, 200])).then(({ lng, lat }) => [lng, lat] as const);
  const [east, south] = await page.evaluate(() => (window.pointillist?.map as { unproject(at: [number, number]): { lng: number; lat: number } }).unproject([800, 380])).then(({ lng, lat }) => [lng, lat] as const);
  const ring = [[west, north], [east, north], [east, south], [west, south], [west, north]].map((corner) => corner.map((degrees) => Number(degrees.toFixed(5))).join(" "));
  const filter = `S_INTERSECTS(geometry, POLYGON((${ring.join(", ")})))`;
  const response = await fetch(`${url()}/towers/stats?filter=${encodeURIComponent(filter)}`);
  expect(response.status, await response.clone().text()).toBe(200);
  const { rows } = (await response.json()) as { rows: number };
  expect(rows).toBeGreaterThan(0);
  expect(rows).toBeLessThan(stats.rows);
  await expect.poll(() => dashboard.selected()).toBe(rows);
});

test("few points become markers with their rows", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  const [west, south, east, north] = stats.bounds;
  expect(east).toBeGreaterThan(west);
  expect(north).toBeGreaterThan(south);
  await dashboard.open("#at=9/48.14/11.57&markers=5000");
  const count = await dashboard.selected();
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThanOrEqual(5000);
  await page.waitForFunction(() => {
    const map = window.pointillist?.map as { queryRenderedFeatures(options: { layers: string[] }): unknown[] };
    return map.queryRenderedFeatures({ layers: ["markers"] }).length > 0;
  });
});

test("a newer brush aborts older requests", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open();
  const aborted: string[] = [];
  page.on("requestfailed", (request) => {
    if (request.failure()?.errorText === "net::ERR_ABORTED") aborted.push(request.url());
  });
  // The first brush's tiles do not come before a newer brush has, however slow the machine.
  let isHeld = true;
  await page.route("**/*.npy*filter=*", async (route) => {
    while (isHeld) await new Promise((resolve) => setTimeout(resolve, 50));
    await route.continue().catch(() => undefined);
  });
  const grip = page.getByRole("slider", { name: "Range, from" });
  await grip.focus();
  const asked = page.waitForRequest(/\.npy\?.*filter=/);
  await page.keyboard.press("ArrowRight");
  await asked;
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => aborted.length).toBeGreaterThan(0);
  isHeld = false;
  await dashboard.idle();
  const brush = /b\.range=(\d+)/.exec(page.url())?.[1];
  expect(Number(brush)).toBeGreaterThan(0);
});

test("errors are told and can be tried again", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  dashboard.expectErrors.push(/status of 503/);
  await page.route("**/crossfilter", (route) =>
    route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "overloaded", status: 503, detail: "too many requests wait; try again in a second" }) }),
  );
  await page.goto(`${url()}/`);
  await expect(page.getByRole("alert")).toContainText("too many requests wait; try again in a second (503)");
  await page.unroute("**/crossfilter");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
});

test("a dataset that is not there is named, and nothing found is said", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open("#d=atlantis");
  await expect(page.getByRole("alert")).toContainText("atlantis");
  await dashboard.open("#at=9/0/-140");
  await expect(page.getByRole("status").first()).toContainText("No points in this view");
  await page.getByRole("button", { name: "Show all points" }).first().click();
  await expect.poll(() => dashboard.selected()).toBeGreaterThan(0);
});

test("works from the keyboard and says what it does", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open();
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, [role=slider]")].filter((element) => {
      const name = element.getAttribute("aria-label") ?? element.textContent ?? "";
      return name.trim() === "" && !element.closest("label")?.textContent?.trim();
    }).length,
  );
  expect(unnamed, "controls without a name").toBe(0);
  const grip = page.getByRole("slider", { name: "Samples, to" });
  await grip.focus();
  const before = await grip.getAttribute("aria-valuetext");
  await page.keyboard.press("Shift+ArrowLeft");
  await expect(grip).not.toHaveAttribute("aria-valuetext", before ?? "");
  await expect(page.locator("[aria-live=polite]")).toContainText("points selected in view");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Clear Samples" })).toHaveCount(0);
});

test("the player sweeps a window over time, and pausing leaves it there", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open();
  await page.getByRole("button", { name: "Play Created" }).click();
  const from = page.getByRole("slider", { name: "Created, from" });
  const first = await from.getAttribute("aria-valuenow");
  await expect.poll(() => from.getAttribute("aria-valuenow")).not.toBe(first);
  await page.getByRole("button", { name: "Pause" }).click();
  await dashboard.idle();
  const held = await from.getAttribute("aria-valuenow");
  expect(await dashboard.selected()).toBeLessThan(stats.rows);
  await page.waitForTimeout(500);
  expect(await from.getAttribute("aria-valuenow")).toBe(held);
  // A whole sweep is one step to undo.
  await page.keyboard.press("Control+z");
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
});

test("fits a phone", async ({ dashboard }) => {
  const { page } = dashboard;
  await page.setViewportSize({ width: 390, height: 844 });
  await dashboard.open();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  const panel = page.locator(".panel");
  const low = (await panel.boundingBox())?.y ?? 0;
  await page.getByRole("button", { name: "Raise the panel" }).click();
  await expect.poll(async () => (await panel.boundingBox())?.y ?? 0).toBeLessThan(low - 200);
});

test("exports what is selected", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&b.range=100..2000&hide==GSM");
  await page.getByRole("button", { name: "Export" }).click();
  const href = await page.getByRole("link", { name: "CSV" }).last().getAttribute("href");
  const lines = (await (await fetch(`${url()}${href}`)).text()).trim().split("\n");
  const { total } = await dataset.points({ filter: "range >= 100 AND range < 2000 AND (radio NOT IN ('GSM') OR radio IS NULL)", limit: 1 });
  expect(total).toBeGreaterThan(0);
  expect(lines.length - 1).toBe(total);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "PNG" }).click();
  expect((await download).suggestedFilename()).toBe("towers.png");
});

test("the plain Leaflet page draws the server's tiles", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await page.goto(`${url()}/ui/leaflet.html`);
  await expect(page.locator("#legend strong")).toHaveText(stats.rows.toLocaleString("en-US"));
  await expect(page.locator(".leaflet-tile-loaded").first()).toBeAttached();
  await page.waitForTimeout(500);
  // Points on land must not be under it.
  const shown = await page.evaluate(async () => {
    const tiles = [...document.querySelectorAll<HTMLImageElement>(".leaflet-tile-loaded")];
    const panes = document.querySelector<HTMLElement>(".leaflet-tile-pane");
    const land = document.querySelector<HTMLElement>(".leaflet-land-pane");
    return { tiles: tiles.length, above: Number(getComputedStyle(panes ?? document.body).zIndex) > Number(getComputedStyle(land ?? document.body).zIndex) };
  });
  expect(shown.tiles).toBeGreaterThan(0);
  expect(shown.above, "tiles lie above the land").toBe(true);
  const image = await dashboard.pixels();
  const colours = new Set<number>();
  for (let p = 0; p < image.data.length; p += 4) colours.add(((image.data[p] ?? 0) << 16) | ((image.data[p + 1] ?? 0) << 8) | (image.data[p + 2] ?? 0));
  expect(colours.size).toBeGreaterThan(200);
});

/** The page as a server with a basemap of its own sends it. */
async function withBasemap(page: Page, style: string): Promise<void> {
  await page.route(`${url()}/`, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replaceAll(/(name="basemap-\w+" content=")"/g, `$1${style}"`);
    await route.fulfill({ response, body });
  });
}

test("a server's own basemap lies under the points, in both themes", async ({ dashboard }) => {
  const { page } = dashboard;
  await withBasemap(page, "/e2e/style.json");
  const style = { version: 8, sources: {}, layers: [{ id: "paper", type: "background", paint: { "background-color": "#204060" } }] };
  await page.route("**/e2e/style.json", (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify(style) }));
  await dashboard.open("#at=1.5/25/-10&markers=0");
  for (const theme of ["Dark theme", "Light theme"]) {
    const image = await dashboard.pixels();
    expect(rgbAt(image, ...(await screenOf(page, -30, 35)))).toEqual([0x20, 0x40, 0x60]);
    const colours = new Set<number>();
    for (let x = 400; x < 1000; x++) for (let y = 50; y < 650; y++) colours.add(rgbAt(image, x, y).reduce((packed, level) => packed * 256 + level, 0));
    expect(colours.size, "points are drawn").toBeGreaterThan(40);
    await page.getByRole("button", { name: theme }).click();
    await page.waitForTimeout(500);
  }
});

test("a basemap that cannot be loaded is told, and the built-in one shown", async ({ dashboard }) => {
  const { page } = dashboard;
  dashboard.expectErrors.push(/status of 404/);
  await withBasemap(page, "/nowhere/style.json");
  await dashboard.open("#at=1.5/25/-10&markers=0");
  await expect(page.getByRole("alert")).toContainText("The server's basemap could not be loaded");
  await dashboard.idle();
  await expect.poll(async () => rgbAt(await dashboard.pixels(), ...(await screenOf(page, -30, 35)))).toEqual(SEA);
});

test("colours by another column, or by the total alone, with the API's categories", async ({ dashboard, dataset, stats }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&hide==GSM");
  await page.getByRole("button", { name: "Colours" }).click();
  await page.getByLabel("Colour by").selectOption("none");
  await dashboard.idle();
  await expect(page.locator(".legend")).toHaveCount(0);
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);
  await expect.poll(() => page.url()).toContain("by=none");
  expect(dashboard.requests.some((request) => request.includes(".npy") && request.includes("by=none"))).toBe(true);
  // A column of numbers with few values is a choice too; the link keeps it.
  await page.getByLabel("Colour by").selectOption("net");
  const other = await dataset.stats({ by: "net" });
  expect(other.categories.length).toBeGreaterThan(1);
  for (const { label } of other.categories) await expect(page.locator(".legend").getByText(label, { exact: true })).toBeVisible();
  await page.reload();
  await dashboard.idle();
  await expect(page.locator(".legend li")).toHaveCount(other.categories.length);
});

test("a fixed scale keeps its counts through a filter, and the link says which", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&at=3/48/10&how=log");
  const scale = page.locator(".count-scale [role=img]");
  const before = await scale.getAttribute("aria-label");
  await page.getByRole("button", { name: "fix scale" }).click();
  await page.locator(".legend").getByText("GSM", { exact: true }).click();
  await page.getByRole("slider", { name: "Range, from" }).focus();
  for (let k = 0; k < 3; k++) await page.keyboard.press("Shift+ArrowRight");
  await dashboard.idle();
  expect(await scale.getAttribute("aria-label")).toBe(before);
  const [lo, hi] = (before?.match(/[\d,]+/g) ?? []).map((text) => text.replaceAll(",", ""));
  await expect.poll(() => page.url()).toContain(`span=${lo}:${hi}`);
  await page.getByRole("button", { name: "scale fixed" }).click();
  await dashboard.idle();
  await expect(scale).not.toHaveAttribute("aria-label", before ?? "");
});

test("recolouring asks nothing: scales, palettes, opacity, size and categories", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&at=3/48/10&markers=0");
  await page.getByRole("button", { name: "Colours" }).click();
  let before = await dashboard.pixels();
  const asked = dashboard.requests.length;
  const changed = async (what: string): Promise<void> => {
    await expect.poll(async () => Buffer.compare((await dashboard.pixels()).data, before.data), { message: what }).not.toBe(0);
    before = await dashboard.pixels();
  };
  for (const scale of ["Log", "Cube root", "Linear"]) {
    await page.getByRole("radio", { name: scale, exact: true }).click();
    await changed(scale);
  }
  for (const palette of ["viridis", "fire"]) {
    await page.getByRole("radio", { name: palette }).click();
    await changed(palette);
  }
  await page.getByLabel("Opacity of all points").fill("40");
  await changed("opacity");
  await page.getByRole("radio", { name: "5 px" }).click();
  await changed("size");
  await page.locator(".legend").getByText("LTE", { exact: true }).click();
  await changed("a hidden category");
  expect(dashboard.requests.slice(asked)).toEqual([]);
});

test("panning back asks for no tile", async ({ dashboard }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&at=5/48/10&markers=0");
  const pan = async (x: number): Promise<void> => {
    await page.evaluate((by) => (window.pointillist?.map as { panBy(by: [number, number], options: { animate: boolean }): void }).panBy([by, 0], { animate: false }), x);
    await dashboard.idle();
  };
  const tiles = (): number => dashboard.requests.filter((request) => request.includes(".npy")).length;
  const here = tiles();
  await pan(600);
  const there = tiles();
  expect(there).toBeGreaterThan(here);
  await pan(-600);
  expect(tiles()).toBe(there);
});

test("a pointer that rests is told some of the rows", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&at=6/51.5/0&markers=0");
  const { rows } = await dataset.points({ bbox: [-0.3, 51.4, 0.1, 51.6], limit: 1 });
  const [x, y] = await screenOf(page, Number(rows[0]?.["lon"]), Number(rows[0]?.["lat"]));
  await page.mouse.move(x - 3, y);
  await page.mouse.move(x, y);
  await expect(page.locator(".tooltip strong")).toBeVisible();
  await expect(page.locator(".tooltip-rows li").first()).toContainText(/\d/);
});

test("a pixel shows the mean of a column, told exactly, and recolours without a request", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&at=4/48/10&markers=0&show=mean:range&how=linear");
  await expect(page.locator(".count-note")).toContainText("mean of Range in a pixel");
  // The fullest pixel of a tile of this zoom, and the API's mean of its rows.
  const tile = { z: 5, x: 16, y: 10 };
  const values = await dataset.valueTile(tile, { agg: "mean", column: "range" });
  let best = { i: 0, j: 0 };
  for (let j = 20; j < 236; j++) for (let i = 20; i < 236; i++) if (values.valueAt(i, j) > 0) best = { i, j };
  const n = 32 * 256;
  const lon = ((tile.x * 256 + best.i + 0.5) / n) * 360 - 180;
  const lat = (Math.atan(Math.sinh((0.5 - (tile.y * 256 + best.j + 0.5) / n) * 2 * Math.PI)) * 180) / Math.PI;
  await page.evaluate((center) => (window.pointillist?.map as { jumpTo(to: { center: [number, number] }): void }).jumpTo({ center }), [lon, lat] as [number, number]);
  await dashboard.idle();
  const [x, y] = (await screenOf(page, lon, lat)).map(Math.round) as [number, number];
  await page.mouse.move(x - 4, y);
  await page.mouse.move(x, y);
  await expect(page.locator(".tooltip")).toContainText("mean of Range here");
  const { total, rows } = await dataset.points({ tile, pixel: [best.i, best.j], limit: 1000 });
  expect(rows.reduce((sum, row) => sum + Number(row["range"]), 0) / total).toBeCloseTo(values.valueAt(best.i, best.j), 6);
  const asked = dashboard.requests.filter((request) => request.includes(".npy")).length;
  await page.getByRole("button", { name: "Colours" }).click();
  await page.getByRole("radio", { name: "plasma" }).click();
  await page.getByRole("radio", { name: "Log", exact: true }).click();
  expect(dashboard.requests.filter((request) => request.includes(".npy")).length).toBe(asked);
  await page.getByLabel("A pixel shows").selectOption("count");
  await expect(page.locator(".legend li").first()).toBeVisible();
  await expect.poll(() => page.url()).not.toContain("show=");
});

test("a brush is resized, moved and cleared by hand; axes switch between linear and logarithmic", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open("#d=towers&b.range=1000..4000");
  const surface = page.locator(".range[data-column=range] .range-surface");
  await surface.scrollIntoViewIfNeeded();
  const box = await surface.boundingBox();
  const chosen = await page.locator(".range[data-column=range] .brush").boundingBox();
  if (!box || !chosen) throw new Error("the range histogram has no brush");
  const y = box.y + 30;
  const drag = async (from: number, to: number): Promise<readonly [number, number]> => {
    const before = page.url();
    await page.mouse.move(from, y);
    await page.mouse.down();
    await page.mouse.move(to, y, { steps: 4 });
    await page.mouse.up();
    await expect.poll(() => page.url()).not.toBe(before);
    const [lo, hi] = (/b\.range=([\d.]+)\.\.([\d.]+)/.exec(page.url()) ?? []).slice(1).map(Number);
    return [lo ?? Number.NaN, hi ?? Number.NaN];
  };
  const [left, right] = [chosen.x, chosen.x + chosen.width];
  const resized = await drag(right, right + 40);
  expect(resized[0], "the other end stays").toBe(1000);
  expect(resized[1]).toBeGreaterThan(4000);
  const moved = await drag((left + right) / 2, (left + right) / 2 - 30);
  expect(moved[0]).toBeLessThan(1000);
  expect(moved[1]).toBeLessThan(resized[1]);
  const selected = await dashboard.selected();
  expect(selected).toBeLessThan(stats.rows);
  await page.mouse.click(box.x + 0.97 * box.width, y);
  await expect.poll(() => dashboard.selected()).toBe(stats.rows);

  const scales: unknown[] = [];
  page.on("request", (request) => {
    if (!request.url().endsWith("/crossfilter")) return;
    const { columns } = request.postDataJSON() as { columns: { column: string; scale?: string }[] };
    scales.push(columns.find(({ column }) => column === "range")?.scale);
  });
  const bars = page.locator(".range[data-column=range] canvas");
  const picture = async (): Promise<string> => bars.evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  let before = await picture();
  for (const [name, asked] of [["Range: log y, logarithmic counts", []], ["Range: log x, logarithmic values", ["linear"]]] as const) {
    scales.length = 0;
    await page.getByRole("button", { name }).click();
    await expect.poll(picture).not.toBe(before);
    before = await picture();
    expect(scales).toEqual(asked);
  }
});

test("a hand on a brush tells the server which one, and the steps of its drag are answered as by a pass over the points", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  // Few tiles: this is about histograms.
  await dashboard.open("#d=towers&at=0/30/0&markers=0");
  const asked: CrossfilterRequest[] = [];
  const answers: Promise<CrossfilterAnswer>[] = [];
  page.on("request", (request) => void (request.url().endsWith("/crossfilter") && asked.push(request.postDataJSON() as CrossfilterRequest)));
  page.on("response", (response) => {
    const isStep = response.ok() && response.url().endsWith("/crossfilter") && !(response.request().postData() ?? "").includes(`"active"`);
    if (isStep) answers.push(response.json() as Promise<CrossfilterAnswer>);
  });
  const surface = page.locator(".range[data-column=range] .range-surface");
  await surface.scrollIntoViewIfNeeded();
  const box = await surface.boundingBox();
  if (!box) throw new Error("the range histogram has no size");
  const at = (share: number): readonly [number, number] => [box.x + share * box.width, box.y + 30];
  await page.mouse.move(...at(0.2));
  await page.mouse.move(...at(0.3));
  await page.waitForTimeout(300);
  expect(asked, "a pointer that passes asks nothing").toEqual([]);

  const behind = page.waitForResponse((response) => response.url().endsWith("/crossfilter"));
  await page.mouse.down();
  await behind;
  expect(asked).toMatchObject([{ active: "range", brushes: {} }]);
  for (const share of [0.35, 0.42, 0.51]) {
    const answered = page.waitForResponse((response) => response.url().endsWith("/crossfilter"));
    await page.mouse.move(...at(share));
    await answered;
  }
  await page.mouse.up();
  await dashboard.idle();
  const [last] = asked.slice(-1);
  const [lo, hi] = last?.brushes["range"] ?? [];
  expect(last).not.toHaveProperty("active");
  expect(asked.filter(({ active }) => active !== undefined).length, "once a drag").toBe(1);
  // A single histogram of the API reads the points.
  const answer = await answers[answers.length - 1];
  const named = { column: "samples", filter: `range >= ${lo} AND range < ${hi}`, by: "radio", ...(last?.bbox ? { bbox: last.bbox } : {}) };
  const columns = last?.columns.find((one) => typeof one !== "string" && one.column === "samples") as ColumnRequest;
  const read = await dataset.histogram({ ...columns, ...named });
  expect(read.total).toBeGreaterThan(0);
  expect(answer?.histograms["samples"]).toEqual(read);

  // The same brush again finds what was built; another one does not, and knows of the first.
  const before = asked.length;
  await page.mouse.move(...at(0.4));
  await page.mouse.down();
  await page.mouse.up();
  await page.getByRole("slider", { name: "Samples, to" }).focus();
  await expect.poll(() => asked.slice(before)).toMatchObject([{ active: "samples", brushes: { range: [lo, hi] } }]);
});

test("a lasso selects what the API selects in the same ring", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await dashboard.open("#at=1.5/25/10&markers=0");
  await page.getByRole("button", { name: "Select with a lasso" }).click();
  await page.mouse.move(620, 200);
  await page.mouse.down();
  for (const [x, y] of [[760, 190], [830, 300], [700, 360], [610, 300]] as const) await page.mouse.move(x, y, { steps: 6 });
  await page.mouse.up();
  await dashboard.idle();
  await expect.poll(() => page.url()).toContain("area=");
  const corners = (/area=([^&]+)/.exec(decodeURIComponent(page.url()))?.[1] ?? "").split(",").map((corner) => corner.split(";"));
  expect(corners.length).toBeGreaterThan(8);
  const ring = [...corners, corners[0] ?? []].map((corner) => corner.join(" ")).join(", ");
  const response = await fetch(`${url()}/towers/stats?filter=${encodeURIComponent(`S_INTERSECTS(geometry, POLYGON((${ring})))`)}`);
  const { rows } = (await response.json()) as { rows: number };
  expect(rows).toBeGreaterThan(0);
  expect(rows).toBeLessThan(stats.rows);
  await expect.poll(() => dashboard.selected()).toBe(rows);
});

test("a marker tells its row", async ({ dashboard, dataset }) => {
  const { page } = dashboard;
  await dashboard.open("#at=9/48.14/11.57&markers=5000");
  const spot = await page.waitForFunction(() => {
    const map = window.pointillist?.map as { queryRenderedFeatures(options: { layers: string[] }): { geometry: { coordinates: [number, number] } }[]; project(at: [number, number]): { x: number; y: number } };
    for (const { geometry } of map.queryRenderedFeatures({ layers: ["markers"] })) {
      const { x, y } = map.project(geometry.coordinates);
      if (x > 420 && x < 900 && y > 80 && y < 600) return { x, y, at: geometry.coordinates };
    }
    return null;
  });
  const marker = await spot.jsonValue();
  if (!marker) throw new Error("no marker is in view");
  await page.mouse.move(marker.x - 5, marker.y);
  await page.mouse.move(marker.x, marker.y);
  await expect(page.locator(".tooltip dl")).toContainText("Radio");
  const shown = await page.locator(".tooltip dl > div").allInnerTexts();
  const pairs = new Map(shown.map((line) => line.split("\n") as [string, string]));
  // Rows around there, one of which it must be.
  const [lon, lat] = marker.at;
  const { rows } = await dataset.points({ bbox: [lon - 0.02, lat - 0.02, lon + 0.02, lat + 0.02], limit: 1000 });
  expect(rows.some((row) => row["radio"] === pairs.get("Radio") && String(row["range"]) === pairs.get("Range") && String(row["samples"]) === pairs.get("Samples"))).toBe(true);
});
