#!/usr/bin/env python3
"""Linked histograms of cell towers: pointillist over HTTP against DuckDB, the same questions in the same run.

DuckDB gets its best layout: a table in memory with the three columns alone, in their narrowest types, so that no file is read
and no other column is touched. The questions are those of a dashboard: histograms of range, created and radio, each under
the brushes of the others, and the number of selected points. Answers are compared as well as timed.

    python3 -m venv .venv && .venv/bin/pip install duckdb
    pointillist serve DATASET --listen 127.0.0.1:8080 &
    .venv/bin/python benches/peers/crossfilter_vs_duckdb.py DATASET http://127.0.0.1:8080
"""

import argparse
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

STEPS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("server")
    arguments = parser.parse_args()
    try:
        import duckdb
    except ImportError:
        print("SKIPPED: DuckDB is not installed (pip install duckdb)")
        return 0
    manifest = json.loads((arguments.dataset / "dataset.json").read_text())
    columns = {column["name"]: column for column in manifest["columns"]}
    url = f"{arguments.server}/{manifest['name']}/crossfilter"

    def ask(low, high, since):
        body = {
            "bbox": None, "zoom": 2, "brushes": {"range": [low, high], "created": [since, None]},
            "columns": [{"column": "range", "bins": 64}, "created", "radio"],
        }
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        started = time.perf_counter()
        answer = json.load(urllib.request.urlopen(request))
        return answer, (time.perf_counter() - started) * 1e3

    database = duckdb.connect()
    rows = str(arguments.dataset / "parts" / "*" / "rows.parquet")
    database.execute("SET TimeZone = 'UTC'")
    database.execute(
        "CREATE TABLE towers AS SELECT CAST(range AS UINTEGER) AS range, CAST(created AS TIMESTAMP) AS created, "
        f"CAST(radio AS VARCHAR) AS radio FROM read_parquet('{rows}')"
    )
    database.execute("CREATE TYPE radios AS ENUM (SELECT DISTINCT radio FROM towers WHERE radio IS NOT NULL)")
    database.execute("ALTER TABLE towers ALTER radio TYPE radios")

    first_bin = ask(0, 1, "2003-01-01T00:00:00Z")[0]["histograms"]["range"]["bins"][0]
    least, width = first_bin["lo"], first_bin["hi"] - first_bin["lo"]

    def ask_duckdb(low, high, since):
        in_range, in_time = f"range >= {low} AND range < {high}", f"created >= TIMESTAMP '{since[:19]}'"
        started = time.perf_counter()
        by_range = database.execute(f"SELECT (range - {least}) // {width} AS bin, count(*) FROM towers WHERE {in_time} GROUP BY bin").fetchall()
        by_time = database.execute(f"SELECT date_trunc('year', created) AS bin, count(*) FROM towers WHERE {in_range} GROUP BY bin").fetchall()
        by_radio = database.execute(f"SELECT radio, count(*) FROM towers WHERE {in_range} AND {in_time} GROUP BY radio").fetchall()
        selected = database.execute(f"SELECT count(*) FROM towers WHERE {in_range} AND {in_time}").fetchone()[0]
        return (by_range, by_time, by_radio, selected), (time.perf_counter() - started) * 1e3

    def check(answer, theirs):
        by_range, by_time, by_radio, selected = theirs
        ours = {bin["lo"]: bin["count"] for bin in answer["histograms"]["range"]["bins"] if bin["count"]}
        assert ours == {least + bin * width: count for bin, count in by_range}, "range"
        ours = sorted(bin["count"] for bin in answer["histograms"]["created"]["bins"] if bin["count"])
        assert ours == sorted(count for _, count in by_time), "created"
        ours = {bin["value"]: bin["count"] for bin in answer["histograms"]["radio"]["bins"] if bin["count"]}
        assert ours == dict(by_radio), "radio"
        assert answer["selected_total"] == selected, "selected"

    timings = {"first answer": ([], []), "first step of a drag": ([], []), "later steps": ([], [])}
    for i in range(5):
        question = (least + (8 + i) * width, least + (40 + i) * width, f"20{10 + i}-01-01T00:00:00Z")
        (answer, ours), (theirs, duck) = ask(*question), ask_duckdb(*question)
        check(answer, theirs)
        timings["first answer"][0].append(ours)
        timings["first answer"][1].append(duck)
    for step in range(STEPS):
        question = (least + (2 + step) * width, least + (30 + step) * width, "2008-01-01T00:00:00Z")
        if step == 0:
            ask(*question)
            continue
        (answer, ours), (theirs, duck) = ask(*question), ask_duckdb(*question)
        check(answer, theirs)
        kind = "first step of a drag" if step == 1 else "later steps"
        timings[kind][0].append(ours)
        timings[kind][1].append(duck)
    print(f"{manifest['rows']:,} towers; range has {columns['range']['distinct']} values; times are medians in ms, HTTP included")
    print(f"{'':24}{'pointillist':>12}{'DuckDB ' + duckdb.__version__:>16}{'times':>8}")
    for name, (ours, duck) in timings.items():
        a, b = statistics.median(ours), statistics.median(duck)
        print(f"{name:24}{a:12.1f}{b:16.1f}{b / a:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
