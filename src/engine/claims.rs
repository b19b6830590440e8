//! What several threads want at once, one makes: the others wait for it, as long as they want it.

use super::{Cancel, EngineError};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a thread that waits for another's work asks whether its own answer is still wanted.
const CANCEL_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// What is being made, by key. What has been made is kept elsewhere.
pub struct Claims<K> {
    claimed: Mutex<HashSet<K>>,
    given_up: Condvar,
}

impl<K> Default for Claims<K> {
    fn default() -> Claims<K> {
        Claims { claimed: Mutex::default(), given_up: Condvar::new() }
    }
}

impl<K: Hash + Eq + Clone> Claims<K> {
    /// What `find` finds: at once, after another thread has made it, or else what `make` makes, which puts it where it is found. Where
    /// making fails, or what was made is not kept, one of those that wait makes it.
    ///
    /// # Errors
    /// As `make`; or, while another thread makes it, the answer is no longer wanted.
    pub fn once<T, E: From<EngineError>>(
        &self,
        key: &K,
        cancel: &Cancel,
        find: impl Fn() -> Option<T>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(found) = find() {
            return Ok(found);
        }
        let mut claimed = self.lock();
        // Whoever makes it puts it there before the claim is given up: so it is there, or nobody has it.
        let _claim = loop {
            if let Some(found) = find() {
                return Ok(found);
            }
            if claimed.insert(key.clone()) {
                break Claim { claims: self, key };
            }
            cancel.check()?;
            claimed = self.given_up.wait_timeout(claimed, CANCEL_CHECK_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(claimed);
        make()
    }

    /// Whether somebody is making it.
    pub fn has<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.lock().contains(key)
    }

    /// What is behind the lock is whole at any time.
    fn lock(&self) -> MutexGuard<'_, HashSet<K>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given up on drop, also where making fails or panics, so that others may try.
struct Claim<'a, K: Hash + Eq + Clone> {
    claims: &'a Claims<K>,
    key: &'a K,
}

impl<K: Hash + Eq + Clone> Drop for Claim<'_, K> {
    fn drop(&mut self) {
        self.claims.lock().remove(self.key);
        self.claims.given_up.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_may_leave_and_who_fails_leaves_it_to_the_next() {
        let claims: Claims<u8> = Claims::default();
        let failed: Result<u8, EngineError> = claims.once(&1, &Cancel::never(), || None, || Err(EngineError::DeadlinePassed));
        assert!(matches!(failed, Err(EngineError::DeadlinePassed)));
        let made = claims.once(&1, &Cancel::never(), || None, || {
            let left = Cancel::never();
            left.cancel();
            assert!(claims.has(&1) && !claims.has(&2));
            let waiting: Result<u8, EngineError> = claims.once(&1, &left, || None, || unreachable!("it is being made"));
            assert!(matches!(waiting, Err(EngineError::Cancelled)));
            Ok::<u8, EngineError>(5)
        });
        assert!(matches!(made, Ok(5)) && !claims.has(&1));
    }
}
