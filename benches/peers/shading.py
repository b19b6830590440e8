#!/usr/bin/env python3
"""Colours against Datashader's own, on real data, pixel by pixel.

    benches/peers/shading.py --binary target/release/pointillist ../shared/data/opencellid-206-be.csv.gz ../shared/data/firms-modis-2023-08-01.csv.gz

Each input is ingested (or is a dataset) and served. For the densest tile of several zooms and one beside it the server is asked for its exact
counts (.npy) and for images with `normalize=tile`, which is Datashader's per-image normalisation. Datashader bins the same rows itself, from
the file's columns, on a canvas of the tile; where its counts and ours agree for the whole tile, it shades its own aggregate with our
categories' colours, else (points on the very edge of a pixel, which it computes in floating point) ours. Every pixel of every channel must be
within one level. All four scales, by category and by a ramp, unspread and spread. Then the mosaics of all tiles of zooms 1 and 2, with the zoom's own
scale, against Datashader's image of the whole world on one canvas: `shade(spread(counts))`. Datashader lives in a virtual environment of its own.
"""

import argparse
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

from packages import run_with

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["datashader==0.19.1", "numpy", "pandas", "pyarrow==26.0.1", "pillow"]
HOWS = ["eq_hist", "log", "cbrt", "linear"]
ZOOMS = [0, 3, 6, 9, 12]
MOSAICS = [1, 2]
# Datashader equalises mixed colours by 65,536 bins and their centres, which lie up to half a bin from the counts; a zoom goes by the counts. With
# counts up to this the two are less than a level apart: 600 / 65,536 / 2 counts between two that are half of all pixels apart. Ramps go by
# counts in both, up to as many counts as bins.
EQ_HIST_MIXED_MAX, EQ_HIST_RAMP_MAX = 600, 65535
VIRIDIS = HERE.parent.parent / "src" / "shade" / "cmaps" / "viridis.hex"


class Served:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "serve", folder, "--backend", "cpu", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.base = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.name = self.json("catalog")["datasets"][0]["name"]
        self.stats = self.json(f"{self.name}/stats")

    def get(self, path):
        with urllib.request.urlopen(f"{self.base}/{path}") as answer:
            return answer.read()

    def json(self, path):
        return json.loads(self.get(path))

    def counts(self, tile):
        import numpy as np
        return np.load(io.BytesIO(self.get(f"{self.name}/{tile[0]}/{tile[1]}/{tile[2]}.npy")))

    def image(self, tile, query):
        import numpy as np
        from PIL import Image
        body = self.get(f"{self.name}/{tile[0]}/{tile[1]}/{tile[2]}.png?{query}")
        return np.asarray(Image.open(io.BytesIO(body)).convert("RGBA"))

    def mosaic(self, zoom, of_tile, axis):
        """All tiles of a zoom as one array; rows of tiles along `axis`."""
        import numpy as np
        rows = [np.concatenate([of_tile((zoom, x, y)) for x in range(2**zoom)], axis + 1) for y in range(2**zoom)]
        return np.concatenate(rows, axis)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def rows_of(folder):
    """World coordinates and main category of all rows, from the dataset's own GeoParquet (the original columns)."""
    import numpy as np
    import pandas as pd
    manifest = json.loads((folder / "dataset.json").read_text())
    names = [manifest["coordinates"]["x"], manifest["coordinates"]["y"]]
    category = manifest["category"]
    parts = [next((folder / part["folder"]).glob("*.parquet")) for part in manifest["parts"]]
    frame = pd.concat([pd.read_parquet(part, columns=names + ([category] if category else [])) for part in parts])
    lon, lat = frame[names[0]].to_numpy(float), frame[names[1]].to_numpy(float)
    # The projection of src/world/mercator.rs, in the same order of operations.
    x = np.floor((lon / 360 + 0.5) * 2**32).astype(np.int64).astype(np.uint64) & np.uint64(0xFFFFFFFF)
    sin = np.sin(np.radians(lat))
    y = np.clip(np.floor((0.5 - np.log((1 + sin) / (1 - sin)) / (4 * np.pi)) * 2**32), 0, 2**32 - 1).astype(np.uint64)
    texts = frame[category].astype("string") if category else None
    return x, y, texts


def tiles_of(x, y):
    """Of every zoom the densest tile, and the sparsest of those that share its parent."""
    import numpy as np
    tiles, inside, tile = [], np.arange(len(x)), (0, 0, 0)
    for z in range(max(ZOOMS) + 1):
        if z > 0:
            tx, ty = x[inside] >> np.uint64(32 - z), y[inside] >> np.uint64(32 - z)
            codes, counts = np.unique(tx << np.uint64(32) | ty, return_counts=True)
            at = lambda code: (z, int(code >> np.uint64(32)), int(code & np.uint64(0xFFFFFFFF)))
            tile = at(codes[counts.argmax()])
            if z in ZOOMS and len(codes) > 1:
                tiles.append(at(codes[counts.argmin()]))
            inside = inside[(tx == tile[1]) & (ty == tile[2])]
        if z in ZOOMS:
            tiles.append(tile)
    return tiles


def binned(x, y, codes, categories, tile, pixels=256):
    """Datashader's own counts [category][row][column], row 0 north."""
    import datashader as ds
    import numpy as np
    import pandas as pd
    z, tx, ty = tile
    side = 2.0 ** (32 - z)
    # Coordinates are whole and pixels half-open, Datashader's canvas is closed: half a unit keeps a point on a border in one tile.
    canvas = ds.Canvas(pixels, pixels, x_range=(tx * side - 0.5, (tx + 1) * side - 0.5), y_range=(-(ty + 1) * side + 0.5, -ty * side + 0.5))
    # A shift by all bits of the world leaves its one tile.
    inside = (x >> np.uint64(32 - z) == tx) & (y >> np.uint64(32 - z) == ty)
    frame = pd.DataFrame({"x": x[inside].astype(float), "y": -y[inside].astype(float)})
    frame["category"] = pd.Categorical.from_codes(codes[inside], categories=categories)
    aggregate = canvas.points(frame, "x", "y", ds.count_cat("category"))
    return np.asarray(aggregate.transpose("category", "y", "x"))[:, ::-1, :].astype(np.uint32)


def shaded(counts, labels, colors, how, ramp, spread):
    """Datashader's image of counts, row 0 north."""
    import numpy as np
    import xarray as xr
    from datashader import transfer_functions as tf
    south_up = np.ascontiguousarray(counts[:, ::-1, :])
    if ramp:
        aggregate = xr.DataArray(south_up.sum(0, dtype=np.uint32), dims=["y", "x"])
        colouring = {"cmap": ramp}
    else:
        aggregate = xr.DataArray(south_up.transpose(1, 2, 0), dims=["y", "x", "category"], coords={"category": labels})
        colouring = {"color_key": colors}
    if spread:
        aggregate = tf.spread(aggregate, px=spread)
    image = tf.shade(aggregate, how=how, min_alpha=40, **colouring)
    return image.data.view(np.uint8).reshape(*image.shape, 4)[::-1]


def compare(served, folder):
    """Prints a line for every zoom; gives the images, pixels, those that are equal to the last bit, and those beyond one level."""
    import numpy as np
    x, y, texts = rows_of(folder)
    known = served.stats["categories"]
    labels = [f"{i}" for i in range(max(len(known), 1))]
    colors = [category["color"] for category in known] or ["#000000"]
    if known:
        place = {category["value"]: i for i, category in enumerate(known) if category["kind"] == "value"}
        rest = next((i for i, category in enumerate(known) if category["kind"] == "other"), -1)
        null = next((i for i, category in enumerate(known) if category["kind"] == "null"), -1)
        uniques, inverse = np.unique(texts.fillna("\0").to_numpy(str), return_inverse=True)
        codes = np.array([null if text == "\0" else place.get(text, rest) for text in uniques])[inverse]
        assert (codes >= 0).all(), "every row has a category of the server's"
    else:
        codes = np.zeros(len(x), int)
    digits = "".join(VIRIDIS.read_text().split())
    ramp = ["#" + digits[i:i + 6] for i in range(0, len(digits), 6)]
    totals = np.zeros(4, int)
    for tile in tiles_of(x, y):
        ours = served.counts(tile)
        theirs = binned(x, y, codes, labels, tile)
        agree = (ours == theirs).all(axis=0)
        images = pixels = equal = beyond = worst = 0
        for how in HOWS:
            for is_ramp in ([False, True] if known else [True]):
                for spread in (0, 2):
                    # Spread pixels at the border have points from beyond it, of which Datashader's single image knows nothing.
                    inner = slice(spread, 256 - spread)
                    query = f"how={how}&spread={spread}" + ("&cmap=viridis" if is_ramp else "")
                    # One normalisation over the image: counts must agree everywhere for the colours to be comparable anywhere.
                    counts = theirs if agree.all() else ours
                    if spread and not alone(served, tile, spread):
                        continue
                    image = served.image(tile, f"normalize=tile&{query}")
                    expected = shaded(counts, labels, colors, how, ramp if is_ramp else None, spread)
                    shown = expected[inner, inner, 3] > 0
                    apart = np.abs(image[inner, inner].astype(int) - expected[inner, inner].astype(int)).max(axis=2)
                    apart[~shown] = np.where(image[inner, inner, 3][~shown] > 0, 255, 0)
                    images += 1
                    pixels += int(shown.sum())
                    equal += int((apart[shown] == 0).sum())
                    beyond += int((apart > 1).sum())
                    worst = max(worst, int(apart.max()))
        totals += [images, pixels, equal, beyond]
        print(f"  {'/'.join(map(str, tile)):18} {int(ours.sum()):>9,} points  counts agree on {int(agree.sum()):,} of 65,536 pixels"
              f"  {images} images  {pixels:>9,} coloured pixels  {equal:>9,} equal  {beyond} beyond one level (worst {worst})")
    return totals + compare_mosaics(served, x, y, codes, labels, colors, ramp)


def compare_mosaics(served, x, y, codes, labels, colors, ramp):
    """As `compare`, of whole zooms in their own scale."""
    import numpy as np
    totals = np.zeros(4, int)
    for zoom in MOSAICS:
        side = 256 * 2**zoom
        theirs = binned(x, y, codes, labels, (0, 0, 0), side)
        ours = served.mosaic(zoom, served.counts, 1)
        images = pixels = equal = beyond = left_out = 0
        for how in HOWS:
            for is_ramp in ([False, True] if served.stats["categories"] else [True]):
                for spread in (0, 1, 3):
                    image = served.mosaic(zoom, lambda tile: served.image(tile, f"how={how}&spread={spread}" + ("&cmap=viridis" if is_ramp else "")), 0)
                    counts = theirs if (ours == theirs).all() else ours
                    expected = shaded(counts, labels, colors, how, ramp if is_ramp else None, spread)
                    if how == "eq_hist" and spread_totals(counts, spread).max() > (EQ_HIST_RAMP_MAX if is_ramp else EQ_HIST_MIXED_MAX):
                        left_out += 1
                        continue
                    # East and west the map goes on where a canvas ends.
                    inner = slice(spread, side - spread)
                    apart = np.abs(image[:, inner].astype(int) - expected[:, inner].astype(int)).max(axis=2)
                    shown = expected[:, inner, 3] > 0
                    apart[~shown] = np.where(image[:, inner, 3][~shown] > 0, 255, 0)
                    images += 1
                    pixels += int(shown.sum())
                    equal += int((apart[shown] == 0).sum())
                    beyond += int((apart > 1).sum())
        totals += [images, pixels, equal, beyond]
        print(f"  all of zoom {zoom}, its own scale: {images} images  {pixels:>9,} coloured pixels  {equal:>9,} equal  {beyond} beyond one level"
              + (f"  ({left_out} by eq_hist left out, which Datashader bins)" if left_out else ""))
    return totals


def spread_totals(counts, spread):
    import numpy as np
    import xarray as xr
    from datashader import transfer_functions as tf
    totals = xr.DataArray(counts.sum(0, dtype=np.uint32), dims=["y", "x"])
    return np.asarray(tf.spread(totals, px=spread)) if spread else np.asarray(totals)


def alone(served, tile, spread):
    """Whether no neighbour has points near the border: then an image by itself is what a spread tile shows."""
    import numpy as np
    z, x, y = tile
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dx, dy) != (0, 0) and 0 <= y + dy < 2**z:
                counts = served.counts((z, (x + dx) % 2**z, y + dy)).sum(0)
                rows = {-1: slice(256 - spread, 256), 0: slice(0, 256), 1: slice(0, spread)}
                if np.any(counts[rows[dy], rows[dx]]):
                    return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("inputs", nargs="+", help="files to ingest, or datasets")
    args = parser.parse_args()
    run_with("datashader-shading", PACKAGES)
    import numpy as np

    whole = np.zeros(4, int)
    with tempfile.TemporaryDirectory() as work:
        for text in args.inputs:
            folder = pathlib.Path(text)
            if not (folder / "dataset.json").exists():
                made = pathlib.Path(work) / folder.name.split(".")[0]
                subprocess.run([args.binary, "ingest", folder, "-o", made], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                folder = made
            served = Served(args.binary, folder)
            try:
                print(f"{text}: {served.stats['rows']:,} points, by {served.stats['by']}")
                whole += compare(served, folder)
            finally:
                served.stop()
    print(f"{whole[0]} images, {whole[1]:,} coloured pixels, {whole[2]:,} equal to the last bit, {whole[3]} beyond one level")
    if whole[3]:
        sys.exit("colours differ")


if __name__ == "__main__":
    main()
