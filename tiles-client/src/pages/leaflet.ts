/**
 * The whole of what a Leaflet user needs: a plain tile layer of PNGs. The basemap, legend and total are a courtesy.
 * `?d=NAME` chooses the dataset, `?filter=` a CQL2 filter, `?key=` is shown to a server that wants one.
 */

import L from "leaflet";
import { Client, queryString } from "../core/index.js";
import { SERVER } from "./server.js";

const query = new URLSearchParams(location.search);
const legend = document.getElementById("legend") as HTMLElement;

show().catch((error: unknown) => {
  legend.replaceChildren(element("p", "error", error instanceof Error ? error.message : String(error)));
});

async function show(): Promise<void> {
  const key = query.get("key");
  const client = new Client(SERVER, key);
  const { datasets } = await client.catalog();
  const name = query.get("d") ?? datasets[0]?.name;
  if (name === undefined) throw new Error("this server has no datasets");
  const filter = query.get("filter") ?? undefined;
  const stats = await client.dataset(name).stats(filter ? { filter } : {});
  const [west, south, east, north] = stats.bounds;

  const map = L.map("map", { preferCanvas: true, fadeAnimation: false, maxBounds: [[-90, -200], [90, 200]] });
  map.fitBounds([[south, west], [north, east]]);
  const land: GeoJSON.FeatureCollection = await (await fetch(`${SERVER}/ui/basemap.json`)).json();
  // Leaflet draws shapes above tiles unless they have a pane below.
  map.createPane("land").style.zIndex = "100";
  L.geoJSON(land, {
    pane: "land",
    filter: ({ properties }) => properties?.["kind"] !== "city",
    interactive: false,
    attribution: "Natural Earth",
    style: (feature) =>
      feature?.properties["kind"] === "land" ? { stroke: false, fillColor: "#f7f5f0", fillOpacity: 1 } : { color: "#c4c8cc", weight: 0.7 },
  }).addTo(map);

  // These lines are the point: tiles like any other tiles.
  L.tileLayer(`${SERVER}/${encodeURIComponent(name)}/{z}/{x}/{y}{r}.png${queryString({ filter, v: stats.data_version, key: key ?? undefined })}`, {
    minZoom: stats.zooms.min,
    maxZoom: Math.min(22, stats.zooms.max),
    noWrap: true,
    bounds: [[-85.06, -180], [85.06, 180]],
  }).addTo(map);

  const list = element("ul");
  for (const { color, label, count } of stats.categories) {
    const dot = element("i");
    dot.style.background = color;
    const item = element("li");
    item.append(dot, element("span", "", label), element("b", "", count.toLocaleString()));
    list.append(item);
  }
  legend.replaceChildren(element("span", "", stats.title ?? stats.name), element("strong", "", stats.rows.toLocaleString()), "points", list);
}

function element(tag: string, className = "", text = ""): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
