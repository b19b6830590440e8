//! Prewarming: all tiles of views, made ahead of time, into a server's cache or into a file or folder that any tile server can serve.
//!
//! ```text
//! area    where tiles are wanted: boxes, polygons, a list
//! plan    which tiles have points, exactly, from the index and the selection: empty subtrees are never entered; with spread
//!         points also those that they reach into [halo]
//! sink    the cache, or a work file: tiles made so far, in SQLite beside the output; kill -9 loses at most a few batches
//! output  PMTiles, MBTiles or a folder, written from the work file in a fixed order and renamed into place
//! place   a local path, or a store of objects
//! make    batch by batch on all threads, or on the GPU; tiles of those inside of them where that is cheaper [sums]
//! pace    yields to other work [traffic], and ends early when told to
//! ```
//!
//! So a resumed run makes only what is missing, and its output is byte for byte that of a run that was never stopped.

mod area;
mod halo;
mod make;
mod output;
mod pace;
mod place;
mod plan;
mod sink;
mod sums;
mod traffic;
mod work;

pub use area::{Area, AreaError};
pub use make::prepare;
pub use output::Format;
pub use pace::Stop;
pub use place::Place;
pub use plan::{Plan, ZoomCount};

use crate::service::disk::DiskError;
use crate::service::{Pipeline, ServiceError, View};
use crate::store::StoreError;
use make::{Run, Tally};
use pace::{Pace, load_average};
use serde::Serialize;
use sink::Sink;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use traffic::Traffic;

#[derive(Debug, Error)]
pub enum PrewarmError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("{failed} tiles could not be made, more than --max-errors {errors_max}; the first, {}: {}", first.tile, first.why)]
    TooManyErrors { failed: u64, errors_max: u64, first: Failure },
    #[error("{} exists already: choose another output, or replace it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} holds other things than an output of this kind, so it will not be replaced: choose another output", .0.display())]
    Occupied(PathBuf),
    #[error("{} does not end in a name, so nothing can be made beside it: write the output's name out", .0.display())]
    Nameless(PathBuf),
    #[error("{} was begun for other data, filter, style, zooms or area: delete it, or run without --resume", .0.display())]
    OtherWork(PathBuf),
    #[error("a file holds the tiles of one filter and style, and {0} are asked for: run once for each, or use --cache-dir")]
    SeveralViews(usize),
    #[error("the machine does not say what its load is ({0}): run without --max-load")]
    Load(std::io::Error),
    #[error("{address} does not say what its server does ({why}): give --yield-to the address of a running one, or of its --admin-listen")]
    Traffic { address: String, why: String },
    #[error("cannot write {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot use {}", path.display())]
    Work { path: PathBuf, source: rusqlite::Error },
    #[error("cannot write {}", path.display())]
    Pmtiles { path: PathBuf, source: pmtiles::PmtError },
    #[error(transparent)]
    Cache(#[from] DiskError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to make.
pub struct Job {
    /// Views with the tiles to make of each.
    pub views: Vec<(Arc<View>, Arc<Plan>)>,
    pub zooms: RangeInclusive<u8>,
    pub area: Area,
    pub target: Target,
    pub begin: Begin,
    pub replace: Replace,
    /// The run waits while the machine's load of the last minute is above this.
    pub load_max: Option<f64>,
    /// The run waits while the server at this address works for anybody.
    pub yield_to: Option<String>,
    /// Tiles that may fail before the run does.
    pub errors_max: u64,
}

/// Where tiles go.
#[derive(Clone, Debug)]
pub enum Target {
    Output { place: Place, format: Format },
    /// The folder of a server's cache. Tiles that it has are not made again, unless they are to be replaced.
    Cache { folder: PathBuf, budget_bytes: u64 },
}

/// What becomes of tiles that an earlier run has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Afresh,
    Resume,
}

/// What becomes of an output that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    Never,
    Always,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All tiles are where they belong.
    Complete,
    /// It was told to stop; what was made is kept.
    Stopped,
    /// Some tiles could not be made; the others are kept.
    Partial,
}

/// What a run has done.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub outcome: Outcome,
    /// The output, or the cache's folder.
    pub output: PathBuf,
    /// Tiles with points that were asked for.
    pub tiles: u64,
    /// Of these, made by this run.
    pub made: u64,
    /// Of those made, summed from the tiles inside of them and not counted.
    pub summed: u64,
    /// Of these, made before.
    pub found: u64,
    /// Of these, those that could not be made.
    pub failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<Failure>,
    /// Tiles of a cache that had to go for room, perhaps some that this run made.
    pub evicted: u64,
    /// Bytes of images made, before files that are equal are kept once.
    pub tile_bytes: u64,
    /// Of the output, or of the cache's file.
    pub output_bytes: u64,
    pub seconds: f64,
    /// Of these, those that it waited because of the machine's load, or of a server's traffic.
    pub waited_seconds: f64,
    /// The threads' time by stage, which sums to the time that they worked.
    pub count_seconds: f64,
    pub shade_seconds: f64,
    pub encode_seconds: f64,
    /// What the output was written in, after the tiles were made.
    pub write_seconds: f64,
}

/// A tile that could not be made.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// z/x/y.
    pub tile: String,
    pub why: String,
}

/// Who wants to know how far it is: called with tiles and bytes, after every batch.
pub type OnBatch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Makes the tiles of a job and writes the output. One that is told to stop, or lacks tiles that failed, writes no file: what was made
/// stays in the work file, for `Begin::Resume`, or in the cache.
///
/// # Errors
/// More tiles fail than may, or something cannot be written. What was made stays all the same.
pub fn run(job: &Job, pipeline: &Pipeline, stop: &Stop, on_batch: OnBatch<'_>) -> Result<Summary, PrewarmError> {
    if let Target::Output { place, format } = &job.target {
        if job.views.len() != 1 {
            return Err(PrewarmError::SeveralViews(job.views.len()));
        }
        place.check(*format, job.begin, job.replace, &identity(job))?;
    }
    let started = Instant::now();
    let traffic = job.yield_to.as_deref().map(Traffic::of).transpose()?;
    let pace = Pace::new(job.load_max, &load_average, traffic);
    let mut run = Run { pipeline, stop, on_batch, pace, sink: Sink::open(job)?, tally: Tally::default(), errors_max: job.errors_max };
    for (view, plan) in &job.views {
        let missing = run.sink.missing(view, &plan.tiles)?;
        let found = (plan.tiles.len() - missing.len()) as u64;
        run.tally.found += found;
        on_batch(found, 0);
        run.make(view, plan, &missing)?;
    }
    let Run { sink, tally, pace, .. } = run;
    let asked: u64 = job.views.iter().map(|(_, plan)| plan.tiles.len() as u64).sum();
    let outcome = match asked - tally.made - tally.found {
        0 => Outcome::Complete,
        lacking if lacking == tally.failed => Outcome::Partial,
        _ => Outcome::Stopped,
    };
    let writing = Instant::now();
    let written = written(job, sink, outcome)?;
    let spent = &tally.spent;
    Ok(Summary {
        outcome,
        output: written.path,
        tiles: asked,
        made: tally.made,
        summed: tally.summed,
        found: tally.found,
        failed: tally.failed,
        first_failure: tally.first_failure,
        evicted: written.evicted,
        tile_bytes: tally.bytes,
        output_bytes: written.bytes,
        seconds: started.elapsed().as_secs_f64(),
        waited_seconds: pace.waited.as_secs_f64(),
        count_seconds: spent.count.as_secs_f64(),
        shade_seconds: spent.shade.as_secs_f64(),
        encode_seconds: spent.encode.as_secs_f64(),
        write_seconds: writing.elapsed().as_secs_f64(),
    })
}

struct Written {
    path: PathBuf,
    bytes: u64,
    evicted: u64,
}

fn written(job: &Job, sink: Sink, outcome: Outcome) -> Result<Written, PrewarmError> {
    match (sink, &job.target) {
        (Sink::Work(work), Target::Output { place, format }) => {
            let mut bytes = 0;
            if outcome == Outcome::Complete {
                let (view, _) = &job.views[0];
                bytes = place.write(&output::Described { job, view }, *format, &work)?;
                work.remove()?;
            }
            Ok(Written { path: place.to_string().into(), bytes, evicted: 0 })
        }
        (Sink::Cache { store, evicted, .. }, Target::Cache { folder, .. }) => {
            Ok(Written { path: folder.clone(), bytes: store.file_bytes()?, evicted })
        }
        _ => unreachable!("a sink is opened for its target"),
    }
}

/// What the tiles of a job depend on, as text.
fn identity(job: &Job) -> String {
    let views: Vec<String> = job.views.iter().map(|(view, _)| view.image.to_string()).collect();
    format!("{} {} {} {}", views.join(","), job.zooms.start(), job.zooms.end(), job.area.identity())
}
