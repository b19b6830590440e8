#!/usr/bin/env python3
"""Tiles from the caches over HTTP against nginx, which serves the same images as files, with one load generator (wrk), in one run.

    benches/peers/http_cache.py --binary target/release/pointillist --dataset towers [--zooms 0-9] [--connections 64] [--seconds 10]

Distinct tiles: wrk asks for the tiles in an order of its own, shuffled per connection, and every tile with points of the zooms is asked for
about equally often. nginx serves a folder that `pointillist prewarm` wrote (sendfile, open_file_cache, no access log), from the
system's page cache; pointillist serves them from its memory cache, then from its persistent cache with no room in memory, both with
the whole request path: routing, headers, ETag, metrics. Server and generator share the machine's cores, as they do for nginx. Rounds
alternate; medians are printed, with user and system CPU seconds of the server beside the rates. Needs wrk and nginx.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

NGINX = """
worker_processes {workers};
daemon off;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=200000 inactive=600s;
    open_file_cache_valid 600s;
    types {{ image/png png; }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/tiles; add_header Cache-Control "public, max-age=60"; }}
}}
"""

# Every thread walks the shuffled list from a place of its own.
WRK = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local next = 0
local threads = 0
function setup(thread) thread:set("from", threads); threads = threads + 1 end
function init() next = math.floor(#paths / 7) * from end
function request() next = next % #paths + 1; return wrk.format("GET", paths[next]) end
function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


def cpu_seconds(pids):
    """User and system seconds of processes so far."""
    user = system = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return [ticks / os.sysconf("SC_CLK_TCK") for ticks in (user, system)]


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def load(base, script, args, pids):
    before = cpu_seconds(pids)
    command = ["wrk", "-t", str(args.threads), "-c", str(args.connections), "-d", f"{args.seconds}s", "-s", script, base]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, microseconds, errors, p50, p99 = map(int, re.search(r"RESULT (.*)", said).group(1).split())
    spent = [after - b for after, b in zip(cpu_seconds(pids), before)]
    if errors:
        sys.exit(f"{errors} of {requests} requests to {base} failed")
    return {"requests_per_second": requests / microseconds * 1e6, "p50_us": p50, "p99_us": p99,
            "cpu_us_per_request": sum(spent) / requests * 1e6}


class Server:
    def __init__(self, args, *flags):
        command = [args.binary, "serve", args.dataset, "--backend", "cpu", "--listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.base = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.pids = [self.process.pid]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--zooms", default="0-8")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for tool in ("wrk", "nginx"):
        if not shutil.which(tool) and not shutil.which(tool, path="/usr/sbin"):
            sys.exit(f"{tool} is not installed: apt-get install wrk nginx-light")

    with tempfile.TemporaryDirectory(prefix="http-cache-") as folder:
        folder = pathlib.Path(folder)
        zoom_min, zoom_max = args.zooms.split("-")
        zooms = ["--min-zoom", zoom_min, "--max-zoom", zoom_max, "--backend", "cpu"]
        (folder / "tiles").mkdir()
        subprocess.run([args.binary, "prewarm", args.dataset, *zooms, "-o", folder / "tiles" / "name"], check=True, capture_output=True)
        subprocess.run([args.binary, "prewarm", args.dataset, *zooms, "--cache-dir", folder / "cache"], check=True, capture_output=True)
        memory = Server(args, "--cache-size", "4GB")
        name = json.load(urllib.request.urlopen(f"{memory.base}/catalog"))["datasets"][0]["name"]
        (folder / "tiles" / "name").rename(folder / "tiles" / name)
        files = sorted((folder / "tiles").rglob("*.png"))
        paths = ["/" + str(file.relative_to(folder / "tiles")) for file in files]
        sizes = [file.stat().st_size for file in files]
        random.Random(1).shuffle(paths)
        (folder / "paths").write_text("\n".join(paths) + "\n")
        (folder / "wrk.lua").write_text(WRK.format(paths=folder / "paths"))
        os.chmod(folder, 0o755)

        # Next to no memory for tiles: everything comes from the file.
        disk = Server(args, "--cache-size", "1MB", "--cache-dir", folder / "cache")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, workers=os.cpu_count()))
        nginx = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", folder / "nginx.conf", "-e", "stderr"])
        try:
            time.sleep(1)
            nginx_pids = children(nginx.pid)
            for base in (memory.base, disk.base, f"http://127.0.0.1:{port}"):
                for path in paths[:50]:
                    if urllib.request.urlopen(base + path).read() != (folder / "tiles" / path[1:]).read_bytes():
                        sys.exit(f"{base}{path} is another image than the file")
            for path in paths:
                urllib.request.urlopen(memory.base + path).read()
            sides = [("nginx", f"http://127.0.0.1:{port}", nginx_pids), ("memory", memory.base, memory.pids),
                     ("disk", disk.base, disk.pids)]
            rounds = {side: [] for side, _, _ in sides}
            for _ in range(args.rounds):
                for side, base, pids in sides:
                    rounds[side].append(load(base, folder / "wrk.lua", args, pids))
            answers = urllib.request.urlopen(f"{disk.base}/metrics").read().decode()
        finally:
            for process in (memory, disk):
                process.stop()
            nginx.terminate()
            nginx.wait()

    def hits(cache):
        found = re.search(rf'requests_total{{cache="{cache}",result="hit"}} (\d+)', answers)
        return int(found.group(1)) if found else 0

    result = {side: {key: statistics.median(r[key] for r in runs) for key in runs[0]} for side, runs in rounds.items()}
    for side in ("memory", "disk"):
        result[side]["of_nginx"] = result[side]["requests_per_second"] / result["nginx"]["requests_per_second"]
        result[side]["p99_of_nginx"] = result[side]["p99_us"] / result["nginx"]["p99_us"]
    result["tiles"] = {"distinct": len(paths), "mean_bytes": statistics.mean(sizes), "disk_hits": hits("disk"), "disk_run_memory_hits": hits("tile")}
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{len(paths)} distinct tiles of {statistics.mean(sizes):.0f} bytes on average, {args.connections} connections")
    for side in ("nginx", "memory", "disk"):
        r = result[side]
        print(f"{side:<7} {r['requests_per_second']:>8.0f} requests/s  p50 {r['p50_us']:>6} us  p99 {r['p99_us']:>6} us  "
              f"{r['cpu_us_per_request']:>5.1f} us of CPU a request" +
              (f"  {r['of_nginx']:.2f} x nginx, p99 {r['p99_of_nginx']:.2f} x" if side != "nginx" else ""))


if __name__ == "__main__":
    main()
