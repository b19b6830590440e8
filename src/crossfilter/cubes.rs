//! The cubes of brushes that are being dragged, and which questions have been asked of late.

use crate::engine::LinkedCube;
use crate::histogram::ColumnPlan;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

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
    seen: Mutex<LruCache<String, ()>>,
}

impl Default for Cubes {
    fn default() -> Cubes {
        Cubes { cubes: Mutex::new(LruCache::new(CUBES_MAX)), seen: Mutex::new(LruCache::new(CONTEXTS_MAX)) }
    }
}

impl Cubes {
    pub(super) fn get(&self, context: &str) -> Option<Arc<Kept>> {
        self.cubes.lock().expect("no code panics while it holds this lock").get(context).cloned()
    }

    pub(super) fn put(&self, context: String, plans: Vec<ColumnPlan>, cube: LinkedCube) {
        let mut cubes = self.cubes.lock().expect("no code panics while it holds this lock");
        cubes.put(context, Arc::new(Kept { plans, cube }));
        while cubes.len() > 1 && cubes.iter().map(|(_, kept)| kept.cube.bytes()).sum::<usize>() > CUBES_BYTES_MAX {
            cubes.pop_lru();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.cubes.lock().expect("no code panics while it holds this lock").len()
    }

    pub(super) fn has_seen(&self, context: &str) -> bool {
        self.seen.lock().expect("no code panics while it holds this lock").contains(context)
    }

    pub(super) fn saw(&self, contexts: impl Iterator<Item = String>) {
        let mut seen = self.seen.lock().expect("no code panics while it holds this lock");
        contexts.for_each(|context| {
            seen.put(context, ());
        });
    }
}
