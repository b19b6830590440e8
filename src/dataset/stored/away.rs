//! Stores that do not answer: each is left alone for a while, for otherwise everybody would wait for it in turn.

use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a store that did not answer is not asked again; then by one question at a time.
const AWAY_FOR: Duration = Duration::from_secs(2);

/// When the store of a URL may be asked again, and why it is not now.
#[derive(Default)]
pub(super) struct Away(Mutex<HashMap<String, (Instant, StoreError)>>);

impl Away {
    /// Whether a store may be asked. When its time has come, the first to ask does so for all.
    ///
    /// # Errors
    /// It has just failed to answer.
    pub fn find(&self, store: &Store) -> Result<(), StoreError> {
        match self.lock().get_mut(store.url()) {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            Some((until, _)) => {
                *until = Instant::now() + AWAY_FOR;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A question has failed; that may say nothing of the store.
    pub fn failed(&self, store: &Store, error: &StoreError) {
        if error.is_away() {
            self.lock().insert(store.url().to_owned(), (Instant::now() + AWAY_FOR, error.clone()));
        }
    }

    pub fn answered(&self, store: &Store) {
        self.lock().remove(store.url());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, StoreError)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
