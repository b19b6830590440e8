//! Finished tiles on disk, so that a restart finds them.
//!
//! ```text
//! DiskCache   what a server has: look-ups on the caller's thread, writes behind its back; no failure reaches a request
//! store       the SQLite file: transactions, the budget, saving what is intact of a damaged file
//! upkeep      stats and purge, for people
//! ```
//!
//! What cannot be read is made again, what cannot be written is not kept, and either is said once in the log. Tiles are found by
//! keys that name the data version, the filter and the style, so an old one is never taken for a new one; it goes when it has
//! not been used for longest. Several processes may share a file.

mod store;
#[cfg(test)]
mod tests;
mod upkeep;

pub use store::Store;
pub use upkeep::{DiskStats, purge, stats};

use super::cache::CacheStats;
use super::purge::Purge;
use super::tile::{Scale, TileKey};
use super::lock;
use crate::encode::empty_png;
use bytes::Bytes;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use store::{Found, KeyBytes, Write, find, is_damage, is_full, key_bytes, reader};
use thiserror::Error;

/// Tiles that may wait to be written: at 20 KB some 20 MB. More are not kept.
const WAITING_MAX: usize = 1024;

/// Tiles of one transaction.
const BATCH_TILES: usize = 256;

/// Connections that look up. Each holds up to 2 MB of pages.
const READERS: usize = 4;

#[derive(Debug, Error)]
pub enum DiskError {
    #[error("cannot create the cache folder {}: {cause}", path.display())]
    Folder { path: PathBuf, cause: std::io::Error },
    #[error("cannot use the cache {}: {cause}", path.display())]
    Store { path: PathBuf, cause: rusqlite::Error },
    #[error("there is no cache {}: give the folder of --cache-dir", path.display())]
    Missing { path: PathBuf },
}

/// A store of finished tiles. Dropping it writes what waits.
pub struct DiskCache {
    readers: Arc<Readers>,
    writer: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// Connections for look-ups, replaced where the file is. None where there is no file to read.
#[derive(Default)]
struct Readers {
    connections: [Mutex<Option<Connection>>; READERS],
    next: AtomicUsize,
}

struct Shared {
    path: PathBuf,
    has_warned: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

enum Message {
    Write(Write),
    /// A reader has found the file damaged.
    Damaged(rusqlite::Error),
    Purge(Option<Arc<str>>, Purge, SyncSender<Result<u64, DiskError>>),
}

impl DiskCache {
    /// Opens or makes the cache in `folder`. A file that is no database, or is damaged beyond opening, is put aside. On a full disk
    /// nothing is kept, which the log says.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be written there.
    pub fn open(folder: &Path, budget_bytes: u64) -> Result<DiskCache, DiskError> {
        let readers = Arc::new(Readers::default());
        let store = match Store::open(folder, budget_bytes) {
            Err(DiskError::Store { path, cause }) if is_full(&cause) => {
                tracing::warn!("the cache {} cannot be written ({cause}): tiles are served, and not kept", path.display());
                return Ok(DiskCache { readers, writer: None, thread: None, shared: Arc::new(Shared::new(path)) });
            }
            other => other?,
        };
        readers.open(store.path()).map_err(|source| store.failed(source))?;
        let shared = Arc::new(Shared::new(store.path().to_owned()));
        let (send, receive) = sync_channel(WAITING_MAX);
        let writer = Writer { store, readers: readers.clone(), shared: shared.clone() };
        let thread = std::thread::Builder::new()
            .name("tile-disk".into())
            .spawn(move || writer.keep_writing(&receive))
            .map_err(|cause| DiskError::Folder { path: folder.to_owned(), cause })?;
        Ok(DiskCache { readers, writer: Some(send), thread: Some(thread), shared })
    }

    /// A tile, if it is there and whole.
    pub fn get(&self, key: &TileKey) -> Option<Bytes> {
        let key = key_bytes(key);
        let tile = match self.readers.find(&key) {
            Ok(Found::Tile { bytes, is_stale_use }) => {
                if is_stale_use {
                    self.tell(Message::Write(Write::Used { key }));
                }
                Some(bytes)
            }
            Ok(Found::Damaged) => {
                self.shared.warn_once("a tile there is damaged, and is made again");
                self.tell(Message::Write(Write::Forget { key }));
                None
            }
            Ok(Found::Nothing) => None,
            Err(error) => {
                self.shared.warn_once(&error.to_string());
                if is_damage(&error) {
                    self.tell(Message::Damaged(error));
                }
                None
            }
        };
        let counter = if tile.is_some() { &self.shared.hits } else { &self.shared.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        tile
    }

    /// Keeps a tile, soon; not at all where the disk is too slow or full, or where the tile shows nothing.
    pub fn insert(&self, key: &TileKey, dataset: &str, bytes: Bytes) {
        if !shows_nothing(&bytes) {
            self.tell(Message::Write(Write::Tile { key: key_bytes(key), dataset: dataset.into(), bytes }));
        }
    }

    /// Forgets tiles of a dataset, behind everything that was inserted before; gives their number. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn purge(&self, dataset: &str, purge: &Purge) -> Result<u64, DiskError> {
        let (reply, answer) = sync_channel(1);
        let asked = self.writer.as_ref().is_some_and(|writer| {
            writer.send(Message::Purge(Some(dataset.into()), purge.clone(), reply)).is_ok()
        });
        if !asked {
            return Ok(0);
        }
        answer.recv().unwrap_or_else(|_| Err(DiskError::Missing { path: self.shared.path.clone() }))
    }

    /// Look-ups, evictions by this process, and bytes of the file in use when it was last written.
    pub fn stats(&self) -> CacheStats {
        let Shared { hits, misses, evictions, bytes, .. } = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats { hits: read(hits), misses: read(misses), evictions: read(evictions), bytes: read(bytes), entries: 0 }
    }

    fn tell(&self, message: Message) {
        let Some(writer) = &self.writer else { return };
        match writer.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => self.shared.warn_once("its thread has ended"),
        }
    }
}

/// Whether an image is one of those that all empty tiles share: they cost less to make than to look for.
pub(super) fn shows_nothing(bytes: &[u8]) -> bool {
    [Scale::One, Scale::Two, Scale::Four].into_iter().any(|scale| bytes == empty_png(scale.pixels()))
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

impl Readers {
    /// Opens every connection again, at what is at the path now.
    fn open(&self, path: &Path) -> rusqlite::Result<()> {
        for connection in &self.connections {
            *lock(connection) = Some(reader(path)?);
        }
        Ok(())
    }

    fn find(&self, key: &KeyBytes) -> rusqlite::Result<Found> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match &*lock(&self.connections[turn % READERS]) {
            Some(connection) => find(connection, key),
            None => Ok(Found::Nothing),
        }
    }
}

impl Shared {
    fn new(path: PathBuf) -> Shared {
        let zero = || AtomicU64::new(0);
        let (hits, misses, evictions, bytes, dropped) = (zero(), zero(), zero(), zero(), zero());
        Shared { path, has_warned: AtomicBool::new(false), hits, misses, evictions, bytes, dropped }
    }

    /// One line in the log for a cache that fails, not one a tile.
    fn warn_once(&self, what: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("the cache {} does not work as it should: {what}; tiles are served all the same", self.path.display());
        }
    }
}

/// The writer's thread.
struct Writer {
    store: Store,
    readers: Arc<Readers>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Collects what waits into transactions, until nobody can send any more.
    fn keep_writing(mut self, receive: &Receiver<Message>) {
        self.measure();
        while let Ok(first) = receive.recv() {
            let mut batch = Vec::new();
            for message in std::iter::once(first).chain(receive.try_iter().take(BATCH_TILES - 1)) {
                match message {
                    Message::Write(write) => batch.push(write),
                    Message::Damaged(error) => self.save(&error),
                    Message::Purge(dataset, purge, reply) => {
                        self.write(&std::mem::take(&mut batch));
                        // Who asked may have gone.
                        let _ = reply.send(self.store.purge(dataset.as_deref(), &purge));
                    }
                }
            }
            self.write(&batch);
            self.measure();
        }
    }

    fn write(&mut self, batch: &[Write]) {
        self.follow();
        let written = match self.store.write(batch) {
            Err(error) if is_damage(&error) => {
                self.save(&error);
                self.store.write(batch)
            }
            other => other,
        };
        match written {
            Ok(evicted) => {
                self.shared.evictions.fetch_add(evicted, Ordering::Relaxed);
            }
            Err(error) => self.shared.warn_once(&error.to_string()),
        }
    }

    /// Goes on with what is intact of a damaged file.
    fn save(&mut self, damage: &rusqlite::Error) {
        // Several readers may have met the same damage, and another process too: the first has mended it.
        self.follow();
        if !self.store.is_damaged() {
            return;
        }
        match self.store.rebuild(damage) {
            Ok(tiles) => tracing::warn!("{tiles} tiles of the cache {} were intact and are kept", self.shared.path.display()),
            Err(error) => return self.shared.warn_once(&error.to_string()),
        }
        self.reopen_readers();
    }

    /// Opens the file that another process has put in the place of the one that is open.
    fn follow(&mut self) {
        if !self.store.is_replaced() {
            return;
        }
        match self.store.reopen() {
            Ok(()) => self.reopen_readers(),
            Err(error) => self.shared.warn_once(&error.to_string()),
        }
    }

    fn reopen_readers(&self) {
        if let Err(error) = self.readers.open(&self.shared.path) {
            self.shared.warn_once(&error.to_string());
        }
    }

    fn measure(&self) {
        if let Ok(bytes) = self.store.used_bytes() {
            self.shared.bytes.store(bytes, Ordering::Relaxed);
        }
    }
}
