#!/usr/bin/env python3
"""Bytes and milliseconds of tiles: ours, ours as it was, the png crate at three settings, and what oxipng still makes of ours. One table.

    benches/peers/encoding.py ais towers fires          # ingested datasets

Runs `cargo bench --bench encode`, whose table it prints, over tiles of every second zoom of the datasets and over synthetic clouds, has it leave our
files, and hands each to oxipng at levels 2 and 4, in memory and on one core. Every file of oxipng's is decoded and must have the pixels
of ours. Times of the table are processor time of one core, those of oxipng wall time of its one thread. oxipng (pyoxipng) lives in a
virtual environment.
"""

import argparse
import io
import os
import pathlib
import subprocess
import tempfile
import time

from packages import run_with

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["pyoxipng==9.1.1", "pillow==13.0.0"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    run_with("oxipng", PACKAGES)
    import oxipng
    from PIL import Image

    def pixels(png):
        return Image.open(io.BytesIO(png)).convert("RGBA").tobytes()

    with tempfile.TemporaryDirectory() as pictures:
        environment = os.environ | {
            "POINTILLIST_DATASETS": ":".join(str(folder.resolve()) for folder in args.datasets), "POINTILLIST_PICTURES": pictures,
        }
        # Without criterion's own figures, which are of single synthetic tiles.
        command = ["cargo", "bench", "--quiet", "--bench", "encode", "--", "--list"]
        table = subprocess.run(command, check=True, cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True).stdout
        print("".join(line + "\n" for line in table.splitlines() if line.startswith("|")), end="")
        for kind in ("real", "synthetic"):
            files = [path.read_bytes() for path in sorted(pathlib.Path(pictures).glob(f"{kind}-*.png"))]
            for level in (2, 4):
                times, sizes = [], []
                for ours in files:
                    started = time.perf_counter()
                    theirs = oxipng.optimize_from_memory(ours, level=level)
                    times.append((time.perf_counter() - started) * 1e3)
                    sizes.append(min(len(theirs), len(ours)))
                    assert pixels(theirs) == pixels(ours), "oxipng keeps every pixel"
                times.sort()
                saved = 100 * (1 - sum(sizes) / sum(map(len, files)))
                print(f"| {kind}, {len(files)} | ours, then oxipng -o{level} | {times[len(times) // 2]:.0f} | {times[len(times) * 95 // 100]:.0f} | "
                      f"{times[-1]:.0f} | {sum(sizes) // len(sizes)} ({saved:.1f} % saved) |", flush=True)


if __name__ == "__main__":
    main()
