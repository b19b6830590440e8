//! From keys to places: which bin, group or slice a point falls into, by its key in a column.
//!
//! By a table of every key where keys are few, else by one of their upper bits, after which a comparison is left, or a few where
//! edges are crowded. Tables are small enough for the first-level cache where that is possible, and but for crowded edges there is
//! no branch to be foretold wrongly.

use crate::engine::{Bins, Groups};

/// Keys of one byte, and of two.
pub(super) const BYTE_KEYS: usize = 1 << 8;
pub(super) const SHORT_KEYS: usize = 1 << 16;

/// Entries of a table by upper bits: from what leaves the first-level cache room for cells, to what the second has room for.
const ENTRIES_LOG2: std::ops::RangeInclusive<u32> = 11..=16;

/// Finds the place of a key.
pub(super) enum Binner {
    /// By key. Of as many entries as keys of one byte or of two can need, which then need no check; or of a dictionary's. Two
    /// bytes each, so that the entries of the keys that occur most stay in the first-level cache.
    Table(Vec<u16>),
    /// The same for places of more than two bytes.
    WideTable(Vec<u32>),
    /// Keys from 1 to `last` are their own bins, less 1.
    Own { last: u64, outside: u32, nulls: u32 },
    Steps(Steps),
    Search(Search),
}

/// Runs of keys that have one place each (null, outside, the bins, outside again), of which at most one ends within the keys that have
/// their upper bits in common: by these, where that is and what lies before and after it.
pub(super) struct Steps {
    shift: u32,
    /// `end << 32 | after << 16 | before`: keys whose lower bits are less than `end` are in the place before, others in that after.
    entries: Vec<u64>,
}

/// The same where more may end: from a table of the first run of an entry the search goes up.
pub(super) struct Search {
    shift: u32,
    first: Vec<u32>,
    runs: Vec<Run>,
}

/// Keys before `end`, from the end of the run before.
#[derive(Clone, Copy)]
struct Run {
    end: u64,
    place: u32,
}

/// For a loop: its values are in registers, where a compiler must not suspect that cells are stored over them.
#[derive(Clone, Copy)]
pub(super) struct StepsView<'a> {
    shift: u32,
    mask: u64,
    entries: &'a [u64],
}

#[derive(Clone, Copy)]
pub(super) struct SearchView<'a> {
    shift: u32,
    first: &'a [u32],
    runs: &'a [Run],
}

impl Binner {
    /// Bins, then one place for what is outside, then one for nulls.
    pub(super) fn of_bins(bins: &Bins, key_max: u64) -> Binner {
        let count = bins.len() as u32;
        let edges = match bins {
            Bins::Edges(edges) => edges,
            Bins::OfKey { bin_of_key, .. } => {
                let place = |(key, &bin): (usize, &u16)| if bin == Bins::NONE { count + u32::from(key == 0) } else { u32::from(bin) };
                let mut table: Vec<u32> = bin_of_key.iter().enumerate().map(place).collect();
                table.resize(table.len().max(key_max as usize + 1), count);
                return Binner::table(table);
            }
        };
        let (first, last) = (edges[0], edges[edges.len() - 1]);
        if key_max < SHORT_KEYS as u64 {
            let mut table = vec![count; key_max as usize + 1];
            table[0] = count + 1;
            let at = |edge: u64| edge.min(key_max + 1) as usize;
            edges.windows(2).zip(0..).for_each(|(edge, bin)| table[at(edge[0])..at(edge[1])].fill(bin));
            return Binner::table(table);
        }
        if first == 1 && last - first == edges.len() as u64 - 1 {
            return Binner::Own { last: last - 1, outside: count, nulls: count + 1 };
        }
        let mut runs = Vec::with_capacity(edges.len() + 2);
        if first > 0 {
            runs.push(Run { end: 1, place: count + 1 });
        }
        if first > 1 {
            runs.push(Run { end: first, place: count });
        }
        runs.extend(edges[1..].iter().zip(0..).map(|(&end, place)| Run { end, place }));
        runs.push(Run { end: u64::MAX, place: count });
        Binner::of_runs(runs, key_max)
    }

    /// The groups of the `by` column.
    pub(super) fn of_groups(groups: &Groups) -> Binner {
        Binner::table(groups.group_of_key().iter().map(|&group| u32::from(group)).collect())
    }

    /// Slices that begin at `starts`, the first of which is 0. The last goes on to the last key that occurs.
    pub(super) fn of_starts(starts: &[u64], key_max: u64) -> Binner {
        let ends = starts[1..].iter().copied().chain([u64::MAX]);
        if key_max < SHORT_KEYS as u64 {
            let mut table = vec![0; key_max as usize + 1];
            starts.iter().zip(ends).zip(0..).for_each(|((&from, to), slice)| {
                table[from as usize..to.min(key_max + 1) as usize].fill(slice);
            });
            return Binner::table(table);
        }
        Binner::of_runs(ends.zip(0..).map(|(end, place)| Run { end, place }).collect(), key_max)
    }

    fn table(mut places: Vec<u32>) -> Binner {
        let keys = places.len();
        places.resize(if keys <= BYTE_KEYS { BYTE_KEYS } else { keys.max(SHORT_KEYS) }, 0);
        let narrow: Result<Vec<u16>, _> = places.iter().map(|&place| u16::try_from(place)).collect();
        narrow.map_or(Binner::WideTable(places), Binner::Table)
    }
}

impl Binner {
    /// `runs` ascend, and the last goes on for ever.
    fn of_runs(runs: Vec<Run>, key_max: u64) -> Binner {
        let key_bits = 64 - key_max.leading_zeros();
        let shift = |entries_log2| key_bits.saturating_sub(entries_log2);
        match ENTRIES_LOG2.map(shift).find_map(|shift| Steps::of(&runs, key_max, shift)) {
            Some(steps) => Binner::Steps(steps),
            None => Binner::Search(Search::of(runs, key_max, shift(*ENTRIES_LOG2.end()))),
        }
    }
}

/// The run that a key is in. The largest of all keys is not before any end.
fn run_of(runs: &[Run], key: u64) -> usize {
    runs.partition_point(|run| run.end <= key).min(runs.len() - 1)
}

impl Steps {
    /// `None` where two runs end within an entry, or what is to be compared takes more than 32 bits, or a place more than 16.
    fn of(runs: &[Run], key_max: u64, shift: u32) -> Option<Steps> {
        if shift > 32 {
            return None;
        }
        let entry = |entry: u64| {
            let (from, last) = (entry << shift, entry << shift | ((1 << shift) - 1));
            let (before, after) = (run_of(runs, from), run_of(runs, last.min(key_max)));
            let places = [before, after].map(|run| u16::try_from(runs[run].place));
            let [Ok(place_before), Ok(place_after)] = places else { return None };
            let end = match after - before {
                0 => 0,
                1 => runs[before].end - from,
                _ => return None,
            };
            Some(end << 32 | u64::from(place_after) << 16 | u64::from(place_before))
        };
        Some(Steps { shift, entries: (0..=key_max >> shift).map(entry).collect::<Option<_>>()? })
    }

    #[inline(always)]
    pub(super) fn view(&self) -> StepsView<'_> {
        StepsView { shift: self.shift, mask: (1 << self.shift) - 1, entries: &self.entries }
    }
}

impl StepsView<'_> {
    #[inline(always)]
    pub(super) fn place(self, key: u64) -> u32 {
        let entry = self.entries[(key >> self.shift) as usize];
        let is_after = u32::from((key & self.mask) >= entry >> 32);
        (entry as u32) >> (16 * is_after) & 0xFFFF
    }
}

impl Search {
    fn of(runs: Vec<Run>, key_max: u64, shift: u32) -> Search {
        let first = (0..=key_max >> shift).map(|entry| run_of(&runs, entry << shift) as u32).collect();
        Search { shift, first, runs }
    }

    #[inline(always)]
    pub(super) fn view(&self) -> SearchView<'_> {
        SearchView { shift: self.shift, first: &self.first, runs: &self.runs }
    }
}

impl SearchView<'_> {
    #[inline(always)]
    pub(super) fn place(self, key: u64) -> u32 {
        let mut run = self.first[(key >> self.shift) as usize] as usize;
        while self.runs[run].end <= key && run + 1 < self.runs.len() {
            run += 1;
        }
        self.runs[run].place
    }
}

/// The place of a key of [`Binner::Own`].
#[inline(always)]
pub(super) fn own(key: u64, last: u64, outside: u32, nulls: u32) -> u32 {
    match key {
        0 => nulls,
        key if key <= last => (key - 1) as u32,
        _ => outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(binner: &Binner, key: u64) -> u32 {
        match binner {
            Binner::Table(table) => u32::from(table[key as usize]),
            Binner::WideTable(table) => table[key as usize],
            &Binner::Own { last, outside, nulls } => own(key, last, outside, nulls),
            Binner::Steps(steps) => steps.view().place(key),
            Binner::Search(search) => search.view().place(key),
        }
    }

    /// Key spaces of every width, and edges from evenly spaced to crowded.
    fn spaces() -> impl Strategy<Value = (u64, Vec<u64>)> {
        let key_max = prop_oneof![Just(200u64), Just(65_535), Just(65_536), Just(1 << 30), Just(u64::MAX - 1), Just(u64::MAX)];
        key_max.prop_flat_map(|key_max| {
            let edge = prop_oneof![0..=key_max, 0..=key_max.min(300), key_max.saturating_sub(3)..=key_max];
            let any = proptest::collection::btree_set(edge, 2..70).prop_map(|edges| edges.into_iter().collect());
            let even = (1usize..2000).prop_map(move |n| {
                let step = (key_max / n as u64).max(1);
                (0..=n as u64).map(|i| 1u64.saturating_add(i.saturating_mul(step))).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            });
            (Just(key_max), prop_oneof![any, even])
        })
    }

    proptest! {
        #[test]
        fn a_key_is_placed_where_the_referee_says((key_max, edges) in spaces(), keys in proptest::collection::vec(any::<u64>(), 20)) {
            prop_assume!(edges.len() > 1);
            let asked: Vec<u64> = keys
                .iter()
                .flat_map(|&key| [key, key >> 32, key >> 44])
                .chain(edges.iter().flat_map(|&edge| [edge.saturating_sub(1), edge, edge.saturating_add(1)]))
                .chain([0, 1, key_max])
                .filter(|&key| key <= key_max)
                .collect();
            let bins = Bins::Edges(edges.clone());
            let binner = Binner::of_bins(&bins, key_max);
            let count = bins.len() as u32;
            for &key in &asked {
                let expected = bins.bin(key).map_or(count + u32::from(key == 0), |bin| bin as u32);
                prop_assert_eq!(place(&binner, key), expected, "key {} of {}", key, key_max);
            }
            let mut starts: Vec<u64> = [0].into_iter().chain(edges.into_iter().filter(|&edge| edge <= key_max)).collect();
            starts.dedup();
            let slicer = Binner::of_starts(&starts, key_max);
            for key in asked {
                prop_assert_eq!(place(&slicer, key) as usize, starts.partition_point(|&start| start <= key) - 1);
            }
        }
    }

    #[test]
    fn evenly_spaced_edges_take_one_step_and_crowded_ones_are_searched() {
        let is_one_step = |edges: Vec<u64>| match Binner::of_bins(&Bins::Edges(edges), 700_000_000) {
            Binner::Steps(_) => true,
            Binner::Search(_) => false,
            _ => panic!("so many keys have no table"),
        };
        assert!(is_one_step((0..=24).map(|year| 1 + year * 29_000_000).collect()));
        assert!(is_one_step((0..=1024).map(|bin| 1 + bin * 600_000).collect()));
        assert!(!is_one_step((0..10).map(|power| 10u64.pow(power)).collect()));
    }

    #[test]
    fn more_places_than_two_bytes_can_name_are_told_apart() {
        let binner = Binner::of_bins(&Bins::each_key(65_535), 65_535);
        assert_eq!([0, 1, 65_535].map(|key| place(&binner, key)), [65_536, 0, 65_534]);
    }
}
