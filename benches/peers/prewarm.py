#!/usr/bin/env python3
"""Prewarming against Datashader's render_tiles, on the same points, in one run.

    benches/peers/prewarm.py --binary target/release/pointillist --input ../shared/data/ais-us-2020-01-01.csv.gz [--max-zoom 12]

Both draw points by category, eq_hist, into 256-pixel PNG tiles. pointillist makes every tile with points of zooms 0 to --max-zoom into
PMTiles, three times, and is timed as a whole process would be felt: planning, counting, shading, encoding, writing; ingest is not in it,
as loading the frame is not in Datashader's. Datashader renders whole levels into PNG files (datashader.tiles.render_tiles, its own
default of local schedulers), from level 0 until --peer-seconds are over; tiles per second of both are those of the tiles that have
points, which favours Datashader's deep levels least; what it spends on empty tiles is its own. Its rate at the deepest finished level
is taken, and its rate over all. Versions and the stage split are printed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from packages import run_with

PACKAGES = ["datashader==0.19.1", "dask[dataframe]", "pandas", "pyarrow==26.0.1", "numpy", "pillow", "mercantile==1.2.1"]


def ours(args, dataset, folder):
    runs = []
    for _ in range(args.rounds):
        before = os.times()
        command = [args.binary, "prewarm", dataset, "--max-zoom", str(args.max_zoom), "--backend", "cpu", "--force", "--json",
                   "-o", folder / "tiles.pmtiles"]
        summary = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        after = os.times()
        summary["cpu_seconds"] = after.children_user + after.children_system - before.children_user - before.children_system
        runs.append(summary)
    return sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]


def theirs(args, frame, folder):
    import datashader as ds
    import datashader.transfer_functions as tf
    from datashader.tiles import render_tiles
    extent = (frame.x.min(), frame.y.min(), frame.x.max(), frame.y.max())

    def load(x_range, y_range):
        return frame[frame.x.between(*x_range) & frame.y.between(*y_range)]

    def rasterize(data, x_range, y_range, height, width):
        return ds.Canvas(x_range=x_range, y_range=y_range, plot_height=height, plot_width=width).points(data, "x", "y", ds.count_cat("kind"))

    def shade(aggregate, span=None):
        return tf.shade(aggregate, how="eq_hist")

    levels, started = [], time.perf_counter()
    for level in range(args.max_zoom + 1):
        out = folder / "peer"
        begun, cpu = time.perf_counter(), os.times()
        render_tiles(extent, levels=[level], load_data_func=load, rasterize_func=rasterize, shader_func=shade,
                     post_render_func=lambda image, **_: image, output_path=str(out), color_ranging_strategy="fullscan")
        files = list((out / str(level)).rglob("*.png"))
        spent = os.times()
        shown = sum(1 for file in files if has_points(file))
        levels.append({"level": level, "files": len(files), "tiles": shown, "seconds": time.perf_counter() - begun,
                       "cpu_seconds": spent.user + spent.system - cpu.user - cpu.system})
        print(f"datashader level {level}: {len(files)} files, {shown} with points, {levels[-1]['seconds']:.1f} s", file=sys.stderr)
        # The next level takes about four times as long.
        if time.perf_counter() - started + 4 * levels[-1]["seconds"] > args.peer_seconds:
            break
    return levels


def has_points(file):
    from PIL import Image
    return Image.open(file).convert("RGBA").getextrema()[3][1] > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--input", required=True, help="MarineCadastre's AIS columns")
    parser.add_argument("--dataset", help="the input, ingested")
    parser.add_argument("--max-zoom", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-seconds", type=float, default=120)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    run_with("datashader-prewarm", PACKAGES)
    import datashader as ds
    import numpy as np
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="prewarm-") as folder:
        folder = pathlib.Path(folder)
        dataset = args.dataset
        if not dataset:
            dataset = folder / "ais"
            subprocess.run([args.binary, "ingest", args.input, "-o", dataset], check=True, capture_output=True)
        mine = ours(args, dataset, folder)
        frame = pd.read_csv(args.input, usecols=["LON", "LAT", "VesselType"])
        radius = 6378137.0
        data = pd.DataFrame({
            "x": radius * np.radians(frame.LON), "y": radius * np.log(np.tan(np.pi / 4 + np.radians(frame.LAT) / 2)),
            "kind": (frame.VesselType // 10).fillna(-1).astype(int).astype("category"),
        })
        levels = theirs(args, data, folder)

    rate = mine["made"] / mine["seconds"]
    worked = mine["count_seconds"] + mine["shade_seconds"] + mine["encode_seconds"]
    overall = sum(level["tiles"] for level in levels) / sum(level["seconds"] for level in levels)
    best = max(level["tiles"] / level["seconds"] for level in levels)
    result = {
        "tiles": mine["made"], "seconds": mine["seconds"], "cpu_seconds": mine["cpu_seconds"], "tiles_per_second": rate,
        "share_of_threads_time": {stage: mine[f"{stage}_seconds"] / worked for stage in ("count", "shade", "encode")},
        "write_seconds": mine["write_seconds"], "datashader": ds.__version__, "levels": levels,
        "datashader_tiles_per_second": {"over_all": overall, "best_level": best},
        "ratio": {"over_all": rate / overall, "best_level": rate / best},
        "ratio_of_cpu_seconds_per_tile": (sum(level["cpu_seconds"] for level in levels) / sum(level["tiles"] for level in levels))
        / (mine["cpu_seconds"] / mine["made"]),
    }
    if args.json:
        print(json.dumps(result, indent=1))
        return
    share = result["share_of_threads_time"]
    print(f"pointillist: {mine['made']} tiles, zooms 0 to {args.max_zoom}, {mine['seconds']:.2f} s, {rate:.0f} tiles/s, {mine['cpu_seconds']:.1f} s of CPU")
    print(f"of the threads' time: counting {share['count']:.0%}, shading {share['shade']:.0%}, encoding {share['encode']:.0%}; "
          f"writing the archive {mine['write_seconds']:.2f} s")
    print(f"datashader {ds.__version__}: {sum(level['tiles'] for level in levels)} tiles with points, levels 0 to {levels[-1]['level']}, "
          f"{overall:.2f} tiles/s over all, {best:.2f} at its best level")
    print(f"ratio: {rate / overall:.0f} over all, {rate / best:.0f} against its best level; {result['ratio_of_cpu_seconds_per_tile']:.0f} by CPU seconds a tile")


if __name__ == "__main__":
    main()
