#!/usr/bin/env python3
"""A real S3-compatible server on loopback behind a proxy that makes it slow, faulty or absent. For tests and measurements.

    tests/object_store.py                            an empty store: moto's server, which checks conditions and answers bulk deletes
    tests/object_store.py --folder DIR               the folders inside of DIR are buckets (localbucket): for big data, as it lies on disk
    tests/object_store.py --latency-ms 20            how long every request waits before the store hears of it

Prints one line of JSON when it answers, and ends when its standard input does, so also when whoever started it dies:

    {"endpoint": "http://127.0.0.1:40001", "control": "http://127.0.0.1:40002", "bucket": "tiles", "env": {"AWS_ENDPOINT_URL": ...}}

`env` is what a client of the store needs. What happens to requests is changed over `control`, with JSON bodies:

    POST /faults     {"latency_ms": 20, "bytes_per_second": null, "away": null|"refuse"|"hang", "status": null|503,
                     "truncate": null|BYTES, "share": 1.0, "path": "regular expression"}: all at once; what is not named is as at the start
    GET  /counts     {"requests": n, "bytes": n, "failed": n, "connections": n, "in_flight_max": n} since the last reset
    GET  /log        the last requests: [{"at": s, "ms": x, "method": .., "path": .., "range": .., "status": n, "bytes": n, "fault": ..}]
    POST /reset      counts and log begin anew

`status`, `truncate` and `hang` strike that share of the requests whose path matches, evenly spread and not by chance: of a share of a third,
every third. Both servers come from PyPI, into a virtual environment under the user's cache folder; where that cannot be done, the
one line says SKIPPED and why. moto copies a whole object for every range that is read of it (70 ms of processor time for 100 MB), and
localbucket ignores If-Match and knows no bulk delete: that is why there are two.
"""

import argparse
import asyncio
import collections
import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

PYTHON_WITH = pathlib.Path(__file__).parent.parent / "scripts" / "python-with"
# flask and flask-cors are what moto's server needs for S3 alone; its extra `server` brings every other service of AWS.
PACKAGES = ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "localbucket==1.2.1"]

BUCKET = "tiles"
# Neither server checks signatures; clients refuse to ask without keys.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}

# A head of S3 is some hundred bytes; signatures and user metadata make a few thousand.
HEAD_BYTES_MAX = 1 << 16
# What is read from one side before it is written to the other.
CHUNK_BYTES = 1 << 16
# Enough for every request of a measurement of a few hundred tiles.
LOG_REQUESTS_MAX = 100_000
# A server that imports much on a busy machine.
START_SECONDS_MAX = 60
FAULTS = {"latency_ms": None, "bytes_per_second": None, "away": None, "status": None, "truncate": None, "share": 1.0, "path": ""}

# The two-part answers of Python's server wait 40 ms for the client's acknowledgement unless they are sent as they come.
LOCALBUCKET = """
import sys, localbucket
localbucket.S3Handler.disable_nagle_algorithm = True
localbucket.S3Handler.wbufsize = 1 << 16
localbucket.S3Handler.log_message = lambda *a: None
localbucket.ThreadingHTTPServer.request_queue_size = 256
localbucket.main()
"""
MOTO = "import sys; from moto.server import main; main()"


def skip(why):
    print(f"SKIPPED: an S3-compatible server cannot be had: {why}", flush=True)
    sys.exit(0)


def python_with_packages():
    found = subprocess.run([PYTHON_WITH, "object_store", *PACKAGES], capture_output=True, text=True)
    if found.returncode != 0:
        skip((found.stderr.strip().splitlines() or ["no reason given"])[-1])
    return found.stdout.strip()


def dies_with_parent():
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_store(folder, log):
    python, port = python_with_packages(), free_port()
    if folder:
        command = [python, "-c", LOCALBUCKET, "--port", str(port), str(folder)]
    else:
        command = [python, "-c", MOTO, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=dies_with_parent)
    started = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() - started > START_SECONDS_MAX:
                process.kill()
                log.seek(0)
                sys.exit(f"the store does not start: {log.read()[-2000:]}")
            time.sleep(0.05)
    if not folder:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")).read()
    return process, port


class Head:
    """The head of a request or an answer."""

    def __init__(self, raw):
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.first = first.split(" ", 2)
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]

    def get(self, name):
        return next((value for field, value in self.fields if field.lower() == name), None)

    def written(self, without=()):
        dropped = {"connection", "keep-alive", *without}
        kept = [f"{field}: {value}" for field, value in self.fields if field.lower() not in dropped]
        return ("\r\n".join([" ".join(self.first), *kept]) + "\r\n\r\n").encode("latin-1")


async def read_head(reader):
    """None where the other side has closed between two messages."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise ConnectionError("cut within a head") from None
        return None


async def pieces(reader, head, has_body):
    """The body's pieces as they come. Chunked ones are taken apart, and what has no length ends with its connection."""
    if not has_body:
        return
    length = head.get("content-length")
    if (head.get("transfer-encoding") or "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readline()).strip():
            pass
    elif length is not None:
        left = int(length)
        while left:
            piece = await reader.read(min(left, CHUNK_BYTES))
            if not piece:
                raise ConnectionError("cut within a body")
            left -= len(piece)
            yield piece
    elif head.first[0].startswith("HTTP/"):
        while piece := await reader.read(CHUNK_BYTES):
            yield piece


class Proxy:
    def __init__(self, store_port, latency_ms):
        self.store_port = store_port
        self.start_faults = {**FAULTS, "latency_ms": latency_ms}
        self.faults = dict(self.start_faults)
        self.open = set()
        self.idle = []
        self.port = None
        self.server = None
        self.in_flight = 0
        self.reset()

    def reset(self):
        self.counts = dict.fromkeys(["requests", "bytes", "failed", "connections", "in_flight_max"], 0)
        self.log = collections.deque(maxlen=LOG_REQUESTS_MAX)
        self.matched = 0
        self.began = time.monotonic()

    async def listen(self):
        # The backlog is longer than what a client opens at once.
        self.server = await asyncio.start_server(self.connection, "127.0.0.1", self.port or 0, limit=HEAD_BYTES_MAX, backlog=256)
        self.port = self.server.sockets[0].getsockname()[1]

    async def set_faults(self, faults):
        unknown = set(faults) - set(FAULTS)
        if unknown or faults.get("away") not in (None, "refuse", "hang"):
            raise ValueError(f"unknown fault in {faults}; there are {sorted(FAULTS)}, and away is refuse or hang")
        re.compile(faults.get("path", ""))
        self.faults = {**self.start_faults, **faults}
        self.matched = 0
        if self.faults["away"] == "refuse":
            if self.server:
                self.server.close()
                self.server = None
            for writer in list(self.open):
                writer.transport.abort()
        elif not self.server:
            await self.listen()

    def strikes(self, path):
        """Whether a fault is for this request: evenly spread, so that a test knows how many there will be."""
        if not re.search(self.faults["path"], path):
            return False
        before, self.matched = self.matched, self.matched + 1
        return int(self.matched * self.faults["share"]) > int(before * self.faults["share"])

    async def connection(self, reader, writer):
        self.open.add(writer)
        self.counts["connections"] += 1
        try:
            while (head := await read_head(reader)) is not None and await self.request(head, reader, writer):
                pass
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # Either side has gone, or this program ends.
        finally:
            self.open.discard(writer)
            writer.close()

    async def request(self, head, reader, writer):
        """One request and its answer; false where the connection ends with it."""
        method, path = head.first[0], head.first[1]
        entry = {"at": round(time.monotonic() - self.began, 4), "ms": None, "method": method, "path": path, "range": head.get("range"),
                 "status": None, "bytes": 0, "fault": None}
        began = time.monotonic()
        self.log.append(entry)
        self.counts["requests"] += 1
        self.in_flight += 1
        self.counts["in_flight_max"] = max(self.counts["in_flight_max"], self.in_flight)
        faults, struck = self.faults, self.strikes(path)
        try:
            if (head.get("expect") or "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            has_body = head.get("content-length") is not None or head.get("transfer-encoding") is not None
            body = [piece async for piece in pieces(reader, head, has_body)]
            if faults["latency_ms"]:
                await asyncio.sleep(faults["latency_ms"] / 1000)
            if struck and faults["away"] == "hang":
                entry["fault"] = "hang"
                while self.faults is faults:
                    await asyncio.sleep(0.02)
                return False
            if struck and faults["status"]:
                entry.update(fault="status", status=faults["status"])
                text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                writer.write(f"HTTP/1.1 {faults['status']} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
                return True
            return await self.answer(head, body, writer, entry, faults["truncate"] if struck else None)
        finally:
            self.in_flight -= 1
            self.counts["failed"] += entry["fault"] is not None
            self.counts["bytes"] += entry["bytes"]
            entry["ms"] = round((time.monotonic() - began) * 1000, 2)

    async def ask_store(self, head, body):
        """The head of the store's answer, on a kept connection where there is one that still lives."""
        message = head.written(without={"expect", "transfer-encoding", "content-length"})[:-2]
        if head.get("content-length") is not None or body:
            message += f"Content-Length: {sum(map(len, body))}\r\n".encode()
        while True:
            kept = self.idle.pop() if self.idle else None
            reader, writer = kept or await asyncio.open_connection("127.0.0.1", self.store_port, limit=HEAD_BYTES_MAX)
            try:
                writer.writelines([message + b"\r\n", *body])
                await writer.drain()
                answer = await read_head(reader)
                if answer is None:
                    raise ConnectionError("the store closed without an answer")
                return reader, writer, answer
            except OSError:
                writer.close()
                if not kept:
                    raise

    async def answer(self, head, body, writer, entry, truncate):
        store_reader, store_writer, answer = await self.ask_store(head, body)
        whole = False
        try:
            status = int(answer.first[1])
            entry["status"] = status
            has_body = head.first[0] != "HEAD" and status not in (204, 304)
            chunked = has_body and answer.get("content-length") is None
            extra = b"Transfer-Encoding: chunked\r\n" if chunked else b""
            writer.write(answer.written(without={"transfer-encoding"})[:-2] + extra + b"\r\n")
            began, rate = time.monotonic(), self.faults["bytes_per_second"]
            async for piece in pieces(store_reader, answer, has_body):
                if truncate is not None and entry["bytes"] + len(piece) > truncate:
                    piece = piece[: truncate - entry["bytes"]]
                    entry["fault"] = "truncate"
                entry["bytes"] += len(piece)
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if rate:
                    await asyncio.sleep(max(0, began + entry["bytes"] / rate - time.monotonic()))
                await writer.drain()
                if entry["fault"]:
                    return False
            if chunked:
                writer.write(b"0\r\n\r\n")
            await writer.drain()
            whole = True
            return True
        finally:
            if whole and (answer.get("connection") or "").lower() != "close" and answer.get("content-length") is not None:
                self.idle.append((store_reader, store_writer))
            else:
                store_writer.close()

    async def control(self, reader, writer):
        try:
            head = await read_head(reader)
            if head is None:
                return
            body = b"".join([piece async for piece in pieces(reader, head, head.get("content-length") is not None)])
            status, said = 200, {}
            match head.first[:2]:
                case ["GET", "/counts"]:
                    said = self.counts
                case ["GET", "/log"]:
                    said = list(self.log)
                case ["POST", "/reset"]:
                    self.reset()
                case ["POST", "/faults"]:
                    try:
                        await self.set_faults(json.loads(body or b"{}"))
                        said = self.faults
                    except (ValueError, re.error) as wrong:
                        status, said = 400, {"error": str(wrong)}
                case _:
                    status, said = 404, {"error": "there are GET /counts, GET /log, POST /reset and POST /faults"}
            text = json.dumps(said).encode()
            writer.write(f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
            await writer.drain()
        finally:
            writer.close()


async def until_stdin_ends():
    # A blocking read in a thread that nobody waits for is the one way that works for pipes, files and terminals alike.
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


async def serve(store_port, latency_ms):
    proxy = Proxy(store_port, latency_ms)
    await proxy.listen()
    control = await asyncio.start_server(proxy.control, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{proxy.port}"
    env = {**KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
    said = {"endpoint": endpoint, "control": f"http://127.0.0.1:{control.sockets[0].getsockname()[1]}", "bucket": BUCKET, "env": env}
    print(json.dumps(said), flush=True)
    await until_stdin_ends()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, help="serve the folders inside of it as buckets")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    args = parser.parse_args()
    with tempfile.TemporaryFile("w+") as log:
        process, port = start_store(args.folder, log)
        try:
            asyncio.run(serve(port, args.latency_ms))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
