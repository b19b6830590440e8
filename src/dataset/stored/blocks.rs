//! A local copy of what has been read of objects in a store, block by block, under a budget of disk space.
//!
//! ```text
//! DIR/N/                        this process' own place ([`super::place`])
//! DIR/N/VERSION/...             the objects' copies ([`super::sparse`])
//! ```
//!
//! Files are mapped, so that engines see arrays. What an array's bytes are is defined only where somebody *holds* them: [`BlockCache::hold`]
//! fetches what is not there, and keeps it from being evicted until what it gives is dropped. Every block is compared with its checksum when it
//! comes, and once more when a later process finds it.

use super::super::DatasetError;
use super::away::Away;
use super::place;
use super::sparse::{BLOCK_BYTES, SparseFile};
use crate::store::Store;
use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// Blocks of one request, 2 MiB: longer runs are split, so that they come at once.
const RUN_BLOCKS: usize = 16;

/// How much of the budget is used after an eviction, so that the next is not due at once.
const EVICT_TO: f64 = 0.9;

/// The cache of a process, for all its datasets in stores.
pub struct BlockCache {
    folder: PathBuf,
    budget_bytes: u64,
    state: Mutex<State>,
    arrived: Condvar,
    away: Away,
    counters: Counters,
    _lock: File,
}

/// Since the process began.
#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// What a cache has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Blocks that were there when they were wanted.
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    /// Requests to stores, and those that failed after all retries.
    pub requests: u64,
    pub failures: u64,
    pub fetched_bytes: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

#[derive(Default)]
struct State {
    files: HashMap<u64, Vec<Block>>,
    open: HashMap<u64, Weak<StoredFile>>,
    /// By version and name, with their numbers: a dataset that is opened twice has one local copy.
    named: HashMap<(String, String), (u64, Weak<StoredFile>)>,
    next_file: u64,
    clock: u64,
    /// Of all blocks on disk.
    bytes: u64,
    /// Those among them that are of no open file, by version: of earlier processes, and of versions that are no longer served.
    left: HashMap<String, u64>,
}

#[derive(Clone, Copy)]
struct Block {
    presence: Presence,
    holders: u32,
    used: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    /// On disk since an earlier process, and not yet compared with its checksum.
    Found,
    /// Somebody is fetching it.
    Coming,
    Here,
}

/// An object in a store, of which blocks are here.
pub struct StoredFile {
    id: u64,
    version: String,
    copy: SparseFile,
    cache: Arc<BlockCache>,
}

/// A block that a thread has taken on to bring.
struct Claim {
    file: Arc<StoredFile>,
    place: usize,
    /// An earlier process left it.
    is_found: bool,
}

/// Ranges of bytes that a piece of work is going to read.
#[derive(Default)]
pub struct Wants {
    ranges: Vec<(Arc<StoredFile>, Range<u64>)>,
}

/// Says that the bytes are there, for as long as it lives.
#[must_use = "what is not held may be evicted at any time"]
#[derive(Default)]
pub struct Held {
    blocks: Vec<(Arc<StoredFile>, Range<usize>)>,
}

impl Wants {
    pub fn add(&mut self, file: &Arc<StoredFile>, range: Range<u64>) {
        if !range.is_empty() {
            self.ranges.push((file.clone(), range));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl BlockCache {
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(folder: &Path, budget_bytes: u64) -> Result<Arc<BlockCache>, DatasetError> {
        let (folder, lock) = place::lock(folder)?;
        let left = place::left_in(&folder)?;
        let state = State { bytes: left.values().sum(), left, ..State::default() };
        Ok(Arc::new(BlockCache {
            folder,
            budget_bytes,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            away: Away::default(),
            counters: Counters::default(),
            _lock: lock,
        }))
    }

    pub fn stats(&self) -> BlockStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { hits, misses, evictions, requests, failures, fetched_bytes } = &self.counters;
        BlockStats {
            hits: read(hits),
            misses: read(misses),
            evictions: read(evictions),
            requests: read(requests),
            failures: read(failures),
            fetched_bytes: read(fetched_bytes),
            bytes: self.lock().bytes,
        }
    }

    /// The local copy of an object of `bytes` bytes, whose blocks have these checksums.
    ///
    /// # Errors
    /// It cannot be made or mapped.
    pub fn file(self: &Arc<Self>, version: &str, name: &str, bytes: u64, checksums: Vec<u64>) -> Result<Arc<StoredFile>, DatasetError> {
        let key = (version.to_owned(), name.to_owned());
        // To the end under the lock: of two at once each would make a copy over the same file, and evict what the other takes to be there.
        let mut state = self.lock();
        if let Some((id, open)) = state.named.get(&key) {
            if let Some(open) = open.upgrade() {
                return Ok(open);
            }
            // Nobody has it any more, and whoever had it last waits for the lock to say so.
            let id = *id;
            state.close(id, &key);
        }
        let (copy, there) = SparseFile::open(&self.folder.join(version), name, bytes, checksums)?;
        let presence = |&there: &bool| if there { Presence::Found } else { Presence::Absent };
        let blocks: Vec<Block> = there.iter().map(|there| Block { presence: presence(there), holders: 0, used: 0 }).collect();
        let id = state.next_file;
        state.next_file += 1;
        let found = there.iter().filter(|&&there| there).count() as u64 * BLOCK_BYTES;
        if let Some(left) = state.left.get_mut(version) {
            *left = left.saturating_sub(found);
        }
        state.files.insert(id, blocks);
        let made = Arc::new(StoredFile { id, version: version.to_owned(), copy, cache: self.clone() });
        state.open.insert(id, Arc::downgrade(&made));
        state.named.insert(key, (id, Arc::downgrade(&made)));
        Ok(made)
    }

    /// Fetches what is wanted and not there, all at once, and holds it all. A question that needs more than the budget gets it, and what is
    /// over is evicted afterwards.
    ///
    /// # Errors
    /// The store does not answer, or what it gives is not what it should be; or the disk is full.
    pub fn hold(&self, store: &Store, wants: &Wants) -> Result<Held, DatasetError> {
        let blocks: Vec<(Arc<StoredFile>, Range<usize>)> =
            wants.ranges.iter().map(|(file, range)| (file.clone(), file.blocks(range))).collect();
        let mut is_first = true;
        let held = Held { blocks };
        loop {
            let (mine, others) = self.claim(&held, std::mem::take(&mut is_first));
            if !mine.is_empty() {
                let fetched = self.fetch(store, &mine);
                self.settle(&mine, fetched.is_ok());
                // Dropped, what was held is held no longer.
                fetched?;
            } else if others {
                let state = self.lock();
                let is_coming = |state: &mut State| held.any(state, |block| block.presence == Presence::Coming);
                drop(self.arrived.wait_while(state, |state| is_coming(state)).unwrap_or_else(PoisonError::into_inner));
            } else {
                self.evict()?;
                return Ok(held);
            }
        }
    }

    /// Takes it on to fetch what is wanted and neither there nor coming; says also whether anything was coming already.
    fn claim(&self, held: &Held, is_first: bool) -> (Vec<Claim>, bool) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.clock += 1;
        let (mut mine, mut others, mut there) = (Vec::new(), false, 0);
        for (file, range) in &held.blocks {
            let blocks = state.files.get_mut(&file.id).expect("a file is known for as long as it is open");
            for (place, block) in range.clone().zip(&mut blocks[range.clone()]) {
                if is_first {
                    block.holders += 1;
                    block.used = state.clock;
                }
                let is_found = block.presence == Presence::Found;
                match block.presence {
                    Presence::Here => there += 1,
                    Presence::Coming => others = true,
                    Presence::Absent | Presence::Found => {
                        block.presence = Presence::Coming;
                        mine.push(Claim { file: file.clone(), place, is_found });
                    }
                }
                if is_found {
                    state.bytes -= BLOCK_BYTES;
                }
            }
        }
        if is_first {
            self.counters.hits.fetch_add(there, Ordering::Relaxed);
            self.counters.misses.fetch_add(mine.len() as u64, Ordering::Relaxed);
        }
        (mine, others)
    }

    /// Brings the claimed blocks: those of an earlier process where they are whole, the others from the store.
    fn fetch(&self, store: &Store, claims: &[Claim]) -> Result<(), DatasetError> {
        let missing = claims.iter().filter(|claim| !(claim.is_found && claim.file.is_whole(claim.place)));
        let mut runs: Vec<(&StoredFile, Range<usize>)> = Vec::new();
        for Claim { file, place, .. } in missing {
            match runs.last_mut() {
                Some((last, run)) if last.id == file.id && run.end == *place && run.len() < RUN_BLOCKS => run.end += 1,
                _ => runs.push((file, *place..place + 1)),
            }
        }
        if runs.is_empty() {
            return Ok(());
        }
        self.away.find(store)?;
        let wanted: Vec<(&str, Range<u64>)> = runs.iter().map(|(file, run)| (file.name(), file.bytes_of(run))).collect();
        self.counters.requests.fetch_add(wanted.len() as u64, Ordering::Relaxed);
        let found = store.ranges(&wanted).inspect_err(|error| {
            self.counters.failures.fetch_add(wanted.len() as u64, Ordering::Relaxed);
            self.away.failed(store, error);
        })?;
        self.away.answered(store);
        for ((file, run), bytes) in runs.iter().zip(found) {
            self.counters.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            file.write(store.url(), run, &bytes)?;
        }
        Ok(())
    }

    /// Says that claimed blocks have come, or have not: then what an earlier process left is still what it was, and of the others nothing stays
    /// on disk that is not counted.
    fn settle(&self, claims: &[Claim], have_come: bool) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for Claim { file, place, is_found } in claims {
            let blocks = state.files.get_mut(&file.id).expect("a file is known for as long as it is open");
            blocks[*place].presence = match (have_come, is_found) {
                (true, _) => Presence::Here,
                (false, true) => Presence::Found,
                (false, false) => Presence::Absent,
            };
            if have_come || *is_found {
                state.bytes += BLOCK_BYTES;
            } else if let Err(error) = file.punch(*place) {
                tracing::warn!("what came of {} stays on disk, uncounted: {error}", file.name());
            }
        }
        self.arrived.notify_all();
    }

    /// Gives up the blocks that nobody holds and that were used longest ago, until there is room again.
    fn evict(&self) -> Result<(), DatasetError> {
        // Open for as long as the lock is held, which closing a file takes too.
        let mut open_files: Vec<Arc<StoredFile>> = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.bytes <= self.budget_bytes {
            return Ok(());
        }
        open_files.extend(state.open.values().filter_map(Weak::upgrade));
        let is_closed = |version: &String| !open_files.iter().any(|file| file.version == *version);
        for version in state.left.keys().filter(|version| is_closed(version)).cloned().collect::<Vec<_>>() {
            let folder = self.folder.join(&version);
            fs::remove_dir_all(&folder).map_err(DatasetError::io("remove", &folder))?;
            state.bytes -= state.left.remove(&version).unwrap_or(0);
        }
        if state.bytes <= self.budget_bytes {
            return Ok(());
        }
        let is_free = |block: &Block| block.holders == 0 && matches!(block.presence, Presence::Here | Presence::Found);
        let mut free: Vec<(u64, u64, usize)> = state
            .files
            .iter()
            .flat_map(|(id, blocks)| blocks.iter().enumerate().filter(|(_, block)| is_free(block)).map(|(place, block)| (block.used, *id, place)))
            .collect();
        free.sort_unstable();
        let excess = state.bytes - (self.budget_bytes as f64 * EVICT_TO) as u64;
        for (_, id, place) in free.into_iter().take(excess.div_ceil(BLOCK_BYTES) as usize) {
            let Some(file) = state.open.get(&id).and_then(Weak::upgrade) else { continue };
            // Under the lock: nobody takes the block to be there before it has gone, or again.
            file.punch(place)?;
            state.files.get_mut(&id).expect("it was listed above")[place].presence = Presence::Absent;
            state.bytes -= BLOCK_BYTES;
            self.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.copy.fmt(f)
    }
}

impl Deref for StoredFile {
    type Target = SparseFile;

    fn deref(&self) -> &SparseFile {
        &self.copy
    }
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        let key = (std::mem::take(&mut self.version), self.copy.name().to_owned());
        self.cache.lock().close(self.id, &key);
    }
}

impl State {
    /// Forgets a file that nobody has any more; its blocks stay on disk, of no open file. Once for each file, whoever comes first.
    fn close(&mut self, id: u64, key: &(String, String)) {
        let Some(blocks) = self.files.remove(&id) else { return };
        self.open.remove(&id);
        self.named.remove(key);
        let there = blocks.iter().filter(|block| matches!(block.presence, Presence::Here | Presence::Found)).count();
        *self.left.entry(key.0.clone()).or_default() += there as u64 * BLOCK_BYTES;
    }
}

impl Held {
    fn any(&self, state: &State, is_wanted: impl Fn(&Block) -> bool) -> bool {
        self.blocks.iter().any(|(file, range)| state.files[&file.id][range.clone()].iter().any(&is_wanted))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((first, _)) = self.blocks.first() else { return };
        let cache = first.cache.clone();
        let mut state = cache.lock();
        for (file, range) in &self.blocks {
            let blocks = state.files.get_mut(&file.id).expect("a file is known for as long as it is open");
            blocks[range.clone()].iter_mut().for_each(|block| block.holders -= 1);
        }
        // Files that are closed by this lock the state too.
        drop(state);
        self.blocks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use xxhash_rust::xxh3::xxh3_64;

    /// An object of `blocks` blocks, each of its own bytes, in a store.
    fn object(store: &Store, name: &str, blocks: u8) -> Vec<u64> {
        let bytes: Vec<u8> = (0..blocks).flat_map(|block| vec![block + 1; BLOCK_BYTES as usize]).collect();
        let checksums = bytes.chunks(BLOCK_BYTES as usize).map(xxh3_64).collect();
        store.put(name, bytes.into()).unwrap();
        checksums
    }

    fn wants(file: &Arc<StoredFile>, blocks: Range<u64>) -> Wants {
        let mut wants = Wants::default();
        wants.add(file, blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES);
        wants
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_what_is_held_stays() {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::in_memory());
        let checksums = object(&store, "x", 8);
        let cache = BlockCache::open(folder.path(), 4 * BLOCK_BYTES).unwrap();
        let file = cache.file("v1", "x", 8 * BLOCK_BYTES, checksums.clone()).unwrap();
        let byte = |block: u64| file.map()[(block * BLOCK_BYTES) as usize];
        let held = cache.hold(&store, &wants(&file, 0..2)).unwrap();
        drop(cache.hold(&store, &wants(&file, 2..4)).unwrap());
        assert_eq!(((0..4).map(byte).collect::<Vec<_>>(), cache.stats().bytes), (vec![1, 2, 3, 4], 4 * BLOCK_BYTES));
        drop(cache.hold(&store, &wants(&file, 4..6)).unwrap());
        assert_eq!((byte(0), byte(1), byte(2), byte(3)), (1, 2, 0, 0), "the first two are held, the next two went");
        drop(held);
        let BlockStats { misses, evictions, .. } = cache.stats();
        assert_eq!((misses, evictions), (6, 2));
        assert!(cache.file("v1", "x", 8 * BLOCK_BYTES, checksums).is_ok_and(|again| Arc::ptr_eq(&again, &file)), "one copy of one object");
    }

    #[test]
    fn what_an_earlier_process_left_is_found_checked_and_given_up_for_room() {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::in_memory());
        let checksums = object(&store, "x", 4);
        let other = object(&store, "y", 4);
        {
            let cache = BlockCache::open(folder.path(), 1 << 20).unwrap();
            let file = cache.file("v1", "x", 4 * BLOCK_BYTES, checksums.clone()).unwrap();
            drop(cache.hold(&store, &wants(&file, 0..3)).unwrap());
            let second = BlockCache::open(folder.path(), 1 << 20).unwrap();
            assert_ne!(second.folder, cache.folder, "each process has its own");
        }
        let path = folder.path().join("0/v1/x");
        let damaged = File::options().write(true).open(path).unwrap();
        damaged.write_all_at(&[9], BLOCK_BYTES).unwrap();
        let cache = BlockCache::open(folder.path(), 4 * BLOCK_BYTES).unwrap();
        assert_eq!(cache.stats().bytes, 3 * BLOCK_BYTES);
        let file = cache.file("v1", "x", 4 * BLOCK_BYTES, checksums).unwrap();
        assert!(cache.hold(&Store::in_memory(), &wants(&file, 0..4)).is_err(), "another store has no such object");
        assert_eq!(cache.stats().bytes, 3 * BLOCK_BYTES, "what was there still is");
        let _held = cache.hold(&store, &wants(&file, 0..3)).unwrap();
        assert_eq!((file.map()[BLOCK_BYTES as usize], cache.stats().requests), (2, 3), "the damaged one is fetched again");
        drop((_held, file));
        let next = cache.file("v2", "y", 4 * BLOCK_BYTES, other).unwrap();
        drop(cache.hold(&store, &wants(&next, 0..4)).unwrap());
        assert_eq!((cache.stats().bytes, folder.path().join("0/v1").exists()), (4 * BLOCK_BYTES, false));
    }
}
