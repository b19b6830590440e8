/** The core against values worked out by hand and against slow, obvious versions of itself. */

import { afterEach, describe, expect, it, vi } from "vitest";
import {
  Client,
  CountTile,
  EVERYTHING,
  EventParser,
  History,
  Latest,
  Shading,
  TileCache,
  ValueTile,
  and,
  between,
  categoryKey,
  createScale,
  decodeNpy,
  decodeView,
  encodeView,
  hiddenFilter,
  inPolygon,
  isAbort,
  latFromY,
  levelOf,
  listen,
  noneOf,
  oneOf,
  parseColor,
  pixelBounds,
  pixelFromLonLat,
  property,
  queryString,
  tileBounds,
  valueOf,
  valueScale,
  withBrush,
  yFromLat,
  type Category,
  type Column,
  type Distribution,
  type ScaleName,
  type ViewState,
} from "../src/core/index.js";

/** Writes .npy as NumPy does: version 1, header padded to 64 bytes. */
function npy(shape: number[], values: number[], width: 2 | 4 = 4): ArrayBuffer {
  let header = `{'descr': '<u${width}', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  header = header.padEnd(64 * Math.ceil((header.length + 11) / 64) - 11) + "\n";
  const buffer = new ArrayBuffer(10 + header.length + values.length * width);
  const bytes = new Uint8Array(buffer);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  const view = new DataView(buffer);
  values.forEach((value, k) => (width === 2 ? view.setUint16(10 + header.length + 2 * k, value, true) : view.setUint32(10 + header.length + 4 * k, value, true)));
  return buffer;
}

describe("npy", () => {
  it("reads both widths", () => {
    expect([...decodeNpy(npy([1, 2, 2], [1, 2, 3, 4_000_000_000])).data]).toEqual([1, 2, 3, 4_000_000_000]);
    expect([...decodeNpy(npy([2, 1, 1], [7, 65535], 2)).data]).toEqual([7, 65535]);
    expect(decodeNpy(npy([2, 1, 1], [7, 9], 2)).shape).toEqual([2, 1, 1]);
  });
  it("says what is wrong", () => {
    expect(() => decodeNpy(new ArrayBuffer(64))).toThrow("magic");
    expect(() => decodeNpy(npy([1, 2, 2], [1, 2, 3, 4]).slice(0, -4))).toThrow("12 bytes of data, expected 16");
  });
});

describe("mercator", () => {
  it("has its corners where the world ends", () => {
    const [west, south, east, north] = tileBounds({ z: 0, x: 0, y: 0 });
    expect([west, east]).toEqual([-180, 180]);
    expect(north).toBeCloseTo(85.05112878, 7);
    expect(south).toBeCloseTo(-85.05112878, 7);
    expect(latFromY(yFromLat(48.2))).toBeCloseTo(48.2, 12);
  });
  it("puts a place into the pixel whose bounds hold it", () => {
    for (const [lon, lat] of [[16.37, 48.2], [-179.999, -84], [0, 0], [179.9999, 71]] as const) {
      const { tile, i, j } = pixelFromLonLat(lon, lat, 7);
      const [w, s, e, n] = pixelBounds(tile, i, j);
      expect(w <= lon && lon < e && s < lat && lat <= n).toBe(true);
    }
    expect(pixelFromLonLat(190, 0, 3).tile).toEqual(pixelFromLonLat(-170, 0, 3).tile);
  });
});

const DISTRIBUTION: Distribution = { counts: [1, 2, 5, 100], pixels: [60, 25, 10, 5] };

describe("scale", () => {
  it("equalises by the share of pixels", () => {
    const scale = createScale("eq_hist", DISTRIBUTION);
    // cdf: .6, .85, .95, 1; intensity = (cdf - .6) / .4
    expect(scale.intensity(1)).toBeCloseTo(0, 12);
    expect(scale.intensity(2)).toBeCloseTo(0.625, 12);
    expect(scale.intensity(5)).toBeCloseTo(0.875, 12);
    expect(scale.intensity(100)).toBe(1);
    expect(scale.intensity(3)).toBeCloseTo((0.85 + 0.1 / 3 - 0.6) / 0.4, 12);
    expect(scale.intensity(1e9)).toBe(1);
  });
  it("follows the formulas of the other scales", () => {
    expect(createScale("log", DISTRIBUTION).intensity(5)).toBeCloseTo(Math.log(5) / Math.log(100), 12);
    expect(createScale("cbrt", DISTRIBUTION).intensity(5)).toBeCloseTo(Math.cbrt(4) / Math.cbrt(99), 12);
    expect(createScale("linear", DISTRIBUTION).intensity(5)).toBeCloseTo(4 / 99, 12);
    expect(createScale("linear", DISTRIBUTION, [0, 50]).intensity(25)).toBeCloseTo(0.5, 12);
    expect(createScale("linear", DISTRIBUTION, [0, 50]).intensity(80)).toBe(1);
  });
  it("is opaque where all totals are equal, and safe where there are none", () => {
    expect(createScale("eq_hist", { counts: [7], pixels: [3] }).intensity(7)).toBe(1);
    expect(createScale("log", { counts: [], pixels: [] }).intensity(1)).toBe(1);
  });
});

describe("shading", () => {
  const colors = [parseColor("#e6194b"), parseColor("3cb44b"), parseColor("#4363d8")];
  const distribution: Distribution = { counts: [1, 2, 3, 9, 40, 700, 9000], pixels: [500, 300, 100, 50, 20, 5, 1] };

  function randomTile(seed: number, size = 16): CountTile {
    let state = seed;
    const next = (): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
    const data = Uint32Array.from({ length: 3 * size * size }, () => (next() < 0.5 ? 0 : Math.floor(3000 * next() ** 8)));
    return new CountTile({ z: 0, x: 0, y: 0 }, [3, size, size], data);
  }

  it.each(["eq_hist", "log", "cbrt", "linear"] as ScaleName[])("equals the formula in every pixel: %s", (how) => {
    const scale = createScale(how, distribution);
    const visible = [true, false, true];
    const shading = new Shading(scale, { kind: "categories", colors, visible, minAlpha: 40 });
    const tile = randomTile(5);
    const out = new Uint8ClampedArray(16 * 16 * 4);
    shading.paint(tile, out);
    let coloured = 0;
    for (let p = 0; p < 256; p++) {
      const counts = tile.countsAt(p % 16, Math.floor(p / 16)).map((count, c) => (visible[c] ? count : 0));
      const total = counts.reduce((a, b) => a + b, 0);
      const expected = [0, 1, 2].map((channel) => (total === 0 ? 0 : Math.trunc(counts.reduce((sum, n, c) => sum + n * (colors[c]?.[channel as 0] ?? 0), 0) / total)));
      const alpha = total === 0 ? 0 : Math.trunc(40 + 215 * scale.intensity(total));
      expect([...out.slice(4 * p, 4 * p + 4)]).toEqual([...expected, alpha]);
      coloured += total > 0 ? 1 : 0;
    }
    expect(coloured).toBeGreaterThan(100);
  });

  it("runs along a ramp", () => {
    const shading = new Shading(createScale("linear", { counts: [1, 101], pixels: [1, 1] }), { kind: "ramp", ramp: [[0, 0, 0], [200, 100, 50]], visible: [] });
    expect(shading.value(1)).toBe(0xff000000);
    expect(shading.value(51)).toBe((0xff000000 | (25 << 16) | (50 << 8) | 100) >>> 0);
    expect(shading.value(101)).toBe((0xff000000 | (50 << 16) | (100 << 8) | 200) >>> 0);
    expect(shading.value(0)).toBe(0);
  });

  it("finds totals beyond its table", () => {
    const scale = createScale("log", { counts: [1, 5_000_000], pixels: [1, 1] });
    const shading = new Shading(scale, { kind: "categories", colors, visible: [], minAlpha: 0 });
    for (const total of [1, 8191, 8192, 70_000, 4_999_999, 5_000_000, 6_000_000]) {
      expect(shading.value(total) >>> 24).toBe(Math.trunc(255 * scale.intensity(total)));
    }
  });
});

describe("filter", () => {
  it("quotes names and values", () => {
    expect(property("range")).toBe("range");
    expect(property('odd "name"')).toBe('"odd ""name"""');
    expect(property("in")).toBe('"in"');
    expect(oneOf("name", "text", ["O'Hare"])).toBe("name IN ('O''Hare')");
  });
  it("joins terms and knows null", () => {
    expect(and(between("range", "integer", 5, 10), between("t", "timestamp", "2020-01-01T00:00:00Z", null))).toBe(
      "range >= 5 AND range < 10 AND t >= TIMESTAMP('2020-01-01T00:00:00Z')",
    );
    expect(between("v", "float", null, 3, "closed")).toBe("v <= 3");
    expect(oneOf("radio", "text", ["LTE", null])).toBe("(radio IN ('LTE') OR radio IS NULL)");
    expect(noneOf("radio", "text", ["LTE"])).toBe("(radio NOT IN ('LTE') OR radio IS NULL)");
    expect(noneOf("radio", "text", ["LTE", null])).toBe("radio NOT IN ('LTE') AND radio IS NOT NULL");
    expect(inPolygon([[0, 0], [1, 0], [1, 1]])).toBe("S_INTERSECTS(geometry, POLYGON((0 0, 1 0, 1 1, 0 0)))");
  });
  it("turns hidden categories into rows", () => {
    const by: Column = { name: "radio", type: "text", min: null, max: null, nulls: 1, distinct: 9 };
    const category = (kind: Category["kind"], value: string | null): Category => ({ kind, value, label: "", color: "#000000", count: 1 });
    const all = [category("value", "LTE"), category("value", "GSM"), category("null", null), category("other", null)];
    const hide = (...hidden: string[]): string => hiddenFilter({ ...EVERYTHING, hidden }, by, all);
    expect(hide()).toBe("");
    expect(hide("=LTE")).toBe("(radio NOT IN ('LTE') OR radio IS NULL)");
    expect(hide("=LTE", "~null")).toBe("radio NOT IN ('LTE') AND radio IS NOT NULL");
    expect(hide("=LTE", "~other")).toBe("(radio IN ('GSM') OR radio IS NULL)");
    expect(hide(...all.map(categoryKey))).toBe("radio IS NULL AND radio IS NOT NULL");
  });
});

describe("url", () => {
  const view: ViewState = {
    camera: { zoom: 5.25, lat: 48.2, lon: 16.37 },
    settings: { d: "cell towers", how: "log" },
    selection: {
      brushes: {
        range: { kind: "range", lo: 100, hi: null },
        created: { kind: "range", lo: "2015-01-01T00:00:00Z", hi: "2020-01-01T00:00:00Z" },
        "odd=name&": { kind: "values", values: ["LTE", "a,b", "5", 5, true, null, "O'Hare..", "München 100%"] },
      },
      hidden: ["=GSM", "~null", "=a,b"],
      area: [[1.5, 2], [3, 4], [5, -6]],
    },
  };
  it("comes back as it went", () => {
    expect(decodeView(`#${encodeView(view)}`)).toEqual(view);
  });
  it("leaves out what makes no sense", () => {
    expect(decodeView("#at=x/y/z&b.a=1&area=1;2&hide&how=log")).toEqual({ camera: null, settings: { how: "log" }, selection: EVERYTHING });
  });
  it("is readable", () => {
    expect(encodeView({ camera: null, settings: {}, selection: withBrush(EVERYTHING, "radio", { kind: "values", values: ["LTE"] }) })).toBe("b.radio=='LTE");
    expect(queryString({ b: 1, a: undefined, c: "x y" })).toBe("?b=1&c=x%20y");
  });
});

describe("history", () => {
  it("counts a gesture as one step", () => {
    const history = new History(0);
    for (const value of [1, 2, 3]) history.push(value, "drag");
    history.settle();
    history.push(4, "drag");
    expect([history.undo(), history.undo(), history.undo()]).toEqual([3, 0, 0]);
    expect([history.redo(), history.redo(), history.redo()]).toEqual([3, 4, 4]);
  });
});

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => ((resolve = yes), (reject = no)));
  return { promise, resolve, reject };
}
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("latest", () => {
  it("runs the first and the newest wish, none between, and never shows an aborted answer", async () => {
    const jobs: { wish: number; signal: AbortSignal; done: ReturnType<typeof deferred<string>> }[] = [];
    const answers: string[] = [];
    const latest = new Latest<number, string>(
      (wish, signal) => {
        const done = deferred<string>();
        jobs.push({ wish, signal, done });
        signal.addEventListener("abort", () => done.reject(signal.reason));
        return done.promise;
      },
      (answer) => answers.push(answer),
      (error) => expect.unreachable(String(error)),
      1e6,
    );
    for (const wish of [1, 2, 3, 4]) latest.ask(wish);
    jobs[0]?.done.resolve("one");
    await turn();
    expect(jobs.map(({ wish }) => wish)).toEqual([1, 4]);
    latest.cancel();
    await turn();
    expect(answers).toEqual(["one"]);
    expect(jobs[1]?.signal.aborted).toBe(true);
    expect(latest.busy).toBe(false);
  });
});

describe("tile cache", () => {
  const tile = (bytes = 4): CountTile => new CountTile({ z: 0, x: 0, y: 0 }, [1, 1, 1], new Uint32Array(bytes / 4));

  it("joins equal requests and aborts when the last one leaves", async () => {
    const cache = new TileCache();
    const done = deferred<CountTile>();
    let started = 0;
    let aborted = false;
    const load = (signal: AbortSignal): Promise<CountTile> => {
      started += 1;
      signal.addEventListener("abort", () => ((aborted = true), done.reject(signal.reason)));
      return done.promise;
    };
    const [a, b] = [new AbortController(), new AbortController()];
    const first = cache.load("k", load, a.signal).catch((error: unknown) => error);
    const second = cache.load("k", load, b.signal).catch((error: unknown) => error);
    expect(started).toBe(1);
    a.abort();
    expect(isAbort(await first)).toBe(true);
    expect(aborted).toBe(false);
    b.abort();
    expect(isAbort(await second)).toBe(true);
    expect(aborted).toBe(true);
    expect(cache.pending).toBe(0);
    expect(await cache.load("k", () => Promise.resolve(tile()))).toBeInstanceOf(CountTile);
  });

  it("never keeps an error", async () => {
    const cache = new TileCache();
    await expect(cache.load("k", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(cache.peek("k")).toBeUndefined();
    await cache.load("k", () => Promise.resolve(tile()));
    expect(cache.peek("k")).toBeDefined();
  });

  it("forgets the least recently used", async () => {
    const one = new CountTile({ z: 0, x: 0, y: 0 }, [1, 1, 1], new Uint32Array(1));
    const cache = new TileCache(8);
    for (const key of ["a", "b"]) await cache.load(key, () => Promise.resolve(one));
    cache.peek("a");
    await cache.load("c", () => Promise.resolve(one));
    expect([cache.peek("a"), cache.peek("b"), cache.peek("c")].map(Boolean)).toEqual([true, false, true]);
    expect(cache.bytes).toBe(8);
  });
});

describe("values", () => {
  it("become whole numbers in their order, and back", () => {
    const values = [-Infinity, -1e30, -2.5, -1, -1e-30, 0, 1e-30, 0.5, 1, 102.25, 1e30, Infinity];
    const levels = values.map(levelOf);
    expect([...levels].sort((a, b) => a - b)).toEqual(levels);
    expect(new Set(levels).size).toBe(values.length);
    expect(levels.every((level) => Number.isInteger(level) && level > 0 && level < 2 ** 32)).toBe(true);
    expect([-2.5, -1, 0, 0.5, 102.25].map((value) => valueOf(levelOf(value)))).toEqual([-2.5, -1, 0, 0.5, 102.25]);
    expect(levelOf(Number.NaN)).toBe(0);
  });
  it("are drawn by their level and told exactly", () => {
    const tile = new ValueTile({ z: 0, x: 0, y: 0 }, Float64Array.of(Number.NaN, -1, 0.1, 4));
    expect([...tile.data].map((level) => level > 0)).toEqual([false, true, true, true]);
    expect([tile.valueAt(0, 0), tile.valueAt(1, 0), tile.valueAt(0, 1), tile.valueAt(1, 1)]).toEqual([Number.NaN, -1, 0.1, 4]);
    const legend = { zoom: 0, how: "eq_hist", ramp_values: [-1, 0, 4], distribution: { lowest: -1, highest: 4, pixels: 3 } };
    const at = (how: ScaleName, value: number, span?: [number, number]): number => valueScale(how, legend, span).intensity(levelOf(value));
    expect([at("linear", -1), at("linear", 1.5), at("linear", 4)]).toEqual([0, 0.5, 1]);
    expect([at("linear", 0, [0, 2]), at("linear", 1, [0, 2]), at("linear", 9, [0, 2])]).toEqual([0, 0.5, 1]);
    expect(at("log", 1.5)).toBeCloseTo(Math.log1p(2.5) / Math.log1p(5), 6);
    expect([at("eq_hist", -1), at("eq_hist", 0), at("eq_hist", 2), at("eq_hist", 4)]).toEqual([0, 0.5, 0.75, 1]);
    const out = new Uint8ClampedArray(16);
    new Shading(valueScale("linear", legend), { kind: "ramp", ramp: [[0, 0, 0], [255, 255, 255]], visible: [] }).paint(tile, out);
    expect([0, 1, 2, 3].map((pixel) => [out[4 * pixel], out[4 * pixel + 3]])).toEqual([[0, 0], [0, 255], [56, 255], [255, 255]]);
  });
  it("have no scale where there are none", () => {
    const legend = { zoom: 0, how: "eq_hist", ramp_values: [], distribution: { lowest: 0, highest: 0, pixels: 0 } };
    expect(valueScale("log", legend).max).toBe(0);
  });
});

describe("events", () => {
  it("reads events that come in pieces, with any line end, and keeps the id and the pause", () => {
    const parser = new EventParser();
    const text = 'retry: 700\n\n: a comment\nid: 7\r\nevent: changed\r\ndata: {"a":\r\ndata:1}\r\n\r\ndata: plain\n\nid: 8\ndata: cut off';
    const events = [...text].flatMap((letter) => parser.push(letter));
    expect(events).toEqual([{ name: "changed", data: '{"a":\n1}' }, { name: "message", data: "plain" }]);
    expect([parser.retryMs, parser.lastId]).toEqual([700, "8"]);
    expect(new EventParser().push(text)).toEqual(events);
  });

  it("asks again from the last id where an answer ends, and rests longer after failures", async () => {
    vi.useFakeTimers();
    const asked: string[] = [];
    const heard: string[] = [];
    const end = new AbortController();
    const answers = [() => new Response("retry: 100\nid: b\ndata: one\n\n"), () => { throw new TypeError("no network"); }, () => new Response("id: c\ndata: two\n\n")];
    const listening = listen(async (lastId) => (asked.push(lastId), (answers.shift() ?? (() => new Response("")))()), "a", ({ data }) => heard.push(data), end.signal);
    await vi.advanceTimersByTimeAsync(150);
    expect([asked, heard]).toEqual([["a", "b"], ["one"]]);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(asked).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(2_000);
    expect([asked, heard]).toEqual([["a", "b", "b"], ["one", "two"]]);
    end.abort();
    await listening;
    vi.useRealTimers();
  });
});

describe("client", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("shows its key in a header of every request, and in the address of downloads and TileJSON only", async () => {
    const asked: { url: string; key: string | null }[] = [];
    vi.stubGlobal("fetch", async (url: string, init: RequestInit = {}) => {
      asked.push({ url, key: new Headers(init.headers).get("x-api-key") });
      return new Response("{}");
    });
    const dataset = new Client("http://h", "k1").dataset("t");
    await dataset.stats();
    await dataset.crossfilter({ bbox: null, zoom: 0, brushes: {}, columns: [] });
    await dataset.tileJson();
    expect(asked).toEqual([{ url: "http://h/t/stats", key: "k1" }, { url: "http://h/t/crossfilter", key: "k1" }, { url: "http://h/t.json?key=k1", key: "k1" }]);
    expect(dataset.pointsUrl("csv", {})).toBe("http://h/t/points?format=csv&key=k1");
    expect(new Client("http://h").dataset("t").pointsUrl("csv", {})).toBe("http://h/t/points?format=csv");
  });
});
