#!/usr/bin/env python3
"""What a cluster on one machine costs: the same Parquet files ingested here and by two executors, and whether the datasets are equal.

    cargo build --release --locked --features cluster
    benches/cluster.py target/release/pointillist --rows 40000000 --files 8 --runs 3

Prints the best wall time of each and their ratio, and what a job costs that has next to nothing to do. Needs nothing but Python.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time


def started(binary, *arguments):
    """A node, and the address that it says it has."""
    node = subprocess.Popen([binary, "cluster", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in node.stderr:
        if " at " in line:
            return node, line.split(" at ")[1].split(",")[0].strip()
    raise SystemExit(f"{arguments[0]} ended before it was ready")


def best(runs, command):
    """The least wall time, in seconds."""
    times = []
    for _ in range(runs):
        before = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.monotonic() - before)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--files", type=int, default=4, help="that they are in")
    parser.add_argument("--job-rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", help="folder for all of it, meanwhile")
    args = parser.parse_args()
    nodes = []
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        folder = pathlib.Path(folder)
        try:
            scheduler, address = started(args.binary, "scheduler", "--listen", "127.0.0.1:0")
            nodes.append(scheduler)
            for _ in range(2):
                executor, _ = started(args.binary, "executor", "--scheduler", address.removeprefix("ballista://"), "--slots", "1")
                nodes.append(executor)

            def generated(name, rows, seed):
                subprocess.run([args.binary, "generate", "towers", "--rows", str(rows), "--seed", str(seed), "-o", folder / name], check=True,
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                return folder / name

            inputs = [generated(f"{seed}.parquet", args.rows // args.files, seed) for seed in range(args.files)]
            little = generated("little.parquet", 1000, 1)
            (folder / "here").mkdir()
            (folder / "there").mkdir()

            def ingest(files, place, *more):
                return best(args.runs, [args.binary, "ingest", *files, "-o", folder / place / "towers", "--force", *more])

            engine = ["--engine", address, "--job-rows", str(args.job_rows)]
            here, there = ingest(inputs, "here"), ingest(inputs, "there", *engine)
            datasets = [json.loads((folder / place / "towers" / "dataset.json").read_text()) for place in ("here", "there")]
            little_here, little_there = ingest([little], "here"), ingest([little], "there", *engine)
        finally:
            for node in reversed(nodes):
                node.kill()
                node.wait()
    print(f"{'':34} {'here':>10} {'cluster':>10} {'ratio':>7}")
    print(f"{f'ingest of {args.rows:,} rows, s':34} {here:10.2f} {there:10.2f} {there / here:7.2f}")
    print(f"{'ingest of 1,000 rows, s':34} {little_here:10.2f} {little_there:10.2f}")
    print(f"overhead of a job: about {(little_there - little_here) / 2:.2f} s (two jobs, one after the other)")
    equal = datasets[0] == datasets[1]
    print("the datasets are equal" if equal else "THE DATASETS DIFFER")
    raise SystemExit(0 if equal else 1)


if __name__ == "__main__":
    main()
