#!/usr/bin/env python3
"""That tests/object_store.py is the store that it says it is, and fails as it is told to.

    tests/object_store_test.py
"""

import concurrent.futures
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

PROGRAM = pathlib.Path(__file__).with_name("object_store.py")
BODY = bytes(range(256)) * 4096
HEADERS = {
    # moto waits for ever for the form that Python would say a body is, and looks for a signature that it does not check.
    "Content-Type": "application/octet-stream",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
}


class Store:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([sys.executable, PROGRAM, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line.startswith("SKIPPED"):
            self.stop()
            raise unittest.SkipTest(line.strip())
        self.said = json.loads(line)
        self.bucket = f"{self.said['endpoint']}/{self.said['bucket']}"

    def ask(self, method, url, body=None, headers=()):
        request = urllib.request.Request(url, method=method, data=body, headers={**HEADERS, **dict(headers)})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def control(self, method, path, body=None):
        status, said = self.ask(method, self.said["control"] + path, json.dumps(body).encode() if body is not None else None)
        return (status, json.loads(said))

    def stop(self):
        """Also a second time."""
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


class ObjectStore(unittest.TestCase):
    def store(self, *arguments):
        store = Store(*arguments)
        self.addCleanup(store.stop)
        return store

    def check_is_a_store(self, store):
        key = f"{store.bucket}/a/b.bin"
        self.assertEqual(store.ask("PUT", key, BODY)[0], 200)
        self.assertEqual(store.ask("GET", key), (200, BODY))
        self.assertEqual(store.ask("GET", key, headers={"Range": "bytes=1000-70000"}), (206, BODY[1000:70001]))
        self.assertEqual(store.ask("GET", key, headers={"Range": "bytes=-5"}), (206, BODY[-5:]))
        self.assertEqual(store.ask("GET", key, headers={"Range": f"bytes={len(BODY)}-"})[0], 416)
        self.assertEqual(store.ask("GET", f"{store.bucket}/a/none")[0], 404)
        self.assertEqual(store.ask("PUT", key, b"other", {"If-None-Match": "*"})[0], 412)
        self.assertEqual(store.ask("HEAD", key), (200, b""))
        self.assertIn(b"<Key>a/b.bin</Key>", store.ask("GET", f"{store.bucket}?list-type=2&prefix=a/")[1])

    def test_both_are_stores(self):
        self.check_is_a_store(self.store())
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "tiles").mkdir()
            store = self.store("--folder", folder)
            self.check_is_a_store(store)
            self.assertEqual((pathlib.Path(folder) / "tiles" / "a" / "b.bin").read_bytes(), BODY)
            store.stop()

    def test_faults(self):
        store = self.store()
        key = f"{store.bucket}/b.bin"
        store.ask("PUT", key, BODY)
        self.assertEqual(store.control("POST", "/faults", {"status": 503, "share": 0.5, "path": "b.bin"})[0], 200)
        self.assertEqual([store.ask("GET", key)[0] for _ in range(6)], [200, 503] * 3)
        self.assertEqual(store.ask("GET", f"{store.bucket}/c")[0], 404, "whose path does not match is spared")

        store.control("POST", "/faults", {"truncate": 1000})
        with self.assertRaises(http.client.IncompleteRead) as cut:
            store.ask("GET", key)
        self.assertEqual(cut.exception.partial, BODY[:1000])

        store.control("POST", "/faults", {"away": "refuse"})
        for _ in range(2):
            with self.assertRaises(urllib.error.URLError):
                store.ask("GET", key)
        store.control("POST", "/faults", {"away": "hang"})
        with concurrent.futures.ThreadPoolExecutor() as threads:
            waiting = threads.submit(store.ask, "GET", key)
            self.assertFalse(concurrent.futures.wait([waiting], timeout=0.3).done)
            store.control("POST", "/faults", {})
            self.assertIsInstance(waiting.exception(timeout=20), (OSError, http.client.HTTPException))
        self.assertEqual(store.ask("GET", key), (200, BODY))
        self.assertEqual(store.control("POST", "/faults", {"latency": 1})[0], 400)

    def test_latency_and_counts(self):
        store = self.store("--latency-ms", "30")
        key = f"{store.bucket}/b.bin"
        store.ask("PUT", key, BODY)
        store.control("POST", "/reset")
        began = time.monotonic()
        for start in range(4):
            store.ask("GET", key, headers={"Range": f"bytes={start}-{start + 99}"})
        self.assertGreaterEqual(time.monotonic() - began, 4 * 0.03)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: store.ask("GET", key), range(8)))
        counts, log = store.control("GET", "/counts")[1], store.control("GET", "/log")[1]
        self.assertEqual((counts["requests"], counts["bytes"], counts["failed"]), (12, 4 * 100 + 8 * len(BODY), 0))
        self.assertGreater(counts["in_flight_max"], 1, "requests wait side by side")
        self.assertEqual([(e["range"], e["status"], e["bytes"]) for e in log[:2]], [("bytes=0-99", 206, 100), ("bytes=1-100", 206, 100)])
        self.assertTrue(all(e["ms"] >= 30 for e in log))

    def test_it_ends_with_its_parent(self):
        store = Store()
        store.stop()
        self.assertEqual(store.process.returncode, 0)
        with self.assertRaises(urllib.error.URLError):
            store.ask("GET", store.bucket)


if __name__ == "__main__":
    unittest.main()
