/** The dashboard's own decisions: which charts, which labels, which tiles. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { Client, CountTile, type Column, type RangeBin, type Stats } from "../src/core/index.js";
import { changeOf } from "../src/app/changes.js";
import { inferCharts } from "../src/app/charts.js";
import { denseBox } from "../src/app/firstview.js";
import * as format from "../src/app/format.js";
import { LOOK_DEFAULT } from "../src/app/state.js";
import { TileSet } from "../src/app/tileset.js";
import { axisOf } from "../src/app/ui/bars.js";
import { ticksOf } from "../src/app/ui/ticks.js";

const column = (name: string, type: Column["type"], more: Partial<Column> = {}): Column => ({ name, type, min: 0, max: 100, nulls: 0, distinct: 50, ...more });

const stats = (columns: Column[], by: string | null = "radio"): Stats => ({
  name: "t", rows: 1_000_000, bounds: [0, 0, 1, 1], zooms: { min: 0, max: 22 }, data_version: "1", by, categories: [], columns,
});

describe("charts", () => {
  it("puts times first, then measures, then words; folds identifiers; leaves out constants and the main category", () => {
    const charts = inferCharts(
      stats([
        column("radio", "text"),
        column("operator", "text"),
        column("cell", "integer", { distinct: 900_000 }),
        column("range", "integer", { max: 50_000 }),
        column("temperature", "float", { min: -40, max: 50 }),
        column("course", "float", { min: 0, max: 360 }),
        column("unit", "integer"),
        column("VendorID", "integer"),
        column("Dropoff_longitude", "float"),
        column("averageSignal", "integer", { min: 0, max: 0, distinct: 1 }),
        column("created", "timestamp", { min: "2003-01-01T00:00:00Z", max: "2020-01-01T00:00:00Z" }),
      ]),
    );
    expect(charts.map(({ column: { name }, open }) => `${open ? "+" : "-"}${name}`)).toEqual(["+created", "+range", "+temperature", "+course", "+operator", "-cell", "-unit", "-VendorID", "-Dropoff_longitude"]);
    expect(charts.find(({ column: { name } }) => name === "range")?.scale).toBe("log10");
    expect(charts.find(({ column: { name } }) => name === "course")?.scale).toBe("linear");
    expect(charts.find(({ column: { name } }) => name === "temperature")?.scale).toBe("linear");
    expect(charts.find(({ column: { name } }) => name === "operator")?.kind).toBe("values");
  });
});

describe("format", () => {
  it("keeps numbers short", () => {
    expect([0, 12, 999, 1000, 9_100, 999_499, 999_500, 1_250_000, 40e6, 2.5e9].map(format.compact)).toEqual(["0", "12", "999", "1k", "9.1k", "999k", "1M", "1.25M", "40M", "2.5B"]);
    expect([0.5, 3.14159, 102.3, 0.00012].map(format.number)).toEqual(["0.5", "3.14", "102", "0.000120"]);
    expect([format.percent(1, 3), format.percent(1, 100_000), format.percent(99_999, 100_000), format.percent(5, 5)]).toEqual(["33%", "<0.1%", ">99.9%", "100%"]);
  });
  it("reads and writes times", () => {
    expect(format.position("2020-01-01T00:00:00Z", 0)).toBe(Date.UTC(2020, 0));
    expect(format.position("2020-01-01T00:00:00", 0)).toBe(Date.UTC(2020, 0));
    expect(format.valueAt(Date.UTC(2020, 0, 1, 12), column("t", "timestamp"))).toBe("2020-01-01T12:00:00Z");
    expect(format.valueAt(12.2, column("n", "integer"))).toBe(13);
  });
  it("turns names into words", () => {
    expect(["average_signal", "averageSignal", "BaseDateTime", "SOG", "MMSI"].map(format.title)).toEqual(["Average signal", "Average signal", "Base date time", "SOG", "MMSI"]);
  });
});

describe("axis", () => {
  const bins: RangeBin[] = [{ lo: 1, hi: 10, count: 1 }, { lo: 10, hi: 100, count: 1 }, { lo: 100, hi: 1000, count: 1 }];
  it("maps values to places and back over uneven bins", () => {
    const axis = axisOf(bins);
    expect(axis.at(10)).toBeCloseTo(1 / 3, 12);
    expect(axis.at(55)).toBeCloseTo(0.5, 12);
    expect([axis.at(-5), axis.at(5000)]).toEqual([0, 1]);
    for (const value of [1, 3, 10, 99, 640, 1000]) expect(axis.value(axis.at(value))).toBeCloseTo(value, 6);
  });
  it("has few, round labels", () => {
    expect(ticksOf(axisOf(bins), column("v", "integer"), "log10").map(({ label }) => label)).toEqual(["1", "10", "100", "1k"]);
    const years: RangeBin[] = Array.from({ length: 20 }, (_, k) => ({ lo: `${2003 + k}-01-01T00:00:00Z`, hi: `${2004 + k}-01-01T00:00:00Z`, count: 1 }));
    expect(ticksOf(axisOf(years), column("t", "timestamp"), "linear").map(({ label }) => label)).toEqual(["2005", "2010", "2015", "2020"]);
    const months: RangeBin[] = Array.from({ length: 18 }, (_, k) => ({ lo: new Date(Date.UTC(2024, k)).toISOString(), hi: new Date(Date.UTC(2024, k + 1)).toISOString(), count: 1 }));
    expect(ticksOf(axisOf(months), column("t", "timestamp"), "linear").map(({ label }) => label)).toEqual(["2024-01", "2024-07", "2025-01", "2025-07"]);
    expect(ticksOf(axisOf([]), column("v", "integer"), "linear")).toEqual([]);
  });
});

describe("tile set", () => {
  afterEach(() => vi.unstubAllGlobals());
  const turns = async (): Promise<void> => {
    for (let k = 0; k < 20; k++) await new Promise((resolve) => setTimeout(resolve, 0));
  };

  function setUp() {
    const dataset = new Client().dataset("t");
    const asked: { what: string; signal: AbortSignal; answer: () => void }[] = [];
    const wait = <T,>(what: string, value: T, signal: AbortSignal): Promise<T> =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        asked.push({ what, signal, answer: () => resolve(value) });
      });
    dataset.countTile = (id, query, signal) => wait(`${id.z}/${id.x}/${id.y}?${query?.filter ?? ""}`, new CountTile(id, [1, 1, 1], new Uint16Array([7])), signal as AbortSignal);
    dataset.legend = (query, signal) => wait(`legend ${query.zoom}?${query.filter ?? ""}`, { zoom: query.zoom, how: "log", categories: [], stops: [], distribution: { counts: [7], pixels: [1] } }, signal as AbortSignal);
    const errors: unknown[] = [];
    let drawings = 0;
    const tiles = new TileSet(dataset, "1", { onChange: () => (drawings += 1), onProgress: () => undefined, onError: (error) => errors.push(error) });
    const wanted = Array.from({ length: 9 }, (_, k) => ({ id: { z: 4, x: k % 3, y: Math.floor(k / 3) }, wrap: 0 }));
    return { tiles, asked, wanted, errors, dataset, drawings: () => drawings };
  }

  it("asks for four things at a time, legend first, and for the rest as answers come", async () => {
    const { tiles, asked, wanted } = setUp();
    tiles.want(wanted);
    expect(asked.map(({ what }) => what)).toEqual(["legend 4?", "4/0/0?", "4/1/0?", "4/2/0?"]);
    asked[1]?.answer();
    await turns();
    expect(asked.at(-1)?.what).toBe("4/0/1?");
    expect([...tiles.placed()]).toHaveLength(1);
    for (let k = 0; k < 30 && !tiles.idle; k++) {
      asked.forEach(({ answer }) => answer());
      await turns();
    }
    expect(asked).toHaveLength(10);
    expect([...tiles.placed()]).toHaveLength(9);
  });

  it("aborts the old filter's requests, keeps its tiles on screen, and ends with the newest filter", async () => {
    const { tiles, asked, wanted, errors } = setUp();
    tiles.want(wanted.slice(0, 2));
    asked.forEach(({ answer }) => answer());
    await turns();
    tiles.filter("a");
    expect(asked.slice(3).map(({ what }) => what)).toEqual(["legend 4?a", "4/0/0?a", "4/1/0?a"]);
    expect([...tiles.placed()]).toHaveLength(2);
    tiles.filter("b");
    tiles.filter("c");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(asked.slice(3, 6).every(({ signal }) => signal.aborted)).toBe(true);
    expect(asked.some(({ what }) => what.endsWith("?b"))).toBe(false);
    expect(asked.slice(6).map(({ what }) => what)).toEqual(["legend 4?c", "4/0/0?c", "4/1/0?c"]);
    asked.forEach(({ answer }) => answer());
    await turns();
    expect(tiles.idle).toBe(true);
    expect(errors).toEqual([]);
  });

  it("draws a new filter's first tiles together: after a moment, or when the last has come", async () => {
    vi.useFakeTimers();
    const { tiles, asked, wanted, drawings } = setUp();
    const answered = async (from: number, to?: number): Promise<void> => {
      asked.slice(from, to).forEach(({ answer }) => answer());
      await vi.advanceTimersByTimeAsync(1);
    };
    tiles.want(wanted.slice(0, 2));
    await answered(0);
    await vi.advanceTimersByTimeAsync(1000);
    tiles.filter("a");
    const before = drawings();
    await answered(3, 5);
    expect(drawings() - before, "a legend and a tile, one more to come").toBe(0);
    await vi.advanceTimersByTimeAsync(50);
    expect(drawings() - before, "after a moment").toBe(1);
    await answered(5);
    expect(drawings() - before, "the last").toBe(2);
    await vi.advanceTimersByTimeAsync(1000);
    expect([drawings() - before, tiles.idle]).toEqual([2, true]);
    tiles.filter("b");
    await answered(6);
    expect(drawings() - before, "all of them at once").toBe(3);
    expect(tiles.idle).toBe(true);
    vi.useRealTimers();
  });

  it("shows an estimate of colours at once, and the exact ones when they are there", async () => {
    vi.useFakeTimers();
    const dataset = new Client().dataset("t");
    const maxima = [5, 9];
    dataset.countTile = async (id) => new CountTile(id, [1, 1, 1], new Uint16Array([7]));
    dataset.legend = async ({ zoom }) => {
      const max = maxima.shift() ?? 0;
      return { zoom, quality: max === 5 ? "preview" : "exact", how: "log", categories: [], stops: [], distribution: { counts: [max], pixels: [1] } };
    };
    const progress: string[] = [];
    const tiles = new TileSet(dataset, "1", { onChange: () => undefined, onProgress: (done, all) => progress.push(`${done}/${all}`), onError: (error) => { throw error; } });
    tiles.restyle({ ...LOOK_DEFAULT, how: "log", palette: "viridis" }, () => ({ kind: "ramp", ramp: [[0, 0, 0]], visible: [] }));
    tiles.want([{ id: { z: 1, x: 0, y: 0 }, wrap: 0 }]);
    await vi.advanceTimersByTimeAsync(100);
    expect([tiles.shading(1)?.scale.max, tiles.idle, progress.at(-1)]).toEqual([5, false, "1/2"]);
    await vi.advanceTimersByTimeAsync(3000);
    expect([tiles.shading(1)?.scale.max, tiles.idle, progress.at(-1), maxima.length]).toEqual([9, true, "1/1", 0]);
    vi.useRealTimers();
  });

  it("colours points that are drawn larger by the counts that makes, and keeps the former colours until those have come", async () => {
    const { tiles, asked, wanted, dataset } = setUp();
    const spreads: (number | undefined)[] = [];
    const legend = dataset.legend;
    dataset.legend = (query, signal) => {
      spreads.push(query.spread);
      return legend(query, signal);
    };
    tiles.restyle({ ...LOOK_DEFAULT, how: "log", palette: "viridis" }, () => ({ kind: "ramp", ramp: [[0, 0, 0]], visible: [] }));
    tiles.want(wanted.slice(0, 1));
    asked.forEach(({ answer }) => answer());
    await turns();
    const before = tiles.shading(4);
    tiles.spread(2);
    tiles.spread(2);
    expect([spreads, tiles.shading(4), asked.length]).toEqual([[0, 2], before, 3]);
    asked.at(-1)?.answer();
    await turns();
    expect(tiles.shading(4)).not.toBe(before);
    tiles.spread(0);
    expect([tiles.shading(4), spreads.length]).toEqual([before, 2]);
  });

  it("asks for no tile under a filter that has no points without one", async () => {
    const { tiles, asked, wanted } = setUp();
    const { countTile } = tiles.dataset;
    tiles.dataset.countTile = async (id, query, signal) => {
      const tile = await countTile.call(tiles.dataset, id, query, signal);
      return id.x === 1 ? new CountTile(id, [1, 1, 1], new Uint16Array([0])) : tile;
    };
    tiles.want(wanted.slice(0, 3));
    asked.forEach(({ answer }) => answer());
    await turns();
    tiles.filter("a");
    expect(asked.slice(4).map(({ what }) => what)).toEqual(["legend 4?a", "4/0/0?a", "4/2/0?a"]);
    expect(tiles.counts({ z: 4, x: 1, y: 0 })?.countsAt(0, 0)).toEqual([0]);
    expect(tiles.counts({ z: 4, x: 0, y: 0 }), "not the unfiltered counts").toBeUndefined();
    asked.forEach(({ answer }) => answer());
    await turns();
    expect(tiles.idle).toBe(true);
    // More points have come: it is not known to be empty any longer.
    tiles.filter("");
    await turns();
    tiles.changed("2", ({ x }) => x === 1);
    expect(asked.slice(7).map(({ what }) => what)).toEqual(["legend 4?", "4/1/0?"]);
  });

  it("draws a part of the parent while a tile is awaited", async () => {
    const { tiles, asked, wanted } = setUp();
    tiles.restyle({ ...LOOK_DEFAULT, how: "log", palette: "viridis" }, () => ({ kind: "ramp", ramp: [[0, 0, 0]], visible: [] }));
    tiles.want(wanted.slice(0, 1));
    asked.forEach(({ answer }) => answer());
    await turns();
    tiles.want([{ id: { z: 5, x: 1, y: 1 }, wrap: 0 }]);
    const [placed] = [...tiles.placed()];
    expect(placed?.counts.id).toEqual({ z: 4, x: 0, y: 0 });
    expect(placed?.at).toEqual({ z: 5, x: 1, y: 1 });
  });

  it("asks again for tiles that have changed, and keeps the others and the screen", async () => {
    const { tiles, asked, wanted } = setUp();
    tiles.want(wanted.slice(0, 3));
    asked.forEach(({ answer }) => answer());
    await turns();
    tiles.changed("2", ({ x }) => x === 1);
    expect(asked.slice(4).map(({ what }) => what)).toEqual(["legend 4?", "4/1/0?"]);
    expect([...tiles.placed()]).toHaveLength(3);
    asked.forEach(({ answer }) => answer());
    await turns();
    expect([tiles.idle, tiles.version, asked.length]).toEqual([true, "2", 6]);
  });
});

describe("changes", () => {
  it("names stale tiles at, above and below the zoom of the event", () => {
    const change = changeOf({ name: "changed", data: JSON.stringify({ data_version: "2", zoom: 4, tiles: ["4/5/6"] }) });
    const stale = (z: number, x: number, y: number): boolean | undefined => change?.isStale({ z, x, y });
    expect([stale(4, 5, 6), stale(4, 6, 6), stale(2, 1, 1), stale(2, 1, 2), stale(0, 0, 0), stale(6, 20, 24), stale(6, 23, 27), stale(6, 24, 27)]).toEqual([true, false, true, false, true, true, true, false]);
  });

  it("takes all tiles for stale when the server names none, and no event it does not know for a change", () => {
    for (const tiles of [null, undefined]) expect(changeOf({ name: "changed", data: JSON.stringify({ data_version: "2", zoom: 4, tiles }) })?.isStale({ z: 9, x: 0, y: 0 })).toBe(true);
    expect(changeOf({ name: "weather", data: "rain" })).toBeNull();
  });
});

describe("first view", () => {
  const grid = (points: readonly (readonly [i: number, j: number, count: number])[]) => {
    const counts = new Float64Array(100 * 50);
    for (const [i, j, count] of points) counts[j * 100 + i] = count;
    return { width: 100, height: 50, counts };
  };
  const zero = { i: 80, j: 25 };

  it("leaves out a sliver on each side, and nothing more", () => {
    const crowd = [[10, 10, 500], [14, 12, 500]] as const;
    expect(denseBox(grid([...crowd, [90, 40, 4], [1, 2, 4]]), zero)).toEqual({ left: 10, top: 10, right: 14, bottom: 12 });
    expect(denseBox(grid([...crowd, [90, 40, 60]]), zero)).toEqual({ left: 10, top: 10, right: 90, bottom: 40 });
    expect(denseBox(grid([]), zero)).toBeNull();
  });

  it("takes points at (0, 0) alone for lost ones, however many, but not where there are others beside them", () => {
    const crowd = [[10, 10, 500], [14, 12, 500]] as const;
    expect(denseBox(grid([...crowd, [80, 25, 300]]), zero)).toEqual({ left: 10, top: 10, right: 14, bottom: 12 });
    expect(denseBox(grid([...crowd, [80, 25, 300], [81, 25, 1]]), zero)?.right).toBe(80);
    expect(denseBox(grid([[80, 25, 300]]), zero)).toBeNull();
  });
});
