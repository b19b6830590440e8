// Mapbox GL 1.13, which needs no token; the same code runs with 3.x, where `mapboxgl.accessToken` must be set. Counts
// are coloured here onto a canvas that lies on the map. Plain PNG tiles are a raster source, as anywhere:
//   map.addSource("points", { type: "raster", tiles: [pngUrl()], tileSize: 256 })
import "mapbox-gl/dist/mapbox-gl.css";
import mapboxgl from "mapbox-gl";
import { countOverlay } from "pointillist-client/mapbox";
import { Colours, dataset, land, panel, stats } from "./common.js";

const map = new mapboxgl.Map({
  container: "map",
  bounds: stats.bounds,
  fitBoundsOptions: { padding: 40 },
  customAttribution: "Natural Earth",
  renderWorldCopies: false,
  style: {
    version: 8,
    sources: { land: { type: "geojson", data: land } },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": "#e3e9ee" } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": "#fbfaf8" } },
    ],
  },
});

window.map = map; // for the console
map.on("load", () => {
  const colours = new Colours();
  const overlay = countOverlay(map, {
    minzoom: stats.zooms.min,
    maxzoom: stats.zooms.max,
    load: async (id, signal) => {
      await colours.prepare(id.z);
      return dataset.countTile(id, { filter: colours.filter }, signal);
    },
    shading: (zoom) => colours.at(zoom),
  });
  panel({
    title: "Mapbox GL",
    onFilter(filter) {
      colours.filter = filter;
      overlay.reload();
    },
    onHide(hidden) {
      colours.hide(hidden);
      overlay.repaint();
    },
  });
});
