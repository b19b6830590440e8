// OpenLayers: finished PNG tiles are an XYZ source, and nothing of ours is needed for the picture. A click asks for the
// rows under the pixel.
import "ol/ol.css";
import { Map, Overlay, View } from "ol";
import GeoJSON from "ol/format/GeoJSON.js";
import TileLayer from "ol/layer/Tile.js";
import VectorLayer from "ol/layer/Vector.js";
import { toLonLat, transformExtent } from "ol/proj.js";
import VectorSource from "ol/source/Vector.js";
import XYZ from "ol/source/XYZ.js";
import { Fill, Style } from "ol/style.js";
import { pixelFromLonLat } from "pointillist-client";
import { dataset, land, panel, pngUrl, stats } from "./common.js";

const points = new XYZ({ url: pngUrl(), maxZoom: stats.zooms.max, wrapX: false, interpolate: false, transition: 0 });
const map = new Map({
  target: "map",
  layers: [
    new VectorLayer({
      source: new VectorSource({ features: new GeoJSON().readFeatures(land, { featureProjection: "EPSG:3857" }), attributions: "Natural Earth", wrapX: false }),
      style: new Style({ fill: new Fill({ color: "#fbfaf8" }) }),
    }),
    new TileLayer({ source: points }),
  ],
  view: new View({ center: [0, 0], zoom: 2, constrainResolution: true, multiWorld: true }),
});
window.map = map; // for the console
map.getView().fit(transformExtent(stats.bounds, "EPSG:4326", "EPSG:3857"), { padding: [40, 40, 40, 40] });

let chosen = "";
panel({
  title: "OpenLayers",
  onFilter(filter) {
    chosen = filter;
    points.setUrl(pngUrl(filter));
  },
});

const note = new Overlay({ element: Object.assign(document.createElement("div"), { className: "note" }), offset: [8, 8] });
note.getElement().style.cssText = "padding:6px 10px;background:#fff;border-radius:6px;box-shadow:0 1px 6px #0003;white-space:pre";
map.addOverlay(note);
map.on("click", async ({ coordinate }) => {
  const [lon, lat] = toLonLat(coordinate);
  const { tile, i, j } = pixelFromLonLat(lon, lat, Math.round(map.getView().getZoom()));
  const { total, rows } = await dataset.points({ tile, pixel: [i, j], filter: chosen, limit: 3 });
  note.getElement().textContent = [`${total} here`, ...rows.map((row) => Object.values(row).slice(0, 5).join(" · "))].join("\n");
  note.setPosition(coordinate);
});
