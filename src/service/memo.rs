//! A cache that makes what it lacks, each value once, however many threads ask for it together.

use super::cache::{ByteLru, CacheStats, Oversized};
use super::ServiceError;
use crate::engine::{Cancel, Claims};
use std::hash::Hash;
use std::sync::Arc;

pub struct Memo<K: Hash + Eq, V> {
    made: ByteLru<K, Arc<V>>,
    making: Claims<K>,
}

impl<K: Hash + Eq + Clone, V> Memo<K, V> {
    pub fn new(budget_bytes: usize, oversized: Oversized) -> Memo<K, V> {
        Memo { made: ByteLru::with(budget_bytes, oversized), making: Claims::default() }
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
        self.making.once(key, cancel, || self.made.get_if_there(key), || {
            self.made.count_miss();
            let (value, bytes) = make()?;
            self.made.insert(key.clone(), value.clone(), bytes);
            Ok(value)
        })
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

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
    fn an_error_is_not_kept() {
        let memo: Memo<u8, u8> = Memo::new(1 << 20, Oversized::Forget);
        let failed = memo.get(&1, &Cancel::never(), || Err(ServiceError::Invalid("no".into())));
        assert!(matches!(failed, Err(ServiceError::Invalid(_))));
        assert_eq!(*memo.get(&1, &Cancel::never(), || Ok((Arc::new(5), 1))).unwrap(), 5);
    }
}
