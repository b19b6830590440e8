//! Prewarming: all tiles of views, made ahead of time, into a server's cache or into a file or folder that any tile server can serve.
//!
//! ```text
//! area    where tiles are wanted: boxes, polygons, a list
//! plan    which tiles have points, exactly, from the index and the selection: empty subtrees are never entered
//! sink    the cache, or a work file: tiles made so far, in SQLite beside the output; kill -9 loses at most a few batches
//! output  PMTiles, MBTiles or a folder, written from the work file in a fixed order and renamed into place
//! pace    yields to other work, and ends early when told to
//! ```
//!
//! So a resumed run makes only what is missing, and its output is byte for byte that of a run that was never stopped.

mod area;
mod output;
mod pace;
mod plan;
mod sink;
mod work;

pub use area::{Area, AreaError};
pub use output::Format;
pub use pace::Stop;
pub use plan::{Plan, ZoomCount};

use crate::service::disk::DiskError;
use crate::engine::Cancel;
use crate::service::{Pipeline, ServiceError, StageTimes, Tile, View};
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use pace::{Pace, load_average};
use rayon::prelude::*;
use serde::Serialize;
use sink::{Sink, request};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;
use thiserror::Error;

/// Tiles of one batch: what a kill may lose, and what is written in one transaction. At a millisecond a tile and two cores, a
/// batch takes an eighth of a second.
const BATCH_TILES: usize = 256;

/// Batches that may wait for the disk.
const BATCHES_WAITING_MAX: usize = 2;

#[derive(Debug, Error)]
pub enum PrewarmError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("{failed} tiles could not be made, more than --max-errors {errors_max}; the first, {tile}: {source}")]
    TooManyErrors { failed: u64, errors_max: u64, tile: String, source: Box<ServiceError> },
    #[error("{} exists already: choose another output, or replace it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} was begun for other data, filter, style, zooms or area: delete it, or run without --resume", .0.display())]
    OtherWork(PathBuf),
    #[error("a file holds the tiles of one filter and style, and {0} are asked for: run once for each, or use --cache-dir")]
    SeveralViews(usize),
    #[error("the machine does not say what its load is ({0}): run without --max-load")]
    Load(std::io::Error),
    #[error("cannot write {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot use {}", path.display())]
    Work { path: PathBuf, source: rusqlite::Error },
    #[error("cannot write {}", path.display())]
    Pmtiles { path: PathBuf, source: pmtiles::PmtError },
    #[error(transparent)]
    Cache(#[from] DiskError),
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
    /// Tiles that may fail before the run does.
    pub errors_max: u64,
}

/// Where tiles go.
#[derive(Clone, Debug)]
pub enum Target {
    File { path: PathBuf, format: Format },
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
    /// Of these, made before.
    pub found: u64,
    /// Of these, those that could not be made.
    pub failed: u64,
    /// Tiles of a cache that had to go for room, perhaps some that this run made.
    pub evicted: u64,
    /// Bytes of images made, before files that are equal are kept once.
    pub tile_bytes: u64,
    /// Of the output, or of the cache's file.
    pub output_bytes: u64,
    pub seconds: f64,
    /// Of these, those that it waited because of the machine's load.
    pub waited_seconds: f64,
    /// The threads' time by stage, which sums to the time that they worked.
    pub count_seconds: f64,
    pub shade_seconds: f64,
    pub encode_seconds: f64,
    /// What the output was written in, after the tiles were made.
    pub write_seconds: f64,
}

/// Who wants to know how far it is: called with tiles and bytes, after every batch.
pub type OnBatch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Makes the tiles of a job and writes the output. One that is told to stop, or lacks tiles that failed, writes no file: what was made
/// stays in the work file, for `Begin::Resume`, or in the cache.
///
/// # Errors
/// More tiles fail than may, or something cannot be written. What was made stays all the same.
pub fn run(job: &Job, pipeline: &Pipeline, stop: &Stop, on_batch: OnBatch<'_>) -> Result<Summary, PrewarmError> {
    if let Target::File { path, .. } = &job.target {
        if path.exists() && job.replace == Replace::Never {
            return Err(PrewarmError::Exists(path.clone()));
        }
        if job.views.len() != 1 {
            return Err(PrewarmError::SeveralViews(job.views.len()));
        }
    }
    let started = Instant::now();
    let mut sink = Sink::open(job)?;
    let mut pace = Pace::new(job.load_max, &load_average);
    let mut tally = Tally::default();
    for (view, plan) in &job.views {
        let missing = sink.missing(view, &plan.tiles)?;
        let found = (plan.tiles.len() - missing.len()) as u64;
        tally.found += found;
        on_batch(found, 0);
        let run = Run { pipeline, stop, on_batch, pace: &mut pace, sink: &mut sink, tally: &mut tally };
        make(job, view, missing, run)?;
    }
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
        found: tally.found,
        failed: tally.failed,
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

/// Prepares what all tiles of a zoom share, so that no thread waits for another one's.
///
/// # Errors
/// As [`Pipeline::tile`].
pub fn prepare(view: &View, plan: &Plan, pipeline: &Pipeline, stop: &Stop) -> Result<(), ServiceError> {
    for zoom in plan.zooms() {
        pipeline.legend(view, Zoom::new(zoom.zoom).expect("a tile has the zoom"), stop.cancel())?;
    }
    Ok(())
}

struct Run<'a, 'load> {
    pipeline: &'a Pipeline,
    stop: &'a Stop,
    on_batch: OnBatch<'a>,
    pace: &'a mut Pace<'load>,
    sink: &'a mut Sink,
    tally: &'a mut Tally,
}

#[derive(Default)]
struct Tally {
    made: u64,
    found: u64,
    failed: u64,
    bytes: u64,
    spent: StageTimes,
}

/// Makes tiles of one view, until they are made or the run is to stop.
fn make(job: &Job, view: &Arc<View>, tiles: Vec<TileId>, run: Run<'_, '_>) -> Result<(), PrewarmError> {
    let Run { pipeline, stop, on_batch, pace, sink, tally } = run;
    let preparing = Instant::now();
    let missing = Plan { tiles, is_exact: true };
    match prepare(view, &missing, pipeline, stop) {
        // A run that is told to stop while it prepares has not failed.
        Err(_) if stop.is_asked() => return Ok(()),
        prepared => prepared?,
    }
    tally.spent.count += preparing.elapsed();
    let (to_disk, from_threads) = sync_channel::<Vec<(TileId, Bytes)>>(BATCHES_WAITING_MAX);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || from_threads.into_iter().try_for_each(|batch| sink.add(view, &batch)));
        let mut made_all = Ok(());
        for batch in missing.tiles.chunks(BATCH_TILES) {
            if let Err(error) = pace.wait(stop) {
                made_all = Err(error);
                break;
            }
            if stop.is_asked() {
                break;
            }
            let made = images(pipeline, view, batch, stop.cancel());
            let mut images = Vec::with_capacity(made.len());
            let mut bytes = 0;
            for (tile, image) in made {
                match image {
                    Ok(image) => {
                        tally.spent.add(&image.times);
                        bytes += image.bytes.len() as u64;
                        images.push((tile, image.bytes));
                    }
                    Err(ServiceError::Cancelled) if stop.is_asked() => {}
                    Err(source) => {
                        tally.failed += 1;
                        let (failed, errors_max) = (tally.failed, job.errors_max);
                        if failed > errors_max && made_all.is_ok() {
                            let tile = format!("{}/{}/{}", tile.z(), tile.x(), tile.y());
                            made_all = Err(PrewarmError::TooManyErrors { failed, errors_max, tile, source: Box::new(source) });
                        }
                    }
                }
            }
            let tiles = images.len() as u64;
            if to_disk.send(images).is_err() {
                break; // The writer has failed, and says why.
            }
            tally.made += tiles;
            tally.bytes += bytes;
            on_batch(tiles, bytes);
            if made_all.is_err() {
                break;
            }
        }
        drop(to_disk);
        writer.join().expect("the writer does not panic")?;
        made_all
    })
}

/// Tiles that one call of an engine counts: the CPU does one in each thread, a GPU as many as fit into its memory together at once.
const GPU_TILES: usize = 64;

/// The tiles of a batch, by all threads.
fn images(pipeline: &Pipeline, view: &Arc<View>, batch: &[TileId], cancel: &Cancel) -> Vec<(TileId, Result<Tile, ServiceError>)> {
    let at_once = if view.source.engine().info().backend == "gpu" { GPU_TILES } else { 1 };
    let chunk = |tiles: &[TileId]| -> Result<Vec<_>, ServiceError> {
        let started = Instant::now();
        let grids = pipeline.count_once(view, tiles, cancel)?;
        let count = started.elapsed() / tiles.len() as u32;
        let painted = tiles.par_iter().zip(grids).map(|(&tile, grid)| (tile, pipeline.image_of(&request(view, tile), grid, count, cancel)));
        Ok(painted.collect())
    };
    let one_by_one = |tiles: &[TileId]| -> Vec<_> {
        tiles.iter().map(|&tile| (tile, pipeline.tile(&request(view, tile), cancel))).collect()
    };
    let made = |tiles: &[TileId]| {
        let is_own = tiles.iter().try_fold(true, |is_own, tile| Ok(is_own && pipeline.shows_own_counts(view, tile.zoom(), cancel)?));
        match is_own {
            // Tiles that fail together are asked for one by one, so that each has its own error.
            Ok(true) => chunk(tiles).unwrap_or_else(|_: ServiceError| one_by_one(tiles)),
            Ok(false) => one_by_one(tiles),
            Err::<bool, ServiceError>(_) => one_by_one(tiles),
        }
    };
    if at_once == 1 { batch.par_chunks(1).flat_map_iter(made).collect() } else { batch.chunks(at_once).flat_map(made).collect() }
}

struct Written {
    path: PathBuf,
    bytes: u64,
    evicted: u64,
}

fn written(job: &Job, sink: Sink, outcome: Outcome) -> Result<Written, PrewarmError> {
    match (sink, &job.target) {
        (Sink::Work(work), Target::File { path, format }) => {
            let (view, _) = &job.views[0];
            if outcome == Outcome::Complete {
                output::write(&output::Described { job, view, path }, *format, &work)?;
                work.remove()?;
            }
            let bytes = if path.exists() && outcome == Outcome::Complete { output::size(path)? } else { 0 };
            Ok(Written { path: path.clone(), bytes, evicted: 0 })
        }
        (Sink::Cache { store, evicted, .. }, Target::Cache { folder, .. }) => {
            Ok(Written { path: folder.clone(), bytes: store.file_bytes()?, evicted })
        }
        _ => unreachable!("a sink is opened for its target"),
    }
}

/// The work file: beside the output, so that both are on one disk.
fn work_path(output: &Path) -> PathBuf {
    let name = output.file_name().map_or_else(|| "tiles".into(), |name| name.to_string_lossy().into_owned());
    output.with_file_name(format!(".{name}.prewarm"))
}

/// What the tiles of a job depend on, as text.
fn identity(job: &Job) -> String {
    let views: Vec<String> = job.views.iter().map(|(view, _)| view.image.to_string()).collect();
    format!("{} {} {} {}", views.join(","), job.zooms.start(), job.zooms.end(), job.area.identity())
}
