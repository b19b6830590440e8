#!/usr/bin/env python3
"""A server that is asked for more than it can do, for long: whether its memory stays flat, and how long the answers that it gives take.

    benches/soak.py target/release/pointillist DATASET --seconds 3600 --share 0.4

Starts the server on a free port of this machine, measures how much of the mix it answers in a closed loop (its capacity), and then sends
`--times` as much, evenly, whether answers come or not: cold tiles, tiles and counts under ever new filters, histograms, crossfilters,
rows, exports, legends and documents. An answer's time runs from when its request should have been sent. The server's memory is read every
ten seconds. With `--share` it is held to so much of one core by a cgroup (root only), so that a machine that does other things too
can do this beside them. The dataset has the columns of cell towers. Needs nothing but Python and Linux.

Fails when anything but an answer or a refusal (503 and 429 with Retry-After) comes, when the server ends, or when memory grows by more
than `--growth-mb` from the first third of the time to the last.
"""

import argparse
import asyncio
import json
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import urllib.request

CAPACITY_SECONDS = 20
CONNECTIONS_CAPACITY = 16
# More than the server lets wait, so that it is the server that refuses.
IN_FLIGHT_MAX = 1024
ANSWER_SECONDS_MAX = 90
MEMORY_EVERY_SECONDS = 10


class Mix:
    """Addresses, none of them twice in the same words unless a map would ask so."""

    def __init__(self, name, places, seed):
        self.name, self.places, self.random = name, places, random.Random(seed)

    def tile(self, zooms=(4, 15)):
        lon, lat = self.random.choice(self.places)
        zoom = self.random.randrange(*zooms)
        side = 1 << zoom
        y = (1 - math.asinh(math.tan(math.radians(max(-85, min(85, lat))))) / math.pi) / 2
        x = int((lon + 180) / 360 * side) + self.random.randrange(-2, 3)
        return f"{zoom}/{x % side}/{min(side - 1, max(0, int(y * side)))}"

    def filter(self):
        return self.random.choice([
            lambda: f"range%20%3E%20{self.random.randrange(5000)}",
            lambda: f"samples%20%3E%3D%20{self.random.randrange(100)}%20AND%20radio%20%3D%20%27LTE%27",
            lambda: f"created%20%3E%20DATE(%27{self.random.randrange(2004, 2026)}-{self.random.randrange(1, 13):02}-{self.random.randrange(1, 29):02}%27)",
            lambda: "radio%20IN%20(%27UMTS%27%2C%27NR%27)",
        ])()

    def box(self):
        lon, lat = self.random.choice(self.places)
        return f"{max(-180, lon - 1):.3f},{max(-85, lat - 1):.3f},{min(180, lon + 1):.3f},{min(85, lat + 1):.3f}"

    def request(self):
        """Method, address, body."""
        _, make = self.random.choices(REQUESTS, [weight for weight, _ in REQUESTS])[0]
        return make(self, f"/{self.name}")

    def crossfilter(self, path):
        low = self.random.randrange(4000)
        asked = {"brushes": {"range": [low, low + 1000]}, "columns": ["range", "samples", "radio"], "client": f"c{self.random.randrange(50)}"}
        return "POST", f"{path}/crossfilter", json.dumps(asked).encode()

    def document(self, path):
        return get(self.random.choice([f"{path}.json", f"{path}/stats", "/catalog", "/health", "/"]))


def get(path):
    return "GET", path, b""


# What a map asks for, in parts of a thousand.
REQUESTS = [
    (500, lambda mix, path: get(f"{path}/{mix.tile()}.png")),
    (200, lambda mix, path: get(f"{path}/{mix.tile()}.png?filter={mix.filter()}")),
    (80, lambda mix, path: get(f"{path}/{mix.tile()}@2x.png?how=log&filter={mix.filter()}")),
    (60, lambda mix, path: get(f"{path}/{mix.tile()}.npy?by=none")),
    (40, lambda mix, path: get(f"{path}/histogram?column=range&bins=50&filter={mix.filter()}")),
    (50, Mix.crossfilter),
    (40, lambda mix, path: get(f"{path}/points?limit=50&bbox={mix.box()}")),
    (5, lambda mix, path: get(f"{path}/points?format=csv&limit=20000&bbox={mix.box()}")),
    (10, lambda mix, path: get(f"{path}/legend.json?zoom={mix.random.randrange(12)}&filter={mix.filter()}")),
    (15, Mix.document),
]


class Stale(Exception):
    """A connection ended before the first byte of an answer."""


class Client:
    """Keeps connections, and asks over them."""

    def __init__(self, port):
        self.port, self.idle = port, []

    async def ask(self, method, path, body):
        while self.idle:
            try:
                return await self.ask_over(*self.idle.pop(), method, path, body)
            except Stale:
                pass  # the server had closed it, as it may close what is idle
        return await self.ask_over(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20), method, path, body)

    async def ask_over(self, reader, writer, method, path, body):
        try:
            head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            if body:
                head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            writer.write(head.encode() + b"\r\n" + body)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError) as error:
                if getattr(error, "partial", b""):
                    raise
                raise Stale from None
            lines = head.decode("latin-1").lower().split("\r\n")
            status = int(lines[0].split()[1])
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            if headers.get("transfer-encoding") == "chunked":
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            else:
                await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        return status, headers


class Tally:
    def __init__(self):
        self.good, self.refused, self.wrong, self.unsent, self.superseded = [], [], [], 0, 0

    def add(self, other):
        for of in ("good", "refused", "wrong"):
            getattr(self, of).extend(getattr(other, of))
        self.unsent += other.unsent
        self.superseded += other.superseded

    async def asked(self, client, mix, due):
        method, path, body = mix.request()
        try:
            status, headers = await asyncio.wait_for(client.ask(method, path, body), ANSWER_SECONDS_MAX)
        except Exception as error:  # whatever it is, it is no answer
            self.wrong.append(f"{method} {path}: {type(error).__name__} {error}")
            return
        took = time.monotonic() - due
        if status == 200:
            self.good.append(took)
        elif status == 499 and method == "POST":
            self.superseded += 1  # by a newer question of the same client
        elif status in (429, 503) and "retry-after" in headers:
            self.refused.append(took)
        else:
            self.wrong.append(f"{method} {path}: {status}")


def at(times, share):
    times = sorted(times)
    return times[int((len(times) - 1) * share)] * 1e3 if times else float("nan")


def memory_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Share:
    """A cgroup that holds its processes to a share of one core; short periods, so that answers are slowed evenly."""

    PERIOD_US = 20_000

    def __init__(self, share):
        quota = int(share * self.PERIOD_US)
        v1, v2 = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        self.folder = (v1 if v1.is_dir() else v2) / f"pointillist-soak-{os.getpid()}"
        self.folder.mkdir()
        if v1.is_dir():
            (self.folder / "cpu.cfs_period_us").write_text(str(self.PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.folder / "cpu.max").write_text(f"{quota} {self.PERIOD_US}")

    def join(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        self.folder.rmdir()


async def capacity(client, mix):
    tally, end = Tally(), time.monotonic() + CAPACITY_SECONDS

    async def one():
        while time.monotonic() < end:
            await tally.asked(client, mix, time.monotonic())

    await asyncio.gather(*(one() for _ in range(CONNECTIONS_CAPACITY)))
    if tally.wrong:
        sys.exit(f"wrong answers already: {tally.wrong[:5]}")
    return len(tally.good) / CAPACITY_SECONDS


async def soak(server, client, mix, rate, seconds, report):
    minutes, minute, memory, tasks = [], Tally(), [], set()
    started = time.monotonic()
    next_memory = next_line = started
    sent = 0
    while (now := time.monotonic()) < started + seconds:
        if server.poll() is not None:
            sys.exit(f"the server has ended with {server.returncode}")
        if now >= next_memory:
            memory.append((now - started, memory_mb(server.pid)))
            next_memory += MEMORY_EVERY_SECONDS
        if now >= next_line:
            report(now - started, minute, memory[-1][1], cpu_seconds(server.pid))
            minutes.append(minute)
            minute, next_line = Tally(), next_line + 60
        while sent < (now - started) * rate:
            due = started + sent / rate
            sent += 1
            if len(tasks) >= IN_FLIGHT_MAX:
                minute.unsent += 1
                continue
            task = asyncio.create_task(minute.asked(client, mix, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    total = Tally()
    for part in [*minutes, minute]:
        total.add(part)
    return total, memory, sent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("dataset")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--share", type=float, default=0, help="of one core, for the server; all there is by default")
    parser.add_argument("--times", type=float, default=2, help="of the capacity")
    parser.add_argument("--queue", type=int, default=32, help="requests that may wait: about a second's worth")
    parser.add_argument("--cache-size", default="64MB", help="small, so that caches are full for most of the time")
    parser.add_argument("--growth-mb", type=float, default=20)
    parser.add_argument("--json", help="where the figures go")
    args = parser.parse_args()

    share = Share(args.share) if args.share else None
    command = [args.binary, "serve", args.dataset, "--listen", "127.0.0.1:0", "--backend", "cpu", "--queue", str(args.queue),
               "--cache-size", args.cache_size, "--set", "limits.client_requests=100000", "--set", "log.slow=1h"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=share.join if share else None)
    try:
        base = server.stdout.readline().strip().removeprefix("listening on ")
        get = lambda path: json.load(urllib.request.urlopen(base + path))
        name = get("/catalog")["datasets"][0]["name"]
        rows = get(f"/{name}/stats")["rows"]
        places = []
        for i in range(20):
            some = get(f"/{name}/points?limit=100&offset={rows * i // 20}&columns=lon,lat")["rows"]
            places += [(row["lon"], row["lat"]) for row in some]
        client = Client(int(base.rsplit(":", 1)[1]))

        async def run():
            mix = Mix(name, places, 1)
            able = await capacity(client, mix)
            rate = args.times * able
            print(f"{rows} points; {'%g of a core' % args.share if share else 'all cores'}; capacity {able:.1f}/s, sent {rate:.1f}/s", flush=True)

            def report(at_seconds, tally, memory, cpu):
                print(f"{at_seconds:6.0f} s  {memory:7.1f} MB  cpu {cpu:7.1f} s  good {len(tally.good)}, p50 {at(tally.good, .5):.0f} p99 {at(tally.good, .99):.0f} ms"
                      f"  refused {len(tally.refused)}, p99 {at(tally.refused, .99):.0f} ms  wrong {len(tally.wrong)} {tally.wrong[:2]}  unsent {tally.unsent}", flush=True)

            return able, rate, await soak(server, client, mix, rate, args.seconds, report)

        able, rate, (total, memory, sent) = asyncio.run(run())
        third = max(1, len(memory) // 3)
        mean = lambda part: sum(mb for _, mb in part) / len(part)
        first, last = mean(memory[:third]), mean(memory[-third:])
        figures = {
            "seconds": args.seconds, "points": rows, "share": args.share, "capacity_per_second": able, "sent_per_second": rate, "sent": sent,
            "good": len(total.good), "goodput_of_capacity": len(total.good) / args.seconds / able,
            "good_ms": {"p50": at(total.good, .5), "p95": at(total.good, .95), "p99": at(total.good, .99), "max": at(total.good, 1)},
            "refused": len(total.refused), "refused_ms": {"p50": at(total.refused, .5), "p99": at(total.refused, .99), "max": at(total.refused, 1)},
            "unsent": total.unsent, "superseded": total.superseded, "wrong": total.wrong[:20], "memory_mb": {"first_third": first, "last_third": last, "max": max(mb for _, mb in memory)},
            "memory_samples": [[round(s), round(mb, 1)] for s, mb in memory],
        }
        if args.json:
            pathlib.Path(args.json).write_text(json.dumps(figures, indent=1))
        print(json.dumps({key: value for key, value in figures.items() if key != "memory_samples"}, indent=1))
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
        if total.wrong or code != 0 or last - first > args.growth_mb:
            sys.exit(f"failed: {len(total.wrong)} wrong answers, exit code {code}, memory grew by {last - first:.1f} MB")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        if share:
            share.remove()


if __name__ == "__main__":
    main()
