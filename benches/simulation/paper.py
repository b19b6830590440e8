"""Bytes, memory and cost of 10^9, 10^11 and 10^12 points, from what was measured of smaller datasets. Arithmetic only: docs/scale.md has its tables.

What grows with points is taken as measured per point; what depends on how many a part holds, per part; prices are those of one provider on
one day, named beside them. This module knows nothing of HTTP or of how things were measured.
"""

import numpy

from . import layout, trace

POINTS = (1e9, 1e11, 1e12)
HOURS_A_MONTH = 730

# Amazon's list prices for us-east-1 in US dollars: S3 Standard as on its pricing page (first 50 TB a month, next 450 TB, beyond), requests
# by the thousand, gp3 volumes by the GB and month; m7g.large (2 cores, 8 GiB) as listed in June 2026. Traffic to the internet is left out:
# it is the same whatever makes the tiles.
STORAGE_PER_GB = ((50e3, 0.023), (450e3, 0.022), (float("inf"), 0.021))
GET_PER_1000 = 0.0004
PUT_PER_1000 = 0.005
DISK_PER_GB = 0.08
MACHINE_PER_HOUR = 0.0816
MACHINE_BYTES = 8 * 2**30
# S3 takes 5 MiB or more a piece; the program uploads larger ones, so this is an upper bound.
PUT_BYTES = 8e6
# A new filter reads columns whole: what one m7g.large is given by its network for longer than minutes, and in bursts.
NETWORK_BYTES_PER_SECOND = 0.937e9 / 8

# A million tiles a day that no cache in front has.
COLD_TILES_A_MONTH = 30e6


def storage_cost(bytes_):
    left, cost = bytes_ / 1e9, 0.0
    for tier, price in STORAGE_PER_GB:
        cost += min(left, tier) * price
        left -= min(left, tier)
    return cost


def typical(where, tiles):
    """Requests and bytes of tiles with points: mean and p95."""
    found = [where.blocks(tile) for tile in tiles]
    counts = [len(layout.requests(blocks)) for blocks in found if blocks]
    sizes = [len(blocks) * layout.BLOCK_BYTES for blocks in found if blocks]
    return {"requests": float(numpy.mean(counts)), "requests_p95": float(numpy.percentile(counts, 95)), "bytes": float(numpy.mean(sizes))}


def column(measured, sample, points):
    """What is said of a number of points; `measured` is one dataset of a measurements file."""
    files = measured["files"]
    total = sum(files.values())
    served = total - files.get("rows.parquet", 0)
    each = points / measured["points"]
    parts = int(numpy.ceil(points / layout.PART_POINTS))
    where = layout.Layout(sample, points, layout.of_json(measured["clumping"]), measured["groups"])
    asked = [tile for _, _, tile in trace.trace(sample, trace.Habits(sessions=60), 1)]
    tiles = sorted(set(asked))
    # Coarse tiles touch many parts: told apart, since they are few and made once.
    of_few = [tile for tile in tiles if where.points_of(tile) < 4 * layout.PART_POINTS]
    of_many = [tile for tile in tiles if 4 * layout.PART_POINTS <= where.points_of(tile) < 64 * layout.PART_POINTS]
    overview = files["overview.json"] * each
    resident = measured["resident_bytes"] - measured["overview_resident_bytes"] + measured["overview_resident_bytes"] * each
    # Every replica holds the whole overview, and reading it takes as much again; half of the memory is for caches.
    size_of_machine = max(1, int(numpy.ceil(2 * resident / MACHINE_BYTES)))
    machines = 3 * size_of_machine
    few = typical(where, of_few)
    gets = COLD_TILES_A_MONTH * few["requests"]
    cost = {
        "storage": storage_cost(total * each),
        "requests": gets / 1000 * GET_PER_1000,
        "machines": machines * HOURS_A_MONTH * MACHINE_PER_HOUR,
        "redis": HOURS_A_MONTH * MACHINE_PER_HOUR,
        "disks": 3 * 50 * DISK_PER_GB,
    }
    return {
        "points": points, "parts": parts, "bytes": total * each, "bytes_without_rows": served * each, "overview": overview, "resident": resident,
        "few": few, "many": typical(where, of_many[:40]) if of_many else None, "column_bytes": points * 2,
        "column_seconds": points * 2 / (3 * NETWORK_BYTES_PER_SECOND), "upload": total * each / PUT_BYTES / 1000 * PUT_PER_1000,
        "cost": cost, "cost_total": sum(cost.values()), "machines": machines, "selection": points / 8,
    }


def size(bytes_):
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if bytes_ >= unit:
            return f"{bytes_ / unit:,.3g} {name}"
    return f"{bytes_:.0f} B"


def tell(measurements, samples):
    for measured in measurements["datasets"]:
        print(f"### {measured['dataset']}: {measured['points']:,} points measured\n")
        print("| file | bytes a point |\n|---|---|")
        for name, bytes_ in sorted(measured["files"].items(), key=lambda item: -item[1]):
            print(f"| `{name}` | {bytes_ / measured['points']:.3f} |")
        print(f"| all | {sum(measured['files'].values()) / measured['points']:.1f} |\n")
        columns = [column(measured, samples[measured["sample"]], points) for points in POINTS]

        def row(name, text):
            print(f"| {name} | " + " | ".join(text(c) for c in columns) + " |")

        print("| points | " + " | ".join(f"10^{int(numpy.log10(p))}" for p in POINTS) + " |\n|---|" + "---|" * len(POINTS))
        row("in the store", lambda c: size(c["bytes"]))
        row("of it without the rows' own columns", lambda c: size(c["bytes_without_rows"]))
        row("parts", lambda c: f"{c['parts']:,}")
        row("overview.json, read at the start", lambda c: size(c["overview"]))
        row("a replica's own memory before caches", lambda c: size(c["resident"]))
        row("bitmap of a selection, one group", lambda c: size(c["selection"]))
        row("requests of a cold tile within 4 parts (p95)", lambda c: f"{c['few']['requests']:.1f} ({c['few']['requests_p95']:.0f})")
        row("bytes of such a tile", lambda c: size(c["few"]["bytes"]))
        row("requests of a cold tile over 4 to 64 parts", lambda c: f"{c['many']['requests']:.0f}" if c["many"] else "none such")
        row("a new filter on a 2-byte column reads", lambda c: f"{size(c['column_bytes'])}, {c['column_seconds']:,.0f} s by 3 replicas")
        row("uploading, once", lambda c: f"${c['upload']:,.2f}")
        for name in ("storage", "requests", "machines", "disks", "redis"):
            row(f"{name} a month", lambda c: f"${c['cost'][name]:,.0f}" + (f" (3 of {c['machines'] // 3 * 8} GiB)" if name == "machines" else ""))
        row("all a month", lambda c: f"${c['cost_total']:,.0f}")
        print()
