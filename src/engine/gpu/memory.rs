//! Device memory: what is resident, least recently used first, under a budget.
//!
//! Everything resident can be made again: segments are uploaded again from their files, selections evaluated again. So eviction
//! needs no copy, and a dataset larger than the device only costs uploads. A buffer that is in use (somebody holds it) is
//! not evicted.

use crate::dataset::ColumnId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::health::Health;

/// A buffer that is counted as long as it lives.
pub(super) struct Counted {
    buffer: wgpu::Buffer,
    bytes: u64,
    health: Arc<Health>,
}

impl Counted {
    pub fn new(buffer: wgpu::Buffer, health: &Arc<Health>) -> Counted {
        let bytes = buffer.size();
        let before = health.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        health.memory_peak_bytes.fetch_max(before + bytes, Ordering::Relaxed);
        Counted { buffer, bytes, health: health.clone() }
    }
}

impl std::ops::Deref for Counted {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Commands under way keep the memory until the device has done with them: who makes room waits for them.
        self.health.memory_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a resident buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resident {
    /// The indexed levels of a segment: see `shaders/shared/slices.wgsl`.
    Levels,
    /// The level-16 cells of a segment.
    Cells,
    /// The lower halves of a segment's keys.
    Lo,
    /// The points of every block of a segment.
    BlockPoints,
    Column(ColumnId),
    /// The bitmaps of a segment under the selection of this number.
    Selection(u64),
    /// Room to work in, by purpose; contents undefined.
    Room(&'static str),
    /// A buffer to read back through; which, says the segment.
    Staging,
}

/// A resident buffer's name: which engine's, which segment's (0 for rooms), and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResidentKey {
    pub engine: u64,
    pub segment: usize,
    pub what: Resident,
}

#[derive(Default)]
pub(super) struct Memory {
    resident: HashMap<ResidentKey, Entry>,
    clock: u64,
    /// The number of the submission that what is recorded now will be part of.
    submission: u64,
    /// Buffers let go for want of room.
    #[cfg(test)]
    pub evictions: u64,
}

struct Entry {
    buffer: Arc<Counted>,
    /// When it was last asked for, and for which submission.
    used: u64,
    submission: u64,
}

impl Memory {
    pub fn get(&mut self, key: &ResidentKey) -> Option<Arc<Counted>> {
        self.clock += 1;
        let entry = self.resident.get_mut(key)?;
        (entry.used, entry.submission) = (self.clock, self.submission);
        Some(entry.buffer.clone())
    }

    pub fn insert(&mut self, key: ResidentKey, buffer: Arc<Counted>) {
        self.clock += 1;
        self.resident.insert(key, Entry { buffer, used: self.clock, submission: self.submission });
    }

    /// What is recorded from now on will be part of the submission of this number, for which what is held is held.
    pub fn begin_submission(&mut self, number: u64) {
        self.submission = number;
        let held = self.resident.values_mut().filter(|entry| Arc::strong_count(&entry.buffer) > 1);
        held.for_each(|entry| entry.submission = number);
    }

    /// Whether somebody is using a buffer now.
    pub fn is_held(&self, key: &ResidentKey) -> bool {
        self.resident.get(key).is_some_and(|entry| Arc::strong_count(&entry.buffer) > 1)
    }

    /// Lets go of the buffer that was used longest ago and that nobody holds, if there is one. Gives the number of the last
    /// submission that it is part of: its memory is free when that is done.
    pub fn evict(&mut self) -> Option<u64> {
        let idle = self.resident.iter().filter(|(_, entry)| Arc::strong_count(&entry.buffer) == 1);
        let (&key, _) = idle.min_by_key(|(_, entry)| entry.used)?;
        #[cfg(test)]
        {
            self.evictions += 1;
        }
        self.resident.remove(&key).map(|entry| entry.submission)
    }

    /// Bytes of the rooms to work in, which belong to no engine.
    #[cfg(test)]
    pub fn rooms_bytes(&self) -> u64 {
        let rooms = self.resident.iter().filter(|(key, _)| key.engine == 0);
        rooms.map(|(_, entry)| entry.buffer.size()).sum()
    }

    /// Lets go of all that `gone` says is not wanted any more.
    pub fn release(&mut self, gone: impl Fn(&ResidentKey) -> bool) {
        self.resident.retain(|key, _| !gone(key));
    }
}
