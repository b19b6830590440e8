//! The datasets that are served, by name. They may change while requests are answered: each request keeps the source that it
//! began with.

use super::Source;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

pub type Sources = BTreeMap<String, Arc<Source>>;

/// Readers take the whole map as it is; writers put another in its place.
pub struct Registry {
    sources: RwLock<Arc<Sources>>,
}

/// What another map changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changes {
    pub added: Vec<String>,
    pub replaced: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: Vec<String>,
}

impl Registry {
    pub fn new(sources: Vec<Source>) -> Registry {
        let sources = sources.into_iter().map(|source| (source.name().to_owned(), Arc::new(source))).collect();
        Registry { sources: RwLock::new(Arc::new(sources)) }
    }

    /// All datasets as they are now.
    pub fn all(&self) -> Arc<Sources> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.all().get(name).cloned()
    }

    /// Puts `sources` in the place of all, at once.
    pub fn replace(&self, sources: Sources) -> Changes {
        let sources = Arc::new(sources);
        let before = {
            let mut held = self.sources.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, sources.clone())
        };
        let mut changes = Changes::default();
        for (name, source) in sources.iter() {
            let list = match before.get(name) {
                None => &mut changes.added,
                Some(old) if Arc::ptr_eq(old, source) => &mut changes.unchanged,
                Some(_) => &mut changes.replaced,
            };
            list.push(name.clone());
        }
        changes.removed = before.keys().filter(|name| !sources.contains_key(*name)).cloned().collect();
        changes
    }
}
