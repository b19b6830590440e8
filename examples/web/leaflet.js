// Leaflet: a layer of counts that this page colours itself, so that hiding a category asks nothing of the server;
// and the same as finished PNG tiles, which need nothing of ours (one line, at `plain`).
import "leaflet/dist/leaflet.css";
import L from "leaflet";
import { countLayer } from "pointillist-client/leaflet";
import { Colours, dataset, land, panel, pngUrl, stats } from "./common.js";

const [west, south, east, north] = stats.bounds;
const map = L.map("map").fitBounds([[south, west], [north, east]]);
window.map = map; // for the console
// Leaflet draws shapes above tiles unless they have a pane below.
map.createPane("land").style.zIndex = "100";
L.geoJSON(land, { pane: "land", interactive: false, style: { stroke: false, fillColor: "#fbfaf8", fillOpacity: 1 }, attribution: "Natural Earth" }).addTo(map);

const world = { noWrap: true, bounds: [[-85.06, -180], [85.06, 180]] };
const plain = L.tileLayer(pngUrl(), world);

const colours = new Colours();
const counts = countLayer(L, {
  ...world,
  load: async ({ z, x, y }, signal) => {
    await colours.prepare(z);
    return dataset.countTile({ z, x, y }, { filter: colours.filter }, signal);
  },
  shading: (zoom) => colours.at(zoom),
}).addTo(map);
L.control.layers({ "Coloured here": counts, "PNG tiles": plain }, {}, { collapsed: false, position: "bottomright" }).addTo(map);

panel({
  title: "Leaflet",
  onFilter(filter) {
    colours.filter = filter;
    counts.reload();
    plain.setUrl(pngUrl(filter));
  },
  onHide(hidden) {
    colours.hide(hidden);
    counts.repaint();
  },
});

// The exact counts under the cursor, without a request.
const tooltip = L.tooltip();
map.on("mousemove", ({ latlng }) => {
  const here = counts.countsAt(latlng)?.map((count, c) => (count > 0 ? `${stats.categories[c]?.label ?? "points"}: ${count}` : "")).filter(Boolean);
  if (here?.length) tooltip.setLatLng(latlng).setContent(here.join("<br>")).addTo(map);
  else tooltip.remove();
});
