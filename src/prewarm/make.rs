//! Making the tiles of a view: batch by batch, on all threads or on the GPU, while what is finished is written behind their backs.

use super::pace::{Pace, Stop};
use super::plan::{Plan, zooms_of};
use super::sink::{Sink, request};
use super::sums::Sums;
use super::{Failure, OnBatch, PrewarmError};
use crate::engine::Cancel;
use crate::service::{Pipeline, ServiceError, StageTimes, Tile, View};
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Tiles of one batch: what a kill may lose, and what is written in one transaction. At a millisecond a tile and two cores, a
/// batch takes an eighth of a second.
const BATCH_TILES: usize = 256;

/// Batches that may wait for the disk.
const BATCHES_WAITING_MAX: usize = 2;

/// Tiles that one call of an engine counts: the CPU does one in each thread, a GPU as many as fit into its memory together at once.
const GPU_TILES: usize = 64;

/// A run under way.
pub(super) struct Run<'a> {
    pub pipeline: &'a Pipeline,
    pub stop: &'a Stop,
    pub on_batch: OnBatch<'a>,
    pub pace: Pace<'a>,
    pub sink: Sink,
    pub tally: Tally,
    /// Tiles that may fail before the run does.
    pub errors_max: u64,
}

/// What a run has done so far.
#[derive(Default)]
pub(super) struct Tally {
    pub made: u64,
    pub found: u64,
    pub failed: u64,
    pub first_failure: Option<Failure>,
    /// Of those made, tiles that were summed from the ones inside of them.
    pub summed: u64,
    pub bytes: u64,
    pub spent: StageTimes,
}

/// Prepares what all tiles of a zoom share, so that no thread waits for another one's.
///
/// # Errors
/// As [`Pipeline::prepare`].
pub fn prepare(view: &View, tiles: &[TileId], pipeline: &Pipeline, stop: &Stop) -> Result<(), ServiceError> {
    for zoom in zooms_of(tiles) {
        pipeline.prepare(view, Zoom::new(zoom.zoom).expect("a tile has the zoom"), stop.cancel())?;
    }
    Ok(())
}

impl Run<'_> {
    /// Makes those tiles of a view's plan that are missing, until they are made or the run is to stop.
    pub(super) fn make(&mut self, view: &Arc<View>, plan: &Plan, missing: &[TileId]) -> Result<(), PrewarmError> {
        let Run { pipeline, stop, on_batch, pace, sink, tally, errors_max } = self;
        let preparing = Instant::now();
        match prepare(view, missing, pipeline, stop) {
            // A run that is told to stop while it prepares has not failed.
            Err(_) if stop.is_asked() => return Ok(()),
            prepared => prepared?,
        }
        tally.spent.count += preparing.elapsed();
        let mut sums = Sums::of(pipeline, view, plan, missing, stop.cancel());
        let (to_disk, from_threads) = sync_channel::<Vec<(TileId, Bytes)>>(BATCHES_WAITING_MAX);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || from_threads.into_iter().try_for_each(|batch| sink.add(view, &batch)));
            let mut made_all = Ok(());
            for batch in missing.chunks(BATCH_TILES) {
                made_all = pace.wait(stop);
                if made_all.is_err() || stop.is_asked() {
                    break;
                }
                let mut images = Vec::with_capacity(batch.len());
                let of_batch = match &mut sums {
                    Some(sums) => sums.made(batch),
                    None => counted(pipeline, view, batch, stop.cancel()),
                };
                for (tile, made) in of_batch {
                    match made {
                        Ok(made) => {
                            tally.spent.add(&made.times);
                            images.push((tile, made.body.bytes()));
                        }
                        Err(ServiceError::Cancelled) if stop.is_asked() => {}
                        Err(error) => tally.fail(tile, error),
                    }
                }
                let (tiles, bytes) = (images.len() as u64, images.iter().map(|(_, image)| image.len() as u64).sum());
                if to_disk.send(images).is_err() {
                    break; // The writer has failed, and says why.
                }
                tally.made += tiles;
                tally.bytes += bytes;
                on_batch(tiles, bytes);
                made_all = tally.check(*errors_max);
                if made_all.is_err() {
                    break;
                }
            }
            tally.summed += sums.map_or(0, |sums| sums.summed());
            drop(to_disk);
            writer.join().expect("the writer does not panic")?;
            made_all
        })
    }
}

impl Tally {
    fn fail(&mut self, tile: TileId, error: ServiceError) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| Failure { tile: tile.to_string(), why: error.to_string() });
    }

    fn check(&self, errors_max: u64) -> Result<(), PrewarmError> {
        match &self.first_failure {
            Some(first) if self.failed > errors_max => {
                Err(PrewarmError::TooManyErrors { failed: self.failed, errors_max, first: first.clone() })
            }
            _ => Ok(()),
        }
    }
}

pub(super) type Made = (TileId, Result<Tile, ServiceError>);

/// The tiles of a batch, each counted, by all threads.
fn counted(pipeline: &Pipeline, view: &Arc<View>, batch: &[TileId], cancel: &Cancel) -> Vec<Made> {
    let at_once = if view.source.engine().info().backend == "gpu" { GPU_TILES } else { 1 };
    let together = |tiles: &[TileId]| -> Result<Vec<Made>, ServiceError> {
        let started = Instant::now();
        let grids = pipeline.count_once(view, tiles, cancel)?;
        let count = started.elapsed() / tiles.len() as u32;
        let painted = tiles.par_iter().zip(grids).map(|(&tile, grid)| (tile, pipeline.image_of(&request(view, tile), grid, count, cancel)));
        Ok(painted.collect())
    };
    let one_by_one = |tiles: &[TileId]| -> Vec<Made> {
        let one = |&tile: &TileId| (tile, caught(|| pipeline.tile(&request(view, tile), cancel)));
        tiles.par_iter().map(one).collect()
    };
    let made = |tiles: &[TileId]| {
        let is_own = tiles.iter().try_fold(true, |is_own, tile| Ok(is_own && pipeline.shows_own_counts(view, tile.zoom(), cancel)?));
        match is_own {
            // Tiles that fail together are asked for one by one, so that each has its own error.
            Ok(true) => caught(|| together(tiles)).unwrap_or_else(|_| one_by_one(tiles)),
            Ok(false) | Err::<bool, ServiceError>(_) => one_by_one(tiles),
        }
    };
    if at_once == 1 { batch.par_chunks(1).flat_map_iter(made).collect() } else { batch.chunks(at_once).flat_map(made).collect() }
}

/// A panic is a bug, or damaged data; it costs its tile, as it costs a server's request, and not the run.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, ServiceError>) -> Result<T, ServiceError> {
    let panicked = |_| Err(ServiceError::Internal("its making panicked: `pointillist verify` tells whether the dataset is damaged".into()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}
