"""Where the bytes of a tile lie in a dataset of any number of points, and which requests bring them.

The files are those that src/dataset describes; which ranges a tile reads follows `Part::want_tile` and `Part::want_ranks` (src/dataset/stored).
What is not there to look at, a dataset of 10^12 points, is drawn large from a sample of points in the order of their keys: a tile has its
share of the sample. How many of its 65,536 pixels are occupied follows from how many points it has:

    pixels(n) = 65,536 (1 - (1 + n / (65,536 k))^-k)        the occupancy of counts with a negative binomial distribution

where k is how clumped points are at the scale of a level: small for ships along a lane, infinite for rain. `fit_clumping` finds it from the cells
per level that a dataset's manifest counts; with more points it is taken to stay what it is. This module knows nothing of time, caches or users.
"""

import numpy

# src/dataset/mod.rs, index.rs, fences.rs, stored/blocks.rs.
PART_POINTS = 1 << 23
LEVEL_MIN = 8
POINTS_PER_CELL_MIN = 4
FENCE_ENTRIES = 1024
BLOCK_BYTES = 128 << 10
RUN_BLOCKS = 16
TILE_PIXELS = 1 << 16
# src/engine/cpu/select.rs
RANKS_BYTES_A_POINT = 2
# Level-16 cells carry the upper half of keys.
CELLS_LEVEL = 16

# The arrays of a part, numbered as far apart as no part is long.
HI, HI_START, PIXEL, START, RANKS, LO, CATEGORY = range(7)


def spread_bits(values):
    """Interleaves zeros: bit i goes to bit 2 i."""
    values = values.astype(numpy.uint64)
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555)):
        values = (values | (values << numpy.uint64(shift))) & numpy.uint64(mask)
    return values


def keys_of(x, y):
    """64-bit Z-order keys of world coordinates from 0 to 1, sorted. y's bits stand above x's, as in src/world."""
    scaled = [(numpy.clip(axis, 0, 1 - 2**-32) * 2**32).astype(numpy.uint64) for axis in (x, y)]
    return numpy.sort(spread_bits(scaled[0]) | (spread_bits(scaled[1]) << numpy.uint64(1)))


def code_of(z, x, y):
    """The cell of a tile: the first 2 z bits of its keys."""
    pair = spread_bits(numpy.array([x, y]))
    return int(pair[0]) | int(pair[1]) << 1


def occupied(points, clumping):
    """How many pixels of a tile with so many points have any."""
    mean = numpy.asarray(points, dtype=float) / TILE_PIXELS
    return TILE_PIXELS * -numpy.expm1(-clumping * numpy.log1p(mean / clumping))


def fit_clumping(sample, points, cells_of_level):
    """By level, the k with which a level has as many cells as a manifest counts."""
    return {level: fit_level(tile_counts(sample, level - 8) * (points / len(sample)), cells) for level, cells in cells_of_level.items()}


def fit_level(tiles, cells):
    low, high = 1e-6, 1e6
    for _ in range(80):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if occupied(tiles, middle).sum() < cells else (low, middle)
    return (low * high) ** 0.5


def of_json(clumping):
    """JSON's keys are text."""
    return {int(level): k for level, k in clumping.items()}


def clumping_at(clumping, level):
    """Of a level that was not fitted, the nearest one's."""
    return clumping[min(clumping, key=lambda fitted: abs(fitted - level))]


def tile_counts(sample, zoom):
    return numpy.unique(sample >> numpy.uint64(64 - 2 * zoom), return_counts=True)[1] if zoom else numpy.array([len(sample)])


class Layout:
    """A dataset of `points` points that lie as `sample` does (sorted 64-bit keys); `clumping` by level."""

    def __init__(self, sample, points, clumping, groups=6, ranked_levels=None, zoom_max=18):
        self.sample, self.points, self.clumping, self.groups = sample, int(points), clumping, groups
        self.weight = points / len(sample)
        self.parts = -(-self.points // PART_POINTS)
        self.zooms = {}
        for zoom in range(zoom_max + 1):
            codes, counts = numpy.unique(sample >> numpy.uint64(64 - 2 * zoom), return_counts=True) if zoom else (numpy.array([0]), numpy.array([len(sample)]))
            ends = numpy.concatenate([[0], numpy.cumsum(counts)]) * self.weight
            entries = numpy.concatenate([[0], numpy.cumsum(occupied(counts * self.weight, clumping_at(clumping, zoom + 8)))])
            self.zooms[zoom] = (codes, ends, entries)
        self.levels = [zoom + 8 for zoom in range(zoom_max + 1) if self.cells(zoom + 8) * POINTS_PER_CELL_MIN <= points]
        # The finest level whose ranks are stored, as they fit under their bytes a point.
        taken = numpy.cumsum([self.cells(level) * 4 * groups for level in self.levels])
        fitting = [level for level, bytes_ in zip(self.levels, taken) if bytes_ <= RANKS_BYTES_A_POINT * points]
        self.ranked_levels = max(fitting, default=0) if ranked_levels is None else ranked_levels

    def cells(self, level):
        return float(self.zooms[level - 8][2][-1])

    def points_of(self, tile):
        first, last = self.positions(tile)
        return last - first

    def positions(self, tile):
        """Where the points of a tile lie among all: from and to."""
        z, x, y = tile
        codes, ends, _ = self.zooms[z]
        at = int(numpy.searchsorted(codes, code_of(z, x, y)))
        if at == len(codes) or codes[at] != code_of(z, x, y):
            return ends[at], ends[at]
        return ends[at], ends[at + 1]

    def entries_at(self, level, positions):
        """How many cells of a level begin before positions."""
        _, ends, entries = self.zooms[level - 8]
        return numpy.interp(positions, ends, entries)

    def blocks(self, tile):
        """The blocks of files that a tile without a filter reads, in the order of their places: [(array of a part, block), ..]."""
        z = tile[0]
        first, last = self.positions(tile)
        if last <= first:
            return []
        wanted = []
        level = z + 8
        for part in range(int(first // PART_POINTS), int(-(-last // PART_POINTS))):
            begin, end = part * PART_POINTS, min((part + 1) * PART_POINTS, self.points)
            a, b = max(first, begin), min(last, end)

            def add(array, bytes_each, from_, to):
                size = bytes_each * max(0.0, to - max(0.0, from_))
                if size:
                    start = int(bytes_each * max(0.0, from_))
                    wanted.append((part * 64 + array, start // BLOCK_BYTES, -(-int(start + size) // BLOCK_BYTES)))

            before = self.entries_at(CELLS_LEVEL, begin)
            cell_a, cell_b = (self.entries_at(CELLS_LEVEL, at) - before for at in (a, b))
            if level in self.levels:
                for at in (cell_a, cell_b):
                    stretch = at // FENCE_ENTRIES * FENCE_ENTRIES
                    for array in (HI, HI_START):
                        add(array, 4, stretch - FENCE_ENTRIES, stretch + 2 * FENCE_ENTRIES)
                before = self.entries_at(level, begin)
                from_, to = self.entries_at(level, a) - before - FENCE_ENTRIES, self.entries_at(level, b) - before + FENCE_ENTRIES
                of_level = 8 * (level - LEVEL_MIN)
                add(PIXEL + of_level, 2, from_, to)
                add(START + of_level, 4, from_, to)
                if level <= self.ranked_levels:
                    add(RANKS + of_level, 4 * self.groups, from_, to)
                else:
                    add(CATEGORY, 1, a - begin, b - begin)
            else:
                for array in (HI, HI_START):
                    add(array, 4, cell_a - FENCE_ENTRIES, cell_b + FENCE_ENTRIES)
                if level > CELLS_LEVEL:
                    add(LO, 4, a - begin, b - begin)
                add(CATEGORY, 1, a - begin, b - begin)
        return sorted({(array, block) for array, from_, to in wanted for block in range(from_, to)})


def requests(blocks):
    """The requests that bring blocks, as lists of blocks: those that follow each other in one file, up to 2 MiB."""
    runs = []
    for array, block in blocks:
        last = runs[-1] if runs else None
        if last and last[-1] == (array, block - 1) and len(last) < RUN_BLOCKS:
            last.append((array, block))
        else:
            runs.append([(array, block)])
    return runs
