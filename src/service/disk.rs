//! Finished tiles on disk, so that a restart finds them: one SQLite file under a byte budget.
//!
//! Nothing here may make a request fail: what cannot be read is made again, what cannot be written is not kept, and either
//! is said once in the log. Tiles are found by keys that name the data version, the filter and the style, so an old one
//! is never taken for a new one; it goes when it has not been used for longest. Several processes may share a file.
//!
//! ```text
//! tile   key BLOB (digest 16, z 1, x 4, y 4, scale 1, content 1), dataset TEXT, bytes BLOB, xxh3 INTEGER, size INTEGER,
//!        used INTEGER (seconds since 1970, to the hour)
//! ```

use super::lock;
use super::tile::{Content, Scale, TileKey};
use crate::encode::NpyDtype;
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// The file in the cache's folder.
const FILE: &str = "tiles.sqlite";

/// Tiles that may wait to be written: at 20 KB some 20 MB. More are not kept.
const WAITING_MAX: usize = 1024;

/// Tiles of one transaction.
const BATCH_TILES: usize = 256;

/// How fine the time of use is: a tile that is used all day is written to once an hour.
const USED_STEP_SECS: i64 = 3600;

/// Evicting makes room for a while: down to 15/16 of the budget.
const EVICT_TO: (u64, u64) = (15, 16);

/// How long a write waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum DiskError {
    #[error("cannot create the cache folder {}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot use the cache {}: {source}", path.display())]
    Store { path: PathBuf, source: rusqlite::Error },
}

/// What a cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskStats {
    pub tiles: u64,
    pub bytes: u64,
    /// Tiles and bytes by dataset.
    pub datasets: Vec<(String, u64, u64)>,
}

/// A store of finished tiles. Dropping it writes what waits.
pub struct DiskCache {
    reader: Mutex<Connection>,
    writer: Option<SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    has_warned: Arc<AtomicBool>,
    hits: AtomicU64,
    misses: AtomicU64,
}

enum Write {
    Tile { key: [u8; KEY_BYTES], dataset: Arc<str>, bytes: Bytes },
    Used { key: [u8; KEY_BYTES] },
    Forget { key: [u8; KEY_BYTES] },
}

const KEY_BYTES: usize = 27;

impl DiskCache {
    /// Opens or makes the cache in `folder`. A file that is no database, or is damaged beyond opening, is put aside.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be written there.
    pub fn open(folder: &Path, budget_bytes: u64) -> Result<DiskCache, DiskError> {
        std::fs::create_dir_all(folder).map_err(|source| DiskError::Folder { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        let store = |source| DiskError::Store { path: path.clone(), source };
        let writing = match connected(&path) {
            Err(error) if is_damage(&error) => {
                set_aside(&path, &error);
                connected(&path).map_err(store)?
            }
            other => other.map_err(store)?,
        };
        let reader = Connection::open(&path).and_then(|reader| reader.busy_timeout(BUSY_TIMEOUT).map(|()| reader)).map_err(store)?;
        let has_warned = Arc::new(AtomicBool::new(false));
        let (send, receive) = sync_channel(WAITING_MAX);
        let (shown, warned) = (path.clone(), has_warned.clone());
        let thread = std::thread::Builder::new()
            .name("tile-disk".into())
            .spawn(move || keep_writing(writing, &receive, budget_bytes, &shown, &warned))
            .map_err(|source| DiskError::Folder { path: folder.to_owned(), source })?;
        Ok(DiskCache {
            reader: Mutex::new(reader),
            writer: Some(send),
            thread: Some(thread),
            path,
            has_warned,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// A tile, if it is there and whole.
    pub fn get(&self, key: &TileKey) -> Option<Bytes> {
        let key = key_bytes(key);
        let found = {
            let reader = lock(&self.reader);
            reader
                .prepare_cached("SELECT bytes, xxh3, used FROM tile WHERE key = ?1")
                .and_then(|mut query| {
                    query
                        .query_row(params![&key[..]], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
                        .optional()
                })
        };
        let tile = match found {
            Ok(Some((bytes, xxh3, used))) if xxh3_64(&bytes) as i64 == xxh3 => {
                if used != now_step() {
                    self.tell(Write::Used { key });
                }
                Some(Bytes::from(bytes))
            }
            Ok(Some(_)) => {
                warn_once(&self.has_warned, &self.path, "a tile there is damaged, and is made again");
                self.tell(Write::Forget { key });
                None
            }
            Ok(None) => None,
            Err(error) => {
                warn_once(&self.has_warned, &self.path, &error.to_string());
                None
            }
        };
        let counter = if tile.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        tile
    }

    /// Keeps a tile, soon; not at all where the disk is too slow or full.
    pub fn insert(&self, key: &TileKey, dataset: &str, bytes: Bytes) {
        self.tell(Write::Tile { key: key_bytes(key), dataset: dataset.into(), bytes });
    }

    /// Look-ups that found a tile, and that did not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn tell(&self, write: Write) {
        let Some(writer) = &self.writer else { return };
        match writer.try_send(write) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => warn_once(&self.has_warned, &self.path, "its thread has ended"),
        }
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong, if anything did.
            let _ = thread.join();
        }
    }
}

/// What the cache in `folder` holds.
///
/// # Errors
/// It cannot be read.
pub fn stats(folder: &Path) -> Result<DiskStats, DiskError> {
    let path = folder.join(FILE);
    let store = |source| DiskError::Store { path: path.clone(), source };
    let read = || {
        let connection = connected(&path)?;
        let mut query = connection.prepare("SELECT dataset, COUNT(*), SUM(size) FROM tile GROUP BY dataset ORDER BY dataset")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64)))?;
        rows.collect::<Result<Vec<(String, u64, u64)>, _>>()
    };
    let datasets = read().map_err(store)?;
    let (tiles, bytes) = datasets.iter().fold((0, 0), |(tiles, bytes), (_, n, size)| (tiles + n, bytes + size));
    Ok(DiskStats { tiles, bytes, datasets })
}

/// Forgets all tiles, or those of one dataset; gives their number. Disk space is given back.
///
/// # Errors
/// It cannot be written.
pub fn purge(folder: &Path, dataset: Option<&str>) -> Result<u64, DiskError> {
    let path = folder.join(FILE);
    let store = |source| DiskError::Store { path: path.clone(), source };
    let forget = || {
        let connection = connected(&path)?;
        let tiles = connection.execute("DELETE FROM tile WHERE ?1 IS NULL OR dataset = ?1", params![dataset])?;
        connection.execute_batch("VACUUM")?;
        Ok(tiles as u64)
    };
    forget().map_err(store)
}

fn connected(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // NORMAL in WAL mode: a kill loses nothing that was committed, a power cut at most the last transactions. It is a cache.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE IF NOT EXISTS tile (
             key BLOB NOT NULL UNIQUE, dataset TEXT NOT NULL, bytes BLOB NOT NULL, xxh3 INTEGER NOT NULL,
             size INTEGER NOT NULL, used INTEGER NOT NULL);
         CREATE INDEX IF NOT EXISTS tile_used ON tile (used, size);",
    )?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Moves a damaged file and what belongs to it out of the way.
fn set_aside(path: &Path, error: &rusqlite::Error) {
    tracing::warn!("the cache {} is damaged ({error}) and is put aside as .damaged; tiles are made again", path.display());
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    if let Err(error) = std::fs::rename(path, with(".damaged")) {
        tracing::warn!("it cannot be put aside: {error}");
    }
    for suffix in ["-wal", "-shm"] {
        // What is not there need not go.
        let _ = std::fs::remove_file(with(suffix));
    }
}

/// The writer: collects what waits into transactions, until nobody can send any more.
fn keep_writing(mut connection: Connection, receive: &Receiver<Write>, budget_bytes: u64, path: &Path, has_warned: &AtomicBool) {
    while let Ok(first) = receive.recv() {
        let batch: Vec<Write> = std::iter::once(first).chain(receive.try_iter().take(BATCH_TILES - 1)).collect();
        let written = write_batch(&mut connection, &batch).and_then(|()| evict(&connection, budget_bytes));
        if let Err(error) = written {
            warn_once(has_warned, path, &error.to_string());
        }
    }
}

fn write_batch(connection: &mut Connection, batch: &[Write]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
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
    transaction.commit()
}

/// Deletes what has not been used for longest until the budget holds. Free pages are written again, so the file stays as large.
fn evict(connection: &Connection, budget_bytes: u64) -> rusqlite::Result<()> {
    let held = |connection: &Connection| -> rusqlite::Result<u64> {
        connection.prepare_cached("SELECT COALESCE(SUM(size), 0) FROM tile")?.query_row([], |row| row.get::<_, i64>(0)).map(|n| n as u64)
    };
    let mut bytes = held(connection)?;
    if bytes <= budget_bytes {
        return Ok(());
    }
    while bytes > budget_bytes / EVICT_TO.1 * EVICT_TO.0 {
        let gone = connection
            .prepare_cached("DELETE FROM tile WHERE rowid IN (SELECT rowid FROM tile ORDER BY used, rowid LIMIT 64)")?
            .execute([])?;
        if gone == 0 {
            return Ok(());
        }
        bytes = held(connection)?;
    }
    Ok(())
}

/// One line in the log for a cache that fails, not one a tile.
fn warn_once(has_warned: &AtomicBool, path: &Path, what: &str) {
    if !has_warned.swap(true, Ordering::Relaxed) {
        tracing::warn!("the cache {} does not work as it should: {what}; tiles are served all the same", path.display());
    }
}

fn now_step() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    now / USED_STEP_SECS * USED_STEP_SECS
}

fn key_bytes(key: &TileKey) -> [u8; KEY_BYTES] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Digest;
    use crate::world::TileId;

    fn key(x: u32) -> TileKey {
        TileKey { digest: Digest(7), tile: TileId::new(20, x, 3).unwrap(), scale: Scale::One, content: Content::Png }
    }

    fn filled(folder: &Path, tiles: u32, budget: u64) {
        let cache = DiskCache::open(folder, budget).unwrap();
        for x in 0..tiles {
            // The queue is bounded and refuses what does not fit; here every tile must arrive.
            while cache.get(&key(x)).is_none() {
                cache.insert(&key(x), "towers", Bytes::from(vec![x as u8; 1000]));
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn tiles_survive_and_the_budget_holds() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 20, 1 << 20);
        let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(cache.get(&key(7)).unwrap(), vec![7; 1000]);
        assert_eq!(cache.get(&key(99)), None);
        assert_eq!(cache.hits_and_misses(), (1, 1));
        drop(cache);
        assert_eq!(stats(folder.path()).unwrap().tiles, 20);

        let cache = DiskCache::open(folder.path(), 16_000).unwrap();
        cache.insert(&key(1000), "towers", Bytes::from_static(&[1; 1000]));
        drop(cache);
        assert!(stats(folder.path()).unwrap().bytes <= 16_000);
        assert_eq!(purge(folder.path(), Some("ships")).unwrap(), 0);
        purge(folder.path(), None).unwrap();
        assert_eq!(stats(folder.path()).unwrap(), DiskStats::default());
    }

    #[test]
    fn a_damaged_file_costs_tiles_and_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 50, 1 << 20);
        let file = folder.path().join(FILE);
        // Whatever byte is damaged, what comes back is a tile as it was, or nothing.
        let whole = std::fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            let mut broken = whole.clone();
            broken[at..(at + 64).min(whole.len())].fill(0xA5);
            for leftover in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{leftover}", file.display()));
            }
            std::fs::write(&file, broken).unwrap();
            let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
            for x in 0..50 {
                assert!(cache.get(&key(x)).is_none_or(|bytes| bytes == vec![x as u8; 1000]), "byte {at}, tile {x}");
            }
        }
        std::fs::write(&file, b"this is no database at all, but long enough to be taken for one by its size").unwrap();
        filled(folder.path(), 3, 1 << 20);
        assert_eq!(stats(folder.path()).unwrap().tiles, 3);
    }
}
