// Writes public/basemap.json: Natural Earth land and country borders, clipped at the antimeridian, and the names of
// large cities from cities.csv (GeoNames, CC BY; rank 0 is seen first).
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
const cities = readFileSync(new URL("cities.csv", import.meta.url), "utf8").trim().split("\n").slice(1);
for (const city of cities) {
  const [name, lon, lat, rank] = city.split(",");
  collection.features.push({
    type: "Feature",
    properties: { kind: "city", name, rank: Number(rank) },
    geometry: { type: "Point", coordinates: [Number(lon), Number(lat)] },
  });
}
mkdirSync(new URL("../public", import.meta.url), { recursive: true });
writeFileSync(new URL("../public/basemap.json", import.meta.url), JSON.stringify(collection));
