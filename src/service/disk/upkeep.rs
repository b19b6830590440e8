//! What people ask of a cache on disk: how full it is, and to forget.

use super::DiskError;
use super::store::{Store, tile_of};
use crate::service::Purge;
use rusqlite::params;
use serde::Serialize;
use std::path::Path;

/// Tiles that one transaction forgets, so that a server that shares the file can write in between.
const BATCH_TILES: usize = 1024;

/// What a cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskStats {
    pub tiles: u64,
    /// Of images.
    pub bytes: u64,
    /// Of the file's pages in use, which is what the budget is about.
    pub file_bytes: u64,
    /// Tiles and bytes by dataset.
    pub datasets: Vec<(String, u64, u64)>,
}

/// What the cache in `folder` holds.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn stats(folder: &Path) -> Result<DiskStats, DiskError> {
    let store = Store::open_there(folder)?;
    let read = || {
        let mut query =
            store.connection().prepare("SELECT dataset, COUNT(*), SUM(size) FROM tile GROUP BY dataset ORDER BY dataset")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64)))?;
        rows.collect::<Result<Vec<(String, u64, u64)>, _>>()
    };
    let datasets = read().map_err(|source| store.failed(source))?;
    let (tiles, bytes) = datasets.iter().fold((0, 0), |(tiles, bytes), (_, n, size)| (tiles + n, bytes + size));
    let file_bytes = store.used_bytes().map_err(|source| store.failed(source))?;
    Ok(DiskStats { tiles, bytes, file_bytes, datasets })
}

/// Forgets tiles of all datasets, or of one; gives their number. Disk space is given back.
///
/// # Errors
/// There is no cache in the folder, or it cannot be written.
pub fn purge(folder: &Path, dataset: Option<&str>, purge: &Purge) -> Result<u64, DiskError> {
    let store = Store::open_there(folder)?;
    let tiles = store.purge(dataset, purge)?;
    store.connection().execute_batch("VACUUM").map_err(|source| store.failed(source))?;
    Ok(tiles)
}

impl Store {
    /// Forgets tiles of all datasets, or of one; gives their number.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn purge(&self, dataset: Option<&str>, purge: &Purge) -> Result<u64, DiskError> {
        let listed = || {
            let mut query = self.connection().prepare("SELECT rowid, key FROM tile WHERE ?1 IS NULL OR dataset = ?1")?;
            let rows = query.query_map(params![dataset], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            let unwanted = |(_, key): &(i64, Vec<u8>)| tile_of(key).is_none_or(|tile| purge.takes(tile));
            rows.filter(|row| row.as_ref().map_or(true, unwanted)).map(|row| row.map(|(row, _)| row)).collect::<Result<Vec<i64>, _>>()
        };
        let rows = listed().map_err(|source| self.failed(source))?;
        for rows in rows.chunks(BATCH_TILES) {
            let forget = || {
                let transaction = self.connection().unchecked_transaction()?;
                {
                    let mut delete = transaction.prepare_cached("DELETE FROM tile WHERE rowid = ?1")?;
                    rows.iter().try_for_each(|row| delete.execute([row]).map(|_| ()))?;
                }
                transaction.commit()
            };
            forget().map_err(|source| self.failed(source))?;
        }
        Ok(rows.len() as u64)
    }
}
