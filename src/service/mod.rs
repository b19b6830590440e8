//! The service: what turns a request for a tile into bytes, without knowing what a request over HTTP is.
//!
//! ```text
//! View (dataset, filter, style) + tile
//!   -> finished tiles  [cache]    hit: microseconds
//!   -> shared tiles    [shared]   where there is a Redis for them; asked by the pool's threads
//!   -> tiles on disk   [disk]     where there is a folder for them; found by the pool's threads
//!   -> flights         [flight]   equal requests under way are joined; one that nobody waits for any more is cancelled
//!   -> pool            [pool]     a bounded queue in front of named threads
//!   -> pipeline        [pipeline] selection -> counts -> distribution -> shade -> encode, each step cached
//! ```
//!
//! Everything here blocks or calls back: an asynchronous server passes a callback and never waits on a thread. This module
//! must not know HTTP.

mod body;
mod cache;
mod counts;
mod digest;
pub mod disk;
mod error;
mod flight;
mod memo;
mod metrics;
mod mosaic;
mod packed;
mod pipeline;
mod pool;
mod preview;
mod purge;
mod refine;
mod registry;
mod scales;
mod shared;
mod source;
mod spread;
mod sums;
#[cfg(test)]
mod tests;
mod tile;
mod values;
mod view;

pub use body::TileBody;
pub use cache::{ByteLru, CacheStats};
pub use digest::Digest;
pub use error::ServiceError;
pub use flight::Ticket;
pub use metrics::Metrics;
pub use mosaic::pixel_zoom;
pub use pipeline::{CacheBudgets, Explained, Pipeline};
pub use pool::Priority;
pub use purge::{Purge, PurgeError};
pub use registry::{Changes, Registry, Sources};
pub use shared::{SharedCache, SharedError};
pub use source::{Source, ZOOM_MAX_SERVED};
pub use sums::{SumRule, TileNumbers};
pub use tile::{Content, Scale, StageTimes, Tile, TileKey, TileQuality, TileRequest};
pub use view::{View, ViewError, column_named};

use crate::archive::Archive;
use crate::engine::Cancel;
use crate::world::Zoom;
use disk::DiskCache;
use flight::{Boarding, Flights};
use pool::Pool;
use refine::Refiner;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::Span;

/// The target of spans for traces: `queue`, `select`, `count`, `distribution`, `shade` and `encode`, inside of whatever span the asker is in.
/// It begins with no name of a module, so that no level of the log takes them in.
pub const TRACE: &str = "trace::pointillist";

/// What bounds a service.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes for finished tiles and counts together.
    pub cache_bytes: usize,
    /// Threads that count, shade and encode.
    pub threads: usize,
    /// Requests that may wait for a thread. At 5 ms a tile and two threads, 512 wait for little over a second.
    pub queue_jobs_max: usize,
    /// How long a request may take in all before it is given up.
    pub deadline: Duration,
    /// How long the exact colours of a tile may be expected to take before a preview is sent in their place.
    pub preview_budget: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            cache_bytes: 512 << 20,
            // Twice the cores: a thread that waits for a selection which another one makes must not idle a core.
            threads: 2 * cores,
            queue_jobs_max: 512,
            deadline: Duration::from_secs(30),
            // What people take for an answer without delay is 0.1 s, and what does not yet break their thought 1 s (Nielsen 1993).
            preview_budget: Duration::from_millis(500),
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A cache of finished tiles, in memory or on disk.
    Hit,
    /// It was made for this request.
    Miss,
    /// It was made for an equal request that was under way.
    Coalesced,
    /// A cache, from a former version of the data.
    Stale,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub tile: Arc<Tile>,
    pub origin: Origin,
    /// From the request to the start of the work.
    pub queued: Duration,
}

/// How many versions back an image may be that is served in the place of one that cannot be made in time.
const FORMER_VERSIONS_TRIED: usize = 4;

/// Serves tiles of several datasets, and answers other questions about them on the same threads.
pub struct Service {
    registry: Registry,
    archives: BTreeMap<String, Arc<Archive>>,
    pipeline: Arc<Pipeline>,
    tiles: Arc<ByteLru<TileKey, Arc<Tile>>>,
    shared: Option<Arc<SharedCache>>,
    disk: Option<Arc<DiskCache>>,
    flights: Arc<Flights>,
    pool: Pool,
    refiner: Arc<Refiner>,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl Service {
    pub fn new(sources: Vec<Source>, limits: Limits) -> Service {
        let metrics = Arc::new(Metrics::new());
        let budgets = CacheBudgets::of(limits.cache_bytes);
        let pool = Pool::start(limits.threads, limits.queue_jobs_max);
        let pipeline = Pipeline::new(&budgets, metrics.clone()).with_preview_budget(limits.preview_budget);
        let pipeline = Arc::new(pipeline);
        Service {
            registry: Registry::new(sources),
            archives: BTreeMap::new(),
            tiles: Arc::new(ByteLru::new(budgets.tile_bytes)),
            refiner: Arc::new(Refiner::new(pipeline.clone(), pool.queue())),
            pipeline,
            shared: None,
            disk: None,
            flights: Arc::new(Flights::default()),
            pool,
            limits,
            metrics,
        }
    }

    /// Also keeps finished tiles on disk.
    pub fn with_disk(mut self, disk: DiskCache) -> Service {
        self.disk = Some(Arc::new(disk));
        self
    }

    /// Also keeps finished tiles where other servers find them.
    pub fn with_shared(mut self, shared: SharedCache) -> Service {
        self.shared = Some(Arc::new(shared));
        self
    }

    /// Also serves archives, as they are.
    pub fn with_archives(mut self, archives: Vec<Archive>) -> Service {
        self.archives = archives.into_iter().map(|archive| (archive.name().to_owned(), Arc::new(archive))).collect();
        self
    }

    pub fn archive(&self, name: &str) -> Option<&Arc<Archive>> {
        self.archives.get(name)
    }

    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.archives.values().map(|archive| &**archive)
    }

    /// The datasets, which may change at any time.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The counters, brought up to date.
    pub fn metrics(&self) -> &Metrics {
        self.metrics.observe_cache("tile", &self.tiles.stats());
        for (name, stats) in self.pipeline.cache_stats() {
            self.metrics.observe_cache(name, &stats);
        }
        if let Some(shared) = &self.shared {
            self.metrics.observe_cache("shared", &shared.stats());
            self.metrics.observe_shared_errors(shared.errors());
        }
        if let Some(disk) = &self.disk {
            self.metrics.observe_cache("disk", &disk.stats());
        }
        // All datasets in stores have one cache of blocks.
        if let Some(stats) = self.registry.all().values().find_map(|source| source.dataset().block_stats()) {
            self.metrics.observe_blocks(&stats);
        }
        self.metrics.observe_pool(&self.pool.stats());
        &self.metrics
    }

    /// A finished tile, if it is in the cache. Costs a look-up; counts as a hit if it is there, else as nothing.
    pub fn finished(&self, key: &TileKey) -> Option<Arc<Tile>> {
        self.tiles.get_if_there(key)
    }

    /// The image of a tile as it was in a former version of the data, if one is still in memory. For whoever cannot wait for the new one.
    pub fn former(&self, request: &TileRequest) -> Option<Arc<Tile>> {
        let key = request.key();
        let is_image = matches!(key.content, Content::Png | Content::Png8);
        let digests = request.view.former_images().take(FORMER_VERSIONS_TRIED).filter(|_| is_image);
        digests.filter_map(|digest| self.finished(&TileKey { digest, ..key })).next()
    }

    /// Asks for a tile. `reply` is called exactly once unless the ticket is dropped first: dropping it says that the answer is no
    /// longer wanted. `None` where the answer was given at once.
    pub fn tile(
        &self,
        request: TileRequest,
        priority: Priority,
        reply: impl FnOnce(Result<Answer, ServiceError>) + Send + 'static,
    ) -> Option<Ticket> {
        let key = request.key();
        if let Some(tile) = self.finished(&key) {
            reply(Ok(Answer { tile, origin: Origin::Hit, queued: Duration::ZERO }));
            return None;
        }
        let deadline = Instant::now() + self.limits.deadline;
        let (ticket, flight) = match self.flights.board(key, deadline, Box::new(reply)) {
            Boarding::Joined(ticket) => {
                self.metrics.coalesced();
                return Some(ticket);
            }
            Boarding::First(ticket, flight) => (ticket, flight),
        };
        self.tiles.count_miss();
        let (pipeline, tiles, disk) = (self.pipeline.clone(), self.tiles.clone(), self.disk.clone());
        let (metrics, shared) = (self.metrics.clone(), self.shared.clone());
        let refiner = self.refiner.clone();
        let asked = Instant::now();
        let cancel = flight.cancel().clone();
        self.submit(priority, cancel, move |refused| {
            if let Some(error) = refused {
                return flight.land(Err(error));
            }
            let queued = asked.elapsed();
            let result = flight.cancel().check().map_err(ServiceError::from).and_then(|()| {
                // An equal flight may have landed between this one's look at the cache and its start.
                if let Some(tile) = tiles.get_if_there(&key) {
                    return Ok((tile, Origin::Hit));
                }
                // A tile without points is not kept, and costs less to make than to look for.
                let has_points = request.view.source.has_points(request.tile);
                let (shared, disk) = (shared.filter(|_| has_points), disk.filter(|_| has_points));
                let kept = shared.as_ref().and_then(|shared| shared.get(&key));
                if let Some(bytes) = kept.or_else(|| disk.as_ref().and_then(|disk| disk.get(&key))) {
                    let quality = pipeline.lasting_quality(&request, flight.cancel())?;
                    let tile = Arc::new(Tile { body: bytes.into(), is_kept: true, quality, times: StageTimes::default() });
                    tiles.insert(key, tile.clone(), tile.body.held_bytes());
                    return Ok((tile, Origin::Hit));
                }
                let tile = Arc::new(of_whole_files(|| pipeline.tile(&request, flight.cancel()))?);
                request.view.source.intact()?;
                if tile.quality == TileQuality::Preview {
                    metrics.preview();
                    refiner.refine(&request.view, pixel_zoom(request.tile, request.scale));
                }
                if tile.is_kept {
                    tiles.insert(key, tile.clone(), tile.body.held_bytes());
                    if let Some(shared) = &shared {
                        shared.insert(&key, &tile.body.bytes());
                    }
                    if let Some(disk) = &disk {
                        disk.insert(&key, request.view.source.name(), tile.body.bytes());
                    }
                }
                Ok((tile, Origin::Miss))
            });
            flight.land(result.map(|(tile, origin)| Answer { tile, origin, queued }));
        });
        Some(ticket)
    }

    /// Asks anything else of the pipeline, on the same threads and under the same bounds. As for [`Service::tile`], dropping the
    /// ticket cancels.
    pub fn ask<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&Pipeline, &Cancel) -> Result<T, ServiceError> + Send + 'static,
        reply: impl FnOnce(Result<T, ServiceError>) + Send + 'static,
    ) -> Ticket {
        self.ask_with(self.new_cancel(), priority, work, reply)
    }

    /// What says that an answer asked for now is no longer wanted.
    pub fn new_cancel(&self) -> Cancel {
        Cancel::at(Instant::now() + self.limits.deadline)
    }

    /// As [`Service::ask`], where others may cancel too.
    pub fn ask_with<T: Send + 'static>(
        &self,
        cancel: Cancel,
        priority: Priority,
        work: impl FnOnce(&Pipeline, &Cancel) -> Result<T, ServiceError> + Send + 'static,
        reply: impl FnOnce(Result<T, ServiceError>) + Send + 'static,
    ) -> Ticket {
        let ticket = Ticket::cancelling(cancel.clone());
        let pipeline = self.pipeline.clone();
        self.submit(priority, cancel.clone(), move |refused| {
            let result = match refused {
                Some(error) => Err(error),
                None => cancel.check().map_err(ServiceError::from).and_then(|()| of_whole_files(|| work(&pipeline, &cancel))),
            };
            reply(result);
        });
        ticket
    }

    /// Queues a job inside of the asker's span, with the wait as one of its own; counts what is refused, which the job knows already.
    fn submit(&self, priority: Priority, cancel: Cancel, work: impl FnOnce(Option<ServiceError>) + Send + 'static) {
        let (span, waiting) = (Span::current(), tracing::info_span!(target: TRACE, "queue"));
        let outcome = self.pool.submit(priority, cancel, move |refused| {
            drop(waiting);
            let _entered = span.enter();
            work(refused);
        });
        if outcome.is_err() {
            self.metrics.shed("queue_full");
        }
    }

    /// Sees to it that the exact colours of a view and zoom will be there, behind everybody who waits for an answer.
    pub fn refine(&self, view: &Arc<View>, zoom: Zoom) {
        self.refiner.refine(view, zoom);
    }

    /// Forgets finished tiles and counts of a dataset, in memory, on disk and where other servers find them; gives the number of
    /// finished tiles. Waits for the disk and the shared cache.
    ///
    /// # Errors
    /// The cache on disk cannot be written, or the shared one does not answer; in memory they are forgotten all the same.
    pub fn purge(&self, source: &Source, purge: &Purge) -> Result<u64, PurgeError> {
        let origin = source.dataset().manifest.origin();
        let in_memory = self.tiles.remove_where(|key| key.digest.is_of_data(origin) && purge.takes(key.tile));
        self.pipeline.forget_counts(origin, purge);
        // Both, whichever fails.
        let on_disk = self.disk.as_ref().map_or(Ok(0), |disk| disk.purge(source.name(), purge));
        let shared = self.shared.as_ref().map_or(Ok(0), |shared| shared.purge(origin, purge));
        Ok(shared?.max(on_disk?).max(in_memory as u64))
    }

    /// Lets go of what a source that is no longer served has selected; finished tiles stay.
    pub fn forget_selections(&self, source: &Source) {
        self.pipeline.forget_selections(source.id());
    }

    /// Forgets all that was made of a dataset whose files were changed under it, and whatever was made of others on the way. Waits for the
    /// disk.
    ///
    /// # Errors
    /// As [`Service::purge`].
    pub fn distrust(&self, source: &Source) -> Result<(), PurgeError> {
        self.pipeline.forget_all();
        self.purge(source, &Purge::all()).map(drop)
    }

    /// The steps behind the queue, for callers with threads of their own.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }
}

impl Drop for Service {
    /// Nobody waits for what is refined; the pool would finish it first.
    fn drop(&mut self) {
        self.refiner.stop();
    }
}

/// What `work` makes, unless a file turned out to be cut meanwhile, whoever read it: then zeros may have been counted.
fn of_whole_files<T>(work: impl FnOnce() -> Result<T, ServiceError>) -> Result<T, ServiceError> {
    let cuts_before = crate::dataset::cuts();
    let made = work()?;
    if crate::dataset::cuts() == cuts_before { Ok(made) } else { Err(ServiceError::Damaged) }
}

/// Locks a mutex whose data is whole between any two statements, so that a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
