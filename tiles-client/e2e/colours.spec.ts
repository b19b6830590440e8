/** Colours: the client's against the server's, and the graphics card's against the client's, in every pixel. */

import { PNG } from "pngjs";
import { Client, SCALES, Shading, categoryKey, cmapColors, createScale, parseColor, valueScale, type CmapName, type Style } from "../src/core/index.js";
import { expect, test, url } from "./fixture.js";

const TILE = { z: 3, x: 4, y: 2 };

async function serverTile(query: string): Promise<PNG> {
  const response = await fetch(`${url()}/towers/${TILE.z}/${TILE.x}/${TILE.y}.png?${query}`);
  expect(response.status, `${query}: ${await response.clone().text().catch(() => "")}`).toBe(200);
  return PNG.sync.read(Buffer.from(await response.arrayBuffer()));
}

/** Pixels that differ, transparent ones being equal whatever their colour; and how many are not empty. */
function compare(image: PNG, ours: Uint8ClampedArray): { different: number; coloured: number } {
  let [different, coloured] = [0, 0];
  for (let p = 0; p < ours.length; p += 4) {
    const alpha = ours[p + 3];
    if (alpha !== 0) coloured++;
    const same = alpha === 0 ? image.data[p + 3] === 0 : [0, 1, 2, 3].every((k) => image.data[p + k] === ours[p + k]);
    if (!same) different++;
  }
  return { different, coloured };
}

test("every scale and palette equals the server's PNG", async ({ dataset, stats }) => {
  const counts = await dataset.countTile(TILE);
  const { distribution } = await dataset.legend({ zoom: TILE.z });
  const colors = stats.categories.map(({ color }) => parseColor(color));
  const all = colors.map(() => true);
  const out = new Uint8ClampedArray(4 * 256 * 256);
  const cases: { query: string; style: Style }[] = [
    { query: "min_alpha=40", style: { kind: "categories", colors, visible: all, minAlpha: 40 } },
    { query: "min_alpha=100", style: { kind: "categories", colors, visible: all, minAlpha: 100 } },
    ...(["viridis", "turbo", "fire", "gray", "cividis"] as CmapName[]).map((name) => ({ query: `cmap=${name}`, style: { kind: "ramp" as const, ramp: cmapColors(name), visible: all } })),
  ];
  const lte = stats.categories.findIndex(({ value }) => value === "LTE");
  expect(lte).toBeGreaterThanOrEqual(0);
  cases.push({ query: "min_alpha=40&hide=LTE", style: { kind: "categories", colors, visible: all.map((_, c) => c !== lte), minAlpha: 40 } });
  for (const how of SCALES) {
    for (const { query, style } of cases) {
      new Shading(createScale(how, distribution), style).paint(counts, out);
      const { different, coloured } = compare(await serverTile(`how=${how}&${query}`), out);
      expect(coloured, `${how} ${query}`).toBeGreaterThan(500);
      expect(different, `${how} ${query}: pixels that differ`).toBe(0);
    }
  }
});

test("an aggregate's values look as the server's PNG does", async ({ dataset, stats }) => {
  const measure = { agg: "mean", column: "range" } as const;
  const tile = await dataset.valueTile(TILE, measure);
  const legend = await dataset.valueLegend({ ...measure, zoom: TILE.z });
  expect(stats.columns.some(({ name }) => name === measure.column)).toBe(true);
  const out = new Uint8ClampedArray(4 * 256 * 256);
  for (const how of SCALES) {
    new Shading(valueScale(how, legend), { kind: "ramp", ramp: cmapColors("gray"), visible: [] }).paint(tile, out);
    const image = await serverTile(`agg=mean&column=range&cmap=gray&how=${how}`);
    let [worst, sum, coloured, elsewhere] = [0, 0, 0, 0];
    for (let p = 0; p < out.length; p += 4) {
      if ((out[p + 3] ?? 0) > 0 !== (image.data[p + 3] ?? 0) > 0) elsewhere += 1;
      if (out[p + 3] === 0) continue;
      const levels = Math.abs((out[p] ?? 0) - (image.data[p] ?? 0));
      coloured += 1;
      sum += levels;
      worst = Math.max(worst, levels);
    }
    expect(coloured, how).toBeGreaterThan(500);
    expect(elsewhere, `${how}: pixels that are empty on one side only`).toBe(0);
    // Ranks are interpolated between 33 values; the other scales are the server's, on values of 24 bits.
    expect(worst, `${how}: levels of 255`).toBeLessThanOrEqual(how === "eq_hist" ? 8 : 1);
    expect(sum / coloured, `${how}: levels of 255 on average`).toBeLessThan(how === "eq_hist" ? 2 : 0.1);
  }
});

test("the graphics card colours as the processor does", async ({ dashboard, stats }) => {
  await dashboard.open();
  const worst = await dashboard.page.evaluate(
    async ({ id, colors, hidden }) => {
      // Through a variable: the server's own files, not modules of this project.
      const [coreUrl, layerUrl] = ["/ui/lib/core.js", "/ui/lib/maplibre.js"];
      const core = (await import(coreUrl)) as typeof import("../src/core/index.js");
      const { CountLayer } = (await import(layerUrl)) as typeof import("../src/maplibre/index.js");
      const dataset = new core.Client().dataset("towers");
      const counts = await dataset.countTile(id);
      const { distribution } = await dataset.legend({ zoom: id.z });
      const visible = colors.map((_, c) => c !== hidden);
      const results: { name: string; worst: number; coloured: number }[] = [];
      for (const how of core.SCALES) {
        for (const style of [
          { kind: "categories" as const, colors: colors.map((color) => core.parseColor(color)), visible, minAlpha: 40 },
          { kind: "ramp" as const, ramp: core.cmapColors("inferno"), visible },
        ]) {
          const shading = new core.Shading(core.createScale(how, distribution), style);
          const canvas = document.createElement("canvas");
          canvas.width = canvas.height = 256;
          const gl = canvas.getContext("webgl2", { premultipliedAlpha: true, preserveDrawingBuffer: true, antialias: false });
          if (!gl) throw new Error("this browser has no WebGL2");
          const layer = new CountLayer({ tiles: () => [{ counts, at: id, wrap: 0 }], shading: () => shading });
          const map = { triggerRepaint() {} };
          layer.onAdd(map as never, gl);
          // World to clip such that the tile fills the canvas, north up.
          const n = 2 ** id.z;
          const matrix = [2 * n, 0, 0, 0, 0, -2 * n, 0, 0, 0, 0, 1, 0, -1 - 2 * id.x, 1 + 2 * id.y, 0, 1];
          layer.render(gl, { defaultProjectionData: { mainMatrix: matrix } } as never);
          const drawn = new Uint8Array(4 * 256 * 256);
          gl.readPixels(0, 0, 256, 256, gl.RGBA, gl.UNSIGNED_BYTE, drawn);
          layer.onRemove(map as never, gl);
          const expected = new Uint8ClampedArray(4 * 256 * 256);
          shading.paint(counts, expected);
          let [worst, coloured] = [0, 0];
          for (let y = 0; y < 256; y++) {
            for (let x = 0; x < 256; x++) {
              const [from, to] = [4 * (256 * (255 - y) + x), 4 * (256 * y + x)];
              const alpha = expected[to + 3] ?? 0;
              if (alpha > 0) coloured++;
              for (let k = 0; k < 4; k++) {
                const want = k === 3 ? alpha : ((expected[to + k] ?? 0) * alpha) / 255;
                worst = Math.max(worst, Math.abs((drawn[from + k] ?? 0) - want));
              }
            }
          }
          results.push({ name: `${how} ${style.kind}`, worst, coloured });
        }
      }
      return results;
    },
    { id: TILE, colors: stats.categories.map(({ color }) => color), hidden: 1 },
  );
  expect(worst).toHaveLength(8);
  for (const { name, worst: levels, coloured } of worst) {
    expect(coloured, name).toBeGreaterThan(300);
    // Premultiplied colours are rounded to eight bits: half a level, or one where the two round apart.
    expect(levels, name).toBeLessThanOrEqual(1);
  }
});

test("count tiles of a zoom add up to the dataset", async ({ dataset, stats }) => {
  const client = new Client(url());
  let total = 0;
  for (let x = 0; x < 4; x++) {
    for (let y = 0; y < 4; y++) for (const count of (await client.dataset(dataset.name).countTile({ z: 2, x, y })).data) total += count;
  }
  expect(total).toBe(stats.rows);
  expect(new Set(stats.categories.map(categoryKey)).size).toBe(stats.categories.length);
});
