#!/usr/bin/env python3
"""Memory of a server whose caches are full, under load: it must stay within the budget and the fixed part.

    benches/peers/full_cache.py --binary target/release/pointillist --dataset towers [--cache-size 256] [--seconds 600]

wrk asks for distinct tiles in distinct styles without end, so that everything misses, is counted, shaded, encoded, kept and evicted. The
fixed part is what the server holds after one tile of every zoom, before the load (dataset, engine, threads), measured as the
kernel's anonymous memory (RssAnon in /proc/PID/status: mapped files are not memory that is used up). Sampled every second; the
highest sample of the last nine tenths is compared with fixed part + budget, of which it may exceed 10 % of the budget.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

WRK = """
local threads = 0
function setup(thread) thread:set("from", threads); threads = threads + 1 end
function init() math.randomseed(from + 1) end
local bounds = {{ {west}, {south}, {east}, {north} }}
function request()
    local z = math.random({zoom_min}, {zoom_max})
    local n = 2 ^ z
    local x = math.floor((bounds[1] + math.random() * (bounds[3] - bounds[1])) * n)
    local y = math.floor((bounds[4] + math.random() * (bounds[2] - bounds[4])) * n)
    return wrk.format("GET", string.format("/{name}/%d/%d/%d.png?min_alpha=%d", z, x, y, math.random(1, 200)))
end
"""


def memory_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1)) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--cache-size", type=int, default=256, help="MB")
    parser.add_argument("--zooms", default="0-12")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--connections", type=int, default=16)
    args = parser.parse_args()
    process = subprocess.Popen([args.binary, "serve", args.dataset, "--backend", "cpu", "--listen", "127.0.0.1:0",
                                "--cache-size", f"{args.cache_size}MB"], stdout=subprocess.PIPE, text=True)
    try:
        base = process.stdout.readline().strip().removeprefix("listening on ")
        get = lambda path: urllib.request.urlopen(base + path).read()
        name = json.loads(get("/catalog"))["datasets"][0]["name"]
        west, south, east, north = json.loads(get(f"/{name}.json"))["bounds"]
        def place(lon, lat):
            lat = max(-85.0, min(85.0, lat))
            return (lon + 180) / 360, (1 - math.log(math.tan(math.radians(lat)) + 1 / math.cos(math.radians(lat))) / math.pi) / 2
        (x0, y1), (x1, y0) = place(west, south), place(east, north)
        zoom_min, zoom_max = map(int, args.zooms.split("-"))
        for z in range(zoom_min, zoom_max + 1):
            get(f"/{name}/{z}/{int((x0 + x1) / 2 * 2**z)}/{int((y0 + y1) / 2 * 2**z)}.png")
        fixed = memory_bytes(process.pid)
        with tempfile.TemporaryDirectory(prefix="full-cache-") as folder:
            script = pathlib.Path(folder) / "wrk.lua"
            script.write_text(WRK.format(west=x0, east=min(x1, 0.999999), south=y1, north=y0, zoom_min=zoom_min, zoom_max=zoom_max, name=name))
            load = subprocess.Popen(["wrk", "-t", "1", "-c", str(args.connections), "-d", f"{args.seconds}s", "-s", script, base],
                                    stdout=subprocess.PIPE, text=True)
            samples = []
            while load.poll() is None:
                time.sleep(1)
                samples.append(memory_bytes(process.pid))
            said = load.stdout.read()
        metrics = get("/metrics").decode()
        held = {cache: int(n) for cache, n in re.findall(r'tile_cache_bytes\{cache="(\w+)"\} (\d+)', metrics)}
        evicted = {cache: int(n) for cache, n in re.findall(r'tile_cache_evictions_total\{cache="(\w+)"\} (\d+)', metrics)}
    finally:
        process.terminate()
        process.wait()
    budget = args.cache_size * 10**6
    highest = max(samples[len(samples) // 10:])
    middle = sorted(samples[len(samples) // 10:])[len(samples) * 9 // 20]
    requests = re.search(r"(\d+) requests in", said)
    print(f"{requests.group(1) if requests else '?'} requests in {args.seconds} s; {said.strip().splitlines()[-2].strip()}")
    print(f"fixed part {fixed / 1e6:.0f} MB, budget {budget / 1e6:.0f} MB; held by caches: {held}; evicted: {evicted}")
    print(f"anonymous memory: median {middle / 1e6:.0f} MB, highest {highest / 1e6:.0f} MB, "
          f"that is the fixed part and {(highest - fixed) / budget:.0%} of the budget (at most 110 %)")
    if highest > fixed + 1.1 * budget:
        sys.exit("over the budget")


if __name__ == "__main__":
    main()
