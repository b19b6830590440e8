#!/usr/bin/env python3
"""The rows of a dataset as other programs read them: DuckDB, GeoPandas and pyarrow, none of which knows pointillist.

    benches/peers/geoparquet.py target/debug/pointillist fixtures/towers-1000.csv

Ingests the sample, appends it once more, and compares what each program finds in the Parquet files with the sample itself: rows, values, points, reference
system and bounds, and that the file says of itself what GeoParquet 1.1 asks for. `make test` runs it. The programs are installed into a virtual environment
under the user's cache folder; where that cannot be done, it says SKIPPED.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

from packages import run_with, skip

PACKAGES = ["duckdb==2.0.1", "geopandas==1.2.0", "pyarrow==26.0.1"]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def check_metadata(metadata, geometry_column):
    """What https://geoparquet.org/releases/v1.1.0 requires, and what it recommends for points in degrees."""
    geo = json.loads(metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == geometry_column, geo
    column = geo["columns"][geometry_column]
    assert column["encoding"] == "WKB" and column["geometry_types"] == ["Point"], column
    # Without `crs` it is OGC:CRS84: longitude and latitude in degrees.
    assert "crs" not in column and column.get("edges", "planar") == "planar", column
    west, south, east, north = column["bbox"]
    assert -180 <= west <= east <= 180 and -90 <= south <= north <= 90, column
    return column["bbox"]


def main():
    binary, sample = map(pathlib.Path, sys.argv[1:])
    run_with("geoparquet", PACKAGES, skip)
    import duckdb
    import geopandas
    import pyarrow.parquet
    with open(sample, newline="") as text:
        expected = [(row["radio"], int(row["range"]), float(row["lon"]), float(row["lat"])) for row in csv.DictReader(text)]
    with tempfile.TemporaryDirectory() as folder:
        dataset = pathlib.Path(folder) / "sample"
        run(binary, "ingest", sample, "-o", dataset)
        run(binary, "append", dataset, sample)
        files = sorted(dataset.glob("parts/*/rows.parquet"))
        assert len(files) == 2, files

        pattern = f"{dataset}/parts/*/rows.parquet"
        rows = duckdb.sql(f"SELECT radio, range, lon, lat FROM read_parquet('{pattern}')").fetchall()
        assert sorted(rows) == sorted(expected * 2), "DuckDB reads other rows"
        types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet('{pattern}'))").fetchall())
        assert types["geometry"].startswith("GEOMETRY") and types["created"].startswith("TIMESTAMP"), types

        for file in files:
            bbox = check_metadata(pyarrow.parquet.read_metadata(file).metadata, "geometry")
            frame = geopandas.read_parquet(file)
            assert frame.crs.to_string() == "OGC:CRS84", frame.crs
            found = zip(frame["radio"], frame["range"], frame.geometry.x, frame.geometry.y)
            assert sorted(found) == sorted(expected), "GeoPandas reads other points"
            assert list(frame.total_bounds) == bbox, (frame.total_bounds, bbox)
    print(f"DuckDB {duckdb.__version__}, GeoPandas {geopandas.__version__} and pyarrow {pyarrow.__version__} read the {len(rows)} rows as they are")


main()
