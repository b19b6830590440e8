//! Previews: a first answer where the exact distribution of a zoom takes long.
//!
//! Counts are always exact. What they are coloured by is the distribution of the whole zoom, and that takes a look at every occupied pixel
//! of the world: for billions of points seconds. Where that is to be expected, a tile is coloured by an estimate from a few tiles, and marked;
//! meanwhile the exact distribution is worked out behind the requests of those who wait ([`super::refine`]), and the next request is answered by it.

use crate::dataset::Dataset;
use crate::world::Zoom;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Occupied pixels that an engine looks at in a millisecond, until it has shown how many: two cores of 2023 do more.
const CELLS_PER_MS_FIRST: u64 = 50_000;

/// A distribution over fewer cells says little about how fast an engine is: most of its time is the start.
const CELLS_TELLING_MIN: u64 = 1_000_000;

/// How long exact distributions take, and may take.
pub(super) struct Pace {
    /// `None`: however long.
    budget: Option<Duration>,
    cells_per_ms: AtomicU64,
}

impl Pace {
    pub(super) fn new(budget: Option<Duration>) -> Pace {
        Pace { budget, cells_per_ms: AtomicU64::new(CELLS_PER_MS_FIRST) }
    }

    /// Whether the distribution of a zoom is expected to take longer than it may.
    pub(super) fn is_over_budget(&self, dataset: &Dataset, zoom: Zoom) -> bool {
        let ms = cells(dataset, zoom) as f64 / self.cells_per_ms.load(Ordering::Relaxed) as f64;
        self.budget.is_some_and(|budget| ms >= budget.as_secs_f64() * 1e3)
    }

    /// Learns from a distribution that has been made.
    pub(super) fn observe(&self, dataset: &Dataset, zoom: Zoom, took: Duration) {
        let cells = cells(dataset, zoom);
        if cells >= CELLS_TELLING_MIN {
            let per_ms = cells as f64 / (took.as_secs_f64() * 1e3).max(1.0);
            self.cells_per_ms.store((per_ms as u64).max(1), Ordering::Relaxed);
        }
    }
}

/// What an engine looks at: the occupied pixels that the index knows, or the points where it does not reach.
fn cells(dataset: &Dataset, zoom: Zoom) -> u64 {
    let of_part = |part: &crate::dataset::Part| part.level(zoom.pixel_level()).map_or(u64::from(part.rows()), |level| level.pixel.len() as u64);
    dataset.parts.iter().map(of_part).sum()
}
