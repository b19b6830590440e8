#!/usr/bin/env python3
"""Linked histograms of cell towers: pointillist over HTTP against DuckDB, the same questions in the same run.

DuckDB gets its best layout: a table in memory with the columns that are asked for alone, in their narrowest types, so that no file is read
and no other column is touched. The questions are those of a dashboard: histograms of range, created and radio, each under
the brushes of the others, and the number of selected points. Answers are compared as well as timed. What is timed, from sending the
request to having its body read, medians of the rounds:

- first answer: both brushes are where they have never been;
- first drag step: the pointer has come to the brush of range (which the client says with `"active": "range"`, in a request that is
  answered but not timed), rests there for --rest ms, as it does before a button is pressed and moved, and moves by one bin;
- first drag step, unannounced: the same without `active` and without a rest, so that it builds what later steps use;
- later steps: every further bin of the same drag;
- map, counted: the 24 tiles of a map of 1400 x 800 pixels over Europe at zoom 5 under a filter never asked for before, all asked for at once as
  counts (.npy); until the last is counted, which is the longest of what Server-Timing says of waiting and counting;
- map, read: the same from the first request to the last byte of the 31 MB, which Python reads. DuckDB counts the same pixels by radio in one
  query.

    pointillist serve DATASET --listen 127.0.0.1:8080 &
    benches/peers/crossfilter_vs_duckdb.py DATASET http://127.0.0.1:8080
"""

import argparse
import concurrent.futures
import io
import json
import re
import statistics
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from packages import run_with

ROUNDS = 5
STEPS = 12
# The map: columns and rows of tiles of zoom 5.
ZOOM, TILE_X, TILE_Y = 5, range(14, 20), range(9, 13)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("server")
    parser.add_argument("--rest", type=float, default=150, help="ms that the pointer rests on a brush before it moves")
    arguments = parser.parse_args()
    run_with("duckdb-numpy", ["duckdb==2.0.1", "numpy==2.4.6"])
    import duckdb
    import numpy
    manifest = json.loads((arguments.dataset / "dataset.json").read_text())
    columns = {column["name"]: column for column in manifest["columns"]}
    url = f"{arguments.server}/{manifest['name']}/crossfilter"

    def ask(low, high, since, **more):
        body = {
            "bbox": None, "zoom": 2, "brushes": {"range": [low, high], "created": [since, None]},
            "columns": [{"column": "range", "bins": 64}, "created", "radio"], **more,
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
        "CAST(radio AS VARCHAR) AS radio, CAST(floor((lon / 360 + 0.5) * 4294967296) AS BIGINT) >> 19 AS x, CAST(floor((0.5 - "
        "ln((1 + sin(radians(lat))) / (1 - sin(radians(lat)))) / (4 * pi())) * 4294967296) AS BIGINT) >> 19 AS y "
        f"FROM read_parquet('{rows}')"
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

    def tiles(low, high):
        """How many points are counted on the map, milliseconds until the last tile was counted, and until the last was read."""
        text = urllib.parse.quote(f"range >= {low} AND range < {high} AND created >= TIMESTAMP('2012-01-01T00:00:00Z')")

        def fetch(tile):
            with urllib.request.urlopen(f"{arguments.server}/{manifest['name']}/{ZOOM}/{tile[0]}/{tile[1]}.npy?filter={text}") as answer:
                if "server-timing" not in answer.headers:
                    sys.exit("the server has counted these tiles before: start another one")
                stages = re.findall(r"(?:queue|count);dur=([\d.]+)", answer.headers["server-timing"])
                return answer.read(), sum(map(float, stages))

        started = time.perf_counter()
        answers = list(pool.map(fetch, [(x, y) for x in TILE_X for y in TILE_Y]))
        read = (time.perf_counter() - started) * 1e3
        counted = sum(int(numpy.load(io.BytesIO(body)).sum()) for body, _ in answers)
        return counted, max(ms for _, ms in answers), read

    def tiles_of_duckdb(low, high):
        started = time.perf_counter()
        rows = database.execute(
            # The enum's number: as text it would take pandas to fetch.
            f"SELECT x, y, enum_code(radio), count(*) FROM towers WHERE range >= {low} AND range < {high} AND created >= TIMESTAMP '2012-01-01' "
            f"AND x BETWEEN {TILE_X[0] * 256} AND {TILE_X[-1] * 256 + 255} AND y BETWEEN {TILE_Y[0] * 256} AND {TILE_Y[-1] * 256 + 255} "
            "GROUP BY ALL").fetchnumpy()
        return rows, (time.perf_counter() - started) * 1e3

    pool = concurrent.futures.ThreadPoolExecutor(len(TILE_X) * len(TILE_Y))
    names = ["first answer", "first drag step", "first drag step, unannounced", "later steps", "map, counted", "map, read"]
    timings = {name: ([], []) for name in names}

    def both(name, *question):
        (answer, ours), (theirs, duck) = ask(*question), ask_duckdb(*question)
        check(answer, theirs)
        timings[name][0].append(ours)
        timings[name][1].append(duck)

    for i in range(ROUNDS):
        both("first answer", least + (8 + i) * width, least + (40 + i) * width, f"20{10 + i}-01-01T00:00:00Z")
    for i in range(ROUNDS):
        # Each round is another question, by its brush on created, so that nothing of it is known.
        since = f"20{10 + i}-06-01T00:00:00Z"
        ask(least + 2 * width, least + 30 * width, since, active="range")
        time.sleep(arguments.rest / 1e3)
        both("first drag step", least + 3 * width, least + 31 * width, since)
        for step in range(2, STEPS):
            both("later steps", least + (2 + step) * width, least + (30 + step) * width, since)
        since = f"20{10 + i}-09-01T00:00:00Z"
        ask(least + 2 * width, least + 30 * width, since)
        both("first drag step, unannounced", least + 3 * width, least + 31 * width, since)
    for i in range(ROUNDS):
        low, high = least + i * width, least + (20 + i) * width
        (counted, *ours), (theirs, duck) = tiles(low, high), tiles_of_duckdb(low, high)
        assert counted == int(theirs["count_star()"].sum()), (counted, int(theirs["count_star()"].sum()))
        for name, ms in zip(["map, counted", "map, read"], ours):
            timings[name][0].append(ms)
            timings[name][1].append(duck)
    print(f"{manifest['rows']:,} towers; range has {columns['range']['distinct']} values; times are medians in ms, HTTP included; rest {arguments.rest:g} ms")
    print(f"{'':32}{'pointillist':>12}{'DuckDB ' + duckdb.__version__:>16}{'times':>8}")
    for name, (ours, duck) in timings.items():
        a, b = statistics.median(ours), statistics.median(duck)
        print(f"{name:32}{a:12.1f}{b:16.1f}{b / a:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
