#!/usr/bin/env python3
"""Polygons against shapely: generated ones over a served dataset must select the points that GEOS finds in them.

    benches/peers/polygons_vs_shapely.py --binary target/release/pointillist ../shared/data/usgs-earthquakes-2015-08.csv.gz towers

Each input is ingested (or is a dataset) and served. The points come from the dataset's own GeoParquet and are projected here; shapely (GEOS, whose
orientation test is exact) is asked about the same vertices on the same grid of 2^32 units. Polygons are concave stars around a place where
points are, small to world-wide, without and with a hole, as multipolygons, and across the antimeridian (longitudes beyond 180); many have
points of the data as vertices, so that points lie on the very border.

For each polygon: every point inside, further than a unit (9 mm at the equator) from the border, is selected, and none outside. Points
closer than that are counted apart and may be either; but NOT gives exactly the others, and where the polygon is cut in two along a line
between vertices, the two select together what the whole does: a point on a border that two share belongs to one of them.
shapely lives in a virtual environment of its own.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

from packages import run_with

PACKAGES = ["shapely==2.1.2", "numpy==2.4.6", "pyarrow==26.0.1"]
WORLD = 2**32
# What the filter allows is 1024 in all.
VERTICES_MAX = 60


def projected(lon, lat):
    """World units, not wrapped: the projection of src/world/mercator.rs."""
    import numpy as np
    x = np.floor((np.asarray(lon, float) / 360 + 0.5) * WORLD)
    sin = np.sin(np.radians(np.asarray(lat, float)))
    return x, np.clip(np.floor((0.5 - np.log((1 + sin) / (1 - sin)) / (4 * np.pi)) * WORLD), 0, WORLD - 1)


def places_of(folder):
    """Longitudes and latitudes of all points, as the rows have them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    manifest = json.loads((folder / "dataset.json").read_text())
    names = [manifest["coordinates"]["x"], manifest["coordinates"]["y"]]
    table = pa.concat_tables([pq.read_table(next((folder / part["folder"]).glob("*.parquet")), columns=names) for part in manifest["parts"]])
    return [np.asarray(table.column(name).cast(pa.float64())) for name in names]


class Maker:
    def __init__(self, lon, lat, choice):
        self.lon, self.lat, self.choice = lon, lat, choice

    def star(self, centre, radius, scale=1.0):
        """A ring that sees its centre: concave, and never crossing itself. Vertices snap to points of the data that lie near."""
        import math
        count = self.choice.randint(3, VERTICES_MAX)
        angles = sorted(self.choice.uniform(0, 2 * math.pi) for _ in range(count))
        # No gap of half a turn, so that the centre stays inside.
        angles += [k * math.pi / 2 + 0.1 for k in range(4)]
        ring = []
        for angle in sorted(set(angles)):
            r = radius * scale * self.choice.uniform(0.5, 1.0)
            ring.append((centre[0] + r * math.cos(angle), max(-85.0, min(85.0, centre[1] + r * 0.6 * math.sin(angle)))))
        return ring

    def polygon(self):
        """Rings in degrees: the outer one, and perhaps a hole."""
        place = self.choice.randrange(len(self.lon))
        centre = (float(self.lon[place]), float(self.lat[place]))
        radius = 10 ** self.choice.uniform(-2.5, 1.8)
        if self.choice.random() < 0.25:
            # Around the antimeridian, as far as its own latitude has anything.
            centre = (self.choice.choice([-180.0, 180.0]) + self.choice.uniform(-0.3, 0.3) * radius, centre[1])
        outer = self.star(centre, radius)
        if self.choice.random() < 0.3:
            outer = self.snapped(outer, centre)
        rings = [outer]
        if self.choice.random() < 0.4:
            rings.append(self.star(centre, radius, 0.45))
        return rings

    def snapped(self, ring, centre):
        """The ring with some vertices moved to points of the data, as long as it still sees its centre in the same order."""
        import math
        angle = lambda vertex: math.atan2((vertex[1] - centre[1]) / 0.6, vertex[0] - centre[0])
        moved = list(ring)
        for i in range(len(moved)):
            place = self.choice.randrange(len(self.lon))
            candidate = (float(self.lon[place]), float(self.lat[place]))
            before, after = angle(moved[i - 1]), angle(moved[(i + 1) % len(moved)])
            if before < angle(candidate) < after and after - before < 3:
                moved[i] = candidate
        return moved


def wkt(rings):
    return "(" + ", ".join("(" + ", ".join(f"{x!r} {y!r}" for x, y in [*ring, ring[0]]) + ")" for ring in rings) + ")"


def shape(rings):
    """The polygon on the grid; None where the grid is too coarse for it."""
    import shapely
    onto = [list(zip(*projected([x for x, _ in ring], [y for _, y in ring]))) for ring in rings]
    polygon = shapely.Polygon(onto[0], onto[1:])
    return polygon if polygon.is_valid else None


def found(polygon, x, y):
    """Which points are inside and further than a unit from the border; and which are at the border. The world goes round."""
    import numpy as np
    import shapely
    inside, near = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for shift in (-WORLD, 0, WORLD):
        west, south, east, north = polygon.bounds
        boxed = np.flatnonzero((x + shift >= west - 1) & (x + shift <= east + 1) & (y >= south - 1) & (y <= north + 1))
        if len(boxed):
            shapely.prepare(polygon)
            xs, ys = x[boxed] + shift, y[boxed]
            inside[boxed] ^= shapely.contains_xy(polygon, xs, ys)
            near[boxed] |= shapely.dwithin(shapely.points(xs, ys), polygon.boundary, 1.0)
    return inside & ~near, near


class Served:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "serve", folder, "--backend", "cpu", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.base = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.name = json.loads((folder / "dataset.json").read_text())["name"]

    def total(self, condition):
        url = f"{self.base}/{self.name}/points?limit=0&filter={urllib.parse.quote(condition)}"
        return json.load(urllib.request.urlopen(url))["total"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def halves(ring):
    """The ring cut in two along a line between two vertices, on both of which it lies; the halves may overlap or not be within it."""
    middle = len(ring) // 2
    return ring[: middle + 1], [*ring[middle:], ring[0]]


def compare(served, lon, lat, polygons, choice):
    import numpy as np
    import shapely
    x, y = projected(lon, lat)
    x = x % WORLD
    maker = Maker(lon, lat, choice)
    done = some = borders = crossing = holes = cuts = 0
    while done < polygons:
        rings = maker.polygon()
        parts = [rings]
        if choice.random() < 0.2:
            parts.append(maker.polygon())
        shapes = [shape(part) for part in parts]
        if any(one is None for one in shapes) or len(shapes) == 2 and shapes[0].intersects(shapes[1]):
            continue
        kind = wkt(parts[0]) if len(parts) == 1 else "(" + ", ".join(map(wkt, parts)) + ")"
        condition = f"S_INTERSECTS(geometry, {'MULTI' if len(parts) > 1 else ''}POLYGON{kind})"
        inside, near = np.zeros(len(x), bool), np.zeros(len(x), bool)
        for one in shapes:
            of_one = found(one, x, y)
            inside, near = inside | of_one[0], near | of_one[1]
        got, others = served.total(condition), served.total(f"NOT {condition}")
        least, most = int((inside & ~near).sum()), int((inside | near).sum())
        if not least <= got <= most or got + others != len(x):
            sys.exit(f"DIFFERENT: {got} here and {others} by NOT, {least} to {most} by GEOS, of {len(x)}\n  {condition}")
        if len(parts) == 1 and len(rings) == 1 and len(rings[0]) >= 6:
            two = halves(rings[0])
            cut = [shape([half]) for half in two]
            # Cut through its inside only, not across a bay.
            if all(cut) and not cut[0].overlaps(cut[1]) and cut[0].union(cut[1]).equals(shapes[0]):
                added = sum(served.total(f"S_INTERSECTS(geometry, POLYGON{wkt([half])})") for half in two)
                if added != got:
                    sys.exit(f"DIFFERENT: {got} in the whole and {added} in its halves\n  {condition}\n  {two}")
                cuts += 1
        done += 1
        some += 0 < got < len(x)
        borders += most - least
        holes += len(rings) > 1
        crossing += any(abs(vx) > 180 for ring in rings for vx, _ in ring)
    print(f"  {polygons} polygons select what GEOS selects ({some} some points and not all); {holes} had holes, {crossing} crossed the antimeridian; "
          f"{cuts} were cut in two; {borders:,} points lay within a unit of a border")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--polygons", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("inputs", nargs="+", help="files to ingest, or datasets")
    args = parser.parse_args()
    run_with("shapely", PACKAGES)
    with tempfile.TemporaryDirectory() as work:
        for text in args.inputs:
            folder = pathlib.Path(text)
            if not (folder / "dataset.json").exists():
                made = pathlib.Path(work) / folder.name.split(".")[0]
                subprocess.run([args.binary, "ingest", folder, "-o", made], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                folder = made
            lon, lat = places_of(folder)
            served = Served(args.binary, folder)
            try:
                print(f"{text}: {len(lon):,} points", flush=True)
                compare(served, lon, lat, args.polygons, random.Random(args.seed))
            finally:
                served.stop()


if __name__ == "__main__":
    main()
