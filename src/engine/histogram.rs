//! Questions about a column's values, in keys: the engines know no units.

use crate::dataset::ColumnId;

/// Which bin a key falls into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bins {
    /// Bin i holds the keys `edges[i] <= key < edges[i + 1]`: ascending, at least two. Keys outside are in no bin.
    Edges(Vec<u64>),
    /// Bin of every key, 0 to the column's `key_max`; [`Bins::NONE`] for none. For text and other dictionaries.
    OfKey { bin_of_key: Vec<u16>, bins: usize },
}

impl Bins {
    /// A bin for every key from 1 to `key_max`.
    pub fn each_key(key_max: u64) -> Bins {
        Bins::Edges((1..=key_max.saturating_add(1)).collect())
    }

    /// In `OfKey`: the key is in no bin.
    pub const NONE: u16 = u16::MAX;

    pub fn len(&self) -> usize {
        match self {
            Bins::Edges(edges) => edges.len().saturating_sub(1),
            Bins::OfKey { bins, .. } => *bins,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bin of a key. The referee of the engines' faster ways.
    pub fn bin(&self, key: u64) -> Option<usize> {
        match self {
            Bins::Edges(edges) => {
                let after = edges.partition_point(|&edge| edge <= key);
                (after > 0 && after < edges.len()).then(|| after - 1)
            }
            Bins::OfKey { bin_of_key, .. } => match bin_of_key.get(key as usize) {
                None | Some(&Bins::NONE) => None,
                Some(&bin) => Some(usize::from(bin)),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramRequest {
    pub column: ColumnId,
    pub bins: Bins,
}

/// Points per bin and group: `counts` is `[group][bin]`; `nulls` and `outside` (in no bin, not null) per group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    pub bins: usize,
    pub counts: Vec<u64>,
    pub nulls: Vec<u64>,
    pub outside: Vec<u64>,
}

impl Histogram {
    pub fn zeros(groups: usize, bins: usize) -> Histogram {
        Histogram { bins, counts: vec![0; groups * bins], nulls: vec![0; groups], outside: vec![0; groups] }
    }

    /// Points of a bin over all groups.
    pub fn total(&self, bin: usize) -> u64 {
        self.counts.iter().skip(bin).step_by(self.bins).sum()
    }
}
