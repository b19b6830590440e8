//! The work file: the tiles made so far, in SQLite, so that a run that is killed can be resumed.

use super::{Begin, PrewarmError};
use crate::world::{TileId, Zoom};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct WorkFile {
    path: PathBuf,
    database: Connection,
}

impl WorkFile {
    /// # Errors
    /// It cannot be opened, or it was begun for something else than `identity`.
    pub(super) fn open(path: &Path, identity: &str, begin: Begin) -> Result<WorkFile, PrewarmError> {
        if begin == Begin::Afresh {
            remove(path)?;
        }
        let failed = |source| PrewarmError::Work { path: path.to_owned(), source };
        let database = Connection::open(path).map_err(failed)?;
        // A crash of the program loses nothing that was committed; one of the machine may lose the last batches, whole.
        database
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS work (identity TEXT NOT NULL);
                 CREATE TABLE IF NOT EXISTS tiles (zoom INTEGER, cell INTEGER, image BLOB NOT NULL, PRIMARY KEY (zoom, cell))
                     WITHOUT ROWID;",
            )
            .map_err(failed)?;
        let begun: Option<String> =
            database.query_row("SELECT identity FROM work", [], |row| row.get(0)).optional().map_err(failed)?;
        match begun {
            None => {
                database.execute("INSERT INTO work VALUES (?1)", [identity]).map_err(failed)?;
            }
            Some(begun) if begun != identity => return Err(PrewarmError::OtherWork(path.to_owned())),
            Some(_) => {}
        }
        Ok(WorkFile { path: path.to_owned(), database })
    }

    pub(super) fn done(&self) -> Result<HashSet<TileId>, PrewarmError> {
        let mut done = HashSet::new();
        let mut statement =
            self.database.prepare("SELECT zoom, cell FROM tiles").map_err(|source| self.failed(source))?;
        let mut rows = statement.query([]).map_err(|source| self.failed(source))?;
        while let Some(row) = rows.next().map_err(|source| self.failed(source))? {
            done.insert(tile_of(row).map_err(|source| self.failed(source))?);
        }
        Ok(done)
    }

    pub(super) fn add(&mut self, batch: &[(TileId, bytes::Bytes)]) -> Result<(), PrewarmError> {
        let path = self.path.clone();
        let failed = |source| PrewarmError::Work { path: path.clone(), source };
        let transaction = self.database.transaction().map_err(failed)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3)").map_err(failed)?;
            for (tile, image) in batch {
                insert.execute(params![tile.z(), tile.cell() as i64, image.as_ref()]).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    /// One tile's image.
    pub(super) fn image(&self, tile: TileId) -> Result<Vec<u8>, PrewarmError> {
        let mut statement = self
            .database
            .prepare_cached("SELECT image FROM tiles WHERE zoom = ?1 AND cell = ?2")
            .map_err(|source| self.failed(source))?;
        statement
            .query_row(params![tile.z(), tile.cell() as i64], |row| row.get(0))
            .map_err(|source| self.failed(source))
    }

    /// All tiles, by zoom and along the Z-curve.
    pub(super) fn tiles(&self) -> Result<Vec<TileId>, PrewarmError> {
        let mut tiles: Vec<TileId> = self.done()?.into_iter().collect();
        tiles.sort_unstable_by_key(|tile| (tile.z(), tile.cell()));
        Ok(tiles)
    }

    pub(super) fn remove(self) -> Result<(), PrewarmError> {
        drop(self.database);
        remove(&self.path)
    }

    fn failed(&self, source: rusqlite::Error) -> PrewarmError {
        PrewarmError::Work { path: self.path.clone(), source }
    }
}

fn tile_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<TileId> {
    let (zoom, cell): (u8, i64) = (row.get(0)?, row.get(1)?);
    let zoom = Zoom::new(zoom).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, i64::from(zoom)))?;
    Ok(TileId::from_cell(zoom, cell as u64))
}

fn remove(path: &Path) -> Result<(), PrewarmError> {
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(PrewarmError::Io { path: file, source });
            }
            _ => {}
        }
    }
    Ok(())
}
