//! Where finished tiles go while a run makes them: the work file of an output, or a server's cache.

use super::work::WorkFile;
use super::{Job, PrewarmError, Replace, Target, identity};
use crate::service::disk::Store;
use crate::service::{Content, Scale, TileKey, TileRequest, View};
use crate::world::TileId;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

pub(super) enum Sink {
    Work(WorkFile),
    Cache { store: Store, replace: Replace, evicted: u64 },
}

impl Sink {
    pub(super) fn open(job: &Job) -> Result<Sink, PrewarmError> {
        match &job.target {
            Target::Output { place, .. } => Ok(Sink::Work(WorkFile::open(&place.work_path(), &identity(job), job.begin)?)),
            Target::Cache { folder, budget_bytes } => {
                Ok(Sink::Cache { store: Store::open(folder, *budget_bytes)?, replace: job.replace, evicted: 0 })
            }
        }
    }

    /// Those of the tiles that are not there yet.
    pub(super) fn missing(&self, view: &Arc<View>, tiles: &[TileId]) -> Result<Vec<TileId>, PrewarmError> {
        match self {
            Sink::Work(work) => {
                let done: HashSet<TileId> = work.done()?;
                Ok(tiles.iter().copied().filter(|tile| !done.contains(tile)).collect())
            }
            Sink::Cache { replace: Replace::Always, .. } => Ok(tiles.to_vec()),
            Sink::Cache { store, .. } => {
                let mut missing = Vec::new();
                for &tile in tiles {
                    if !store.holds(&key_of(view, tile))? {
                        missing.push(tile);
                    }
                }
                Ok(missing)
            }
        }
    }

    /// Keeps tiles, all or none. An empty image costs a cache nothing: the server makes it faster than it looks for it.
    pub(super) fn add(&mut self, view: &Arc<View>, batch: &[(TileId, Bytes)]) -> Result<(), PrewarmError> {
        match self {
            Sink::Work(work) => work.add(batch),
            Sink::Cache { store, evicted, .. } => {
                let shown = batch.iter().filter(|(_, image)| !super::output::shows_nothing(image));
                let tiles: Vec<_> = shown.map(|(tile, image)| (key_of(view, *tile), image.clone())).collect();
                *evicted += store.put(view.source.name(), &tiles)?;
                Ok(())
            }
        }
    }
}

pub(super) fn request(view: &Arc<View>, tile: TileId) -> TileRequest {
    TileRequest { view: view.clone(), tile, scale: Scale::One, content: Content::Png }
}

fn key_of(view: &Arc<View>, tile: TileId) -> TileKey {
    request(view, tile).key()
}
