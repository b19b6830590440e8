//! The cubes of brushes that are being dragged, and which questions have been asked of late.

use crate::engine::{Cancel, Claims, EngineError, LinkedCube};
use crate::histogram::ColumnPlan;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cubes kept: a few users each drag one brush at a time.
const CUBES_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Memory of all cubes.
const CUBES_BYTES_MAX: usize = 256 << 20;

/// Contexts remembered, one per column of a question: the last hundred questions or so.
const CONTEXTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not 0");

/// A cube, and the plans that its histograms answer.
pub(super) struct Kept {
    pub plans: Vec<ColumnPlan>,
    pub cube: LinkedCube,
}

pub(super) struct Cubes {
    cubes: Mutex<LruCache<String, Arc<Kept>>>,
    /// Contexts whose cubes are being built.
    building: Claims<String>,
    seen: Mutex<LruCache<String, ()>>,
}

impl Default for Cubes {
    fn default() -> Cubes {
        Cubes {
            cubes: Mutex::new(LruCache::new(CUBES_MAX)),
            building: Claims::default(),
            seen: Mutex::new(LruCache::new(CONTEXTS_MAX)),
        }
    }
}

impl Cubes {
    pub(super) fn get(&self, context: &str) -> Option<Arc<Kept>> {
        lock(&self.cubes).get(context).cloned()
    }

    /// The cube of a context: one that is there, one that somebody else is building, which is waited for, or what `build` makes.
    ///
    /// # Errors
    /// As `build`; or, while another builds it, the answer is no longer wanted.
    pub(super) fn get_or_build(
        &self,
        context: &str,
        cancel: &Cancel,
        build: impl FnOnce() -> Result<Kept, EngineError>,
    ) -> Result<Arc<Kept>, EngineError> {
        self.building.once(&context.to_owned(), cancel, || self.get(context), || {
            let kept = Arc::new(build()?);
            let mut cubes = lock(&self.cubes);
            cubes.put(context.to_owned(), kept.clone());
            while cubes.len() > 1 && cubes.iter().map(|(_, kept)| kept.cube.bytes()).sum::<usize>() > CUBES_BYTES_MAX {
                cubes.pop_lru();
            }
            Ok(kept)
        })
    }

    pub(super) fn is_building(&self, context: &str) -> bool {
        self.building.has(context)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.cubes).len()
    }

    pub(super) fn has_seen(&self, context: &str) -> bool {
        lock(&self.seen).contains(context)
    }

    pub(super) fn saw(&self, contexts: impl Iterator<Item = String>) {
        let mut seen = lock(&self.seen);
        contexts.for_each(|context| {
            seen.put(context, ());
        });
    }
}

/// What is behind the locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
