#!/usr/bin/env python3
"""Aggregates against SQL: the values of tiles must be those of DuckDB's GROUP BY pixel, and how long either takes.

DuckDB reads the same rows from the dataset's Parquet files into a table of pixel numbers and values, which is not timed. Counts,
minima and maxima must be equal; sums and means may differ by a rounding, for SQL adds floats in any order.

    pointillist serve DATASET --listen 127.0.0.1:8080 --backend cpu &
    benches/peers/aggregates_vs_duckdb.py DATASET http://127.0.0.1:8080 [--columns a,b]

Exits with 1 at the first difference.
"""

import argparse
import io
import json
import statistics
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from packages import run_with

ZOOMS = [0, 3, 6, 10]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("server")
    parser.add_argument("--columns", help="a,b: by default every column of numbers")
    parser.add_argument("--filter", default="", help="CQL2 text that is SQL as well")
    arguments = parser.parse_args()
    run_with("duckdb-numpy", ["duckdb==2.0.1", "numpy==2.4.6"])
    import duckdb
    import numpy
    manifest = json.loads((arguments.dataset / "dataset.json").read_text())
    columns = [c["name"] for c in manifest["columns"] if c["kind"] in ("integer", "float")]
    if arguments.columns:
        columns = [name for name in columns if name in arguments.columns.split(",")]
    lon, lat = quoted(manifest["coordinates"]["x"]), quoted(manifest["coordinates"]["y"])
    sin = f"sin(radians({lat}))"
    where = f" WHERE {arguments.filter}" if arguments.filter else ""
    database = duckdb.connect()
    database.execute(
        f"CREATE TABLE points AS SELECT CAST(floor(({lon} / 360.0 + 0.5) * 4294967296.0) AS BIGINT) % 4294967296 AS world_x, "
        f"CAST(floor((0.5 - ln((1 + {sin}) / (1 - {sin})) / (4 * pi())) * 4294967296.0) AS BIGINT) AS world_y, "
        f"{', '.join(quoted(name) for name in columns)} "
        f"FROM read_parquet('{arguments.dataset}/parts/*/rows.parquet'){where}"
    )
    print(f"{manifest['name']}: {database.execute('SELECT count(*) FROM points').fetchone()[0]:,} points; columns {', '.join(columns)}")
    ours, theirs = [], []
    for zoom in ZOOMS:
        # The tile with the most points.
        shift = 32 - zoom
        x, y = database.execute(
            f"SELECT world_x >> {shift} AS x, world_y >> {shift} AS y FROM points GROUP BY ALL ORDER BY count(*) DESC, x, y LIMIT 1"
        ).fetchone()
        for name in columns:
            for agg in ["sum", "mean", "min", "max"]:
                query = {"agg": agg, "column": name, "filter": arguments.filter}
                url = f"{arguments.server}/{manifest['name']}/{zoom}/{x}/{y}.npy?{urllib.parse.urlencode(query)}"
                started = time.perf_counter()
                got = numpy.load(io.BytesIO(urllib.request.urlopen(url).read()))[0]
                ours.append((time.perf_counter() - started) * 1e3)
                pixel = 24 - zoom
                sql = {"mean": "avg"}.get(agg, agg)
                started = time.perf_counter()
                rows = database.execute(
                    f"SELECT (world_y >> {pixel}) & 255, (world_x >> {pixel}) & 255, {sql}({quoted(name)}) FROM points "
                    f"WHERE world_x >> {shift} = {x} AND world_y >> {shift} = {y} AND {quoted(name)} IS NOT NULL GROUP BY ALL"
                ).fetchnumpy()
                theirs.append((time.perf_counter() - started) * 1e3)
                row, column, value = list(rows.values())
                expected = numpy.full((256, 256), numpy.nan)
                expected[row, column] = value
                same = numpy.isnan(got) == numpy.isnan(expected)
                exact = agg in ("min", "max")
                close = numpy.isclose(got, expected, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-9, equal_nan=True)
                if not (same & close).all():
                    where = tuple(int(i[0]) for i in numpy.nonzero(~(same & close)))
                    print(f"DIFFERENT: {agg} of {name} in {zoom}/{x}/{y} at {where}: {got[where]} here, {expected[where]} in DuckDB")
                    return 1
    print(f"{len(ours)} tiles have DuckDB's values; median {statistics.median(ours):.1f} ms over HTTP, {statistics.median(theirs):.1f} ms in DuckDB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
