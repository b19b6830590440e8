"""A trace of tiles against caches, threads and a store: what is a hit where, how long answers take, and what they wait for.

    browser -> a replica, by consistent hashing on the tile -> its finished tiles -> tiles being made (joined) -> shared Redis
            -> a thread: blocks that are not on its disk from the store, all at once, in `rounds` rounds -> a core: count, shade, encode

A simulation of events: a thread is held while its tile's blocks come, as in the server; cores are taken for computing only. The store
answers after a random time (log-normal, by median and p99), a replica's network hands over one byte after the other, and no more than
`store_requests_per_second` are answered in any second. Times are those at the server: how far away its clients are is not in them. Left
out: evictions while a tile is being made, retries, a second dataset, and what filters cost (docs/scale.md says what they read).
"""

import collections
import dataclasses
import functools
import heapq
import typing
import zlib

import numpy

from .layout import BLOCK_BYTES, requests

# z of the normal distribution at 0.99.
Z99 = 2.3263


@dataclasses.dataclass(frozen=True)
class Machine:
    replicas: int = 3
    # What nginx chooses a replica by: hash of the tile, or at random.
    routing: str = "hash"
    cores: int = 2
    threads: int = 4
    memory_bytes: float = 128e6
    shared_bytes: float = 1e9
    disk_bytes: float = 10e9
    # Tiles up to this zoom were made ahead of time (`pointillist prewarm`) and are in the shared cache, beside what it keeps; -1: none.
    made_ahead_zoom: int = -1
    tile_bytes: float = 12e3
    # What an answer from memory takes, one from Redis more than that, and computing a tile whose bytes are there.
    memory_ms: float = 0.3
    shared_ms: float = 1.0
    compute_ms: float = 5.0
    compute_p99_ms: float = 15.0


@dataclasses.dataclass(frozen=True)
class Store:
    median_ms: float = 20.0
    p99_ms: float = 20.0
    rounds: float = 2.0
    # What a request takes in the client, beside waiting.
    request_ms: float = 0.0
    requests_at_once: int = 32
    bytes_per_second: float = 1.25e9 / 2
    # Of a prefix in S3, by its documentation.
    store_requests_per_second: float = 5500.0


class Lru:
    """What was used last of things of a size each."""

    def __init__(self, capacity_bytes):
        self.capacity, self.used, self.held = capacity_bytes, 0.0, collections.OrderedDict()

    def has(self, key):
        if key in self.held:
            self.held.move_to_end(key)
            return True
        return False

    def put(self, key, size):
        if self.has(key) or size > self.capacity:
            return
        self.held[key] = size
        self.used += size
        while self.used > self.capacity:
            self.used -= self.held.popitem(last=False)[1]


def lognormal(random, median, p99, size=None):
    if p99 <= median or median <= 0:
        return median if size is None else numpy.full(size, float(median))
    return random.lognormal(numpy.log(median), numpy.log(p99 / median) / Z99, size)


class Made(typing.NamedTuple):
    """A tile that was made, in seconds, and what it took from the store."""

    tile: tuple
    took: float
    queued: float
    fetching: float
    waiting_for_core: float
    computing: float
    requests: int
    blocks: int


class Replica:
    def __init__(self, machine):
        self.tiles, self.blocks = Lru(machine.memory_bytes), Lru(machine.disk_bytes)
        self.making = {}
        self.threads, self.cores = machine.threads, machine.cores
        self.queue, self.core_queue = collections.deque(), collections.deque()
        self.network_free = 0.0


def hash_of(tile):
    """The same in every run of Python."""
    return zlib.crc32(b"%d/%d/%d" % tile)


def replay(trace, blocks_of, machine, store, seed, made=None):
    """What happens, as a dictionary. `blocks_of` gives the blocks of a tile (`Layout.blocks`); to `made`, a list, every tile that is made is
    added."""
    random = numpy.random.default_rng(seed)
    blocks_of = functools.cache(blocks_of)
    replicas = [Replica(machine) for _ in range(machine.replicas)]
    shared = Lru(machine.shared_bytes)
    browsers = collections.defaultdict(set)
    counts = collections.Counter()
    made = [] if made is None else made
    latencies, busy = [], collections.Counter()
    store_free = 0.0
    events, order = [], 0

    def at(when, what, *rest):
        nonlocal order
        order += 1
        heapq.heappush(events, (when, order, what, rest))

    def answered(kind, asked, now):
        counts[kind] += 1
        latencies.append((kind, (now - asked) * 1e3))

    def start_next(replica, now):
        while replica.threads and replica.queue:
            tile, asked = replica.queue.popleft()
            replica.threads -= 1
            at(now, "fetch", replica, tile, asked)

    def compute_next(replica, now):
        while replica.cores and replica.core_queue:
            job = replica.core_queue.popleft()
            replica.cores -= 1
            seconds = lognormal(random, machine.compute_ms, machine.compute_p99_ms) / 1e3
            busy["cores"] += seconds
            at(now + seconds, "done", replica, *job, now, seconds)

    for asked, session, tile in trace:
        if tile in browsers[session]:
            counts["requests"] += 1
            answered("browser", asked, asked)
        else:
            browsers[session].add(tile)
            at(asked, "ask", tile)

    end = 0.0
    while events:
        now, _, what, rest = heapq.heappop(events)
        end = max(end, now)
        if what == "ask":
            (tile,) = rest
            counts["requests"] += 1
            replica = replicas[hash_of(tile) % len(replicas) if machine.routing == "hash" else random.integers(len(replicas))]
            if replica.tiles.has(tile):
                answered("memory", now, now + machine.memory_ms / 1e3)
            elif tile in replica.making:
                replica.making[tile].append(now)
            elif shared.has(tile) or tile[0] <= machine.made_ahead_zoom:
                replica.tiles.put(tile, machine.tile_bytes)
                answered("shared", now, now + (machine.memory_ms + machine.shared_ms) / 1e3)
            elif not blocks_of(tile):
                # Known from the overview, without rendering.
                answered("empty", now, now + machine.memory_ms / 1e3)
            else:
                replica.making[tile] = []
                replica.queue.append((tile, now))
                start_next(replica, now)
        elif what == "fetch":
            replica, tile, asked = rest
            wanted = blocks_of(tile)
            missing = [block for block in wanted if not replica.blocks.has(block)]
            runs = requests(missing)
            for block in missing:
                replica.blocks.put(block, BLOCK_BYTES)
            counts["blocks"] += len(wanted)
            counts["block_hits"] += len(wanted) - len(missing)
            counts["store_requests"] += len(runs)
            counts["store_bytes"] += len(missing) * BLOCK_BYTES
            arrived = now
            # Rounds follow each other, each with its share of the requests; so do waves of more than may be under way.
            rounds = max(1, min(round(store.rounds), len(runs))) if runs else 0
            for share in numpy.array_split(numpy.arange(len(runs)), rounds) if rounds else []:
                for wave in range(0, len(share), store.requests_at_once):
                    count = len(share[wave : wave + store.requests_at_once])
                    allowed = max(arrived, store_free)
                    store_free = allowed + count / store.store_requests_per_second
                    size = sum(len(runs[i]) for i in share[wave : wave + store.requests_at_once]) * BLOCK_BYTES
                    first = allowed + float(lognormal(random, store.median_ms, store.p99_ms, count).max()) / 1e3 + count * store.request_ms / 1e3
                    busy["network"] += size / store.bytes_per_second
                    replica.network_free = max(replica.network_free, first) + size / store.bytes_per_second
                    arrived = replica.network_free
            busy["threads"] += arrived - now
            at(arrived, "fetched", replica, tile, asked, now, len(runs), len(missing))
        elif what == "fetched":
            replica, *job = rest
            replica.core_queue.append((*job, now))
            compute_next(replica, now)
        elif what == "done":
            replica, tile, asked, started, runs, missing, fetched, computing, seconds = rest
            replica.cores += 1
            replica.threads += 1
            busy["threads"] += now - fetched
            replica.tiles.put(tile, machine.tile_bytes)
            shared.put(tile, machine.tile_bytes)
            answered("made", asked, now)
            for joined in replica.making.pop(tile):
                answered("joined", joined, now)
            made.append(Made(tile, now - asked, started - asked, fetched - started, computing - fetched, seconds, runs, missing))
            start_next(replica, now)
            compute_next(replica, now)

    return summary(counts, latencies, made, busy, machine, store, end)


def percentiles(values):
    values = numpy.asarray(values, dtype=float)
    return {f"p{p}": round(float(numpy.percentile(values, p)), 3) for p in (50, 95, 99)} if len(values) else None


def summary(counts, latencies, made, busy, machine, store, seconds):
    kinds = ("browser", "memory", "joined", "shared", "empty", "made")
    times = {kind: [ms for of, ms in latencies if of == kind] for kind in kinds}
    # What the slowest twentieth of the tiles that were made spend their time on.
    slowest = sorted(made, key=lambda entry: entry.took)[-max(1, len(made) // 20) :]

    def spent(field):
        return float(numpy.mean([getattr(entry, field) for entry in slowest])) * 1e3

    spends = {"threads": spent("queued"), "store": spent("fetching"), "cores": spent("waiting_for_core"), "computing": spent("computing")} if made else {}
    within = max(seconds, 1e-9)
    used = {
        "threads": busy["threads"] / (within * machine.threads * machine.replicas),
        "cores": busy["cores"] / (within * machine.cores * machine.replicas),
        "network": busy["network"] / (within * machine.replicas),
        "store_requests": counts["store_requests"] / (within * store.store_requests_per_second),
    }
    behind_browser = counts["requests"] - counts["browser"]
    return {
        "seconds": round(seconds, 1),
        "requests": counts["requests"],
        **{kind: counts[kind] for kind in kinds},
        "hit_rate": {
            "browser": counts["browser"] / max(1, counts["requests"]),
            "memory": (counts["memory"] + counts["joined"]) / max(1, behind_browser),
            "shared": counts["shared"] / max(1, counts["shared"] + counts["made"]),
            "blocks": counts["block_hits"] / max(1, counts["blocks"]),
        },
        "ms": {
            "all_at_server": percentiles([ms for kind in kinds[1:] for ms in times[kind]]),
            **{kind: percentiles(times[kind]) for kind in kinds[1:]},
            "made_with_store": percentiles([entry.took * 1e3 for entry in made if entry.requests]),
        },
        "store": {
            "requests": counts["store_requests"],
            "bytes": counts["store_bytes"],
            "requests_a_made_tile": counts["store_requests"] / max(1, counts["made"]),
            "bytes_a_made_tile": counts["store_bytes"] / max(1, counts["made"]),
        },
        "slowest_made_ms": spends,
        "used": used,
        "limit": max(spends, key=spends.get) if spends else None,
    }
