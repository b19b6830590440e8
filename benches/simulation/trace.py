"""People who look at a map: what tiles they ask for, and when.

A session begins with the whole country or with a link to a place, and then zooms in on something, pans, zooms out, with time to look between.
What people look at is where points are: of the places (tiles of zoom 9 by their points) the one of rank r is chosen as often as r^-s says. A view
is a screen of 12 to 24 tiles, asked for at once, as map libraries do. What of this is measured: nothing. The numbers below are guesses at how
people use maps, each with a name, so that another guess is one argument away. The same seed gives the same trace.
"""

import dataclasses

import numpy

PLACE_ZOOM = 9


@dataclasses.dataclass(frozen=True)
class Habits:
    sessions: int = 500
    # Sessions that begin in a second: 0.2 a second with 15 views of some 5 s are about 15 people at a time.
    sessions_per_second: float = 0.2
    views_mean: float = 15.0
    think_seconds_median: float = 4.0
    think_sigma: float = 0.8
    zipf: float = 1.0
    linked: float = 0.3
    zoom_start: int = 4
    zoom_linked: tuple = (8, 12)
    zoom_max: int = 16
    columns: tuple = (4, 6)
    rows: tuple = (3, 4)
    zoom_in: float = 0.4
    zoom_out: float = 0.15


def tiles_of_view(x, y, zoom, columns, rows):
    """The tiles of a screen around a place, in [0, 1) of the world."""
    side = 1 << zoom
    left, top = (int(numpy.floor(centre * side - count / 2 + 0.5)) for centre, count in ((x, columns), (y, rows)))
    return [(zoom, column % side, row) for row in range(max(0, top), min(side, top + rows)) for column in range(left, left + min(columns, side))]


def places(sample):
    """Tiles of zoom 9 by their points, the fullest first, as slices of the sample."""
    codes, starts, counts = numpy.unique(sample >> numpy.uint64(64 - 2 * PLACE_ZOOM), return_index=True, return_counts=True)
    order = numpy.lexsort((codes, -counts))
    return starts[order], counts[order]


def coordinates(key):
    """The x and y of a key, from 0 to 1."""
    x = y = 0
    for bit in range(32):
        x |= ((key >> (2 * bit)) & 1) << bit
        y |= ((key >> (2 * bit + 1)) & 1) << bit
    return x / 2**32, y / 2**32


def trace(sample, habits, seed):
    """Requests in the order of their times: [(seconds, session, tile), ..]. The tiles of a view have one time."""
    random = numpy.random.default_rng(seed)
    starts, counts = places(sample)
    weights = numpy.arange(1, len(starts) + 1, dtype=float) ** -habits.zipf
    weights /= weights.sum()

    def somewhere():
        place = random.choice(len(starts), p=weights)
        return coordinates(int(sample[starts[place] + random.integers(counts[place])]))

    asked = []
    begin = 0.0
    for session in range(habits.sessions):
        begin += random.exponential(1 / habits.sessions_per_second)
        now = begin
        x, y = somewhere()
        target = (x, y)
        zoom = habits.zoom_start
        if random.random() < habits.linked:
            zoom = int(random.integers(habits.zoom_linked[0], habits.zoom_linked[1] + 1))
        columns, rows = (int(random.integers(low, high + 1)) for low, high in (habits.columns, habits.rows))
        for _ in range(1 + random.geometric(1 / habits.views_mean)):
            asked.extend((now, session, tile) for tile in tiles_of_view(x, y, zoom, columns, rows))
            now += random.lognormal(numpy.log(habits.think_seconds_median), habits.think_sigma)
            what = random.random()
            if what < habits.zoom_in and zoom < habits.zoom_max:
                # On something: what the session came for, while it is on the screen, else what is in the middle.
                zoom += 1
                if max(abs(target[0] - x), abs(target[1] - y)) * (1 << zoom) < columns:
                    x, y = target
            elif what < habits.zoom_in + habits.zoom_out and zoom > 2:
                zoom -= 1
            else:
                angle, screens = random.random() * 2 * numpy.pi, random.uniform(0.3, 1.0)
                x = (x + numpy.cos(angle) * screens * columns / (1 << zoom)) % 1.0
                y = min(max(y + numpy.sin(angle) * screens * rows / (1 << zoom), 0.0), 1.0)
    asked.sort(key=lambda request: request[:2])
    return asked


def sample_of_towns(points, seed, towns=20_000):
    """Keys of points in towns whose sizes fall as 1 / rank, each a heap with a dense middle, in a handful of countries; a tenth anywhere on
    land. A stand-in where no dataset is at hand: `--dataset` takes the real places."""
    random = numpy.random.default_rng(seed)
    centres = random.random((40, 2)) * [0.9, 0.5] + [0.05, 0.2]
    country = random.choice(len(centres), size=towns, p=numpy.arange(1, 41) ** -0.8 / (numpy.arange(1, 41) ** -0.8).sum())
    town = centres[country] + random.normal(size=(towns, 2)) * 0.02
    shares = numpy.arange(1, towns + 1) ** -1.0
    of = random.choice(towns, size=points, p=shares / shares.sum())
    radius = 2e-4 * (shares[of] / shares[0]) ** 0.35 * random.lognormal(0, 1.2, points)
    angle = random.random(points) * 2 * numpy.pi
    at = town[of] + numpy.stack([numpy.cos(angle), numpy.sin(angle)], 1) * radius[:, None]
    rural = random.random(points) < 0.1
    at[rural] = centres[country[of[rural]]] + random.normal(size=(int(rural.sum()), 2)) * 0.03
    from .layout import keys_of

    return keys_of(at[:, 0] % 1.0, numpy.clip(at[:, 1], 0, 1))
