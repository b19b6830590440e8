//! What is worked out of a dataset before it goes to a store, so that a map of it needs little of it: the distribution of every zoom, and
//! how the main categories are ranked at coarse levels, where a tile has many points.

use super::cpu::CpuEngine;
use super::{Cancel, Engine, EngineError, Groups};
use crate::dataset::{ColumnId, Dataset};
use crate::dataset::stored::{Counted, Overview, Ranked};
use crate::filter::Filter;
use crate::world::Zoom;
use std::path::Path;
use std::sync::Arc;

/// The deepest zoom whose pixels are a level: that of the finest tiles that are served, at four times the pixels.
const ZOOM_MAX: u8 = 24;

/// Writes the overview of a local dataset into `folder`.
///
/// # Errors
/// A file cannot be written, or the answer is no longer wanted.
pub fn write_overview(dataset: &Arc<Dataset>, folder: &Path, cancel: &Cancel) -> Result<(), EngineError> {
    let column = dataset.manifest.category.as_deref().and_then(|name| dataset.column_id(name));
    write_overview_by(dataset, column, folder, cancel)
}

/// The same, with ranks by a column.
fn write_overview_by(dataset: &Arc<Dataset>, column: Option<ColumnId>, folder: &Path, cancel: &Cancel) -> Result<(), EngineError> {
    let engine = CpuEngine::new(dataset.clone());
    let everything = engine.select(&Arc::new(Filter::all()), &Arc::new(Groups::none(dataset)), cancel)?;
    let distributions = (0..=ZOOM_MAX).map(|zoom| {
        let zoom = Zoom::new(zoom).expect("zooms end at 24");
        Ok(engine.distribution(&everything, zoom, cancel)?.pixels_by_count)
    });
    let distributions = distributions.collect::<Result<_, EngineError>>()?;
    let groups = column.and_then(|column| {
        let wanted: Vec<String> = dataset.column(column).styles.keys().cloned().collect();
        // A column of too many values colours no map, and is asked of no tile.
        Some((column, Arc::new(Groups::by_column(dataset, column, &wanted).ok()?)))
    });
    let (ranked, ranks) = match groups {
        None => (None, dataset.parts.iter().map(|_| Vec::new()).collect()),
        Some((column, groups)) => {
            let ranked = Ranked { column: column.0, groups: groups.len(), group_of_key: groups.group_of_key().to_vec() };
            (Some(ranked), engine.cell_ranks(&groups, cancel)?)
        }
    };
    Ok(Overview::write(dataset, Counted { distributions, ranked, ranks }, folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::stored::BlockCache;
    use crate::dataset::testing::in_a_store;
    use crate::engine::testing;
    use crate::filter::Predicate;
    use proptest::prelude::*;

    /// A dataset in a store, and the folder of its local copies.
    fn stored(local: &Arc<Dataset>, by: Option<ColumnId>, budget_bytes: u64) -> (tempfile::TempDir, Arc<BlockCache>, Arc<Dataset>) {
        let folder = tempfile::tempdir().unwrap();
        let overview = folder.path().join("overview");
        std::fs::create_dir(&overview).unwrap();
        write_overview_by(local, by, &overview, &Cancel::never()).unwrap();
        let cache = BlockCache::open(&folder.path().join("blocks"), budget_bytes).unwrap();
        let dataset = Arc::new(in_a_store(local, &overview, &cache));
        (folder, cache, dataset)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Blocks are small in tests, fences close, and next to nothing is kept: what is read without being held is 0 where it
        /// should not be.
        #[test]
        fn a_dataset_in_a_store_is_counted_as_it_is_locally(
            sample in testing::sample(), question in testing::question(), is_ranked: bool, budget_bytes in prop_oneof![Just(0u64), Just(1 << 30)],
        ) {
            let (_folder, local) = sample.open();
            let (_copies, cache, dataset) = stored(&local, is_ranked.then_some(ColumnId(0)), budget_bytes);
            prop_assert_eq!(cache.stats().misses, 0, "nothing of the parts is read to open it");
            let engine = CpuEngine::new(dataset);
            testing::check(&engine, &local, &question)?;
            testing::check(&engine, &local, &testing::Question { predicate: Predicate::All, ..question })?;
            prop_assert_eq!(cache.stats().evictions > 0, budget_bytes == 0);
        }
    }
}
