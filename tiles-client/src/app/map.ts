/**
 * The map: MapLibre over the offline basemap with the count layer on it. Reports where it looks and what is under the
 * cursor; draws what it is given. Knows nothing of filters, histograms or requests.
 */

import * as maplibregl from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { pixelFromLonLat, type Bounds, type Camera, type Row, type TileId, type TileJson } from "../core/index.js";
import { CountLayer } from "../maplibre/index.js";
import { EMPTY, offlineStyle, overlays, ownStyle } from "./basemap.js";
import type { Theme } from "./state.js";
import type { TileSet, Wanted } from "./tileset.js";

// After a bundler MapLibre cannot find its worker by itself, and land would silently be missing.
maplibregl.setWorkerUrl(workerUrl);

interface Insets {
  readonly left: number;
  readonly top: number;
  readonly bottom: number;
}

interface MapEvents {
  readonly onMove: (view: { bounds: Bounds; zoom: number }, camera: Camera) => void;
  readonly onHover: (at: { x: number; y: number; tile: TileId; pixel: readonly [number, number]; row: Row | null } | null) => void;
  readonly onClick: (tile: TileId, pixel: readonly [number, number]) => void;
  /** Something of the basemap could not be loaded; `isStyle` when all of it, and the offline one is shown instead. */
  readonly onBasemapError: (message: string, isStyle: boolean) => void;
}

/** Deepest zoom of the camera: a pixel is then about a centimetre. */
const ZOOM_MAX = 22;

/** Names fade in, and may be this old before they are placed anew. */
const FADE_MS = 200;

/** Farthest zoom: the world is then 360 CSS pixels wide. */
const ZOOM_MIN = -0.5;

/** Whole-world bounds of Web Mercator, degrees. */
const WORLD: Bounds = [-180, -85.05112878, 180, 85.05112878];

export interface Marker {
  readonly lon: number;
  readonly lat: number;
  readonly color: string;
  readonly row: Row;
}

export class MapView {
  readonly map: maplibregl.Map;
  readonly #events: MapEvents;
  readonly #layer: CountLayer;
  #tiles: TileSet | null = null;
  /** Tiles of an archive, in place of counts. */
  #pictures: TileJson | null = null;
  #zooms = { min: 0, max: ZOOM_MAX };
  #insets: Insets = { left: 0, top: 0, bottom: 0 };
  #theme: Theme;
  #spread = 0;
  #opacity = 1;
  /** Whether the style has loaded, so that layers can be changed. */
  #ready = false;
  /** Whether the server's own style, if it has one, has been given up. */
  #isOffline = false;
  #showPoints = true;
  #area: readonly (readonly [number, number])[] | null = null;
  #markers: readonly Marker[] = [];

  constructor(container: HTMLElement, theme: Theme, events: MapEvents) {
    this.#events = events;
    this.#theme = theme;
    this.#layer = new CountLayer({
      id: "points",
      tiles: () => (this.#showPoints ? (this.#tiles?.placed() ?? []) : []),
      shading: (zoom) => this.#tiles?.shading(zoom) ?? null,
      spread: () => this.#spread,
      opacity: () => this.#opacity,
    });
    this.map = new maplibregl.Map({
      container,
      style: ownStyle(theme) ?? offlineStyle(theme),
      center: [0, 20],
      zoom: 1.2,
      minZoom: ZOOM_MIN,
      maxZoom: ZOOM_MAX,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: false,
      // Not 0: MapLibre would then place all names anew in every frame of a drag.
      fadeDuration: FADE_MS,
      keyboard: true,
      // Unlike MapLibre's own rule this lets a tall window see the whole world, with sea above and below it.
      transformConstrain: ({ lng, lat }, zoom) => ({ center: new maplibregl.LngLat(lng, Math.max(-84, Math.min(84, lat))), zoom: Math.max(ZOOM_MIN, Math.min(ZOOM_MAX, zoom)) }),
      // The picture is taken from the canvas right after a frame; no buffer has to be kept.
      canvasContextAttributes: { antialias: false },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new maplibregl.AttributionControl({ compact: false }), "bottom-right");
    this.map.addControl(new maplibregl.ScaleControl({ maxWidth: 96 }), "bottom-right");
    this.map.on("style.load", () => this.#styled());
    this.map.on("error", ({ error }) => this.#failed(error));
    this.map.on("move", () => this.#moved());
    this.map.on("resize", () => this.#moved());
    this.map.on("mousemove", (event) => this.#hover(event));
    this.map.on("mouseout", () => this.#events.onHover(null));
    this.map.on("movestart", () => this.#events.onHover(null));
    this.map.on("click", ({ lngLat, point }) => {
      const marker = this.#markerAt(point);
      const { tile, i, j } = pixelFromLonLat(marker?.lon ?? lngLat.lng, marker?.lat ?? lngLat.lat, this.#tileZoom());
      this.#events.onClick(tile, [i, j]);
    });
  }

  setTheme(theme: Theme): void {
    if (theme === this.#theme) return;
    this.#theme = theme;
    this.#ready = false;
    this.map.setStyle((this.#isOffline ? null : ownStyle(theme)) ?? offlineStyle(theme), { diff: false });
  }

  show(tiles: TileSet, zooms: { min: number; max: number }): void {
    this.#tiles = tiles;
    tiles.spread(this.#spread);
    this.#zooms = zooms;
    this.#placePictures(null);
    this.#moved();
  }

  /** Finished pictures instead of counts; null for neither. */
  showPictures(pictures: TileJson | null): void {
    this.#tiles = null;
    this.setMarkers([]);
    this.setArea(null);
    this.#placePictures(pictures);
    this.repaint();
  }

  #placePictures(pictures: TileJson | null): void {
    this.#pictures = pictures;
    if (!this.#ready) return;
    if (this.map.getLayer("pictures")) this.map.removeLayer("pictures");
    if (this.map.getSource("pictures")) this.map.removeSource("pictures");
    if (!pictures) return;
    const { tiles, tileSize = 256, minzoom, maxzoom, bounds } = pictures;
    this.map.addSource("pictures", { type: "raster", tiles: [...tiles], tileSize, minzoom, maxzoom, bounds: [...bounds] });
    this.map.addLayer({ id: "pictures", type: "raster", source: "pictures", paint: { "raster-fade-duration": 0, "raster-resampling": "nearest", "raster-opacity": this.#opacity } }, "points");
  }

  /** The part of the map that the panel covers; "in view" means the rest. */
  setInsets(insets: Insets): void {
    this.#insets = insets;
    this.#moved();
  }

  fit(bounds: Bounds): void {
    const [west, south, east, north] = bounds;
    const limit = (lat: number): number => Math.max(-80, Math.min(83, lat));
    const { left, top, bottom } = this.#insets;
    const room = 32;
    this.map.fitBounds([west, limit(south), east, limit(north)], {
      padding: { left: left + room, top: top + room, bottom: bottom + room, right: room + 24 },
      maxZoom: 14,
      animate: false,
    });
  }

  look({ zoom, lat, lon }: Camera): void {
    this.map.jumpTo({ zoom, center: [lon, lat] });
  }

  /** Enlarges points by a radius of so many pixels. */
  setSpread(pixels: number): void {
    if (pixels === this.#spread) return;
    this.#spread = pixels;
    this.#tiles?.spread(pixels);
    this.repaint();
  }

  /** Opacity of the points over the map, 0-1. */
  setOpacity(opacity: number): void {
    if (opacity === this.#opacity) return;
    this.#opacity = opacity;
    this.repaint();
  }

  repaint(): void {
    this.map.triggerRepaint();
  }

  setArea(ring: readonly (readonly [number, number])[] | null): void {
    this.#area = ring;
    const first = ring?.[0];
    const data: GeoJSON.FeatureCollection =
      ring && first
        ? { type: "FeatureCollection", features: [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [...ring, first].map(([lon, lat]) => [lon, lat]) } }] }
        : EMPTY;
    if (this.#ready) this.map.getSource<maplibregl.GeoJSONSource>("area")?.setData(data);
  }

  /** Single points instead of counts; an empty list goes back to counts. */
  setMarkers(markers: readonly Marker[]): void {
    if (markers.length === 0 && this.#markers.length === 0) return;
    this.#markers = markers;
    this.#showPoints = markers.length === 0;
    if (!this.#ready) return;
    const features = markers.map(({ lon, lat, color }, index): GeoJSON.Feature => ({
      type: "Feature",
      properties: { color, index },
      geometry: { type: "Point", coordinates: [lon, lat] },
    }));
    this.map.getSource<maplibregl.GeoJSONSource>("markers")?.setData({ type: "FeatureCollection", features });
    this.repaint();
  }

  /** The map as it is now, as a PNG. */
  async picture(): Promise<Blob> {
    const frame = new Promise<Blob>((resolve, reject) => {
      this.map.once("render", () => {
        // Inside the frame the drawing buffer still holds the picture.
        this.map.getCanvas().toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser could not encode the picture"))), "image/png");
      });
    });
    this.map.triggerRepaint();
    return frame;
  }

  /** Degrees under a screen position. */
  lonLat(x: number, y: number): [number, number] {
    const { lng, lat } = this.map.unproject([x, y]);
    return [lng, lat];
  }

  #styled(): void {
    this.#ready = true;
    // Names stay above the points, whoever's basemap it is.
    const names = this.map.getStyle().layers.find(({ type }) => type === "symbol")?.id;
    for (const source of ["area", "markers"]) this.map.addSource(source, { type: "geojson", data: EMPTY });
    this.map.addLayer(this.#layer, names);
    for (const layer of overlays(this.#theme)) this.map.addLayer(layer, names);
    this.#placePictures(this.#pictures);
    this.setArea(this.#area);
    const markers = this.#markers;
    this.#markers = [];
    this.setMarkers(markers);
    this.#moved();
  }

  #failed(error: { readonly message: string }): void {
    const isStyle = !this.#ready && !this.#isOffline && ownStyle(this.#theme) !== null;
    this.#events.onBasemapError(error.message, isStyle);
    if (!isStyle) return;
    this.#isOffline = true;
    this.map.setStyle(offlineStyle(this.#theme), { diff: false });
  }

  #tileSize(): number {
    // Fine screens get one count per device pixel or two, as others do.
    return window.devicePixelRatio >= 1.5 ? 128 : 256;
  }

  #tileZoom(): number {
    const z = Math.floor(this.map.getZoom() + Math.log2(512 / this.#tileSize()));
    return Math.max(this.#zooms.min, Math.min(this.#zooms.max, z));
  }

  #moved(): void {
    const { left, top, bottom } = this.#insets;
    const { clientWidth: width, clientHeight: height } = this.map.getContainer();
    const [west, north] = this.lonLat(left, top);
    const [east, south] = this.lonLat(width, height - bottom);
    const camera = this.map.getCenter();
    this.#events.onMove({ bounds: wrapped(west, south, east, north), zoom: this.#tileZoom() }, { zoom: this.map.getZoom(), lat: camera.lat, lon: camera.lng });
    this.#tiles?.want(this.#wanted());
  }

  #wanted(): Wanted[] {
    const z = this.#tileZoom();
    const ids = this.map.coveringTiles({ tileSize: this.#tileSize(), minzoom: z, maxzoom: z, roundZoom: false });
    return ids.map(({ canonical, wrap }) => ({ id: { z: canonical.z, x: canonical.x, y: canonical.y }, wrap }));
  }

  #hover(event: maplibregl.MapMouseEvent): void {
    if (event.originalEvent.buttons !== 0) return;
    const { lng, lat } = event.lngLat;
    const { tile, i, j } = pixelFromLonLat(lng, lat, this.#tileZoom());
    this.#events.onHover({ x: event.point.x, y: event.point.y, tile, pixel: [i, j], row: this.#markerAt(event.point)?.row ?? null });
  }

  #markerAt({ x, y }: maplibregl.Point): Marker | null {
    if (this.#markers.length === 0 || !this.#ready) return null;
    const [feature] = this.map.queryRenderedFeatures([[x - 4, y - 4], [x + 4, y + 4]], { layers: ["markers"] });
    const index: unknown = feature?.properties["index"];
    return typeof index === "number" ? (this.#markers[index] ?? null) : null;
  }
}

/** Longitudes in [-180, 180]; west above east means across the antimeridian; a whole turn is the whole world. */
function wrapped(west: number, south: number, east: number, north: number): Bounds {
  const s = Math.max(WORLD[1], south);
  const n = Math.min(WORLD[3], north);
  if (east - west >= 360) return [WORLD[0], s, WORLD[2], n];
  const turn = (lon: number): number => ((((lon + 180) % 360) + 360) % 360) - 180;
  const [w, e] = [turn(west), turn(east)];
  return [w, s, e === -180 ? 180 : e, n];
}
