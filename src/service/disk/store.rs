//! The store behind the disk cache: one SQLite file of finished tiles under a byte budget, written a transaction at a time.
//!
//! ```text
//! tile   key BLOB (digest 16, z 1, x 4, y 4, scale 1, content 1), dataset TEXT, bytes BLOB, xxh3 INTEGER, size INTEGER,
//!        used INTEGER (seconds since 1970, to the hour)
//! ```
//!
//! It reports every failure. What to do about one is the caller's subject: a server goes on without, a prewarm stops.

use super::super::tile::{Content, Scale, TileKey};
use super::DiskError;
use crate::encode::NpyDtype;
use crate::world::{TileId, Zoom};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_64;

/// The file in the cache's folder.
const FILE: &str = "tiles.sqlite";

/// How fine the time of use is: a tile that is used all day is written to once an hour.
const USED_STEP_SECS: i64 = 3600;

/// Evicting makes room for a while: down to 15/16 of the budget.
const EVICT_TO: (u64, u64) = (15, 16);

/// Tiles that one statement evicts or purges: others may write in between.
const DELETE_TILES: usize = 64;

/// How long a write waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) const KEY_BYTES: usize = 27;

/// A tile's key as the file has it.
pub(super) type KeyBytes = [u8; KEY_BYTES];

/// What is to be written.
pub(super) enum Write {
    Tile { key: KeyBytes, dataset: std::sync::Arc<str>, bytes: Bytes },
    Used { key: KeyBytes },
    Forget { key: KeyBytes },
}

/// What a look-up found.
pub(super) enum Found {
    /// A whole tile, and whether its time of use is out of date.
    Tile { bytes: Bytes, is_stale_use: bool },
    /// Its checksum says that it is not what was written.
    Damaged,
    Nothing,
}

/// A connection to a cache's file.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    budget_bytes: u64,
    /// Of the file that the connection has open: another process may have put a new one in its place.
    inode: u64,
}

impl Store {
    /// Opens or makes the cache in `folder`. A file that is no database, or is damaged beyond opening, is put aside.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be written there.
    pub fn open(folder: &Path, budget_bytes: u64) -> Result<Store, DiskError> {
        std::fs::create_dir_all(folder).map_err(|cause| DiskError::Folder { path: folder.to_owned(), cause })?;
        let path = folder.join(FILE);
        match Store::at(&path, budget_bytes) {
            Err(DiskError::Store { cause, .. }) if is_damage(&cause) => {
                set_aside(&path, &cause);
                Store::at(&path, budget_bytes)
            }
            other => other,
        }
    }

    /// # Errors
    /// There is no cache in the folder, or it cannot be opened.
    pub(super) fn open_there(folder: &Path) -> Result<Store, DiskError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(DiskError::Missing { path });
        }
        Store::at(&path, u64::MAX)
    }

    fn at(path: &Path, budget_bytes: u64) -> Result<Store, DiskError> {
        let failed = |cause| DiskError::Store { path: path.to_owned(), cause };
        let connection = connected(path).map_err(failed)?;
        Ok(Store { connection, path: path.to_owned(), budget_bytes, inode: inode(path) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn failed(&self, cause: rusqlite::Error) -> DiskError {
        DiskError::Store { path: self.path.clone(), cause }
    }

    /// Whether a tile is there, whole or not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn holds(&self, key: &TileKey) -> Result<bool, DiskError> {
        self.connection
            .prepare_cached("SELECT 1 FROM tile WHERE key = ?1")
            .and_then(|mut query| query.exists(params![&key_bytes(key)[..]]))
            .map_err(|source| self.failed(source))
    }

    /// Writes tiles of a dataset in one transaction, and evicts until the budget holds; gives the number evicted.
    ///
    /// # Errors
    /// They cannot be written: then none is.
    pub fn put(&mut self, dataset: &str, tiles: &[(TileKey, Bytes)]) -> Result<u64, DiskError> {
        let dataset: std::sync::Arc<str> = dataset.into();
        let write = |(key, bytes): &(TileKey, Bytes)| Write::Tile { key: key_bytes(key), dataset: dataset.clone(), bytes: bytes.clone() };
        let batch: Vec<Write> = tiles.iter().map(write).collect();
        self.write(&batch).map_err(|source| self.failed(source))
    }

    /// As [`Store::put`], whatever is to be written.
    pub(super) fn write(&mut self, batch: &[Write]) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction()?;
        for write in batch {
            match write {
                Write::Tile { key, dataset, bytes } => transaction
                    .prepare_cached("INSERT OR REPLACE INTO tile (key, dataset, bytes, xxh3, size, used) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                    .execute(params![&key[..], &**dataset, &bytes[..], xxh3_64(bytes) as i64, bytes.len() as i64, now_step()])?,
                Write::Used { key } => {
                    transaction.prepare_cached("UPDATE tile SET used = ?2 WHERE key = ?1")?.execute(params![&key[..], now_step()])?
                }
                Write::Forget { key } => transaction.prepare_cached("DELETE FROM tile WHERE key = ?1")?.execute(params![&key[..]])?,
            };
        }
        transaction.commit()?;
        self.evict()
    }

    /// Bytes of the file's pages in use: what the budget is about, so that it holds for the disk and not only for the images.
    pub(super) fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma: &str| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        Ok(((number("page_count")? - number("freelist_count")?) * number("page_size")?) as u64)
    }

    /// As the file is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file_bytes(&self) -> Result<u64, DiskError> {
        self.used_bytes().map_err(|source| self.failed(source))
    }

    /// Deletes what has not been used for longest until the budget holds; gives the number of tiles. Free pages are written again,
    /// so the file stays as large.
    fn evict(&self) -> rusqlite::Result<u64> {
        if self.used_bytes()? <= self.budget_bytes {
            return Ok(0);
        }
        let mut evicted = 0;
        while self.used_bytes()? > self.budget_bytes / EVICT_TO.1 * EVICT_TO.0 {
            let gone = self
                .connection
                .prepare_cached("DELETE FROM tile WHERE rowid IN (SELECT rowid FROM tile ORDER BY used, rowid LIMIT ?1)")?
                .execute([DELETE_TILES as i64])?;
            if gone == 0 {
                break;
            }
            evicted += gone as u64;
        }
        Ok(evicted)
    }

    /// Whether the file at the path is no longer the one that is open: another process has put a damaged one aside, or somebody has
    /// deleted it.
    pub(super) fn is_replaced(&self) -> bool {
        inode(&self.path) != self.inode
    }

    /// Opens the file at the path again.
    pub(super) fn reopen(&mut self) -> Result<(), DiskError> {
        *self = Store::at(&self.path, self.budget_bytes)?;
        Ok(())
    }

    /// Whether the file is wrong in itself. Reads all of it: to be asked only when something says so.
    pub(super) fn is_damaged(&self) -> bool {
        let check = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        check.map_or_else(|error| is_damage(&error), |answer| answer != "ok")
    }

    /// Puts what is intact into a new file, in place of the damaged one, which is put aside; gives the number of tiles that were saved.
    pub(super) fn rebuild(&mut self, damage: &rusqlite::Error) -> Result<u64, DiskError> {
        let beside = self.path.with_extension(format!("rebuilt-{}", std::process::id()));
        remove_with_journal(&beside);
        let mut rebuilt = Store::at(&beside, self.budget_bytes)?;
        let mut saved = 0;
        for rows in self.rows_in_reach().chunks(DELETE_TILES) {
            let intact: Vec<Write> = rows.iter().filter_map(|&row| self.intact(row)).collect();
            saved += intact.len() as u64;
            rebuilt.write(&intact).map_err(|source| rebuilt.failed(source))?;
        }
        // Closed, so that the new file is whole without a journal.
        drop(rebuilt);
        if self.is_replaced() {
            // Another process was faster.
            remove_with_journal(&beside);
            return self.reopen().map(|()| 0);
        }
        set_aside(&self.path, damage);
        std::fs::rename(&beside, &self.path).map_err(|cause| DiskError::Folder { path: self.path.clone(), cause })?;
        self.reopen()?;
        Ok(saved)
    }

    /// The rows that can be listed: from either end, as far as the damage lets through.
    fn rows_in_reach(&self) -> Vec<i64> {
        let listed = |order: &str| -> Vec<i64> {
            let Ok(mut query) = self.connection.prepare(&format!("SELECT rowid FROM tile NOT INDEXED ORDER BY rowid {order}")) else {
                return Vec::new();
            };
            let Ok(rows) = query.query_map([], |row| row.get(0)) else { return Vec::new() };
            rows.map_while(Result::ok).collect()
        };
        let mut rows = listed("ASC");
        rows.extend(listed("DESC"));
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn intact(&self, row: i64) -> Option<Write> {
        let (key, dataset, bytes, xxh3): (Vec<u8>, String, Vec<u8>, i64) = self
            .connection
            .prepare_cached("SELECT key, dataset, bytes, xxh3 FROM tile WHERE rowid = ?1")
            .and_then(|mut query| query.query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))))
            .ok()?;
        let key: KeyBytes = key.try_into().ok()?;
        (xxh3_64(&bytes) as i64 == xxh3).then(|| Write::Tile { key, dataset: dataset.into(), bytes: bytes.into() })
    }
}

/// A connection that only looks tiles up.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    // Not read-only: a reader may be the one to make the shared index of a journal that a killed process has left.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Looks a tile up.
pub(super) fn find(reader: &Connection, key: &KeyBytes) -> rusqlite::Result<Found> {
    let mut query = reader.prepare_cached("SELECT bytes, xxh3, used FROM tile WHERE key = ?1")?;
    let found = query
        .query_row(params![&key[..]], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        .optional()?;
    Ok(match found {
        Some((bytes, xxh3, used)) if xxh3_64(&bytes) as i64 == xxh3 => {
            Found::Tile { bytes: bytes.into(), is_stale_use: used != now_step() }
        }
        Some(_) => Found::Damaged,
        None => Found::Nothing,
    })
}

fn connected(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // NORMAL in WAL mode: a kill loses nothing that was committed, a power cut at most the last transactions. It is a cache.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON;
         CREATE TABLE IF NOT EXISTS tile (
             key BLOB NOT NULL UNIQUE, dataset TEXT NOT NULL, bytes BLOB NOT NULL, xxh3 INTEGER NOT NULL,
             size INTEGER NOT NULL, used INTEGER NOT NULL);
         CREATE INDEX IF NOT EXISTS tile_used ON tile (used, size);",
    )?;
    Ok(connection)
}

/// Whether the file itself is wrong, and not the disk or another process.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

fn set_aside(path: &Path, error: &rusqlite::Error) {
    let aside = path.with_extension("sqlite.damaged");
    tracing::warn!("the cache {} is damaged ({error}): it is put aside as {} and begun anew", path.display(), aside.display());
    if let Err(error) = std::fs::rename(path, &aside) {
        tracing::warn!("it cannot be put aside: {error}");
    }
    remove_with_journal(path);
}

/// Removes a database and its journal.
fn remove_with_journal(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // What is not there need not go.
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// Elsewhere files that are open cannot be replaced.
#[cfg(unix)]
fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| std::os::unix::fs::MetadataExt::ino(&metadata))
}

#[cfg(not(unix))]
fn inode(_: &Path) -> u64 {
    0
}

fn now_step() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    now / USED_STEP_SECS * USED_STEP_SECS
}

pub(super) fn key_bytes(key: &TileKey) -> KeyBytes {
    let mut bytes = [0; KEY_BYTES];
    bytes[..16].copy_from_slice(&key.digest.0.to_be_bytes());
    bytes[16] = key.tile.z();
    bytes[17..21].copy_from_slice(&key.tile.x().to_be_bytes());
    bytes[21..25].copy_from_slice(&key.tile.y().to_be_bytes());
    bytes[25] = match key.scale {
        Scale::One => 1,
        Scale::Two => 2,
        Scale::Four => 4,
    };
    bytes[26] = match key.content {
        Content::Png => 0,
        Content::Npy(NpyDtype::U32) => 1,
        Content::Npy(NpyDtype::Auto) => 2,
        Content::Png8 => 3,
    };
    bytes
}

/// The tile of a key.
pub(super) fn tile_of(key: &[u8]) -> Option<TileId> {
    let word = |at: usize| Some(u32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?));
    let zoom = Zoom::new(*key.get(16)?).ok()?;
    TileId::new(zoom.get(), word(17)?, word(21)?).ok()
}
