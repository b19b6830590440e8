/**
 * The Python examples, run by a Python that has what they need (`POINTILLIST_PYTHON`; `scripts/test` makes one): the Dash
 * application in the browser, the NumPy script, and every cell of the notebook.
 */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import type { Dataset } from "../src/core/index.js";
import { expect, rgbAt, test, url } from "./fixture.js";

const PYTHON = process.env["POINTILLIST_PYTHON"] ?? "";
const EXAMPLES = join(import.meta.dirname, "../../examples");
const REASON = "POINTILLIST_PYTHON names no Python with the packages of examples/*/requirements.txt";

function environment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { ...process.env, POINTILLIST_URL: url(), ...more };
}

test("np.load reads a tile, and its counts are the dataset's", async ({ stats }) => {
  test.skip(PYTHON === "", REASON);
  const said = execFileSync(PYTHON, [join(EXAMPLES, "python/counts.py"), url()], { encoding: "utf8" });
  for (const { label, count } of stats.categories) expect(said).toContain(`${label}  ${count.toLocaleString("en-US").padStart(12)}`);
  expect(said).toMatch(/the fullest pixel, \d+,\d+, holds [\d,]+ points/);
});

test("the notebook runs, and its slider's filter is what the tiles get", async ({ dataset, stats }) => {
  test.skip(PYTHON === "", REASON);
  const run = `
import json, nbformat, nbclient
notebook = nbformat.read("notebook.ipynb", 4)
notebook.cells.append(nbformat.v4.new_code_cell("least.value = 5000; import json; print(json.dumps([total.value, tiles.url]))"))
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
print(json.dumps({"counts": cells[2].outputs[0]["data"]["text/plain"], "slider": cells[-1].outputs[-1]["text"]}))`;
  const said = execFileSync(PYTHON, ["-c", run], { encoding: "utf8", cwd: join(EXAMPLES, "python"), env: environment() });
  const { counts, slider } = JSON.parse(said.trim().split("\n").at(-1) ?? "") as { counts: string; slider: string };
  for (const { label, count } of stats.categories) expect(counts).toContain(`'${label}': ${count}`);
  const [total, address] = JSON.parse(slider) as [string, string];
  const { rows } = await dataset.stats({ filter: "range > 5000" });
  expect(total).toBe(`${rows.toLocaleString("en-US")} towers`);
  const tile = await fetch(address.replace("{z}", "0").replace("{x}", "0").replace("{y}", "0"));
  expect([tile.status, tile.headers.get("content-type")]).toEqual([200, "image/png"]);
});

test.describe("the Dash application", () => {
  let child: ChildProcess | null = null;
  let address = "";

  test.beforeAll(async () => {
    if (PYTHON === "") return;
    const port = await freePort();
    address = `http://127.0.0.1:${port}`;
    child = spawn(PYTHON, ["app.py"], { cwd: join(EXAMPLES, "dash"), env: environment({ PORT: String(port), POINTILLIST_DATASET: "towers" }), stdio: "ignore" });
    for (let k = 0; k < 300; k++) {
      const answer = await fetch(address).catch(() => null);
      if (answer?.ok) return;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the Dash application does not answer at ${address}; its exit code is ${child.exitCode}`);
  });

  test.afterAll(() => {
    child?.kill();
  });

  /** The filter of the tiles on the map. */
  const filterOf = async (page: Page): Promise<string> => {
    const tile = (await page.locator("#map img.leaflet-tile").last().getAttribute("src")) ?? "";
    return new URLSearchParams(tile.slice(tile.indexOf("?") + 1)).get("filter") ?? "";
  };

  /** The total that the page shows, once it is what the API says of the tiles' filter. */
  const agreed = async (page: Page, dataset: Dataset, test: (rows: number) => boolean): Promise<number> => {
    let rows = -1;
    await expect
      .poll(async () => {
        const filter = await filterOf(page);
        rows = (await dataset.stats(filter ? { filter } : {})).rows;
        return (await page.locator("#total").innerText()) === rows.toLocaleString("en-US") && test(rows);
      })
      .toBe(true);
    return rows;
  };

  test("brushes, clicks and resets, with the API's numbers and the tiles' colours", async ({ dashboard, dataset, stats }) => {
    test.skip(PYTHON === "", REASON);
    const { page } = dashboard;
    await page.setViewportSize({ width: 1200, height: 860 });
    dashboard.origins.push(address);
    await page.goto(address);
    await agreed(page, dataset, (rows) => rows === stats.rows);
    await expect(page.locator("#map .leaflet-tile-loaded").first()).toBeAttached();
    await page.waitForTimeout(1000);
    const map = await page.locator("#map").boundingBox();
    if (!map) throw new Error("the map has no size");
    const image = await dashboard.pixels();
    const colours = new Set<number>();
    for (let x = map.x; x < map.x + map.width; x++) for (let y = map.y; y < map.y + map.height; y++) colours.add(rgbAt(image, x, y).reduce((packed, level) => packed * 256 + level, 0));
    expect(colours.size, "colours on the map").toBeGreaterThan(200);

    // Drag over the middle of the signal ranges.
    const drag = async (chart: string, from: number, to: number): Promise<void> => {
      const box = await page.locator(`#${chart} .nsewdrag`).first().boundingBox();
      if (!box) throw new Error(`${chart} has no size`);
      await page.mouse.move(box.x + from * box.width, box.y + 40);
      await page.mouse.down();
      await page.mouse.move(box.x + to * box.width, box.y + 60, { steps: 6 });
      await page.mouse.up();
    };
    await drag("range", 0.4, 0.7);
    const brushed = await agreed(page, dataset, (rows) => rows > 0 && rows < stats.rows);
    expect(await filterOf(page)).toMatch(/range >= \d+/);

    // One radio of them, and then another besides.
    const bars = page.locator("#radio .trace.bars").last().locator(".point path");
    await bars.last().click({ force: true });
    const one = await agreed(page, dataset, (rows) => rows > 0 && rows < brushed);
    expect(await filterOf(page)).toContain("radio");
    await bars.nth(-2).click({ force: true, modifiers: ["Shift"] });
    await agreed(page, dataset, (rows) => rows > one);

    await page.getByRole("button", { name: "Reset all" }).click();
    await agreed(page, dataset, (rows) => rows === stats.rows);
    expect(await filterOf(page)).toBe("");

    // The farthest ranges are few: single markers with their rows.
    await drag("range", 0.93, 0.999);
    const few = await agreed(page, dataset, (rows) => rows > 0 && rows <= 1000);
    const { rows } = await dataset.points({ filter: await filterOf(page), limit: few });
    const [west, south, east, north] = stats.bounds;
    const zoom = Math.max(1, Math.min(14, Math.floor(Math.log2(360 / 256 / Math.max((east - west) / 1150, (north - south) / 300)))));
    const place = (lon: number, lat: number): [number, number] => [256 * 2 ** zoom * (lon / 360 + 0.5), 256 * 2 ** zoom * (0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI))];
    const middle = place((west + east) / 2, (south + north) / 2);
    const spots = rows.map((row) => place(Number(row["lon"]), Number(row["lat"])));
    const inside = spots.map(([x, y]) => [map.x + map.width / 2 + x - middle[0], map.y + map.height / 2 + y - middle[1]] as const).find(([x, y]) => x > map.x + 60 && x < map.x + map.width - 60 && y > map.y + 120 && y < map.y + map.height - 40);
    if (!inside) throw new Error("no marker is in view");
    await expect(async () => {
      // Leaflet looks at the pointer every 32 ms.
      await page.mouse.move(inside[0] - 20, inside[1]);
      await page.waitForTimeout(100);
      await page.mouse.move(...inside);
      await expect(page.locator(".leaflet-tooltip")).toContainText("radio", { timeout: 1000 });
    }).toPass();
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
