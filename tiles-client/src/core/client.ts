/**
 * The server's endpoints as methods. Every method takes an `AbortSignal`; none keeps state, retries or caches, which
 * is left to those who know what a request is for.
 */

import type { Bounds, TileId } from "./mercator.js";
import { decodeNpy } from "./npy.js";
import { fetchOk } from "./problem.js";
import { CountTile } from "./tile.js";
import { ValueTile } from "./values.js";
import type { Catalog, ColumnRequest, CrossfilterAnswer, CrossfilterRequest, Histogram, Legend, Measure, Points, Stats, TileJson, ValueLegend } from "./types.js";

type Query = Readonly<Record<string, string | number | undefined>>;

/** Builds `?a=b`, leaving out what is undefined or empty, in a fixed order so that equal requests have equal URLs. */
export function queryString(query: Query): string {
  const parts = Object.entries(query)
    .filter((entry): entry is [string, string | number] => entry[1] !== undefined && entry[1] !== "")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  return parts.length > 0 ? `?${parts.join("&")}` : "";
}

export class Client {
  /** @param base Address of the server, without a slash at the end; empty for the page's own origin. */
  constructor(readonly base: string = "") {}

  catalog(signal?: AbortSignal): Promise<Catalog> {
    return this.#json<Catalog>("/catalog", {}, signal);
  }

  dataset(name: string): Dataset {
    return new Dataset(this, name);
  }

  async #json<T>(path: string, query: Query, signal?: AbortSignal): Promise<T> {
    const response = await fetchOk(this.base + path + queryString(query), signal ? { signal } : {});
    return (await response.json()) as T;
  }

  /** For `Dataset`: GET and parse. */
  get<T>(path: string, query: Query, signal?: AbortSignal): Promise<T> {
    return this.#json<T>(path, query, signal);
  }
}

export interface PointsQuery {
  readonly bbox?: Bounds;
  readonly tile?: TileId;
  readonly pixel?: readonly [number, number];
  readonly filter?: string;
  readonly limit?: number;
  readonly offset?: number;
  readonly columns?: readonly string[];
}

export class Dataset {
  readonly #path: string;

  constructor(
    readonly client: Client,
    readonly name: string,
  ) {
    this.#path = `/${encodeURIComponent(name)}`;
  }

  /** `by` names the column that makes the categories, or is `none`. */
  stats(query: { filter?: string; bbox?: Bounds; by?: string } = {}, signal?: AbortSignal): Promise<Stats> {
    return this.client.get(`${this.#path}/stats`, { filter: query.filter, bbox: query.bbox?.join(","), by: query.by }, signal);
  }

  tileJson(query: Query = {}, signal?: AbortSignal): Promise<TileJson> {
    return this.client.get(`${this.#path}.json`, query, signal);
  }

  legend(query: { filter?: string; by?: string; zoom: number; how?: string; v?: string }, signal?: AbortSignal): Promise<Legend> {
    return this.client.get(`${this.#path}/legend.json`, query, signal);
  }

  histogram(query: ColumnRequest & { filter?: string; bbox?: Bounds; by?: string }, signal?: AbortSignal): Promise<Histogram> {
    return this.client.get(`${this.#path}/histogram`, { ...query, bbox: query.bbox?.join(",") }, signal);
  }

  async crossfilter(request: CrossfilterRequest, signal?: AbortSignal): Promise<CrossfilterAnswer> {
    const response = await fetchOk(`${this.client.base}${this.#path}/crossfilter`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      ...(signal ? { signal } : {}),
    });
    return (await response.json()) as CrossfilterAnswer;
  }

  points(query: PointsQuery, signal?: AbortSignal): Promise<Points> {
    return this.client.get(`${this.#path}/points`, pointsParameters(query), signal);
  }

  /** Address of the rows in a file format, for a download link. */
  pointsUrl(format: "csv" | "parquet" | "geojson" | "arrow", query: PointsQuery): string {
    return `${this.client.base}${this.#path}/points${queryString({ ...pointsParameters(query), format })}`;
  }

  countTileUrl({ z, x, y }: TileId, query: { filter?: string; by?: string; v?: string } = {}): string {
    return `${this.client.base}${this.#path}/${z}/${x}/${y}.npy${queryString({ dtype: "auto", ...query })}`;
  }

  async countTile(id: TileId, query: { filter?: string; by?: string; v?: string } = {}, signal?: AbortSignal): Promise<CountTile> {
    const response = await fetchOk(this.countTileUrl(id, query), signal ? { signal } : {});
    const { shape, data } = decodeNpy(await response.arrayBuffer());
    if (data instanceof Float64Array) throw new Error("a count tile holds whole numbers, got <f8");
    return new CountTile(id, shape, data);
  }

  /** The values of a measure in a tile's pixels. */
  async valueTile({ z, x, y }: TileId, { agg, column }: Measure, query: { filter?: string; v?: string } = {}, signal?: AbortSignal): Promise<ValueTile> {
    const url = `${this.client.base}${this.#path}/${z}/${x}/${y}.npy${queryString({ ...query, agg, column })}`;
    const response = await fetchOk(url, signal ? { signal } : {});
    const { data } = decodeNpy(await response.arrayBuffer());
    if (!(data instanceof Float64Array)) throw new Error("a tile of values holds <f8, got whole numbers");
    return new ValueTile({ z, x, y }, data);
  }

  /** What the values of a measure mean, by rank: linear and logarithmic scales follow from its ends. */
  valueLegend(query: Measure & { filter?: string; zoom: number; v?: string }, signal?: AbortSignal): Promise<ValueLegend> {
    return this.client.get(`${this.#path}/legend.json`, { ...query, how: "eq_hist" }, signal);
  }
}

function pointsParameters(query: PointsQuery): Query {
  const { bbox, tile, pixel, filter, limit, offset, columns } = query;
  return {
    bbox: bbox?.join(","),
    tile: tile ? `${tile.z}/${tile.x}/${tile.y}` : undefined,
    pixel: pixel?.join(","),
    columns: columns?.join(","),
    filter,
    limit,
    offset,
  };
}
