#!/usr/bin/env python3
"""Filters against SQL: generated filters over a served dataset must select as many rows as DuckDB does.

DuckDB reads the same rows from the dataset's Parquet files, so what is compared is the filter alone: its parsing, its
key ranges and its nulls. DuckDB lives in a virtual environment of its own.

    pointillist serve DATASET --listen 127.0.0.1:8080 &
    benches/peers/filters_vs_duckdb.py DATASET http://127.0.0.1:8080 [--filters 500] [--seed 1]

Exits with 1 at the first difference.
"""

import argparse
import json
import random
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from packages import run_with

SIGNS = ["=", "<>", "<", "<=", ">", ">="]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def text(value):
    return "'" + value.replace("'", "''") + "'"


class Maker:
    """Makes a condition twice: as CQL2 and as SQL."""

    def __init__(self, columns, samples, choice):
        self.columns, self.samples, self.choice = columns, samples, choice

    def term(self):
        column = self.choice.choice(self.columns)
        name, kind = quoted(column["name"]), column["type"]
        if self.choice.random() < 0.1:
            null = self.choice.choice(["IS NULL", "IS NOT NULL"])
            return f"{name} {null}", f"{name} {null}"
        if kind == "text":
            return self.text_term(name, column)
        if kind == "boolean":
            value = self.choice.choice(["TRUE", "FALSE"])
            return f"{name} = {value}", f"{name} = {value}"
        form = self.choice.choice(["compare", "between", "in"])
        make = self.time if kind == "timestamp" else self.number
        if form == "compare":
            sign, (cql, sql) = self.choice.choice(SIGNS), make(column)
            return f"{name} {sign} {cql}", f"{name} {sign} {sql}"
        values = [make(column) for _ in range(2 if form == "between" else self.choice.randint(1, 4))]
        negated = self.choice.choice(["", "NOT "])
        joined = [[value[side] for value in values] for side in (0, 1)]
        if form == "between":
            return tuple(f"{name} {negated}BETWEEN {side[0]} AND {side[1]}" for side in joined)
        return tuple(f"{name} {negated}IN ({', '.join(side)})" for side in joined)

    def text_term(self, name, column):
        value = self.choice.choice(self.samples[column["name"]] or [""])
        form = self.choice.choice(["compare", "in", "like", "ilike", "casei"])
        if form == "compare":
            both = f"{name} {self.choice.choice(SIGNS)} {text(value)}"
            return both, both
        if form == "in":
            values = [text(self.choice.choice(self.samples[column["name"]] or [""])) for _ in range(3)]
            if self.choice.random() < 0.2:
                values.append("NULL")
            both = f"{name} {self.choice.choice(['', 'NOT '])}IN ({', '.join(values)})"
            return both, both
        if form == "casei":
            swapped = text(value.swapcase())
            return f"CASEI({name}) = CASEI({swapped})", f"lower({name}) = lower({swapped})"
        # A backslash escapes in CQL2 and not in SQL.
        part = value[: self.choice.randint(0, 6)].replace("\\", "_").replace("%", "_")
        pattern = text(self.choice.choice(["%", ""]) + part + self.choice.choice(["%", "_%", ""]))
        both = f"{name} {self.choice.choice(['', 'NOT '])}{form.upper()} {pattern}"
        return both, both

    def number(self, column):
        value = self.choice.choice(self.samples[column["name"]] or [0])
        if self.choice.random() < 0.3:
            value = value + self.choice.choice([-0.5, 0.25, 1, -1])
        return repr(value), repr(value)

    def time(self, column):
        value = str(self.choice.choice(self.samples[column["name"]] or ["2020-01-01 00:00:00"]))
        return f"TIMESTAMP({text(value)})", f"TIMESTAMP {text(value)}"

    def condition(self, depth=0):
        if depth == 3 or self.choice.random() < 0.4:
            return self.term()
        if self.choice.random() < 0.2:
            cql, sql = self.condition(depth + 1)
            return f"NOT ({cql})", f"NOT ({sql})"
        connective = self.choice.choice([" AND ", " OR "])
        terms = [self.condition(depth + 1) for _ in range(self.choice.randint(2, 3))]
        return tuple(f"({connective.join(term[side] for term in terms)})" for side in (0, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("server")
    parser.add_argument("--filters", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run_with("duckdb-numpy", ["duckdb==2.0.1", "numpy==2.4.6"])
    import duckdb
    manifest = json.loads((arguments.dataset / "dataset.json").read_text())
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    rows = str(arguments.dataset / "parts" / "*" / "rows.parquet")
    database.execute(f"CREATE VIEW points AS SELECT * FROM read_parquet({text(rows)})")
    types = {row[0]: row[1] for row in database.execute("DESCRIBE points").fetchall()}
    # Where the file's type is not the column's (a number kept as text, say), SQL asks another question.
    fitting = {
        "text": ("VARCHAR",), "boolean": ("BOOLEAN",), "timestamp": ("TIMESTAMP",),
        "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "USMALLINT", "UTINYINT"), "float": ("DOUBLE",),
    }
    columns = [
        {"name": column["name"], "type": column["kind"]}
        for column in manifest["columns"]
        if types.get(column["name"], "").split(" ")[0].split("_")[0] in fitting[column["kind"]]
    ]
    left_out = [column["name"] for column in manifest["columns"] if column["name"] not in {c["name"] for c in columns}]
    print(f"{manifest['name']}: {manifest['rows']:,} rows; columns compared: {', '.join(c['name'] for c in columns)}")
    if left_out:
        print(f"left out, as the file has them in another type: {', '.join(left_out)}")
    samples = {}
    for column in columns:
        name = quoted(column["name"])
        value = f"CAST({name} AS TIMESTAMP)" if column["type"] == "timestamp" else name
        sample = database.execute(
            f"SELECT DISTINCT {value} FROM (SELECT {name} FROM points WHERE {name} IS NOT NULL USING SAMPLE 2000) LIMIT 200"
        ).fetchall()
        samples[column["name"]] = sorted(row[0] for row in sample)
    maker = Maker(columns, samples, random.Random(arguments.seed))
    some = 0
    for number in range(arguments.filters):
        cql, sql = maker.condition()
        url = f"{arguments.server}/{manifest['name']}/points?limit=0&filter={urllib.parse.quote(cql)}"
        try:
            got = json.load(urllib.request.urlopen(url))["total"]
        except urllib.error.HTTPError as error:
            print(f"REFUSED {cql}\n  {error.read().decode()}")
            return 1
        expected = database.execute(f"SELECT count(*) FROM points WHERE {sql}").fetchone()[0]
        if got != expected:
            print(f"DIFFERENT after {number} filters: {got} here, {expected} in DuckDB\n  CQL2 {cql}\n  SQL  {sql}")
            return 1
        some += 0 < got < manifest["rows"]
    print(f"{arguments.filters} filters select what DuckDB selects; {some} of them some rows and not all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
