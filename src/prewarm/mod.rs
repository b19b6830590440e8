//! Prewarming: all tiles of a view, made ahead of time, into a file or folder that any tile server can serve.
//!
//! ```text
//! plan    which tiles have points, exactly, from the index and the selection: empty subtrees are never entered
//! work    tiles made so far, in a SQLite file beside the output; kill -9 loses at most one batch
//! output  PMTiles, MBTiles or a folder, written from the work file in a fixed order and renamed into place
//! ```
//!
//! So a resumed run makes only what is missing, and its output is byte for byte that of a run that was never stopped.

mod output;
mod plan;
mod work;

pub use output::Format;
pub use plan::{Plan, ZoomCount};

use crate::engine::Cancel;
use crate::service::{Content, Pipeline, Scale, ServiceError, TileRequest, View};
use crate::world::{LonLatBox, TileId};
use rayon::prelude::*;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use thiserror::Error;
use work::WorkFile;

/// Tiles of one batch: what a kill may lose, and what is written in one transaction. At a millisecond a tile and two cores, a
/// batch takes an eighth of a second.
const BATCH_TILES: usize = 256;

/// Batches that may wait for the disk.
const BATCHES_WAITING_MAX: usize = 2;

#[derive(Debug, Error)]
pub enum PrewarmError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("{} exists already: choose another output, or replace it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} was begun for other data, filter, style, zooms or boxes: delete it, or run without --resume", .0.display())]
    OtherWork(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot use {}: {source}", path.display())]
    Work { path: PathBuf, source: rusqlite::Error },
    #[error("cannot write {}: {source}", path.display())]
    Pmtiles { path: PathBuf, source: pmtiles::PmtError },
}

/// What to make.
pub struct Job {
    pub view: Arc<View>,
    pub zoom_min: u8,
    pub zoom_max: u8,
    /// Degrees; tiles that touch any of them. Empty: the whole world.
    pub boxes: Vec<LonLatBox>,
    pub output: PathBuf,
    pub format: Format,
    pub begin: Begin,
    pub replace: Replace,
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

/// What a run has done.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub output: PathBuf,
    /// Tiles with points, which are those in the output.
    pub tiles: u64,
    /// Of these, made by this run; the others were there from an earlier one.
    pub made: u64,
    /// Bytes of images, before files that are equal are kept once.
    pub tile_bytes: u64,
    pub output_bytes: u64,
    pub seconds: f64,
    /// Share of the threads' time by stage, which sums to the time that the threads worked.
    pub count_seconds: f64,
    pub shade_seconds: f64,
    pub encode_seconds: f64,
}

/// Who wants to know how far it is: called with tiles and bytes, after every batch.
pub type OnBatch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Makes the tiles of a plan and writes the output.
///
/// # Errors
/// A tile cannot be made, or something cannot be written. What was made stays in the work file, for `Begin::Resume`.
pub fn run(job: &Job, plan: &Plan, pipeline: &Pipeline, on_batch: OnBatch<'_>) -> Result<Summary, PrewarmError> {
    if job.output.exists() && job.replace == Replace::Never {
        return Err(PrewarmError::Exists(job.output.clone()));
    }
    let started = Instant::now();
    let mut work = WorkFile::open(&work_path(&job.output), &identity(job), job.begin)?;
    let done = work.done()?;
    let missing: Vec<TileId> = plan.tiles.iter().copied().filter(|tile| !done.contains(tile)).collect();
    on_batch((plan.tiles.len() - missing.len()) as u64, 0);

    let mut spent = Spent::default();
    let (to_disk, from_threads) = sync_channel::<Vec<(TileId, bytes::Bytes)>>(BATCHES_WAITING_MAX);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| from_threads.into_iter().try_for_each(|batch| work.add(&batch)));
        for batch in missing.chunks(BATCH_TILES) {
            let made = batch.par_iter().map(|&tile| made(job, pipeline, tile)).collect::<Result<Vec<_>, _>>()?;
            let bytes: usize = made.iter().map(|(tile, _)| tile.1.len()).sum();
            made.iter().for_each(|(_, times)| spent.add(times));
            let tiles = made.into_iter().map(|(tile, _)| tile).collect();
            if to_disk.send(tiles).is_err() {
                break; // The writer has failed, and says why.
            }
            on_batch(batch.len() as u64, bytes as u64);
        }
        drop(to_disk);
        writer.join().expect("the writer does not panic")
    })?;

    let totals = output::write(job, &work)?;
    work.remove()?;
    Ok(Summary {
        output: job.output.clone(),
        tiles: totals.tiles,
        made: missing.len() as u64,
        tile_bytes: totals.bytes,
        output_bytes: output::size(&job.output)?,
        seconds: started.elapsed().as_secs_f64(),
        count_seconds: spent.count.as_secs_f64(),
        shade_seconds: spent.shade.as_secs_f64(),
        encode_seconds: spent.encode.as_secs_f64(),
    })
}

#[derive(Default)]
struct Spent {
    count: Duration,
    shade: Duration,
    encode: Duration,
}

impl Spent {
    fn add(&mut self, times: &crate::service::StageTimes) {
        self.count += times.count;
        self.shade += times.shade;
        self.encode += times.encode;
    }
}

type MadeTile = ((TileId, bytes::Bytes), crate::service::StageTimes);

fn made(job: &Job, pipeline: &Pipeline, tile: TileId) -> Result<MadeTile, ServiceError> {
    let request = TileRequest { view: job.view.clone(), tile, scale: Scale::One, content: Content::Png };
    let image = pipeline.tile(&request, &Cancel::never())?;
    Ok(((tile, image.bytes), image.times))
}

/// The work file: beside the output, so that both are on one disk.
fn work_path(output: &Path) -> PathBuf {
    let name = output.file_name().map_or_else(|| "tiles".into(), |name| name.to_string_lossy().into_owned());
    output.with_file_name(format!(".{name}.prewarm"))
}

/// What the tiles of a job depend on, as text.
fn identity(job: &Job) -> String {
    let boxes: Vec<String> = job.boxes.iter().map(|b| format!("{},{},{},{}", b.west, b.south, b.east, b.north)).collect();
    format!("{} {} {} {}", job.view.image, job.zoom_min, job.zoom_max, boxes.join(" "))
}
