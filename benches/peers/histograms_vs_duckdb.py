#!/usr/bin/env python3
"""Histograms and statistics against SQL: of every column of real data, under generated filters, inside of boxes, by category.

    benches/peers/histograms_vs_duckdb.py --binary target/release/pointillist ../shared/data/usgs-earthquakes-2015-08.csv.gz towers

Each input is ingested (or is a dataset) and served; DuckDB reads the same rows from its Parquet files. Compared are, of `/histogram`, the count
of every bin (linear, log10, an axis of its own, by category), of values beyond the axis and of nulls; of times that every bin is one unit of the
calendar, by SQL's date_trunc; of texts the most frequent values and `other`. Of `/stats`, count, nulls, min, max, the quantiles (SQL's
quantile_disc) and, to within a rounding, the mean. The filters are those of filters_vs_duckdb.py. DuckDB lives in a virtual environment; exits at the first difference.
"""

import argparse
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from filters_vs_duckdb import Maker, quoted, text
from packages import run_with

PACKAGES = ["duckdb==2.0.1", "pytz==2026.6"]
QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]
FITTING = {
    "text": ("VARCHAR",), "boolean": ("BOOLEAN",), "timestamp": ("TIMESTAMP",), "float": ("DOUBLE",),
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "USMALLINT", "UTINYINT"),
}


class Served:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "serve", folder, "--backend", "cpu", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.base = self.process.stdout.readline().strip().removeprefix("listening on ")

    def json(self, path, **query):
        query = {name: value for name, value in query.items() if value is not None}
        try:
            return json.load(urllib.request.urlopen(f"{self.base}/{path}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"))
        except urllib.error.HTTPError as error:
            sys.exit(f"REFUSED {path} {query}\n  {error.read().decode()}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Comparison:
    def __init__(self, served, folder, choice):
        import duckdb
        self.served, self.choice = served, choice
        self.manifest = json.loads((folder / "dataset.json").read_text())
        self.name = self.manifest["name"]
        self.database = duckdb.connect()
        self.database.execute("SET TimeZone = 'UTC'")
        rows = str(folder / "parts" / "*" / "rows.parquet")
        self.database.execute(f"CREATE TABLE points AS SELECT * FROM read_parquet({text(rows)})")
        types = {row[0]: row[1].split(" ")[0].split("_")[0] for row in self.database.execute("DESCRIBE points").fetchall()}
        self.columns = [
            {"name": column["name"], "type": column["kind"]}
            for column in self.manifest["columns"] if types.get(column["name"]) in FITTING[column["kind"]]
        ]
        samples = {}
        for column in self.columns:
            name = quoted(column["name"])
            value = f"CAST({name} AS TIMESTAMP)" if column["type"] == "timestamp" else name
            sample = self.database.execute(
                f"SELECT DISTINCT {value} FROM (SELECT {name} FROM points WHERE {name} IS NOT NULL USING SAMPLE 2000) LIMIT 200")
            samples[column["name"]] = sorted(row[0] for row in sample.fetchall())
        self.maker = Maker(self.columns, samples, choice)
        self.compared = {"histograms": 0, "bins": 0, "statistics": 0}

    def one(self, sql):
        return self.database.execute(sql).fetchone()

    def differ(self, what, ours, theirs, *told):
        sys.exit(f"DIFFERENT {what}: {ours} here, {theirs} in DuckDB\n  " + "\n  ".join(map(str, told)))

    def places(self):
        """A filter and a box, or none of them, for both sides."""
        cql, sql = self.maker.condition() if self.choice.random() < 0.7 else ("", "TRUE")
        box = None
        if self.choice.random() < 0.5:
            bounds = self.manifest["bounds"]
            middle = [self.choice.uniform(bounds[a], bounds[b]) for a, b in (("west", "east"), ("south", "north"))]
            reach = 10 ** self.choice.uniform(-0.5, 1.5)
            box = [max(-180, middle[0] - reach), max(-85, middle[1] - reach), min(180, middle[0] + reach), min(85, middle[1] + reach)]
            lon, lat = (quoted(self.manifest["coordinates"][axis]) for axis in "xy")
            sql = f"({sql}) AND {lon} BETWEEN {box[0]!r} AND {box[2]!r} AND {lat} BETWEEN {box[1]!r} AND {box[3]!r}"
        return cql or None, box and ",".join(map(repr, box)), sql

    def histogram(self, column):
        cql, box, where = self.places()
        name, kind = quoted(column["name"]), column["type"]
        query = {"column": column["name"], "filter": cql, "bbox": box}
        category = self.manifest["category"]
        if category and self.choice.random() < 0.4:
            query["by"] = category
        if kind in ("text", "boolean"):
            query["limit"] = self.choice.choice([None, 3, 40]) if kind == "text" else None
        else:
            query["bins"] = self.choice.choice([None, 7, 24])
        if kind in ("integer", "float"):
            query["scale"] = self.choice.choice([None, "log10"])
            if query["scale"] is None and self.choice.random() < 0.3:
                low, high = sorted(self.choice.sample(self.maker.samples[column["name"]] * 2 + [0, 1], 2))
                query |= {"min": low, "max": high} if low < high else {}
        answer = self.served.json(f"{self.name}/histogram", **query)
        bins = answer["bins"]
        told = (query, where)
        groups = self.groups(query.get("by"))
        if kind in ("text", "boolean"):
            conditions = [f"{name} = {text(b['value']) if kind == 'text' else str(b['value']).upper()}" for b in bins]
            theirs = self.counts(conditions, groups, where)
            self.most_frequent(name, bins, answer, where, told)
        else:
            literal = (lambda edge: f"TIMESTAMP {text(edge.rstrip('Z').replace('T', ' '))}") if kind == "timestamp" else repr
            value = f"CAST({name} AS TIMESTAMP)" if kind == "timestamp" else name
            highest = f"(SELECT max({value}) FROM points)"
            conditions = [f"{value} >= {literal(b['lo'])} AND {value} < {literal(b['hi'])}" for b in bins]
            # The last bin includes the column's maximum; of whole numbers its end is beyond it, unless it was given.
            if bins and kind != "integer":
                conditions[-1] += f" OR {value} = {literal(bins[-1]['hi'])} AND {value} = {highest}"
            theirs = self.counts(conditions, groups, where)
            if kind == "timestamp":
                self.calendar(answer, told)
        ours = [[b["count"], *(b.get("counts") or [])] for b in bins]
        if ours != theirs:
            place = next(i for i in range(len(ours)) if ours[i] != theirs[i])
            self.differ(f"bin {bins[place]}", ours[place], theirs[place], *told)
        nulls, total = self.one(f"SELECT count(*) FILTER (WHERE {name} IS NULL), count(*) FROM points WHERE {where}")
        if (answer["nulls"], answer["total"]) != (nulls, total):
            self.differ("nulls and total", (answer["nulls"], answer["total"]), (nulls, total), *told)
        others = (answer.get("other") or {"count": 0})["count"] + answer.get("outside", 0)
        if sum(row[0] for row in ours) + others + nulls != total:
            self.differ("sum", answer, total, *told)
        self.compared["histograms"] += 1
        self.compared["bins"] += len(bins)

    def groups(self, by):
        """The conditions of the categories that bins are counted by."""
        if by is None:
            return []
        known = self.served.json(f"{self.name}/stats", by=by)["categories"]
        listed = ", ".join(text(c["value"]) for c in known if c["kind"] == "value")
        of = {"null": f"{quoted(by)} IS NULL", "other": f"{quoted(by)} NOT IN ({listed})"}
        return [of.get(c["kind"]) or f"{quoted(by)} = {text(c['value'])}" for c in known]

    def counts(self, conditions, groups, where):
        """For each condition the rows, and those of each group."""
        if not conditions:
            return []
        terms = [f"count(*) FILTER (WHERE {' AND '.join(f'({term})' for term in pair)})"
                 for condition in conditions for pair in [(condition,), *((condition, group) for group in groups)]]
        row, width = self.one(f"SELECT {', '.join(terms)} FROM points WHERE {where}"), 1 + len(groups)
        return [list(row[at:at + width]) for at in range(0, len(row), width)]

    def most_frequent(self, name, bins, answer, where, told):
        """The values shown are as frequent as any, and the others are the rest."""
        ranked = self.database.execute(
            f"SELECT count(*) AS n FROM points WHERE ({where}) AND {name} IS NOT NULL GROUP BY {name} ORDER BY n DESC").fetchall()
        ranked = [n for n, in ranked]
        shown = [b["count"] for b in bins]
        if sorted((n for n in shown if n), reverse=True) != ranked[: sum(n > 0 for n in shown)]:
            self.differ("the most frequent", shown, ranked[: len(shown)], *told)
        other = answer.get("other") or {"count": 0}
        if other["count"] != sum(ranked) - sum(shown):
            self.differ("other", other, sum(ranked) - sum(shown), *told)

    def calendar(self, answer, told):
        """Every edge begins a unit, and each bin but where several units share one is a unit long."""
        unit = answer["unit"]
        if unit not in ("second", "minute", "hour", "day", "week", "month", "year"):
            return
        stamps = [f"TIMESTAMP {text(edge.rstrip('Z').replace('T', ' '))}" for edge in [answer["bins"][0]["lo"], *(b["hi"] for b in answer["bins"])]]
        wrong = [s for s in stamps if not self.one(f"SELECT date_trunc('{unit}', {s}) = {s}")[0]]
        if wrong:
            self.differ(f"beginnings of a {unit}", wrong, "date_trunc", *told)

    def statistics(self):
        cql, box, where = self.places()
        answer = self.served.json(f"{self.name}/stats", filter=cql or "", bbox=box)
        told = (cql, box, where)
        by_name = {column["name"]: column for column in answer["columns"]}
        for column in self.columns:
            if column["type"] in ("text", "boolean"):
                continue
            name, ours = quoted(column["name"]), by_name[column["name"]]
            value = f"CAST({name} AS TIMESTAMP)" if column["type"] == "timestamp" else name
            number = f"epoch_us({value})" if column["type"] == "timestamp" else value
            shares = ", ".join(f"quantile_disc({number}, {share})" for share in QUANTILES)
            count, nulls, low, high, mean, *quantiles = self.one(
                f"SELECT count({name}), count(*) - count({name}), min({number}), max({number}), avg({number}), {shares} FROM points WHERE {where}")
            if (ours["count"], ours["nulls"]) != (count, nulls):
                self.differ(f"count and nulls of {name}", (ours["count"], ours["nulls"]), (count, nulls), *told)
            if count == 0:
                continue
            told_values = [ours["min"], *(q["value"] for q in ours["quantiles"]), ours["max"]]
            if column["type"] == "timestamp":
                stamps = ", ".join(f"epoch_us(TIMESTAMP {text(v.rstrip('Z').replace('T', ' '))})" for v in told_values)
                told_values = list(self.one(f"SELECT {stamps}"))
            if told_values != [low, *quantiles, high]:
                self.differ(f"min, quantiles and max of {name}", told_values, [low, *quantiles, high], *told)
            # DuckDB's own sum of large integers is of doubles.
            if not math.isclose(ours["mean"], mean, rel_tol=1e-9, abs_tol=1e-9):
                self.differ(f"mean of {name}", ours["mean"], mean, *told)
            self.compared["statistics"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=8, help="histograms of each column, and questions for statistics")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("inputs", nargs="+", help="files to ingest, or datasets")
    args = parser.parse_args()
    run_with("duckdb-times", PACKAGES)
    with tempfile.TemporaryDirectory() as work:
        for name in args.inputs:
            folder = pathlib.Path(name)
            if not (folder / "dataset.json").exists():
                made = pathlib.Path(work) / folder.name.split(".")[0]
                subprocess.run([args.binary, "ingest", folder, "-o", made], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                folder = made
            served = Served(args.binary, folder)
            try:
                comparison = Comparison(served, folder, random.Random(args.seed))
                for _ in range(args.rounds):
                    for column in comparison.columns:
                        comparison.histogram(column)
                    comparison.statistics()
                counted = ", ".join(f"{n:,} {what}" for what, n in comparison.compared.items())
                print(f"{name}: {comparison.manifest['rows']:,} rows, {len(comparison.columns)} columns; alike are {counted}", flush=True)
            finally:
                served.stop()


if __name__ == "__main__":
    main()
