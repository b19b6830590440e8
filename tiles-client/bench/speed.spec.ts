/** What a brush and a recolouring cost in script, in Chromium, by the clock of script.ts. Prints; asserts nothing about time. */

import { join } from "node:path";
import { expect, test, type Dashboard } from "../e2e/fixture.js";
import { ScriptClock } from "./script.js";

/** Drags, settled steps and recolourings that are measured; BENCH_ROUNDS=4 on a busy machine. */
const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 16);

/** Another build of `dist`, whose drags are measured in turns with this one's: a machine that others use is never the same twice. */
const BEFORE = process.env["BENCH_BEFORE"];

/** Turns of each build. */
const TURNS = 2;

/** Pointer moves of a drag, one for each frame. */
const MOVES = 20;

/** Small enough that drawing in software does not take most of the time. */
const SIZE = { width: 800, height: 600 };

test("script time of a brush, of colours and of a tile", async ({ dashboard, stats }) => {
  const { page } = dashboard;
  await page.setViewportSize(SIZE);
  // This checkout's page, or the one that it is compared with, whichever build of the server answers.
  let dist = join(import.meta.dirname, "../dist");
  await page.route(({ pathname }) => pathname === "/" || pathname.startsWith("/ui/"), (route) => {
    const { pathname } = new URL(route.request().url());
    return route.fulfill({ path: join(dist, pathname === "/" ? "index.html" : pathname.slice("/ui/".length)) });
  });
  const view = "#d=towers&at=3/48/10&markers=0&how=log";
  await dashboard.open(view);
  const clock = await ScriptClock.of(page);
  const tiles = await page.evaluate(() => {
    const map = window.pointillist?.map as { coveringTiles(options: { tileSize: number }): unknown[] };
    return map.coveringTiles({ tileSize: 256 }).length;
  });
  console.log(`\n${stats.rows.toLocaleString("en-GB")} points, ${stats.categories.length} categories, ${SIZE.width} x ${SIZE.height}, ${tiles} tiles in view; script, milliseconds`);
  console.log(`${"".padEnd(66)} ${"median".padStart(8)} ${"p95".padStart(8)} ${"n".padStart(4)}`);

  const drag: number[] = [];
  const former: number[] = [];
  for (let turn = 0; turn < (BEFORE === undefined ? 1 : TURNS); turn++) {
    if (BEFORE !== undefined) {
      const own = dist;
      dist = BEFORE;
      await dashboard.page.goto("about:blank");
      await dashboard.open(view);
      former.push(...(await drags(dashboard, clock)));
      dist = own;
      await dashboard.page.goto("about:blank");
      await dashboard.open(view);
    }
    drag.push(...(await drags(dashboard, clock)));
  }
  tell("brush update: a drag until all is up to date, by its moves", drag.map((ms) => ms / MOVES));
  if (BEFORE !== undefined) {
    tell("the same with the other build", former.map((ms) => ms / MOVES));
    console.log(`${"the median, by the other build's".padEnd(66)} ${(median(drag) / median(former)).toFixed(2).padStart(8)}`);
  }
  const steps = await settledSteps(dashboard, clock);
  tell(`one step of a brush and a rest: histograms, all ${tiles} tiles anew`, steps);
  const colours = await recolourings(dashboard, clock);
  tell("recolouring on the graphics card, by tile in view", colours.map((ms) => ms / tiles));
  for (const [what, samples] of Object.entries(await paints(dashboard, clock))) tell(`recolouring on the processor: ${what}`, samples);
});

function tell(what: string, samples: readonly number[]): void {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN).toFixed(2).padStart(8);
  console.log(`${what.padEnd(66)} ${at(0.5)} ${at(0.95)} ${String(samples.length).padStart(4)}`);
}

function median(samples: readonly number[]): number {
  return [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN;
}

/** Until two frames have been drawn and nothing is on its way. Waits in the page: asking from outside would be script too. */
async function rest({ page }: Dashboard): Promise<void> {
  await page.evaluate(async () => {
    const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    do await later(50);
    while (window.pointillist?.idle !== true);
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
}

/** As a hand does it: a move for every frame, whatever has been answered, and back at the end, each drag somewhere else. */
async function drags(dashboard: Dashboard, clock: ScriptClock): Promise<number[]> {
  const { page } = dashboard;
  await page.locator(".range[data-column=range]").scrollIntoViewIfNeeded();
  const samples: number[] = [];
  // The first warms up, the server's cube and the compiler, and tells whose script it is.
  for (let round = -1; round < ROUNDS; round++) {
    const job = async (): Promise<void> => {
      await page.evaluate(
        async ([from, moves]) => {
          const surface = document.querySelector<HTMLElement>(".range[data-column=range] .range-surface");
          const box = surface?.getBoundingClientRect();
          if (!surface || !box) throw new Error("there is no histogram of ranges");
          const send = (type: string, share: number): void => void surface.dispatchEvent(new PointerEvent(type, { clientX: box.x + share * box.width, clientY: box.y + 30, button: 0, buttons: 1, pointerId: 1, bubbles: true }));
          // The pointer of a real mouse can be captured; that of an event made here cannot.
          surface.setPointerCapture = () => undefined;
          send("pointerdown", from);
          for (let step = 1; step <= moves; step++) {
            send("pointermove", from + 0.0137 * step);
            await new Promise(requestAnimationFrame);
          }
          send("pointerup", from + 0.0137 * moves);
        },
        [0.05 + (0.6 * (round + 1)) / (ROUNDS + 1), MOVES] as const,
      );
      await rest(dashboard);
    };
    if (round >= 0) samples.push(await clock.time(job));
    else console.log(`${"of a drag's script, MapLibre's own aside".padEnd(66)} ${(100 * (await clock.ourShare(job))).toFixed(0).padStart(7)}%`);
  }
  return samples;
}

/** One pointer move at a time: what does it cost until all is up to date again? */
async function settledSteps(dashboard: Dashboard, clock: ScriptClock): Promise<number[]> {
  const { page } = dashboard;
  await page.getByRole("button", { name: "Clear Range" }).click();
  await rest(dashboard);
  const grip = page.getByRole("slider", { name: "Range, from" });
  await grip.focus();
  const samples: number[] = [];
  for (let step = 0; step < ROUNDS; step++) {
    samples.push(
      await clock.time(async () => {
        await page.keyboard.press("ArrowRight");
        await rest(dashboard);
      }),
    );
  }
  return samples;
}

async function recolourings(dashboard: Dashboard, clock: ScriptClock): Promise<number[]> {
  const { page } = dashboard;
  await page.getByRole("button", { name: "Clear Range" }).click();
  await page.getByRole("button", { name: "Colours" }).click();
  await rest(dashboard);
  const samples: number[] = [];
  const asked = dashboard.requests.length;
  const choices = ["Linear", "viridis", "Log", "categories", "Cube root", "fire"];
  for (let round = 0; round < ROUNDS; round++) {
    const name = choices[round % choices.length] ?? "";
    samples.push(
      await clock.time(async () => {
        await page.evaluate((label) => {
          const control = [...document.querySelectorAll<HTMLElement>("[role=radio]")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === label);
          control?.click();
        }, name);
        await rest(dashboard);
      }),
    );
  }
  expect(dashboard.requests.slice(asked), "requests for a change of colours").toEqual([]);
  return samples;
}

/** Paintings of one sample: one alone is shorter than what surrounds it. */
const PAINTS = 10;

/** The fallback of MapLibre, Leaflet and Mapbox: a tile's counts to pixels. The densest tile of zoom 2, and as much of it in 512 pixels. */
async function paints({ page }: Dashboard, clock: ScriptClock): Promise<Record<string, number[]>> {
  const results: Record<string, number[]> = {};
  for (const size of [256, 512]) {
    for (const kind of ["categories", "ramp"] as const) {
      await page.evaluate(
        async ([size, kind, paints]) => {
          // Through a variable: the server's own file, not a module of this project.
          const url = "/ui/lib/core.js";
          const core = (await import(url)) as typeof import("../src/core/index.js");
          const stats = await new core.Client().dataset("towers").stats();
          const { shape, data } = core.decodeNpy(await (await fetch(`/towers/2/2/1.npy?dtype=auto&tilesize=${size}`)).arrayBuffer());
          const { distribution } = (await (await fetch(`/towers/legend.json?zoom=2&tilesize=${size}`)).json()) as { distribution: Parameters<typeof core.createScale>[1] };
          const counts = new core.CountTile({ z: 2, x: 2, y: 1 }, shape, data as Uint16Array);
          const image = new ImageData(counts.size, counts.size);
          const visible = stats.categories.map(() => true);
          const style = kind === "categories" ? { kind, colors: stats.categories.map(({ color }) => core.parseColor(color)), visible, minAlpha: 40 } : { kind, ramp: core.cmapColors("viridis"), visible };
          // A new palette every time: the tables are part of the price. From a timer: script that a debugger evaluates is in no trace.
          const paint = (): void => {
            for (let k = 0; k < paints; k++) new core.Shading(core.createScale("eq_hist", distribution), style).paint(counts, image.data);
          };
          (window as unknown as { paint: () => Promise<void> }).paint = () => new Promise((resolve) => setTimeout(() => (paint(), resolve())));
        },
        [size, kind, PAINTS] as const,
      );
      const samples: number[] = [];
      // The first two let the compiler see what is worth its while.
      for (let round = -2; round < ROUNDS; round++) {
        const ms = await clock.time(() => page.evaluate(() => (window as unknown as { paint: () => Promise<void> }).paint()));
        if (round >= 0) samples.push(ms / PAINTS);
      }
      results[`${kind}, ${size} pixels`] = samples;
    }
  }
  return results;
}
