//! Previews: a first answer where the exact distribution of a zoom takes long.
//!
//! Counts are always exact. What they are coloured by is the distribution of the whole zoom, and that takes a look at every occupied pixel
//! of the world: for billions of points seconds. Where that is to be expected, a tile is coloured by an estimate from a few tiles, and marked;
//! meanwhile the exact distribution is worked out behind the requests of those who wait, and the next request is answered by it.

use super::pipeline::Pipeline;
use super::pool::{Priority, Queue};
use super::view::View;
use super::{Digest, lock};
use crate::dataset::Dataset;
use crate::engine::Cancel;
use crate::world::Zoom;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one exact distribution may take before it is given up: far longer than for any dataset that a machine can hold.
const REFINEMENT_TIME_MAX: Duration = Duration::from_secs(600);

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

/// Works out exact distributions behind everybody who waits for an answer, each once.
pub(super) struct Refiner {
    pipeline: Arc<Pipeline>,
    queue: Queue,
    under_way: Arc<Mutex<HashMap<(Digest, Zoom), Cancel>>>,
}

impl Refiner {
    pub(super) fn new(pipeline: Arc<Pipeline>, queue: Queue) -> Refiner {
        Refiner { pipeline, queue, under_way: Arc::default() }
    }

    /// Sees to it that the exact distribution of a view and zoom will be there. Where the queue is full that is left to the next request.
    pub(super) fn refine(&self, view: &Arc<View>, zoom: Zoom) {
        let key = (view.counts, zoom);
        let cancel = Cancel::at(Instant::now() + REFINEMENT_TIME_MAX);
        {
            let mut under_way = lock(&self.under_way);
            if under_way.contains_key(&key) {
                return;
            }
            under_way.insert(key, cancel.clone());
        }
        let done = UnderWay { all: self.under_way.clone(), key };
        let (pipeline, view, cancel_in_queue) = (self.pipeline.clone(), view.clone(), cancel.clone());
        let job = move |refused: Option<super::ServiceError>| {
            let _done = done;
            if refused.is_none()
                && let Err(error) = pipeline.distribution(&view, zoom, &cancel)
            {
                tracing::warn!("no exact colours for zoom {} of {}: {error}", zoom.get(), view.source.name());
            }
        };
        // Refused, the job has been dropped, and the next request tries again.
        let _ = self.queue.submit(Priority::Refinement, cancel_in_queue, job);
    }

    /// Gives up what is under way: nobody will ask for it.
    pub(super) fn stop(&self) {
        lock(&self.under_way).values().for_each(Cancel::cancel);
    }
}

/// Taken back on drop, also when a job panics, so that others may try.
struct UnderWay {
    all: Arc<Mutex<HashMap<(Digest, Zoom), Cancel>>>,
    key: (Digest, Zoom),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.key);
    }
}
