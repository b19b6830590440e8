/**
 * The server's endpoints as methods. Every method takes an `AbortSignal`; none keeps state, retries or caches, which
 * is left to those who know what a request is for.
 */

import { listen, type ServerEvent } from "./events.js";
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
  /**
   * @param base Address of the server, without a slash at the end; empty for the page's own origin.
   * @param key API key, where the server wants one. It goes with every request as a header, never into an address that caches or logs
   * would keep; `pointsUrl` alone has to carry it, since a link has no headers.
   */
  constructor(
    readonly base: string = "",
    readonly key: string | null = null,
  ) {}

  catalog(signal?: AbortSignal): Promise<Catalog> {
    return this.get<Catalog>("/catalog", {}, signal);
  }

  dataset(name: string): Dataset {
    return new Dataset(this, name);
  }

  /** TileJSON of a dataset or an archive. The server puts the key, if there is one, into the addresses of its tiles. */
  tileJson(name: string, query: Query = {}, signal?: AbortSignal): Promise<TileJson> {
    // Shown in the address, a key is carried on; shown in a header, it is not.
    return this.get(`/${encodeURIComponent(name)}.json`, { ...query, key: this.key ?? undefined }, signal);
  }

  /** GETs JSON from a path of the server. */
  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    const response = await this.request(path + queryString(query), signal ? { signal } : {});
    return (await response.json()) as T;
  }

  /** `fetchOk` of a path of the server, with the key. */
  request(path: string, init: RequestInit = {}): Promise<Response> {
    if (this.key === null) return fetchOk(this.base + path, init);
    const headers = new Headers(init.headers);
    headers.set("x-api-key", this.key);
    return fetchOk(this.base + path, { ...init, headers });
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
  /** Data version. */
  readonly v?: string;
}

export class Dataset {
  readonly #path: string;

  constructor(
    readonly client: Client,
    readonly name: string,
  ) {
    this.#path = `/${encodeURIComponent(name)}`;
  }

  /** `by` names the column that makes the categories, or is `none`; `v` a data version: answers to another one are not taken from a cache. */
  stats(query: { filter?: string; bbox?: Bounds; by?: string; v?: string } = {}, signal?: AbortSignal): Promise<Stats> {
    return this.client.get(`${this.#path}/stats`, { ...query, bbox: query.bbox?.join(",") }, signal);
  }

  tileJson(query: Query = {}, signal?: AbortSignal): Promise<TileJson> {
    return this.client.tileJson(this.name, query, signal);
  }

  legend(query: { filter?: string; by?: string; zoom: number; how?: string; spread?: number; v?: string }, signal?: AbortSignal): Promise<Legend> {
    return this.client.get(`${this.#path}/legend.json`, query, signal);
  }

  histogram(query: ColumnRequest & { filter?: string; bbox?: Bounds; by?: string }, signal?: AbortSignal): Promise<Histogram> {
    return this.client.get(`${this.#path}/histogram`, { ...query, bbox: query.bbox?.join(",") }, signal);
  }

  async crossfilter(request: CrossfilterRequest, signal?: AbortSignal): Promise<CrossfilterAnswer> {
    const response = await this.client.request(`${this.#path}/crossfilter`, {
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
    return `${this.client.base}${this.#path}/points${queryString({ ...pointsParameters(query), format, key: this.client.key ?? undefined })}`;
  }

  /** Hears of changes of the data after a version, until the signal fires. @param zoom Of the tiles that the server names. */
  listen(since: string, zoom: number, onEvent: (event: ServerEvent) => void, signal: AbortSignal): Promise<void> {
    const path = `${this.#path}/events${queryString({ zoom })}`;
    const open = (lastId: string, inner: AbortSignal): Promise<Response> => this.client.request(path, { headers: { "last-event-id": lastId }, signal: inner, cache: "no-store" });
    return listen(open, since, onEvent, signal);
  }

  async countTile(id: TileId, query: { filter?: string; by?: string; v?: string } = {}, signal?: AbortSignal): Promise<CountTile> {
    const path = `${this.#path}/${id.z}/${id.x}/${id.y}.npy${queryString({ dtype: "auto", ...query })}`;
    const response = await this.client.request(path, signal ? { signal } : {});
    const { shape, data } = decodeNpy(await response.arrayBuffer());
    if (data instanceof Float64Array) throw new Error("a count tile holds whole numbers, got <f8");
    return new CountTile(id, shape, data);
  }

  /** The values of a measure in a tile's pixels. */
  async valueTile({ z, x, y }: TileId, { agg, column }: Measure, query: { filter?: string; v?: string } = {}, signal?: AbortSignal): Promise<ValueTile> {
    const path = `${this.#path}/${z}/${x}/${y}.npy${queryString({ ...query, agg, column })}`;
    const response = await this.client.request(path, signal ? { signal } : {});
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
  const { bbox, tile, pixel, columns, ...rest } = query;
  return {
    bbox: bbox?.join(","),
    tile: tile ? `${tile.z}/${tile.x}/${tile.y}` : undefined,
    pixel: pixel?.join(","),
    columns: columns?.join(","),
    ...rest,
  };
}
