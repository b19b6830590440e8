#!/usr/bin/env python3
"""Three replicas behind nginx, over one dataset in an object store, with Redis between them: what an answer takes from where it comes, and whether a
rolling restart under load fails a request.

    benches/peers/replicas.py target/release/pointillist ais [--tiles 100] [--seconds 20]

deploy/nginx-replicas.conf, a real redis-server, and the store of tests/object_store.py, all on loopback and on the cores of this machine. A tile is asked of
the first replica, which makes it, then of the second, which has it from Redis, then of the second again, then through nginx twice; bytes and ETags must
be equal. Then people ask through nginx, a bounded number of connections for a bounded time, while one replica after the other is stopped
and started again. tests/it holds the same to be so; this says how long it takes. Needs nginx and redis-server.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from cold_store import ROOT, Memory, Server, Store, keys_of_dataset, percentiles, tiles_to_ask


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, what):
    for _ in range(200):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not answer")


def start_nginx(program, folder, ports):
    port = free_port()
    site = (ROOT / "deploy" / "nginx-replicas.conf").read_text()
    for i, replica in enumerate(ports, 1):
        site = site.replace(f"replica-{i}:8080", f"127.0.0.1:{replica}")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/var/cache/nginx/pointillist", f"{folder}/cache")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/nginx.log warn; events {{ worker_connections 1024; }} "
        f"http {{ access_log off; {temporary} {site} }}")
    process = subprocess.Popen([program, "-c", folder / "nginx.conf", "-e", "stderr"])
    wait_for(port, "nginx")
    return process, port


class Asking:
    """A connection that is kept, as a browser's."""

    def __init__(self, port):
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path):
        began = time.monotonic()
        try:
            self.connection.request("GET", path)
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        return answer.status, (time.monotonic() - began) * 1e3, body, answer.headers


def metric(port, name):
    _, _, body, _ = Asking(port).get("/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", body.decode(), re.M)
    return float(found[1]) if found else 0.0


def restart(args, url, env, memory, folder, i, port):
    return Server(args.binary, url, env, memory, folder / str(i), *args.flags, listen=f"127.0.0.1:{port}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--tiles", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    redis = shutil.which("redis-server")
    if not nginx or not redis:
        sys.exit("nginx and redis-server are needed: apt-get install nginx-light redis-server")
    args.binary = args.binary.resolve()
    manifest = json.loads((args.dataset / "dataset.json").read_text())
    name = args.dataset.name
    sample = keys_of_dataset(args.dataset, manifest)
    tiles = tiles_to_ask(sample, args.tiles + 3000, 2)
    paths = [f"/{name}/{z}/{x}/{y}.png" for z, x, y in tiles]
    running = []
    with tempfile.TemporaryDirectory(prefix="replicas-") as folder:
        folder = pathlib.Path(folder)
        (folder / "objects" / "tiles").mkdir(parents=True)
        store = Store(folder / "objects", 0)
        memory = Memory(3 * 512_000_000)
        try:
            url = f"s3://tiles/{name}"
            said = subprocess.run([args.binary, "upload", args.dataset, url], env=store.env, capture_output=True, text=True)
            if said.returncode != 0:
                sys.exit(f"upload: {said.stderr}")
            store.latency(args.latency_ms)
            redis_port = free_port()
            running.append(subprocess.Popen([redis, "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder], stdout=subprocess.DEVNULL))
            wait_for(redis_port, "redis-server")
            args.flags = ["--shared-cache", f"redis://127.0.0.1:{redis_port}"]
            ports = [free_port() for _ in range(3)]
            for i in range(3):
                (folder / str(i)).mkdir()
            replicas = [restart(args, url, store.env, memory, folder, i, port) for i, port in enumerate(ports)]
            proxy, port = start_nginx(nginx, folder, ports)
            running.append(proxy)

            first, second, through = (Asking(p) for p in (ports[0], ports[1], port))
            times = collections.defaultdict(list)
            shared = 'pointillist_tile_cache_requests_total{cache="shared",result="hit"}'
            for path in paths[: args.tiles]:
                answers = []
                for what, asking in (("made", first), ("shared", second), ("memory", second), ("through nginx", through), ("kept by nginx", through)):
                    status, ms, body, headers = asking.get(path)
                    if status != 200:
                        sys.exit(f"{what}: {path}: {status} {body[:300]!r}")
                    times[what].append(ms)
                    answers.append((body, headers["etag"]))
                    # What is made goes to Redis beside the answer.
                    time.sleep(0.01)
                if len(set(answers)) != 1:
                    sys.exit(f"{path}: replicas give different bytes or ETags")
            hits = metric(ports[1], shared)
            made = metric(ports[1], 'pointillist_tile_cache_requests_total{cache="shared",result="miss"}')

            statuses, kept, lasted, ends = collections.Counter(), collections.Counter(), [], time.monotonic() + args.seconds
            lock = threading.Lock()

            def people(offset):
                asking = Asking(port)
                # Every tile in a style of its own, so that nginx has none of them and each request reaches a replica.
                asked = offset
                while time.monotonic() < ends:
                    asked += args.connections
                    alpha, place = divmod(asked, len(paths))
                    try:
                        status, ms, _, headers = asking.get(f"{paths[place]}?min_alpha={1 + alpha % 255}")
                    except (OSError, http.client.HTTPException) as failed:
                        status, ms, headers = type(failed).__name__, 0.0, {}
                    with lock:
                        kept[headers.get("x-proxy-cache")] += 1
                        statuses[status] += 1
                        lasted.append(ms)

            threads = [threading.Thread(target=people, args=(i,)) for i in range(args.connections)]
            for thread in threads:
                thread.start()
            rolled = 0
            for i in range(3):
                time.sleep(args.seconds / 5)
                if time.monotonic() > ends - 3:
                    break
                replicas[i].stop()
                replicas[i] = restart(args, url, store.env, memory, folder, i, ports[i])
                rolled += 1
            for thread in threads:
                thread.join()
        finally:
            for replica in locals().get("replicas", []):
                replica.stop()
            for process in running:
                process.terminate()
                process.wait()
            memory.remove()
            store.stop()
    failed = sum(count for status, count in statuses.items() if status != 200)
    result = {"dataset": name, "points": manifest["rows"], "latency_ms": args.latency_ms, "tiles": args.tiles, "ms": {what: percentiles(values) for what, values in times.items()},
              "second_replica": {"from_shared": hits, "not_in_shared": made}, "rolling": {"requests": sum(statuses.values()), "failed": failed, "restarts": rolled, "reached_a_replica": kept["MISS"],
              "seconds": args.seconds, "connections": args.connections, "ms": percentiles(lasted)}}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    print(f"{name}: {manifest['rows']:,} points, three replicas on {os.cpu_count()} cores, {args.latency_ms:g} ms a request to the store")
    for what, ms in result["ms"].items():
        print(f"  {what:<14} p50 {ms['p50']:>7.2f} ms  p95 {ms['p95']:>7.2f} ms  p99 {ms['p99']:>7.2f} ms")
    print(f"  of {args.tiles} tiles that the first replica has made the second had {hits:.0f} from Redis")
    print(f"  {rolled} rolling restarts under {args.connections} connections: {result['rolling']['requests']} requests in {args.seconds:g} s, {failed} failed "
          f"({dict(statuses)}), {kept['MISS']} reached a replica, p95 {result['rolling']['ms']['p95']:.1f} ms")


if __name__ == "__main__":
    main()
