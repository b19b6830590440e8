#!/usr/bin/env python3
"""Tiles and filters against Datashader (pandas and Dask) and DuckDB, on the same points, in one run; counts must agree.

    benches/peers/tiles.py --binary target/release/pointillist --rows 40000000
    benches/peers/tiles.py --binary target/release/pointillist --input ../shared/data/opencellid-234-gb.csv.gz

The peers are installed into a virtual environment of their own. Points are generated (or given) and ingested
into --data, which is kept for the next run. pointillist is asked over HTTP, while nothing else of this script is at work: each of --rounds
servers is started, warmed up by the tile 1/0/0 (which maps the files and ranks every group; no tile of the table), and then asked for every
tile once, unfiltered and filtered, so that no cache answers; the first tile under the filter includes its evaluation. The time is the median
of what Server-Timing says of its `count` stage (count, pack, cache), and the whole request is shown beside it. Datashader and DuckDB work in this process on
projected coordinates held in memory, Datashader after a warm-up, DuckDB on a table sorted by the Z-order key; medians of --rounds.
`engine` is the median of `pointillist bench` for the densest tile of the same zoom, counted again and again into memory that it holds: what the
count itself takes. The two ratios are those of Datashader's time to the engine's and to the server's; of the histogram, whose points DuckDB counts
without categories as well, that of DuckDB's to the whole request's.
"""

import argparse
import dataclasses
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from packages import run_with

PACKAGES = ["datashader==0.19.1", "dask[dataframe]", "pandas", "pyarrow==26.0.1", "duckdb==2.0.1", "numpy"]
RADIOS_FILTER = "range BETWEEN 1000 AND 3000 AND created >= TIMESTAMP('2015-01-01T00:00:00Z')"


class Served:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "serve", folder, "--backend", "cpu", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.base = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.name = json.load(urllib.request.urlopen(f"{self.base}/catalog"))["datasets"][0]["name"]

    def counts(self, tile, text=""):
        """The grid, milliseconds of the count stage, milliseconds of the whole request."""
        import numpy as np
        query = f"?filter={urllib.parse.quote(text)}" if text else ""
        started = time.perf_counter()
        with urllib.request.urlopen(f"{self.base}/{self.name}/{tile[0]}/{tile[1]}/{tile[2]}.npy{query}") as answer:
            body = answer.read()
            stage = re.search(r"count;dur=([\d.]+)", answer.headers["server-timing"])
        whole = (time.perf_counter() - started) * 1e3
        return np.load(io.BytesIO(body)), float(stage.group(1)), whole

    def histogram(self, bins):
        """Of range: the counts by where bins begin, the width of a bin, milliseconds of the whole request."""
        started = time.perf_counter()
        with urllib.request.urlopen(f"{self.base}/{self.name}/histogram?column=range&bins={bins}") as answer:
            body = json.load(answer)["bins"]
        whole = (time.perf_counter() - started) * 1e3
        return {bin["lo"]: bin["count"] for bin in body if bin["count"]}, body[0]["lo"], body[0]["hi"] - body[0]["lo"], whole

    def stop(self):
        self.process.terminate()
        self.process.wait()


def engine_times(binary, folder, data):
    """Milliseconds by whether there is a filter, and by zoom."""
    report = data / "bench.json"
    subprocess.run([binary, "bench", folder, "--backend", "cpu", "--json", report], check=True, capture_output=True)
    times = {}
    for measured in json.loads(report.read_text())["backends"][0]["measurements"]:
        if found := re.fullmatch(r"(unfiltered|filtered), densest, zoom (\d+)", measured["detail"]):
            if measured["what"] == "count":
                times[found[1] == "filtered", int(found[2])] = measured["median_ms"]
    return times


@dataclasses.dataclass
class Answers:
    """What the servers said: by filter and tile the grid and the medians; by number of bins the histogram."""
    tiles: dict
    histograms: dict
    histogram_ms: float
    categories: list


def served_times(binary, folder, rounds, tiles):
    times, grids, histograms, whole = {}, {}, {}, []
    for round in range(rounds):
        served = Served(binary, folder)
        try:
            served.counts((1, 0, 0))
            for text in ["", RADIOS_FILTER]:
                for tile in tiles:
                    grids[text, tile], *ms = served.counts(tile, text)
                    times.setdefault((text, tile), []).append(ms)
            # The first reads the column into the processor's reach; every one has other bins, so that no cache answers.
            for bins in [65, 64 - round]:
                *answer, ms = served.histogram(bins)
            histograms[64 - round] = answer
            whole.append(ms)
            stats = json.load(urllib.request.urlopen(f"{served.base}/{served.name}/stats"))
        finally:
            served.stop()
    medians = {asked: (grids[asked], *map(statistics.median, zip(*ms))) for asked, ms in times.items()}
    return Answers(medians, histograms, statistics.median(whole), [category["value"] for category in stats["categories"]])


def densest_tiles(x, y, zooms):
    """For every zoom the tile with the most points: the densest of the children of the one above."""
    import numpy as np
    tiles, inside = [], np.arange(len(x))
    tile = (0, 0, 0)
    for z in range(max(zooms) + 1):
        if z > 0:
            tx, ty = x[inside] >> np.uint64(32 - z), y[inside] >> np.uint64(32 - z)
            code, count = np.unique(tx << np.uint64(32) | ty, return_counts=True)
            best = code[count.argmax()]
            tile = (z, int(best >> np.uint64(32)), int(best & np.uint64(0xFFFFFFFF)))
            inside = inside[(tx == tile[1]) & (ty == tile[2])]
        if z in zooms:
            tiles.append(tile)
    return tiles


def timed(rounds, work):
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        answer = work()
        times.append((time.perf_counter() - started) * 1e3)
    return answer, statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--input", help="an OpenCelliD file instead of generated towers")
    parser.add_argument("--data", default="data", help="where points and datasets are kept")
    parser.add_argument("--zooms", default="0,2,4,6,8,10,12,14")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-dask", action="store_true")
    args = parser.parse_args()
    run_with("datashader-tiles", PACKAGES)

    import dask.dataframe as dd
    import datashader as ds
    import duckdb
    import numpy as np
    import pandas as pd

    data = pathlib.Path(args.data)
    data.mkdir(exist_ok=True)
    source = pathlib.Path(args.input) if args.input else data / f"towers-{args.rows}.parquet"
    if not source.exists():
        subprocess.run([args.binary, "generate", "towers", "--rows", str(args.rows), "-o", source], check=True)
    folder = data / f"{source.name.split('.')[0]}.dataset"
    if not folder.exists():
        subprocess.run([args.binary, "ingest", source, "-o", folder], check=True)

    columns = ["radio", "lon", "lat", "range", "created"]
    if source.suffix == ".parquet":
        frame = pd.read_parquet(source, columns=columns)
    else:
        names = "radio mcc net area cell unit lon lat range samples changeable created updated averageSignal".split()
        frame = pd.read_csv(source, names=names, usecols=columns)
    if not np.issubdtype(frame.created.dtype, np.integer):
        frame["created"] = frame.created.astype("int64")
    frame["radio"] = frame.radio.astype("category")
    # The projection of src/world/mercator.rs, in the same order of operations.
    x = np.floor((frame.lon.to_numpy() / 360 + 0.5) * 2**32).astype(np.int64).astype(np.uint64) & np.uint64(0xFFFFFFFF)
    sin = np.sin(np.radians(frame.lat.to_numpy()))
    y = np.clip(np.floor((0.5 - np.log((1 + sin) / (1 - sin)) / (4 * np.pi)) * 2**32), 0, 2**32 - 1).astype(np.uint64)
    # Datashader bins in f64, y upwards; in units of the world the pixel borders are whole numbers.
    frame["x"], frame["y"] = x.astype(np.float64), -y.astype(np.float64)
    frame = frame.drop(columns=["lon", "lat"])
    after = int(pd.Timestamp("2015-01-01", tz="UTC").timestamp())
    mask = (frame.range >= 1000) & (frame.range <= 3000) & (frame.created >= after)
    tiles = densest_tiles(x, y, [int(z) for z in args.zooms.split(",")])

    db = duckdb.connect()
    points = pd.DataFrame({"radio": frame.radio, "range": frame.range, "created": frame.created,
                           "x": x.astype(np.uint32), "y": y.astype(np.uint32)})
    # Its best layout: sorted along the Z-curve of level 12 cells, so that its zone maps skip.
    cell = np.zeros(len(points), np.uint64)
    for bit in range(12):
        cell |= ((x >> np.uint64(20 + bit)) & np.uint64(1)) << np.uint64(2 * bit)
        cell |= ((y >> np.uint64(20 + bit)) & np.uint64(1)) << np.uint64(2 * bit + 1)
    points = points.iloc[np.argsort(cell, kind="stable")]
    db.execute("CREATE TABLE points AS SELECT radio::VARCHAR AS radio, range, created, x, y FROM points")
    del points, cell

    def datashader(part, tile):
        z, tx, ty = tile
        side = 2.0 ** (32 - z)
        canvas = ds.Canvas(256, 256, x_range=(tx * side, (tx + 1) * side), y_range=(-(ty + 1) * side, -ty * side))
        # Coordinates are whole: half a unit inwards keeps a point on a border in one tile.
        canvas.x_range = (tx * side - 0.5, (tx + 1) * side - 0.5)
        canvas.y_range = (-(ty + 1) * side + 0.5, -ty * side + 0.5)
        return canvas.points(part, "x", "y", ds.count_cat("radio"))

    def sql(tile, where):
        z, tx, ty = tile
        shift = 24 - z
        side = 1 << (32 - z)
        return db.execute(
            f"SELECT radio, (x >> {shift}) & 255, (y >> {shift}) & 255, count(*) FROM points WHERE x BETWEEN {tx * side} AND "
            f"{(tx + 1) * side - 1} AND y BETWEEN {ty * side} AND {(ty + 1) * side - 1} {where} GROUP BY ALL").fetchnumpy()

    engine = engine_times(args.binary, folder, data)
    ours = served_times(args.binary, folder, args.rounds, tiles)
    filtered = frame[mask]
    dask = None if args.no_dask else dd.from_pandas(frame, npartitions=os.cpu_count() or 2)
    datashader(frame.iloc[:1000], (0, 0, 0))
    planes = {category: i for i, category in enumerate(ours.categories)}
    print(f"{len(frame):,} points of {source.name}; medians of {args.rounds}, milliseconds; densest tile of each zoom")
    print(f"{'':34}{'engine':>8}{'server':>9}{'(request)':>11}{'Datashader':>12}{'Dask':>9}{'DuckDB':>9}{'ratio':>8}{'ratio':>8}{'agree':>7}")
    wrong = 0
    for label, part, text, where in [("", frame, "", ""),
                                     ("filtered, ", filtered, RADIOS_FILTER,
                                      f"AND range BETWEEN 1000 AND 3000 AND created >= {after}")]:
        for number, tile in enumerate(tiles):
            grid, count, whole = ours.tiles[text, tile]
            # With a filter Datashader must first select the rows.
            rows = (lambda: frame[(frame.range >= 1000) & (frame.range <= 3000) & (frame.created >= after)]) if text else (lambda: frame)
            image, peer = timed(args.rounds, lambda: datashader(rows(), tile))
            dask_ms = float("nan")
            if dask is not None and not text:
                _, dask_ms = timed(1, lambda: datashader(dask, tile))
            answer, duck = timed(args.rounds, lambda: sql(tile, where))
            expected = np.zeros_like(grid)
            codes = np.array([planes[radio] for radio in answer["radio"]], int)
            pixel = [np.asarray(answer[name]).astype(int) for name in list(answer)[1:3]]
            expected[codes, pixel[1], pixel[0]] = np.asarray(answer["count_star()"])
            shaded = int(image.sum())
            agree = bool((expected == grid).all()) and shaded == int(grid.sum())
            wrong += not agree
            note = ", its first tile" if text and number == 0 else ""
            alone = engine[bool(text), tile[0]]
            print(f"{label + '/'.join(map(str, tile)) + note:34}{alone:8.2f}{count:9.2f}{whole:11.2f}{peer:12.1f}{dask_ms:9.1f}{duck:9.1f}"
                  f"{peer / alone:7.0f}x{peer / max(count, 1e-3):7.0f}x{'yes' if agree else 'NO':>7}", flush=True)
    theirs, equal = [], True
    for bins, (counts, least, width) in ours.histograms.items():
        started = time.perf_counter()
        answer = db.execute(f"SELECT (range - {least}) // {width} AS bin, count(*) FROM points GROUP BY bin").fetchall()
        theirs.append((time.perf_counter() - started) * 1e3)
        equal &= counts == {least + int(bin) * width: count for bin, count in answer}
    wrong += not equal
    whole, duck = ours.histogram_ms, statistics.median(theirs)
    print(f"{'histogram of range, some 64 bins':34}{'':17}{whole:11.2f}{'':12}{'':9}{duck:9.1f}{'':8}{duck / whole:7.1f}x{'yes' if equal else 'NO':>7}")
    if wrong:
        sys.exit(f"{wrong} answers differ")


if __name__ == "__main__":
    main()
