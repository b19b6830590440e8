#!/usr/bin/env python3
"""How times grow with the number of points: one table over datasets of several sizes, each measured by `pointillist bench`.

    benches/growth.py target/release/pointillist towers1 towers10 towers40
    benches/growth.py target/release/pointillist towers1 towers10 towers40 --rows 100000000 --data /mnt/fast

Datasets that are given are measured as they are; --rows generates, ingests and afterwards deletes one more. Tiles should cost the same
whatever the size; a new filter, a histogram and the distribution of a deep zoom grow with it. Needs nothing but Python.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

ROWS = [
    ("count", "unfiltered, densest, zoom 0"), ("count", "unfiltered, densest, zoom 4"), ("count", "unfiltered, densest, zoom 8"),
    ("count", "unfiltered, densest, zoom 12"), ("count", "unfiltered, typical, zoom 8"), ("count", "filtered, densest, zoom 0"),
    ("count", "filtered, densest, zoom 4"), ("count", "filtered, densest, zoom 8"), ("count", "filtered, densest, zoom 12"),
    ("select", ""), ("histogram", "unfiltered"), ("distribution", "unfiltered, zoom 4"), ("distribution", "unfiltered, zoom 12"),
]


def measured(binary, dataset):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([binary, "bench", dataset, "--json", file.name], check=True, stdout=subprocess.DEVNULL)
        return json.load(open(file.name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("datasets", nargs="*")
    parser.add_argument("--rows", type=int, help="also of this many generated towers")
    parser.add_argument("--data", default=".", help="where those are kept meanwhile")
    args = parser.parse_args()
    reports = [measured(args.binary, dataset) for dataset in args.datasets]
    if args.rows:
        source, dataset = (pathlib.Path(args.data) / f"growth-{args.rows}{end}" for end in (".parquet", ".dataset"))
        try:
            subprocess.run([args.binary, "generate", "towers", "--rows", str(args.rows), "-o", source], check=True)
            subprocess.run([args.binary, "ingest", source, "-o", dataset, "--memory-limit", "4GB"], check=True)
            source.unlink()
            reports.append(measured(args.binary, dataset))
        finally:
            source.unlink(missing_ok=True)
            shutil.rmtree(dataset, ignore_errors=True)
    reports.sort(key=lambda report: report["rows"])

    print("Medians in milliseconds; in brackets the processor time of all threads, where it is long enough to be told\n")
    print("| | " + " | ".join(f"{report['rows'] / 1e6:g} M points" for report in reports) + " |")
    print("|---|" + "---|" * len(reports))

    def row(name, cells):
        print(f"| {name} | " + " | ".join(cells) + " |")

    row("open and first tile", [f"{report['backends'][0]['first_tile_ms']:.0f}" for report in reports])
    for what, detail in ROWS:
        cells = []
        for report in reports:
            of = report["backends"][0]["measurements"]
            found = next(m for m in of if m["what"] == what and (m["detail"] == detail or what not in ("count", "distribution") and m["detail"].startswith(detail)))
            processor = f" ({found['processor_ms']:.1f})" if "processor_ms" in found else ""
            cells.append(f"{found['median_ms']:.2f}{processor}")
        row(f"{what} {detail}".strip(), cells)


if __name__ == "__main__":
    main()
