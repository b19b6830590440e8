//! A digest of what an engine answers, so that a benchmark of two engines also says whether they agree on the data at hand.

use super::ZOOMS;
use super::workload::Workload;
use crate::dataset::Dataset;
use crate::engine::{Cancel, Engine, EngineError, Selection};
use crate::world::Zoom;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Zooms whose distributions are compared: of the deepest, every pixel is a point.
const DISTRIBUTIONS: [u8; 3] = [0, 6, 11];

/// Selected points, tiles of every zoom, histograms and distributions under each selection. Comparable within one build.
pub(super) fn digest(
    engine: &dyn Engine,
    dataset: &Dataset,
    workload: &Workload,
    selections: &[&Selection],
) -> Result<u64, EngineError> {
    let never = Cancel::never();
    let mut digest = DefaultHasher::new();
    for selection in selections {
        selection.counts.hash(&mut digest);
        for z in ZOOMS {
            let tiles = [workload.densest(z), workload.typical(z)].concat();
            engine.count(selection, &tiles, &never)?.iter().for_each(|grid| grid.counts.hash(&mut digest));
        }
        let requests: Vec<_> = workload.histograms(dataset).into_iter().map(|(_, request)| request).collect();
        for histogram in engine.histograms(selection, &requests, None, &never)? {
            (histogram.counts, histogram.nulls, histogram.outside).hash(&mut digest);
        }
        for z in DISTRIBUTIONS {
            let zoom = Zoom::new(z).expect("these zooms exist");
            engine.distribution(selection, zoom, &never)?.pixels_by_count.hash(&mut digest);
        }
    }
    Ok(digest.finish())
}
