// Writes public/basemap.json: Natural Earth land and country borders, clipped at the antimeridian, and the names of
// large cities from the project's own table (rank 0 is seen first).
//
// world-atlas is stitched across the antimeridian for spherical clipping; drawn flat it smears Russia and Fiji over
// the whole map. Projecting with an equirectangular of 180/pi pixels per radian cuts it there again, in degrees.
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { feature, mesh } from "topojson-client";
import { geoEquirectangular } from "d3-geo";
import { geoProject } from "d3-geo-projection";

const require = createRequire(import.meta.url);
const atlas = JSON.parse(readFileSync(require.resolve("world-atlas/countries-50m.json"), "utf8"));
const flat = geoEquirectangular().scale(180 / Math.PI).translate([0, 0]).precision(0);
flat.preclip(geoEquirectangular().preclip());

const LATITUDE_MAX = 85.05112878;
const DIGITS = 100; // 0.01 degree, about 1 km: finer than Natural Earth 1:50m is drawn.

function degrees(geometry) {
  const projected = geoProject(geometry, flat);
  const clean = (ring, closed) => {
    const out = [];
    for (const [x, y] of ring) {
      const lon = Math.round(Math.max(-180, Math.min(180, x)) * DIGITS) / DIGITS;
      const lat = Math.round(Math.max(-LATITUDE_MAX, Math.min(LATITUDE_MAX, -y)) * DIGITS) / DIGITS;
      const last = out[out.length - 1];
      if (!last || last[0] !== lon || last[1] !== lat) out.push([lon, lat]);
    }
    return out.length >= (closed ? 4 : 2) ? [out] : [];
  };
  if (projected.type === "MultiPolygon") {
    const coordinates = projected.coordinates.flatMap((polygon) => {
      const [outer, ...holes] = polygon.map((ring) => clean(ring, true));
      return outer?.length ? [[outer[0], ...holes.flat()]] : [];
    });
    return { type: "MultiPolygon", coordinates };
  }
  return { type: "MultiLineString", coordinates: projected.coordinates.flatMap((line) => clean(line, false)) };
}

const land = feature(atlas, atlas.objects.land);
const landGeometry = (land.type === "FeatureCollection" ? land.features[0] : land).geometry;
const asFeature = (kind, geometry) => ({ type: "Feature", properties: { kind }, geometry });
const collection = {
  type: "FeatureCollection",
  features: [
    asFeature("land", degrees(landGeometry)),
    asFeature("border", degrees(mesh(atlas, atlas.objects.countries, (a, b) => a !== b))),
  ],
};
// Cities with names at each rank, the most populous first; the rest has the last rank.
const RANKS = [40, 110, 220, 280];
const cities = readFileSync(new URL("../../src/generate/geography/cities.csv", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [name, lon, lat, population] = line.split(",");
    return { name, lon: Number(lon), lat: Number(lat), population: Number(population) };
  })
  .sort((a, b) => b.population - a.population || (a.name < b.name ? -1 : 1));
let rank = 0;
let left = RANKS[0];
for (const { name, lon, lat } of cities) {
  if (left === 0 && rank < RANKS.length) left = RANKS[++rank] ?? Number.POSITIVE_INFINITY;
  left -= 1;
  collection.features.push({ type: "Feature", properties: { kind: "city", name, rank }, geometry: { type: "Point", coordinates: [lon, lat] } });
}
mkdirSync(new URL("../public", import.meta.url), { recursive: true });
writeFileSync(new URL("../public/basemap.json", import.meta.url), JSON.stringify(collection));
