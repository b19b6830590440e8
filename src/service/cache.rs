//! A least-recently-used cache under a byte budget. It knows nothing of what it keeps.

use super::lock;
use lru::LruCache;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry costs beside its value: key, list links, hash slot and the value's own header, rounded up.
const ENTRY_OVERHEAD_BYTES: usize = 192;

/// What an entry is charged with: allocators have sizes an eighth apart, and round up.
fn charge(bytes: usize) -> usize {
    bytes + bytes / 8 + ENTRY_OVERHEAD_BYTES
}

/// What to do with a value that is larger than the whole budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversized {
    /// It is used and forgotten.
    Forget,
    /// It replaces everything else: making it again for every request would cost more than the memory.
    KeepAlone,
}

/// Counters of a cache since it began, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    pub entries: u64,
    pub bytes: u64,
}

/// Thread-safe. Values are cloned out: keep an `Arc`, or something as cheap.
pub struct ByteLru<K: Hash + Eq, V> {
    held: Mutex<Held<K, V>>,
    budget_bytes: usize,
    oversized: Oversized,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

struct Held<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize)>,
    bytes: usize,
}

impl<K: Hash + Eq, V: Clone> ByteLru<K, V> {
    pub fn new(budget_bytes: usize) -> ByteLru<K, V> {
        ByteLru::with(budget_bytes, Oversized::Forget)
    }

    pub fn with(budget_bytes: usize, oversized: Oversized) -> ByteLru<K, V> {
        ByteLru {
            held: Mutex::new(Held { entries: LruCache::unbounded(), bytes: 0 }),
            budget_bytes,
            oversized,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// The value, made the most recent one; counts a hit or a miss.
    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.get_if_there(key);
        if found.is_none() {
            self.count_miss();
        }
        found
    }

    /// As [`ByteLru::get`], but what is not there is no miss: somebody else will ask again.
    pub fn get_if_there(&self, key: &K) -> Option<V> {
        let found = lock(&self.held).entries.get(key).map(|(value, _)| value.clone());
        if found.is_some() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Whether the value is there; neither a use nor a miss of it.
    pub fn holds(&self, key: &K) -> bool {
        lock(&self.held).entries.contains(key)
    }

    pub fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a value of `bytes`, and drops the least recently used ones until the budget holds.
    pub fn insert(&self, key: K, value: V, bytes: usize) {
        let bytes = charge(bytes);
        if bytes > self.budget_bytes && self.oversized == Oversized::Forget {
            return;
        }
        // Values are dropped after the lock: freeing a selection takes milliseconds.
        let mut dropped = Vec::new();
        {
            let mut held = lock(&self.held);
            if let Some((_, (value, old_bytes))) = held.entries.push(key, (value, bytes)) {
                held.bytes -= old_bytes;
                dropped.push(value);
            }
            held.bytes += bytes;
            while held.bytes > self.budget_bytes && held.entries.len() > 1 {
                let Some((_, (value, bytes))) = held.entries.pop_lru() else { break };
                held.bytes -= bytes;
                dropped.push(value);
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Drops the entries whose key is no longer wanted; gives their number.
    pub fn remove_where(&self, mut is_unwanted: impl FnMut(&K) -> bool) -> usize
    where
        K: Clone,
    {
        let mut held = lock(&self.held);
        let unwanted: Vec<K> = held.entries.iter().map(|(key, _)| key).filter(|key| is_unwanted(key)).cloned().collect();
        for key in &unwanted {
            if let Some((_, bytes)) = held.entries.pop(key) {
                held.bytes -= bytes;
            }
        }
        unwanted.len()
    }

    pub fn stats(&self) -> CacheStats {
        let held = lock(&self.held);
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            entries: held.entries.len() as u64,
            bytes: held.bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = ByteLru::new(3 * charge(100));
        for key in 0..3 {
            cache.insert(key, key, 100);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.insert(3, 3, 100);
        assert_eq!((cache.get(&0), cache.get(&1), cache.get(&3)), (Some(0), None, Some(3)));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.evictions, stats.entries), (3, 1, 1, 3));
    }

    #[test]
    fn an_entry_over_the_budget_is_forgotten_or_kept_alone() {
        let forgets = ByteLru::new(1000);
        forgets.insert("small", 1, 10);
        forgets.insert("large", 2, 2000);
        assert_eq!((forgets.get(&"small"), forgets.get(&"large")), (Some(1), None));
        let keeps = ByteLru::with(1000, Oversized::KeepAlone);
        keeps.insert("small", 1, 10);
        keeps.insert("large", 2, 2000);
        assert_eq!((keeps.get(&"small"), keeps.get(&"large")), (None, Some(2)));
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_entries_and_never_over_budget(inserts in proptest::collection::vec((0u8..20, 0usize..900), 0..200)) {
            let cache = ByteLru::new(2000);
            for (key, bytes) in inserts {
                cache.insert(key, bytes, bytes);
                let sum: usize = lock(&cache.held).entries.iter().map(|(_, (value, _))| charge(*value)).sum();
                prop_assert_eq!(cache.stats().bytes, sum as u64);
                prop_assert!(sum <= 2000);
            }
        }
    }
}
