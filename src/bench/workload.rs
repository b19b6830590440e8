//! What is asked of an engine: tiles and filters that suit whatever dataset is at hand, the same for every backend.

use crate::dataset::{Column, ColumnId, ColumnKind, Dataset};
use crate::engine::{Bins, HistogramRequest};
use crate::filter::{Filter, Predicate};
use crate::world::{TileId, Zoom};

/// Tiles of each zoom that contain a point picked evenly along the Z-curve.
const TYPICAL_TILES: usize = 8;

/// Distinct values (or keys) from which on a column is worth a range filter.
const RANGE_KEYS_MIN: u64 = 100;

pub(super) struct Workload {
    densest: Vec<TileId>,
    typical: Vec<Vec<TileId>>,
}

impl Workload {
    pub(super) fn of(dataset: &Dataset) -> Workload {
        let points = |tile: TileId| -> u64 {
            let (first, last) = tile.keys();
            dataset.parts.iter().map(|part| part.index().slice(first, last).len() as u64).sum()
        };
        // The densest of four children, from the whole world down.
        let mut densest = vec![TileId::new(0, 0, 0).expect("there is a tile 0/0/0")];
        while let Some(children) = densest.last().and_then(|tile| tile.children()) {
            densest.push(children.into_iter().max_by_key(|&child| points(child)).expect("a tile has four children"));
        }
        let picked: Vec<_> = (0..TYPICAL_TILES as u64)
            .filter_map(|i| {
                let mut place = dataset.rows() * (2 * i + 1) / (2 * TYPICAL_TILES as u64);
                dataset.parts.iter().find_map(|part| {
                    let here = place < u64::from(part.rows());
                    let key = here.then(|| part.key(place as u32));
                    place = place.saturating_sub(u64::from(part.rows()));
                    key
                })
            })
            .collect();
        let typical = (0..=24)
            .map(|z| {
                let zoom = Zoom::new(z).expect("zooms run to 24");
                picked.iter().map(|key| TileId::containing(key.world(), zoom)).collect()
            })
            .collect();
        Workload { densest, typical }
    }

    pub(super) fn densest(&self, z: u8) -> Vec<TileId> {
        vec![self.densest[usize::from(z)]]
    }

    pub(super) fn typical(&self, z: u8) -> Vec<TileId> {
        self.typical[usize::from(z)].clone()
    }

    /// A range over each of two columns, half of the range of keys wide.
    pub(super) fn filter(&self, dataset: &Dataset) -> Result<Filter, String> {
        let columns = range_columns(dataset);
        if columns.is_empty() {
            return Err("the dataset has no number or time column to filter by; name a filter with --filter".to_owned());
        }
        let terms: Vec<Predicate> = columns
            .iter()
            .take(2)
            .map(|&(column, described)| {
                let (lo, hi) = (described.key_max / 4, described.key_max / 4 * 3);
                Predicate::Keys { column, ranges: vec![(lo.max(1), hi.max(1))] }
            })
            .collect();
        Ok(Filter::new(Predicate::And(terms), "benchmark".to_owned()))
    }

    pub(super) fn histograms(&self, dataset: &Dataset) -> Vec<(String, HistogramRequest)> {
        const BINS: u64 = 40;
        let request = |&(column, described): &(ColumnId, &Column)| {
            let step = (described.key_max / BINS).max(1);
            let edges = (0..=BINS).map(|i| 1 + i * step).collect();
            (described.name.clone(), HistogramRequest { column, bins: Bins::Edges(edges) })
        };
        range_columns(dataset).iter().take(2).map(request).collect()
    }
}

/// Number and time columns with many keys; those called as the cell towers' usual filters first.
pub(super) fn range_columns(dataset: &Dataset) -> Vec<(ColumnId, &Column)> {
    let mut columns: Vec<(ColumnId, &Column)> = dataset
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, column)| {
            matches!(column.kind, ColumnKind::Integer | ColumnKind::Float | ColumnKind::Timestamp)
                && column.key_max >= RANGE_KEYS_MIN
        })
        .map(|(i, column)| (ColumnId(i), column))
        .collect();
    columns.sort_by_key(|(_, column)| !["range", "created", "SOG", "BaseDateTime"].contains(&column.name.as_str()));
    columns
}
