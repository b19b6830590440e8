/**
 * Script time, from Chromium's own counters (`ScriptDuration`: all JavaScript of the page, MapLibre's included) and from
 * `performance.now()` around single calls. Frames are not counted: here they are drawn in software.
 */

import { join } from "node:path";
import type { CDPSession } from "@playwright/test";
import { expect, test, type Dashboard } from "../e2e/fixture.js";

/** Steps of a drag that are measured; BENCH_STEPS=6 on a busy machine. */
const STEPS = Number(process.env["BENCH_STEPS"] ?? 20);

/** Small enough that drawing in software does not take most of the time. */
const SIZE = { width: 800, height: 600 };

test("script time of a brush, of colours and of a tile", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await page.setViewportSize(SIZE);
  // This checkout's page, whichever build of the server answers.
  await page.route(({ pathname }) => pathname === "/" || pathname.startsWith("/ui/"), (route) => {
    const { pathname } = new URL(route.request().url());
    return route.fulfill({ path: join(import.meta.dirname, "../dist", pathname === "/" ? "index.html" : pathname.slice("/ui/".length)) });
  });
  await dashboard.open("#d=towers&at=3/48/10&markers=0&how=log");
  const cdp = await page.context().newCDPSession(page);
  // Processor time of the page's own thread: what other programs do in the meantime is not in it.
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  console.log(`\n${stats.rows.toLocaleString("en-GB")} points, ${stats.categories.length} categories, ${SIZE.width} x ${SIZE.height}`);
  const report = (what: string, samples: readonly number[]): void => void console.log(`${what.padEnd(58)} median ${quantile(samples, 0.5)} ms   p95 ${quantile(samples, 0.95)} ms   n ${samples.length}`);

  report("brush update, step by step: handlers, charts, map, answer", await brushSteps(dashboard, cdp));
  const drag = await fullDrag(dashboard, cdp);
  report("brush update, dragged at full speed: script per update", drag.perUpdate);
  console.log(`${"".padEnd(58)} ${drag.updates} updates, ${drag.frames} frames, ${drag.asked} crossfilter requests, ${drag.aborted} requests aborted`);
  const colours = await recolourings(dashboard, cdp);
  report(`change of scale, palette or category, ${colours.tiles} tiles on screen`, colours.all);
  report("the same, for one tile", colours.all.map((ms) => ms / colours.tiles));
  for (const [what, samples] of Object.entries(await paints(dashboard))) report(`colouring a tile on the processor: ${what}`, samples);
});

function quantile(samples: readonly number[], share: number): string {
  const sorted = [...samples].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN).toFixed(2);
}

/** JavaScript time of the page so far, milliseconds. */
async function scriptMs(cdp: CDPSession): Promise<number> {
  const { metrics } = await cdp.send("Performance.getMetrics");
  return 1000 * (metrics.find(({ name }) => name === "ScriptDuration")?.value ?? Number.NaN);
}

/** Until two frames have been drawn and nothing is on its way. */
async function rest({ page, idle }: Dashboard): Promise<void> {
  const frames = (): Promise<void> => page.evaluate(() => new Promise<void>((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve()))));
  await frames();
  await idle();
  await frames();
}

/** Waiting costs some script itself: to be taken off. */
async function restMs(dashboard: Dashboard, cdp: CDPSession): Promise<number> {
  const samples: number[] = [];
  await rest(dashboard);
  for (let k = 0; k < 5; k++) {
    const start = await scriptMs(cdp);
    await rest(dashboard);
    samples.push((await scriptMs(cdp)) - start);
  }
  return samples.sort((a, b) => a - b)[2] ?? 0;
}

async function grabRange({ page }: Dashboard): Promise<{ x: number; y: number; width: number }> {
  const surface = page.locator(".range[data-column=range] .range-surface");
  await surface.scrollIntoViewIfNeeded();
  const box = await surface.boundingBox();
  if (!box) throw new Error("the range histogram has no size");
  await page.mouse.move(box.x + 0.2 * box.width, box.y + 30);
  await page.mouse.down();
  return { x: box.x, y: box.y + 30, width: box.width };
}

/** One pointer move at a time: what does it cost until all is up to date again? */
async function brushSteps(dashboard: Dashboard, cdp: CDPSession): Promise<number[]> {
  const { page } = dashboard;
  const { x, y, width } = await grabRange(dashboard);
  const samples: number[] = [];
  const waiting = await restMs(dashboard, cdp);
  for (let step = 0; step < STEPS; step++) {
    const [start, asked] = [await scriptMs(cdp), dashboard.requests.length];
    await page.mouse.move(x + (0.25 + (0.7 * step) / STEPS) * width, y);
    await rest(dashboard);
    if (dashboard.requests.length > asked) samples.push((await scriptMs(cdp)) - start - waiting);
  }
  await page.mouse.up();
  expect(samples.length).toBeGreaterThan(STEPS / 2);
  return samples;
}

/** As a hand does it: a move for every frame, whatever has been answered. */
async function fullDrag(dashboard: Dashboard, cdp: CDPSession): Promise<{ perUpdate: number[]; updates: number; frames: number; asked: number; aborted: number }> {
  const { page } = dashboard;
  let aborted = 0;
  page.on("requestfailed", (request) => (aborted += request.failure()?.errorText === "net::ERR_ABORTED" ? 1 : 0));
  await page.keyboard.press("Control+z");
  await rest(dashboard);
  const asked = dashboard.requests.length;
  const perUpdate: number[] = [];
  let [updates, frames] = [0, 0];
  for (let round = 0; round < 4; round++) {
    const start = await scriptMs(cdp);
    const result = await page.evaluate(async (from) => {
      const surface = document.querySelector<HTMLElement>(".range[data-column=range] .range-surface");
      const box = surface?.getBoundingClientRect();
      if (!surface || !box) throw new Error("there is no histogram of ranges");
      const send = (type: string, share: number): void => void surface.dispatchEvent(new PointerEvent(type, { clientX: box.x + share * box.width, clientY: box.y + 30, button: 0, buttons: 1, pointerId: 1, bubbles: true }));
      // The pointer of a real mouse can be captured; that of an event made here cannot.
      surface.setPointerCapture = () => undefined;
      send("pointerdown", from);
      let frames = 0;
      for (let step = 1; step <= 15; step++) {
        send("pointermove", from + 0.012 * step);
        await new Promise(requestAnimationFrame);
        frames++;
      }
      send("pointerup", from + 0.18);
      return frames;
    }, 0.1 + 0.05 * round);
    perUpdate.push(((await scriptMs(cdp)) - start) / 15);
    updates += 15;
    frames += result;
  }
  await rest(dashboard);
  return { perUpdate, updates, frames, asked: dashboard.requests.slice(asked).filter((request) => request.includes("/crossfilter")).length, aborted };
}

async function recolourings(dashboard: Dashboard, cdp: CDPSession): Promise<{ all: number[]; tiles: number }> {
  const { page } = dashboard;
  await page.getByRole("button", { name: "Clear Range" }).click();
  await page.getByRole("button", { name: "Colours" }).click();
  await rest(dashboard);
  const tiles = await page.evaluate(() => {
    const map = window.pointillist?.map as { coveringTiles(options: { tileSize: number }): unknown[] };
    return map.coveringTiles({ tileSize: 256 }).length;
  });
  const all: number[] = [];
  const asked = dashboard.requests.length;
  const waiting = await restMs(dashboard, cdp);
  for (let round = 0; round < 2; round++) {
    for (const name of ["Linear", "viridis", "Log", "categories", "Cube root", "fire"]) {
      const start = await scriptMs(cdp);
      await page.evaluate((label) => {
        const control = [...document.querySelectorAll<HTMLElement>("[role=radio]")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === label);
        control?.click();
      }, name);
      await rest(dashboard);
      all.push((await scriptMs(cdp)) - start - waiting);
    }
  }
  expect(dashboard.requests.slice(asked), "requests for a change of colours").toEqual([]);
  return { all, tiles };
}

/** The fallback of MapLibre, Leaflet and Mapbox: a tile's counts to pixels. */
async function paints({ page }: Dashboard): Promise<Record<string, number[]>> {
  return page.evaluate(async () => {
    // Through a variable: the server's own file, not a module of this project.
    const url = "/ui/lib/core.js";
    const core = (await import(url)) as typeof import("../src/core/index.js");
    const dataset = new core.Client().dataset("towers");
    const stats = await dataset.stats();
    const counts = await dataset.countTile({ z: 2, x: 2, y: 1 });
    const { distribution } = await dataset.legend({ zoom: 2 });
    const image = new ImageData(counts.size, counts.size);
    const visible = stats.categories.map(() => true);
    const results: Record<string, number[]> = {};
    for (const style of [
      { kind: "categories" as const, colors: stats.categories.map(({ color }) => core.parseColor(color)), visible, minAlpha: 40 },
      { kind: "ramp" as const, ramp: core.cmapColors("viridis"), visible },
    ]) {
      const samples: number[] = [];
      for (let k = 0; k < 200; k++) {
        const start = performance.now();
        // A new palette every time: the tables are part of the price.
        new core.Shading(core.createScale("eq_hist", distribution), style).paint(counts, image.data);
        samples.push(performance.now() - start);
      }
      results[`${style.kind}, ${counts.categories} planes`] = samples;
    }
    return results;
  });
}
