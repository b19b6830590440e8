#!/usr/bin/env python3
"""Ingest against DuckDB: both read the same file, order it by the same Z-order key and write Parquet with the same columns.

    benches/peers/ingest.py --binary target/release/pointillist ../shared/data/ais-us-2020-01-01.csv.gz

DuckDB is installed into a virtual environment of its own. The two run in turn, each in a process of its
own, writing into a temporary folder that is removed. Printed are wall time, processor time (which a busy machine does not
distort), peak memory, and their ratios. DuckDB writes Parquet only; pointillist also writes hot columns, index and
dictionaries.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

from packages import run_with

PACKAGES = ["duckdb==2.0.1"]


# Steps that spread 32 bits to the even positions of 64 (Bit Twiddling Hacks, as in src/world/morton.rs): shift, mask.
SPREAD = [(16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F),
          (2, 0x3333333333333333), (1, 0x5555555555555555)]


def spread(x):
    for shift, _ in SPREAD:
        x = f"spread_{shift}({x})"
    return x


def duckdb_ingest(source, lon, lat, target):
    import duckdb

    db = duckdb.connect()
    for shift, mask in SPREAD:
        # A shift that would push out bits is refused by DuckDB: multiply instead, below 2^63.
        db.execute(f"CREATE MACRO spread_{shift}(v) AS ((v::UBIGINT | (v::UBIGINT * {1 << shift}::UBIGINT)) & {mask}::UBIGINT)")
    x = f"floor(({lon} / 360 + 0.5) * 4294967296)::UBIGINT & 4294967295::UBIGINT"
    y = f"floor((0.5 - ln((1 + sin(radians({lat}))) / (1 - sin(radians({lat})))) / (4 * pi())) * 4294967296)::UBIGINT"
    # The spread y reaches bit 62, so that twice it still fits 64 bits.
    key = f"({spread(x)} | ({spread(y)} * 2::UBIGINT))"
    reader = f"read_parquet('{source}')" if source.endswith(".parquet") else f"read_csv('{source}', sample_size=20480)"
    db.execute(
        f"COPY (SELECT * FROM {reader} WHERE abs({lat}) <= 85.05112878 ORDER BY {key}) "
        f"TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )


def measured(command):
    """Seconds, processor seconds and peak bytes of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--binary", default="target/release/pointillist")
    parser.add_argument("--lon", default="LON")
    parser.add_argument("--lat", default="LAT")
    parser.add_argument("--memory-limit", help="passed on to pointillist")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duckdb-to", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    run_with("duckdb", PACKAGES)
    if arguments.duckdb_to:
        return duckdb_ingest(arguments.source, arguments.lon, arguments.lat, arguments.duckdb_to)

    limit = ["--memory-limit", arguments.memory_limit] if arguments.memory_limit else []
    best = {}
    for _ in range(arguments.rounds):
        for name in ["duckdb", "pointillist"]:
            folder = tempfile.mkdtemp(prefix="ingest-bench-")
            try:
                if name == "duckdb":
                    command = [sys.executable, __file__, arguments.source, "--lon", arguments.lon, "--lat", arguments.lat,
                               "--duckdb-to", f"{folder}/sorted.parquet"]
                else:
                    command = [arguments.binary, "ingest", arguments.source, "-o", f"{folder}/out",
                               "--lon", arguments.lon, "--lat", arguments.lat, *limit]
                run = measured(command)
            finally:
                shutil.rmtree(folder)
            print(f"{name:12} {run[0]:7.2f} s wall {run[1]:7.2f} s processor {run[2] / 1e9:6.2f} GB peak", flush=True)
            best[name] = min(best.get(name, run), run, key=lambda r: r[0])
    ours, theirs = best["pointillist"], best["duckdb"]
    print(f"pointillist / duckdb, best of {arguments.rounds}: {ours[0] / theirs[0]:.2f} wall, {ours[1] / theirs[1]:.2f} processor")


if __name__ == "__main__":
    main()
