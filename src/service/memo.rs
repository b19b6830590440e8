//! A cache that makes what it lacks, each value once, however many threads ask for it together.

use super::cache::{ByteLru, CacheStats, Oversized};
use super::{ServiceError, lock};
use crate::engine::Cancel;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a thread that waits for another's value asks whether its own answer is still wanted.
const CANCEL_CHECK_INTERVAL: Duration = Duration::from_millis(20);

pub struct Memo<K: Hash + Eq, V> {
    made: ByteLru<K, Arc<V>>,
    making: Mutex<HashSet<K>>,
    changed: Condvar,
}

impl<K: Hash + Eq + Clone, V> Memo<K, V> {
    pub fn new(budget_bytes: usize, oversized: Oversized) -> Memo<K, V> {
        Memo { made: ByteLru::with(budget_bytes, oversized), making: Mutex::default(), changed: Condvar::new() }
    }

    /// The value of `key`: from the cache, from the thread that is making it, or else made here by `make`, which also says
    /// how many bytes it holds. Errors are not kept: the next one to ask tries again.
    ///
    /// # Errors
    /// As `make`; or the answer is no longer wanted.
    pub fn get(
        &self,
        key: &K,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<(Arc<V>, usize), ServiceError>,
    ) -> Result<Arc<V>, ServiceError> {
        let claim = loop {
            if let Some(value) = self.made.get_if_there(key) {
                return Ok(value);
            }
            match self.claim_or_wait(key, cancel)? {
                Some(claim) => break claim,
                None => continue,
            }
        };
        // It may have been made between the look and the claim.
        if let Some(value) = self.made.get_if_there(key) {
            return Ok(value);
        }
        self.made.count_miss();
        let (value, bytes) = make()?;
        self.made.insert(key.clone(), value.clone(), bytes);
        drop(claim);
        Ok(value)
    }

    /// Forgets what has been made.
    pub fn forget_all(&self) {
        self.made.remove_where(|_| true);
    }

    /// Whether the value is there, without asking for it.
    pub fn holds(&self, key: &K) -> bool {
        self.made.holds(key)
    }

    /// Drops the values whose key is no longer wanted.
    pub fn remove_where(&self, is_unwanted: impl FnMut(&K) -> bool) {
        self.made.remove_where(is_unwanted);
    }

    pub fn stats(&self) -> CacheStats {
        self.made.stats()
    }

    /// The right to make the value; or `None` after having waited for whoever had it.
    fn claim_or_wait(&self, key: &K, cancel: &Cancel) -> Result<Option<Claim<'_, K, V>>, ServiceError> {
        let mut making = lock(&self.making);
        if making.insert(key.clone()) {
            return Ok(Some(Claim { memo: self, key: key.clone() }));
        }
        while making.contains(key) {
            cancel.check()?;
            let waited = self.changed.wait_timeout(making, CANCEL_CHECK_INTERVAL);
            making = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(None)
    }
}

/// Given back on drop, also when making fails or panics, so that others may try.
struct Claim<'a, K: Hash + Eq, V> {
    memo: &'a Memo<K, V>,
    key: K,
}

impl<K: Hash + Eq, V> Drop for Claim<'_, K, V> {
    fn drop(&mut self) {
        lock(&self.memo.making).remove(&self.key);
        self.memo.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn many_threads_make_a_value_once() {
        let memo: Memo<u8, usize> = Memo::new(1 << 20, Oversized::Forget);
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let value = memo.get(&7, &Cancel::never(), || {
                        std::thread::sleep(Duration::from_millis(30));
                        Ok((Arc::new(made.fetch_add(1, Ordering::SeqCst)), 8))
                    });
                    assert_eq!(*value.unwrap(), 0);
                });
            }
        });
        assert_eq!((made.into_inner(), memo.stats().misses), (1, 1));
    }

    #[test]
    fn an_error_is_not_kept_and_a_waiter_can_leave() {
        let memo: Memo<u8, u8> = Memo::new(1 << 20, Oversized::Forget);
        let failed = memo.get(&1, &Cancel::never(), || Err(ServiceError::Invalid("no".into())));
        assert!(matches!(failed, Err(ServiceError::Invalid(_))));
        assert_eq!(*memo.get(&1, &Cancel::never(), || Ok((Arc::new(5), 1))).unwrap(), 5);

        let _claim = memo.claim_or_wait(&2, &Cancel::never()).unwrap().unwrap();
        let left = Cancel::never();
        left.cancel();
        assert!(matches!(memo.get(&2, &left, || unreachable!()), Err(ServiceError::Cancelled)));
    }
}
