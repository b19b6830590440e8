"""Golden values for the shading tests: what Datashader makes of small grids of counts.

Writes fixtures/shading/golden.json: one grid or case a line, so that a diff shows what changed.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install datashader==0.19.1 numpy pandas
    /tmp/golden/bin/python benches/peers/golden_shading.py fixtures/shading/golden.json

A grid has a `name`, `size`, `categories` and `counts` [category][row][column], flattened. A case has its `grid`'s name, the style (`how`,
`min_alpha`, `span`), `spread` (pixels, or "auto"), `is_ramp` (coloured by total, with `ramp`) or not (by category, with `colors`), and
`rgba`, Datashader's image, as hex, rows as in the grid.
"""

import json
import sys

import numpy as np
import xarray as xr
from datashader import transfer_functions as tf

COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2"]
RAMP = ["#000000", "#ed1400", "#ffa300", "#ffff6b", "#ffffff"]
HOWS = ["eq_hist", "log", "cbrt", "linear"]


def grids(rng):
    """Grids of the kinds that Datashader treats differently: (name, size, categories, counts)."""

    def sparse(size, categories, share, high):
        counts = rng.integers(1, high, (categories, size, size))
        return np.where(rng.random(counts.shape) < share, counts, 0)

    yield "sparse", 12, 3, sparse(12, 3, 0.08, 6)
    yield "mixed", 12, 5, sparse(12, 5, 0.35, 40)
    yield "heavy tail", 12, 3, np.where(rng.random((3, 12, 12)) < 0.5, rng.pareto(0.6, (3, 12, 12)) * 3, 0).astype(int)
    yield "range over 65536", 12, 2, sparse(12, 2, 0.5, 3_000_000)
    yield "no empty pixel", 8, 3, rng.integers(0, 30, (3, 8, 8)) + np.array([[[1]], [[0]], [[0]]])
    yield "no empty category", 8, 2, rng.integers(3, 90, (2, 8, 8))
    yield "no empty pixel, wide range", 8, 2, rng.integers(1, 500_000, (2, 8, 8))
    yield "one count", 8, 2, np.where(np.arange(64).reshape(8, 8) % 7 == 0, 4, 0) * np.array([[[1]], [[0]]])
    yield "equal everywhere", 6, 2, np.full((2, 6, 6), 5)
    yield "one pixel", 6, 2, np.where(np.arange(72).reshape(2, 6, 6) == 20, 9, 0)
    yield "empty", 6, 2, np.zeros((2, 6, 6), int)


def image(counts, style, spread, ramp):
    counts = counts.astype(np.uint32)
    arguments = {"how": style["how"], "min_alpha": style["min_alpha"], "span": style.get("span")}
    if ramp:
        aggregate = xr.DataArray(counts.sum(0, dtype=np.uint32), dims=["y", "x"])
        arguments["cmap"] = ramp
    else:
        labels = [str(i) for i in range(len(counts))]
        aggregate = xr.DataArray(counts.transpose(1, 2, 0), dims=["y", "x", "category"], coords={"category": labels})
        arguments["color_key"] = COLORS[: len(counts)]
    if spread == "auto":
        aggregate = tf.dynspread(aggregate)
    elif spread:
        aggregate = tf.spread(aggregate, px=spread)
    return tf.shade(aggregate, **arguments).data.view(np.uint8).tobytes().hex()


def cases(name, counts):
    styles = [{"how": how, "min_alpha": 40} for how in HOWS]
    if name in ("mixed", "no empty pixel"):
        styles += [{"how": how, "min_alpha": 100, "span": [2, 25]} for how in HOWS[1:]]
    spreads = {"sparse": [0, 1, 3, "auto"], "mixed": [0, 2, "auto"], "one pixel": [0, 2, "auto"]}.get(name, [0])
    for style in styles:
        for spread in spreads:
            for is_ramp in (False, True):
                rgba = image(counts, style, spread, RAMP if is_ramp else None)
                yield {"grid": name, **style, "spread": spread, "is_ramp": is_ramp, "rgba": rgba}


def main(path):
    rng = np.random.default_rng(20261123)
    grid_lines, case_lines = [], []
    for name, size, categories, counts in grids(rng):
        grid = {"name": name, "size": size, "categories": categories, "counts": counts.ravel().tolist()}
        grid_lines.append(json.dumps(grid, separators=(",", ":")))
        case_lines += [json.dumps(case, separators=(",", ":")) for case in cases(name, counts)]
    with open(path, "w") as file:
        file.write(f'{{"colors":{json.dumps(COLORS)},\n"ramp":{json.dumps(RAMP)},\n"grids":[\n')
        file.write(",\n".join(grid_lines) + '\n],\n"cases":[\n' + ",\n".join(case_lines) + "\n]}\n")
    print(f"{len(case_lines)} cases")


if __name__ == "__main__":
    main(sys.argv[1])
