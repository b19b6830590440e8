//! Previews: a first answer where the exact distribution of a zoom takes long.
//!
//! Counts are always exact. What they are coloured by is the distribution of the whole zoom, and that takes a look at every occupied pixel
//! of the world: for billions of points seconds. Where that is to be expected, a tile is coloured by an estimate from a few tiles, and marked;
//! meanwhile the exact distribution is worked out behind the requests of those who wait ([`super::refine`]), and the next request is answered by it.

use crate::dataset::Dataset;
use crate::world::Zoom;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Occupied pixels, and values, that an engine looks at in a millisecond, until it has shown how many: two cores of 2023 do two to ten
/// times as much (docs/benchmarks.md).
const CELLS_PER_MS_FIRST: u64 = 200_000;
const VALUES_PER_MS_FIRST: u64 = 40_000;

/// Pixels whose points are spread in a millisecond: those of one tile.
const SPREAD_PER_MS_FIRST: u64 = 1 << 16;

/// A distribution over fewer cells or values says little about how fast an engine is: most of its time is the start.
const TELLING_MIN: u64 = 1_000_000;

/// How long exact distributions of one kind take, and may take. Their work is in cells, in values or in pixels.
pub(super) struct Pace {
    /// `None`: however long.
    budget: Option<Duration>,
    per_ms: AtomicU64,
}

impl Pace {
    /// Of how often counts occur.
    pub(super) fn of_counts(budget: Option<Duration>) -> Pace {
        Pace { budget, per_ms: AtomicU64::new(CELLS_PER_MS_FIRST) }
    }

    /// Of how often values occur.
    pub(super) fn of_values(budget: Option<Duration>) -> Pace {
        Pace { budget, per_ms: AtomicU64::new(VALUES_PER_MS_FIRST) }
    }

    /// Of how often spread counts occur.
    pub(super) fn of_spread(budget: Option<Duration>) -> Pace {
        Pace { budget, per_ms: AtomicU64::new(SPREAD_PER_MS_FIRST) }
    }

    /// Whether so much work is expected to take longer than it may.
    pub(super) fn is_over_budget(&self, work: u64) -> bool {
        let ms = work as f64 / self.per_ms.load(Ordering::Relaxed) as f64;
        self.budget.is_some_and(|budget| ms >= budget.as_secs_f64() * 1e3)
    }

    /// Learns from work that has been done.
    pub(super) fn observe(&self, work: u64, took: Duration) {
        if work >= TELLING_MIN {
            let per_ms = work as f64 / (took.as_secs_f64() * 1e3).max(1.0);
            self.per_ms.store((per_ms as u64).max(1), Ordering::Relaxed);
        }
    }
}

/// What an engine reads for the values of a zoom's pixels: those of all points.
pub(super) fn values(dataset: &Dataset) -> u64 {
    dataset.rows()
}

/// What an engine looks at for the counts of a zoom: the occupied pixels that the index knows, or the points where it does not reach.
pub(super) fn cells(dataset: &Dataset, zoom: Zoom) -> u64 {
    let of_part = |part: &crate::dataset::Part| part.level(zoom.pixel_level()).map_or(u64::from(part.rows()), |level| level.pixel.len() as u64);
    dataset.parts.iter().map(of_part).sum()
}
