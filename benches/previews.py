#!/usr/bin/env python3
"""How long a map waits for its first colours under a new filter, with previews and without.

    benches/previews.py target/release/pointillist towers40

Two servers of the same dataset take turns: one whose every answer is exact, one that colours by an estimate at first (`--preview-budget 0`,
so that it does whatever the exact scale would take). Each round asks both, at several zooms, for the densest tile under a filter that neither
has seen; then the second is asked until it answers exactly. Medians in milliseconds. What both wait for is the filter's selection and the
tile's counts; the difference is the scale. `select` is the engine's own time for the filter. Counts, and means of a column (`agg=mean`).
Needs nothing but Python and a dataset of numbers; towers have `range`.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

ZOOMS = [4, 8, 12, 14]


class Served:
    def __init__(self, binary, dataset, budget):
        command = [binary, "serve", dataset, "--listen", "127.0.0.1:0", "--backend", "cpu", "--preview-budget", budget]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.base = self.process.stdout.readline().split()[-1]

    def get(self, path):
        """The answer, its headers, and milliseconds."""
        started = time.perf_counter()
        with urllib.request.urlopen(self.base + path) as answer:
            body = answer.read()
            return body, answer.headers, (time.perf_counter() - started) * 1e3

    def seconds(self, stage):
        text = self.get("/metrics")[0].decode()
        found = re.search(rf'device_seconds_total{{stage="{stage}"}} (\S+)', text)
        return float(found.group(1)) if found else 0.0

    def stop(self):
        self.process.terminate()
        self.process.wait()


def densest(served, name):
    """The tile with the most points of each zoom."""
    tiles, tile = {}, (0, 0, 0)
    for z in range(max(ZOOMS) + 1):
        if z > 0:
            children = [(z, 2 * tile[1] + dx, 2 * tile[2] + dy) for dy in (0, 1) for dx in (0, 1)]
            totals = [json.loads(served.get(f"/{name}/points?limit=0&tile={'/'.join(map(str, child))}")[0])["total"] for child in children]
            tile = children[totals.index(max(totals))]
        tiles[z] = tile
    return tiles


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--column", default="range")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    name = json.loads((args.dataset / "dataset.json").read_text())["name"]
    exact, preview = (Served(args.binary, args.dataset, budget) for budget in ("1h", "0"))
    try:
        tiles = densest(exact, name)
        number = 1000
        print("| what | zoom | select | first answer, exact only | with previews | of it the estimate | until exact colours |\n|---|---|---|---|---|---|---|")
        for what, query in [("counts", "how=eq_hist"), (f"mean of {args.column}", f"agg=mean&column={args.column}")]:
            for zoom in ZOOMS:
                rows = []
                # The first round warms up.
                for _ in range(args.rounds + 1):
                    number += 1
                    of_filter = f"filter={urllib.parse.quote(f'{args.column} > {number}')}"
                    path = f"/{name}/{'/'.join(map(str, tiles[zoom]))}.png?{query}&{of_filter}"
                    before = exact.seconds("select")
                    _, headers, first_exact = exact.get(path)
                    assert headers["x-tile-quality"] == "exact"
                    select = (exact.seconds("select") - before) * 1e3
                    started = time.perf_counter()
                    body, headers, first = preview.get(path)
                    assert headers["x-tile-quality"] == "preview", "a preview comes first"
                    counted = float(re.search(r"count;dur=(\S+?),", headers["server-timing"]).group(1))
                    while headers["x-tile-quality"] == "preview":
                        body, headers, _ = preview.get(path)
                    until = (time.perf_counter() - started) * 1e3
                    assert body == exact.get(path)[0], "in the end the two are alike"
                    rows.append((select, first_exact, first, counted - select, until))
                medians = [statistics.median(column) for column in zip(*rows[1:])]
                print(f"| {what} | {zoom} | " + " | ".join(f"{median:.1f}" for median in medians) + " |", flush=True)
    finally:
        exact.stop()
        preview.stop()


if __name__ == "__main__":
    main()
