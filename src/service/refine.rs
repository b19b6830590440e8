//! Refinement: exact distributions worked out behind everybody who waits for an answer.

use super::pipeline::Pipeline;
use super::pool::{Priority, Queue};
use super::view::View;
use super::{Digest, lock};
use crate::engine::Cancel;
use crate::shade::Spread;
use crate::world::Zoom;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one exact distribution may take before it is given up: far longer than for any dataset that a machine can hold.
const REFINEMENT_TIME_MAX: Duration = Duration::from_secs(600);

/// Works out exact distributions behind everybody who waits for an answer, each once.
pub(super) struct Refiner {
    pipeline: Arc<Pipeline>,
    queue: Queue,
    under_way: Arc<Mutex<Works>>,
}

/// What is worked out: of which numbers and zoom, and how far their points are spread.
type Refined = (Digest, Zoom, Spread);

/// What is under way; `None` after the stop, when nothing begins any more.
type Works = Option<HashMap<Refined, Cancel>>;

impl Refiner {
    pub(super) fn new(pipeline: Arc<Pipeline>, queue: Queue) -> Refiner {
        Refiner { pipeline, queue, under_way: Arc::new(Mutex::new(Some(HashMap::new()))) }
    }

    /// Sees to it that the exact distribution of a view and zoom will be there. Where the queue is full that is left to the next request.
    pub(super) fn refine(&self, view: &Arc<View>, zoom: Zoom) {
        let key = (view.numbers, zoom, view.style.spread);
        let cancel = Cancel::at(Instant::now() + REFINEMENT_TIME_MAX);
        {
            let mut works = lock(&self.under_way);
            let Some(under_way) = works.as_mut().filter(|works| !works.contains_key(&key)) else { return };
            under_way.insert(key, cancel.clone());
        }
        let done = UnderWay { all: self.under_way.clone(), key };
        let (pipeline, view, cancel_in_queue) = (self.pipeline.clone(), view.clone(), cancel.clone());
        let job = move |refused: Option<super::ServiceError>| {
            let _done = done;
            if refused.is_none()
                && let Err(error) = pipeline.make_exact(&view, zoom, &cancel)
                && !matches!(error, super::ServiceError::Cancelled)
            {
                tracing::warn!("no exact colours for zoom {} of {}: {error}", zoom.get(), view.source.name());
            }
        };
        // Refused, the job has been dropped, and the next request tries again.
        let _ = self.queue.submit(Priority::Refinement, cancel_in_queue, job);
    }

    /// Gives up what is under way, and begins nothing more: nobody will ask for it.
    pub(super) fn stop(&self) {
        lock(&self.under_way).take().iter().flatten().for_each(|(_, cancel)| cancel.cancel());
    }
}

/// Taken back on drop, also when a job panics, so that others may try.
struct UnderWay {
    all: Arc<Mutex<Works>>,
    key: Refined,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(works) = lock(&self.all).as_mut() {
            works.remove(&self.key);
        }
    }
}
