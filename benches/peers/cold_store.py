#!/usr/bin/env python3
"""Tiles of a dataset in an object store, cold: an S3-compatible server on loopback, 20 ms for every request, 512 MB of memory.

    benches/peers/cold_store.py target/release/pointillist ais towers40 [--tiles 200] [-o measurements.json]

Uploads each dataset, starts a server with nothing on its disk, and asks for distinct tiles with points, one after the other, as people who look
at places would meet them (the trace of benches/simulation): what a cold tile takes, with how many requests and bytes. Between start and first
tile the server is new; every tile after it finds what those before have left on its disk, so `--fresh N` also measures N tiles with an empty disk
each. Memory is limited by a cgroup of 512 MB where one can be made (as root on Linux), which counts the pages of mapped files that it fills; else
it is only measured, and said so. The file that it writes is what `benches/simulate.py --calibrate` reads.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from packages import run_with

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
run_with("cold_store", ["numpy==2.4.6", "pyarrow==26.0.1"])
import numpy  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.ipc  # noqa: E402

sys.path.insert(0, str(HERE.parent))
from simulation import layout, trace  # noqa: E402

SAMPLE_KEYS = 200_000
CGROUPS = pathlib.Path("/sys/fs/cgroup")


class Store:
    def __init__(self, folder, latency_ms):
        command = [sys.executable, ROOT / "tests" / "object_store.py", "--folder", folder, "--latency-ms", str(latency_ms)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            sys.exit(line.strip() or "the store does not start")
        self.said = json.loads(line)
        self.env = {**os.environ, **self.said["env"]}

    def control(self, path, body=None):
        data = json.dumps(body or {}).encode() if path.startswith(("/faults", "/reset")) else None
        return json.loads(urllib.request.urlopen(self.said["control"] + path, data=data).read())

    def latency(self, ms):
        self.control("/faults", {"latency_ms": ms})

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Memory:
    """A cgroup with a limit, of version 1 or 2; `None` for a limit that cannot be set here."""

    def __init__(self, limit_bytes):
        name = f"pointillist-{os.getpid()}"
        for root, limit, peak in ((CGROUPS / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"), (CGROUPS, "memory.max", "memory.peak")):
            self.folder, self.peak_file = root / name, peak
            try:
                self.folder.mkdir()
                (self.folder / limit).write_text(str(limit_bytes))
                self.is_limited = True
                return
            except OSError:
                self.remove()
        self.is_limited = False

    def take(self, pid):
        if self.is_limited:
            (self.folder / "cgroup.procs").write_text(str(pid))

    def failures(self):
        """How often the kernel had to make room: pages of files are given up, and more would end the process."""
        file = self.folder / "memory.failcnt"
        return int(file.read_text()) if self.is_limited and file.exists() else None

    def remove(self):
        try:
            self.folder.rmdir()
        except OSError:
            pass


def status_kb(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])


class Server:
    """`serve` over a URL with an empty disk; `started` is when the process was made."""

    def __init__(self, binary, url, env, memory, folder, *flags, listen="127.0.0.1:0"):
        self.log = open(folder / "log", "w")
        shutil.rmtree(folder / "blocks", ignore_errors=True)
        env = {**env, "XDG_CACHE_HOME": str(folder / "blocks")}
        command = [binary, "serve", url, "--listen", listen, "--backend", "cpu", *flags]
        self.started = time.monotonic()
        self.process = subprocess.Popen(["sh", "-c", 'read go; exec "$@"', "sh", *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        # In its cgroup before it takes any memory.
        memory.take(self.process.pid)
        self.started = time.monotonic()
        self.process.stdin.write("go\n")
        self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"the server does not start: {pathlib.Path(self.log.name).read_text()[-2000:]}")
        self.host = line.strip().removeprefix("listening on http://")
        self.connection = http.client.HTTPConnection(self.host, timeout=60)

    def get(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body[:300]!r}")
        return body, answer

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def keys_of_dataset(folder, manifest):
    """Every so manieth key of the dataset, sorted."""
    stride = max(1, manifest["rows"] // SAMPLE_KEYS)
    taken, skip = [], 0
    for part in manifest["parts"]:
        def columns(name):
            with pyarrow.memory_map(str(folder / part["folder"] / name)) as file:
                return pyarrow.ipc.open_file(file).get_batch(0)
        cells, hot = columns("cells.arrow"), columns("hot.arrow")
        positions = numpy.arange(skip, part["rows"], stride)
        skip = (skip - part["rows"]) % stride
        starts = cells.column("start").to_numpy()
        of = numpy.searchsorted(starts, positions, side="right") - 1
        hi = cells.column("hi").to_numpy()[of].astype(numpy.uint64)
        lo = hot.column("lo").to_numpy()[positions].astype(numpy.uint64)
        taken.append((hi << numpy.uint64(32)) | lo)
    return numpy.sort(numpy.concatenate(taken))


def tiles_to_ask(sample, count, seed):
    """Distinct tiles with points in the order in which people would meet them, from several sessions."""
    seen = []
    for _, _, tile in trace.trace(sample, trace.Habits(sessions=count), seed):
        seen.append(tile)
    points = layout.Layout(sample, len(sample), {8: 1.0}, zoom_max=trace.Habits.zoom_max)
    distinct = [tile for tile in dict.fromkeys(seen) if points.points_of(tile) > 0]
    # Whole sessions would be many tiles of few places: a part of each.
    random.Random(seed).shuffle(distinct)
    return distinct[:count]


def waves(log):
    """How many times one request began after another had ended: rounds that wait for each other."""
    count, until = 0, -1.0
    for entry in sorted(log, key=lambda entry: entry["at"]):
        if entry["at"] >= until:
            count, until = count + 1, entry["at"] + entry["ms"] / 1e3
        # A round lasts until its first answer, not its last: requests of the next begin after all of them.
        until = max(until, entry["at"] + entry["ms"] / 1e3)
    return count


def ask(store, server, name, tile):
    store.control("/reset")
    began = time.monotonic()
    body, answer = server.get(f"/{name}/{tile[0]}/{tile[1]}/{tile[2]}.png")
    ms = (time.monotonic() - began) * 1e3
    log = store.control("/log")
    return {"tile": list(tile), "ms": ms, "requests": len(log), "bytes": sum(entry["bytes"] for entry in log), "waves": waves(log),
            "store_ms": [entry["ms"] for entry in log], "body": len(body), "timing": answer.getheader("server-timing"), "quality": answer.getheader("x-tile-quality")}


def percentiles(values):
    return {f"p{p}": float(numpy.percentile(values, p)) for p in (50, 95, 99)}


def sizes(folder):
    """Bytes by the name of the file, as they lie in the store."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = "dictionaries" if path.parent.name == "dictionaries" else path.name
            found[name] = found.get(name, 0) + path.stat().st_size
    return found


def measure(args, dataset, output):
    folder = pathlib.Path(dataset)
    manifest = json.loads((folder / "dataset.json").read_text())
    sample = keys_of_dataset(folder, manifest)
    numpy.save(output.with_name(f"{output.name}.{folder.name}.npy"), sample)
    cells = {}
    for part in manifest["parts"]:
        for level in part["levels"]:
            cells[level["level"]] = cells.get(level["level"], 0) + level["cells"]
    # Levels that every part has, and cells that neighbouring parts do not share by more than one.
    cells = {level: count for level, count in cells.items() if level <= 16 and all(any(l["level"] == level for l in p["levels"]) for p in manifest["parts"])}
    clumping = layout.fit_clumping(sample, manifest["rows"], cells)
    with tempfile.TemporaryDirectory(prefix="cold-store-", dir=args.work) as work:
        work = pathlib.Path(work)
        (work / "objects" / "tiles").mkdir(parents=True)
        store = Store(work / "objects", 0)
        memory = Memory(args.memory_mb * 1_000_000)
        if not memory.is_limited:
            print("no cgroup can be made here: memory is measured, not limited", file=sys.stderr)
        try:
            url = f"s3://tiles/{folder.name}"
            began = time.monotonic()
            said = subprocess.run([args.binary, "upload", folder, url], env=store.env, capture_output=True, text=True)
            if said.returncode != 0:
                sys.exit(f"upload: {said.stderr}")
            upload_seconds = time.monotonic() - began
            files = sizes(work / "objects" / "tiles" / folder.name)
            versions = list((work / "objects" / "tiles" / folder.name).glob("versions/*/overview.json"))
            overview = json.loads(versions[0].read_text())
            ranked_levels = max((int(level) for part in overview["parts"] for level in part["ranks"]), default=0)
            groups = (overview["ranked"] or {"groups": 1})["groups"]
            store.latency(args.latency_ms)
            # What the process takes without a dataset to speak of.
            tiles = tiles_to_ask(sample, args.tiles, args.seed)
            starts, fresh = [], []
            for tile in tiles[: max(1, args.fresh)]:
                store.control("/reset")
                server = Server(args.binary, url, store.env, memory, work, *args.flags)
                opened = (time.monotonic() - server.started) * 1e3
                at_start = store.control("/counts")
                fresh.append(ask(store, server, folder.name, tile))
                starts.append({"opened_ms": opened, "first_tile_ms": (time.monotonic() - server.started) * 1e3, "requests": at_start["requests"], "bytes": at_start["bytes"],
                               "resident_bytes": status_kb(server.process.pid, "VmRSS") * 1024})
                server.stop()
            server = Server(args.binary, url, store.env, memory, work, *args.flags)
            resident = {field: status_kb(server.process.pid, field) * 1024 for field in ("VmRSS", "RssAnon", "RssFile")}
            cpu = server.cpu_seconds()
            asked = [ask(store, server, folder.name, tile) for tile in tiles]
            cpu = (server.cpu_seconds() - cpu) / len(tiles)
            hits = []
            for tile in tiles[-50:]:
                began = time.monotonic()
                server.get(f"/{folder.name}/{tile[0]}/{tile[1]}/{tile[2]}.png")
                hits.append((time.monotonic() - began) * 1e3)
            peak = {field: status_kb(server.process.pid, field) * 1024 for field in ("VmHWM", "RssAnon", "RssFile")}
            pressed = memory.failures()
            server.stop()
        finally:
            memory.remove()
            store.stop()
    waited = [entry for entry in asked if entry["requests"]]
    alone = [max(0.0, entry["ms"] - sum(sorted(entry["store_ms"])[-1:]) * entry["waves"]) for entry in waited]
    quick = [entry["ms"] for entry in asked if not entry["requests"]]
    each = [ms for entry in asked for ms in entry["store_ms"]]
    computing = quick or alone
    return {
        "dataset": folder.name, "points": manifest["rows"], "parts": len(manifest["parts"]), "sample": output.with_name(f"{output.name}.{folder.name}.npy").name,
        "clumping": clumping, "groups": groups, "ranked_levels": ranked_levels, "files": files, "upload_seconds": upload_seconds,
        "resident_bytes": resident["RssAnon"], "resident": resident, "peak": peak, "memory_limit_mb": args.memory_mb if memory.is_limited else None, "memory_pressed": pressed,
        "overview_resident_bytes": files.get("overview.json", 0), "latency_ms": args.latency_ms,
        "start": {"opened_ms": [s["opened_ms"] for s in starts], "first_tile_ms": [s["first_tile_ms"] for s in starts], "requests": starts[0]["requests"], "bytes": starts[0]["bytes"]},
        "fresh": {"ms": percentiles([e["ms"] for e in fresh]), "requests": statistics.mean(e["requests"] for e in fresh), "bytes": statistics.mean(e["bytes"] for e in fresh),
                  "tiles": fresh},
        "ms": percentiles([e["ms"] for e in asked]), "ms_with_store": percentiles([e["ms"] for e in waited]) if waited else None,
        "requests_a_tile": statistics.mean(e["requests"] for e in asked), "requests_p95": float(numpy.percentile([e["requests"] for e in asked], 95)),
        "bytes_a_tile": statistics.mean(e["bytes"] for e in asked), "tiles_with_store": len(waited), "cpu_ms_a_tile": cpu * 1e3,
        "previews": sum(1 for e in asked if e["quality"] not in (None, "exact")),
        "model": {
            "memory_ms": statistics.median(hits), "compute_ms": statistics.median(computing), "compute_p99_ms": float(numpy.percentile(computing, 99)),
            "tile_bytes": statistics.mean(e["body"] for e in asked), "median_ms": statistics.median(each) if each else args.latency_ms,
            "p99_ms": float(numpy.percentile(each, 99)) if each else args.latency_ms, "rounds": statistics.mean(e["waves"] for e in waited) if waited else 0,
        },
        "tiles": [{name: entry[name] for name in ("tile", "ms", "requests", "bytes", "waves")} for entry in asked],
    }


def tell(m):
    limited = f"{m['memory_limit_mb']} MB of memory" if m["memory_limit_mb"] else "memory not limited"
    print(f"{m['dataset']}: {m['points']:,} points, {m['latency_ms']:g} ms a request, {limited}")
    print(f"  start to first tile: {statistics.median(m['start']['first_tile_ms']):.0f} ms (of {len(m['start']['first_tile_ms'])}, at most {max(m['start']['first_tile_ms']):.0f}); "
          f"opening it takes {m['start']['requests']} requests and {m['start']['bytes'] / 1e6:.2f} MB")
    print(f"  first tile on an empty disk: p50 {m['fresh']['ms']['p50']:.1f} ms, p95 {m['fresh']['ms']['p95']:.1f} ms, {m['fresh']['requests']:.1f} requests, {m['fresh']['bytes'] / 1e6:.2f} MB")
    print(f"  {len(m['tiles'])} cold tiles: p50 {m['ms']['p50']:.1f} ms, p95 {m['ms']['p95']:.1f} ms, p99 {m['ms']['p99']:.1f} ms; {m['requests_a_tile']:.2f} requests (p95 {m['requests_p95']:.0f}) "
          f"and {m['bytes_a_tile'] / 1e3:.0f} kB a tile; {m['tiles_with_store']} asked the store; {m['cpu_ms_a_tile']:.1f} ms of the server's CPU each; {m['previews']} previews")
    print(f"  resident at most {m['peak']['VmHWM'] / 1e6:.0f} MB, of it {m['peak']['RssAnon'] / 1e6:.0f} MB its own at the end; the kernel made room {m['memory_pressed']} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("datasets", nargs="+", help="folders that `pointillist ingest` has made")
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--fresh", type=int, default=5)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="where the store's objects lie meanwhile: as large as the datasets")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="more for `serve`, at the end")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("measurements.json"))
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    measured = [measure(args, dataset, args.output) for dataset in args.datasets]
    args.output.write_text(json.dumps({"datasets": measured}, indent=1))
    for one in measured:
        tell(one)


if __name__ == "__main__":
    main()
