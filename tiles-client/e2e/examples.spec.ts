/** Every page of examples/web in its own map library: pixels at known places, a filter, a hidden category. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import type { PNG } from "pngjs";
import { expect, rgbAt, test, url } from "./fixture.js";

const FOLDER = join(import.meta.dirname, "../../examples/web");
const SEA = [227, 233, 238];
const LAND = [251, 250, 248];
const GREENLAND = [-40, 69] as const;
const ATLANTIC = [-40, 30] as const;

interface Example {
  readonly name: string;
  /** Where a place is on the page, by the library's own projection. Runs in the page. */
  readonly project: (lon: number, lat: number) => [number, number];
  /** Whether the page colours counts itself, and so can hide a category. */
  readonly colours: boolean;
}

type AnyMap = { readonly [method: string]: (...given: unknown[]) => unknown };
declare const window: { readonly map: AnyMap };

const gl = (lon: number, lat: number): [number, number] => {
  const { x, y } = window.map["project"]?.([lon, lat]) as { x: number; y: number };
  return [x, y];
};

const EXAMPLES: readonly Example[] = [
  {
    name: "leaflet",
    colours: true,
    project: (lon, lat) => {
      const { x, y } = window.map["latLngToContainerPoint"]?.([lat, lon]) as { x: number; y: number };
      return [x, y];
    },
  },
  { name: "maplibre", colours: true, project: gl },
  { name: "mapbox", colours: true, project: gl },
  {
    name: "openlayers",
    colours: false,
    project: (lon, lat) => {
      const radius = 6378137;
      const meters = [(radius * lon * Math.PI) / 180, radius * Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360))];
      return window.map["getPixelFromCoordinate"]?.(meters) as [number, number];
    },
  },
  {
    name: "deckgl",
    colours: true,
    project: (lon, lat) => {
      const [viewport] = window.map["getViewports"]?.() as { project(place: number[]): [number, number] }[];
      return viewport?.project([lon, lat]) ?? [-1, -1];
    },
  },
];

let vite: ChildProcess | null = null;
let pages = "";

test.beforeAll(async () => {
  if (!existsSync(join(FOLDER, "node_modules"))) return;
  const child = spawn("node", ["node_modules/vite/bin/vite.js", "--port", "0"], { cwd: FOLDER, env: { ...process.env, VITE_POINTILLIST: url() }, stdio: ["ignore", "pipe", "inherit"] });
  vite = child;
  pages = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      // Without the colours of a terminal.
      said += chunk.toString().replaceAll(/\u001b\[\d+m/g, "");
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
      if (address) resolve(address);
    });
    child.on("exit", (code) => reject(new Error(`vite ended with ${code}; it said:\n${said}`)));
  });
  child.removeAllListeners("exit");
});

test.afterAll(() => {
  vite?.kill();
});

/** How many pixels have colours of their own: neither land nor sea nor ink. */
function coloured(image: PNG): number {
  let found = 0;
  for (let p = 0; p < image.data.length; p += 4) {
    const levels = [image.data[p] ?? 0, image.data[p + 1] ?? 0, image.data[p + 2] ?? 0];
    if (Math.max(...levels) - Math.min(...levels) > 40) found++;
  }
  return found;
}

/** A map is done when two pictures in a row are the same and something is on them. */
async function settled(page: Page, pixels: () => Promise<PNG>, done: (image: PNG) => boolean): Promise<PNG> {
  let before = await pixels();
  for (let k = 0; k < 60; k++) {
    await page.waitForTimeout(400);
    const image = await pixels();
    if (done(image) && Buffer.compare(image.data, before.data) === 0) return image;
    before = image;
  }
  throw new Error("the map did not come to rest with what was expected of it");
}

for (const { name, project, colours } of EXAMPLES) {
  test(`the ${name} page shows, filters${colours ? " and hides" : ""} points`, async ({ dashboard, dataset, stats }) => {
    test.skip(pages === "", "examples/web is not installed: run npm ci there");
    const { page } = dashboard;
    dashboard.origins.push(pages);
    await page.goto(`${pages}/${name}.html?d=towers`);
    await expect(page.locator("aside strong")).toHaveText(stats.rows.toLocaleString("en-GB"));
    const all = await settled(page, dashboard.pixels, (image) => coloured(image) > 3000);
    const at = async (image: PNG, [lon, lat]: readonly [number, number]): Promise<number[]> => {
      const [x, y] = await page.evaluate(`(${project.toString()})(${lon}, ${lat})`) as [number, number];
      return rgbAt(image, x, y);
    };
    expect(await at(all, ATLANTIC), "the Atlantic").toEqual(SEA);
    expect(await at(all, GREENLAND), "Greenland's ice").toEqual(LAND);
    // Around London there are towers, and so colours.
    const around = await Promise.all([-0.6, -0.3, 0, 0.3].flatMap((dx) => [51.2, 51.5, 51.8].map((lat) => at(all, [dx - 0.1, lat] as const))));
    expect(around.filter((levels) => Math.max(...levels) - Math.min(...levels) > 40).length, "colours around London").toBeGreaterThan(0);

    // A filter, with the API's number; and one that is wrong, with the server's words.
    const filter = "radio = 'GSM' AND range > 2000";
    const { rows } = await dataset.stats({ filter });
    await page.locator("aside input").fill(filter);
    await page.keyboard.press("Enter");
    await expect(page.locator("aside strong")).toHaveText(rows.toLocaleString("en-GB"));
    const fewer = await settled(page, dashboard.pixels, (image) => coloured(image) < 0.8 * coloured(all));
    expect(coloured(fewer)).toBeGreaterThan(200);
    dashboard.expectErrors.push(/status of 400/);
    await page.locator("aside input").fill("rnage > 2000");
    await page.keyboard.press("Enter");
    await expect(page.locator("aside output")).toContainText("did you mean 'range'");

    if (colours) {
      const asked = dashboard.requests.length;
      await page.getByRole("button", { name: "GSM" }).click();
      // Nothing is left but the legend's own dots.
      await settled(page, dashboard.pixels, (image) => coloured(image) < 0.5 * coloured(fewer));
      expect(dashboard.requests.slice(asked), "requests for a change of colours").toEqual([]);
    } else {
      await page.locator("aside input").fill("");
      await page.keyboard.press("Enter");
      await settled(page, dashboard.pixels, (image) => coloured(image) > 3000);
      const [x, y] = await page.evaluate(`(${project.toString()})(-0.1, 51.5)`) as [number, number];
      await page.mouse.click(x, y);
      await expect(page.locator(".note")).toContainText("here");
    }
  });
}
