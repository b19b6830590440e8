#!/usr/bin/env python3
"""The simulation against arithmetic: the same seed gives the same, nothing is lost, and simple cases come out as formulas say.

    benches/simulate_test.py
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import simulate  # noqa: E402, F401  (brings numpy)
import numpy  # noqa: E402
from simulation import layout, replay, trace  # noqa: E402

SAMPLE = trace.sample_of_towns(50_000, 3)
CLUMPED = {8: 0.05}
FIXED = {"compute_ms": 5.0, "compute_p99_ms": 5.0, "memory_ms": 1.0}


def spaced(tiles, seconds, users=None):
    return [(i * seconds, users or i, tile) for i, tile in enumerate(tiles)]


def one_block(tile):
    return [(tile[1] * 64, 0)]


def no_store(tile):
    # A tile with points whose bytes need no store.
    return [(0, 0)]


class Traces(unittest.TestCase):
    def test_seeds(self):
        habits = trace.Habits(sessions=20)
        self.assertEqual(trace.trace(SAMPLE, habits, 5), trace.trace(SAMPLE, habits, 5))
        self.assertNotEqual(trace.trace(SAMPLE, habits, 5), trace.trace(SAMPLE, habits, 6))

    def test_views_are_screens(self):
        asked = trace.trace(SAMPLE, trace.Habits(sessions=40), 1)
        views = {}
        for when, session, (z, x, y) in asked:
            self.assertTrue(0 <= x < 1 << z and 0 <= y < 1 << z)
            views.setdefault((when, session), []).append((z, x, y))
        sizes = [len(tiles) for tiles in views.values()]
        self.assertTrue(max(sizes) <= 24 and numpy.median(sizes) >= 12, sizes)
        self.assertEqual([when for when, _, _ in asked], sorted(when for when, _, _ in asked))

    def test_places_are_chosen_by_rank(self):
        # Sessions that only ever begin, all with a link: the first place is chosen as often as its share says.
        habits = trace.Habits(sessions=3000, views_mean=1.0, linked=1.0, zoom_linked=(9, 9), zoom_in=0, zoom_out=0, columns=(1, 1), rows=(1, 1))
        starts, _ = trace.places(SAMPLE)
        first = int(SAMPLE[starts[0]]) >> (64 - 18)
        firsts = {}
        for when, session, tile in trace.trace(SAMPLE, habits, 2):
            firsts.setdefault(session, tile)
        share = sum(layout.code_of(*tile) == first for tile in firsts.values()) / len(firsts)
        expected = 1 / sum(1 / rank for rank in range(1, len(starts) + 1))
        self.assertAlmostEqual(share, expected, delta=4 * (expected / 3000) ** 0.5)


class Layouts(unittest.TestCase):
    def test_occupancy(self):
        self.assertAlmostEqual(float(layout.occupied(1, 0.1)), 1, delta=0.01)
        self.assertAlmostEqual(float(layout.occupied(1e15, 0.5)), 65536, delta=1)
        # Points that know nothing of each other: k without end is Poisson's 1 - e^-m.
        self.assertAlmostEqual(float(layout.occupied(65536, 1e7)), 65536 * (1 - numpy.exp(-1)), delta=1)

    def test_clumping_is_found_again(self):
        sample = trace.sample_of_towns(50_000, 3)
        known = {8: 0.01, 12: 0.07}
        of = {level: layout.Layout(sample, 10_000_000, known).cells(level) for level in known}
        found = layout.fit_clumping(sample, 10_000_000, of)
        for level, k in known.items():
            self.assertAlmostEqual(found[level], k, delta=k / 1000)

    def test_tiles_are_their_children(self):
        where = layout.Layout(SAMPLE, 1e9, CLUMPED)
        for z, x, y in [(0, 0, 0), (4, 8, 5), (7, 60, 45)]:
            children = [(z + 1, 2 * x + i, 2 * y + j) for i in (0, 1) for j in (0, 1)]
            self.assertAlmostEqual(where.points_of((z, x, y)), sum(where.points_of(child) for child in children), delta=1)
        self.assertAlmostEqual(where.points_of((0, 0, 0)), 1e9, delta=1)

    def test_keys(self):
        keys = layout.keys_of(numpy.array([0.0, 0.5, 0.0, 0.999]), numpy.array([0.0, 0.0, 0.5, 0.999]))
        # y's bits stand above x's.
        self.assertEqual([int(key) >> 62 for key in keys], [0, 1, 2, 3])
        x, y = trace.coordinates(int(layout.keys_of(numpy.array([0.3]), numpy.array([0.7]))[0]))
        self.assertTrue(abs(x - 0.3) < 1e-9 and abs(y - 0.7) < 1e-9)
        self.assertEqual(layout.code_of(3, 5, 6), int(layout.keys_of(numpy.array([5.5 / 8]), numpy.array([6.5 / 8]))[0]) >> 58)

    def test_runs(self):
        blocks = [(0, 0), (0, 1), (0, 3), (1, 4)] + [(2, i) for i in range(20)]
        self.assertEqual([len(run) for run in layout.requests(blocks)], [2, 1, 1, 16, 4])
        self.assertEqual(layout.Layout(SAMPLE, 1e9, CLUMPED).blocks((4, 0, 0)), [], "a tile without points reads nothing")

    def test_requests_grow_with_parts_not_with_points_of_a_tile(self):
        few, many = (len(layout.requests(layout.Layout(SAMPLE, points, CLUMPED).blocks((0, 0, 0)))) for points in (1e8, 1e9))
        self.assertAlmostEqual(many / few, 10, delta=3)


class Replays(unittest.TestCase):
    def run_of(self, asked, machine=None, store=None, blocks_of=one_block):
        return replay.replay(asked, blocks_of, machine or replay.Machine(**FIXED), store or replay.Store(), 1)

    def test_seeds(self):
        where, asked = layout.Layout(SAMPLE, 1e9, CLUMPED), trace.trace(SAMPLE, trace.Habits(sessions=30), 4)
        store = replay.Store(median_ms=20, p99_ms=90)
        first, second, third = (replay.replay(asked, where.blocks, replay.Machine(), store, seed) for seed in (1, 1, 2))
        self.assertEqual(first, second)
        self.assertNotEqual(first, third)

    def test_nothing_is_lost(self):
        where, asked = layout.Layout(SAMPLE, 1e9, CLUMPED), trace.trace(SAMPLE, trace.Habits(sessions=60, sessions_per_second=5), 4)
        for routing in ("hash", "random"):
            said = replay.replay(asked, where.blocks, replay.Machine(memory_bytes=1e6, disk_bytes=2e6, routing=routing), replay.Store(), 1)
            self.assertEqual(said["requests"], len(asked))
            self.assertEqual(said["requests"], sum(said[kind] for kind in ("browser", "memory", "joined", "shared", "empty", "made")))
            self.assertTrue(said["joined"] and said["memory"] and said["shared"] and said["browser"], said)
            self.assertGreaterEqual(said["store"]["bytes"], said["store"]["requests"] * layout.BLOCK_BYTES)

    def test_a_cold_tile_is_its_rounds_and_its_computing(self):
        tiles = [(8, x, 0) for x in range(50)]
        fast = replay.Store(median_ms=20, p99_ms=20, rounds=1, bytes_per_second=1e12, store_requests_per_second=1e9)
        said = self.run_of(spaced(tiles, 1.0), store=fast)
        self.assertEqual(said["made"], 50)
        self.assertAlmostEqual(said["ms"]["made"]["p50"], 25, delta=0.01)
        self.assertEqual((said["store"]["requests"], said["store"]["bytes"], said["limit"]), (50, 50 * layout.BLOCK_BYTES, "store"))
        two = replay.Store(median_ms=20, p99_ms=20, rounds=2, bytes_per_second=1e12, store_requests_per_second=1e9)
        said = self.run_of(spaced(tiles, 1.0), store=two, blocks_of=lambda tile: [(tile[1] * 64, 0), (tile[1] * 64 + 1, 0)])
        self.assertAlmostEqual(said["ms"]["made"]["p50"], 45, delta=0.01)
        # 64 requests with 32 at once are two waves in one round.
        said = self.run_of(spaced(tiles, 1.0), store=fast, blocks_of=lambda tile: [(tile[1] * 64 + i, 0) for i in range(64)])
        self.assertAlmostEqual(said["ms"]["made"]["p50"], 45, delta=0.1)

    def test_the_network_is_shared(self):
        slow = replay.Store(median_ms=0, p99_ms=0, rounds=1, bytes_per_second=layout.BLOCK_BYTES * 10.0)
        machine = replay.Machine(replicas=1, threads=8, cores=8, **FIXED)
        said = self.run_of([(0.0, i, (8, i, 0)) for i in range(5)], machine, slow)
        # 100 ms each, one after the other: the last arrives after 500.
        self.assertAlmostEqual(said["ms"]["made"]["p50"], 305, delta=2)
        self.assertEqual(said["limit"], "store")

    def test_who_comes_again(self):
        again = [(8, 1, 1)] * 3
        self.assertEqual(self.run_of(spaced(again, 1.0, users=7))["browser"], 2)
        self.assertEqual(self.run_of(spaced(again, 1.0))["memory"], 2)
        joined = self.run_of(spaced(again, 0.001))
        self.assertEqual((joined["joined"], joined["made"], joined["store"]["requests"]), (2, 1, 1))
        # Without memory for tiles, they come from the shared cache; without that too, they are made again of blocks on the disk.
        shared = self.run_of(spaced(again, 1.0), replay.Machine(memory_bytes=0, **FIXED))
        self.assertEqual((shared["shared"], shared["made"]), (2, 1))
        ahead = self.run_of(spaced(again, 1.0), replay.Machine(made_ahead_zoom=8, memory_bytes=0, shared_bytes=0, **FIXED))
        self.assertEqual((ahead["shared"], ahead["store"]["requests"]), (3, 0))
        deeper = self.run_of(spaced(again, 1.0), replay.Machine(made_ahead_zoom=7, **FIXED))
        self.assertEqual((deeper["memory"], deeper["made"]), (2, 1))
        made = self.run_of(spaced(again, 1.0), replay.Machine(memory_bytes=0, shared_bytes=0, **FIXED))
        self.assertEqual((made["made"], made["store"]["requests"], made["hit_rate"]["blocks"]), (3, 1, 2 / 3))

    def test_what_was_used_last_stays(self):
        cache = replay.Lru(2)
        for key in "aba":
            cache.put(key, 1)
        cache.put("c", 1)
        self.assertEqual([cache.has(key) for key in "abc"], [True, False, True])
        cache.put("too large", 3)
        self.assertEqual([cache.has(key) for key in ("a", "c", "too large")], [True, True, False])

    def test_least_recently_used_of_independent_draws(self):
        # Che's approximation: with the characteristic time t that fills the cache, thing i is hit with 1 - e^(-p t).
        random = numpy.random.default_rng(1)
        p = numpy.arange(1, 1001, dtype=float) ** -0.9
        p /= p.sum()
        drawn = random.choice(1000, size=40_000, p=p)
        machine = replay.Machine(replicas=1, memory_bytes=100 * 12e3, shared_bytes=0, **FIXED)
        said = self.run_of(spaced([(10, int(i), 0) for i in drawn], 1.0), machine, blocks_of=no_store)
        low, high = 0.0, 1e6
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if (1 - numpy.exp(-p * middle)).sum() < 100 else (low, middle)
        self.assertAlmostEqual(said["hit_rate"]["memory"], float((p * (1 - numpy.exp(-p * low))).sum()), delta=0.01)

    def test_a_queue_of_one(self):
        # M/D/1: who arrives at random at a server that takes s waits rho s / (2 (1 - rho)) on average.
        random = numpy.random.default_rng(2)
        when = numpy.cumsum(random.exponential(0.010, 40_000))
        machine = replay.Machine(replicas=1, threads=1, cores=1, memory_bytes=0, shared_bytes=0, memory_ms=0.0, compute_ms=5.0, compute_p99_ms=5.0)
        asked = [(float(t), i, (16, i, 0)) for i, t in enumerate(when)]
        made = []
        replay.replay(asked, no_store, machine, replay.Store(median_ms=0, p99_ms=0), 1, made)
        waited = numpy.mean([entry.queued for entry in made]) * 1e3
        self.assertAlmostEqual(waited, 0.5 * 5 / (2 * 0.5), delta=0.1)


if __name__ == "__main__":
    unittest.main()
