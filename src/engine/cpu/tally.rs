//! The inner loop of all histograms: selected points of a block, each added to one cell of an array.
//!
//! An array of cells is `[slice][group][bin, outside, nulls]`. Where the cells of a point's slice and group begin is looked up once
//! per block, whatever the number of histograms; its key becomes a bin in the loop that adds it. That is by a table: of every
//! key where they are few, else of their upper bits, which leaves a step or none to search.

use super::select::BLOCK_WORDS;
use crate::dataset::{BLOCK_POINTS, ColumnKeys, Part};
use crate::engine::{Bins, Groups};

/// Keys of one byte, and of two.
const BYTE_KEYS: usize = 1 << 8;
const SHORT_KEYS: usize = 1 << 16;

/// Entries of a table by upper bits: what the first-level cache has room for, and some for each edge, so that few have one.
const UPPER_TABLE_LOG2: std::ops::RangeInclusive<u32> = 12..=16;
const ENTRIES_PER_EDGE_LOG2: u32 = 3;

/// Blocks with fewer selected points than this are looked up point by point.
const DENSE_POINTS: u32 = BLOCK_POINTS as u32 / 8;

/// Something (a group, a slice, where its cells begin) of each of a block's points.
pub(super) type Places = [u32; BLOCK_POINTS];

/// Finds the place of a key.
pub(super) enum Binner {
    /// By key. Of as many entries as keys of one byte or of two can need, which then need no check; or of a dictionary's.
    Table(Vec<u32>),
    /// Keys from 1 to `last` are their own bins, less 1.
    Own { last: u64, outside: u32, nulls: u32 },
    Search(Search),
}

/// Finds a key among edges: bin i holds the keys from edge i up to under `ends[i]`.
pub(super) struct Search {
    begin: u64,
    /// From `begin` to the last end.
    span: u64,
    ends: Vec<u64>,
    shift: u32,
    /// The bin of every entry, or [`MIXED`] and that of its first key, from which the search goes up.
    first: Vec<u32>,
    outside: u32,
    nulls: u32,
}

/// The keys of an entry are not all in one bin.
const MIXED: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct SearchView<'a> {
    begin: u64,
    span: u64,
    ends: &'a [u64],
    shift: u32,
    first: &'a [u32],
    outside: u32,
    nulls: u32,
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
        Binner::Search(Search::of(edges, count, count + 1))
    }

    /// The groups of the `by` column.
    pub(super) fn of_groups(groups: &Groups) -> Binner {
        Binner::table(groups.group_of_key().iter().map(|&group| u32::from(group)).collect())
    }

    fn table(mut places: Vec<u32>) -> Binner {
        let keys = places.len();
        places.resize(if keys <= BYTE_KEYS { BYTE_KEYS } else { keys.max(SHORT_KEYS) }, 0);
        Binner::Table(places)
    }

    /// Slices that begin at `starts`, the first of which is 0.
    pub(super) fn of_starts(starts: &[u64], key_max: u64) -> Binner {
        // The last slice goes on to the last key that occurs; past it no key is asked.
        let edges: Vec<u64> = starts.iter().copied().chain([key_max.saturating_add(1)]).collect();
        if key_max < SHORT_KEYS as u64 {
            let lengths = edges.windows(2).zip(0..).map(|(edge, slice)| std::iter::repeat_n(slice, (edge[1] - edge[0]) as usize));
            return Binner::table(lengths.flatten().collect());
        }
        Binner::Search(Search::of(&edges, starts.len() as u32 - 1, 0))
    }

    /// The places of the selected points of a block; of others, anything that was there.
    #[inline(always)]
    pub(super) fn places(&self, keys: &ColumnKeys, block: usize, words: &[u64], places: &mut Places) {
        let from = block * BLOCK_POINTS;
        match keys {
            ColumnKeys::U8(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U16(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U32(keys) => self.places_of(&keys[from..], words, places),
            ColumnKeys::U64(keys) => self.places_of(&keys[from..], words, places),
        }
    }

    #[inline(always)]
    fn places_of<K: Copy + Into<u64>>(&self, keys: &[K], words: &[u64], places: &mut Places) {
        match self {
            Binner::Table(table) => match <&[u32; BYTE_KEYS]>::try_from(&table[..]) {
                Ok(table) => each_place(keys, words, places, |key| table[key as usize]),
                Err(_) => each_place(keys, words, places, |key| table[key as usize]),
            },
            &Binner::Own { last, outside, nulls } => each_place(keys, words, places, move |key| own(key, last, outside, nulls)),
            Binner::Search(search) => {
                let search = search.view();
                each_place(keys, words, places, move |key| search.place(key));
            }
        }
    }
}

impl Search {
    fn of(edges: &[u64], outside: u32, nulls: u32) -> Search {
        let (begin, end) = (edges[0], edges[edges.len() - 1]);
        let span = end - begin;
        let entries_log2 = (edges.len().ilog2() + ENTRIES_PER_EDGE_LOG2).clamp(*UPPER_TABLE_LOG2.start(), *UPPER_TABLE_LOG2.end());
        let shift = (64 - span.leading_zeros()).saturating_sub(entries_log2);
        let bin = |key: u64| (edges.partition_point(|&edge| edge <= key) - 1) as u32;
        let entry = |i: u64| {
            let (first, last) = (bin(begin + (i << shift)), bin(begin + (i << shift | ((1u64 << shift) - 1)).min(span)));
            if first == last { first } else { first | MIXED }
        };
        let first = (0..=span >> shift).map(entry).collect();
        Search { begin, span, ends: edges[1..].to_vec(), shift, first, outside, nulls }
    }

    /// For a loop: its values are in registers, where a compiler must not suspect that cells are stored over them.
    #[inline(always)]
    fn view(&self) -> SearchView<'_> {
        let Search { begin, span, shift, outside, nulls, .. } = *self;
        SearchView { begin, span, ends: &self.ends, shift, first: &self.first, outside, nulls }
    }
}

impl SearchView<'_> {
    #[inline(always)]
    fn place(self, key: u64) -> u32 {
        let within = key.wrapping_sub(self.begin);
        if within >= self.span {
            return if key == 0 { self.nulls } else { self.outside };
        }
        let entry = self.first[(within >> self.shift) as usize];
        if entry & MIXED == 0 {
            return entry;
        }
        let mut bin = entry & !MIXED;
        while self.ends[bin as usize] <= key {
            bin += 1;
        }
        bin
    }
}

#[inline(always)]
fn own(key: u64, last: u64, outside: u32, nulls: u32) -> u32 {
    match key {
        0 => nulls,
        key if key <= last => (key - 1) as u32,
        _ => outside,
    }
}

#[inline(always)]
fn each_place<K: Copy + Into<u64>>(keys: &[K], words: &[u64], places: &mut Places, place: impl Fn(u64) -> u32) {
    let selected: u32 = words.iter().map(|word| word.count_ones()).sum();
    if selected < DENSE_POINTS {
        return for_each_bit(words, |i| places[i] = place(keys[i].into()));
    }
    let keys = &keys[..keys.len().min(BLOCK_POINTS)];
    keys.iter().zip(places.iter_mut()).for_each(|(&key, at)| *at = place(key.into()));
}

/// Copies of a small array of cells, filled in turn. Neighbours on the map often fall into one cell, and to add to what was
/// just stored takes the processor several cycles.
const LANES: usize = 4;

/// Cells up to this have lanes: with them they are to fit the first-level cache.
const LANED_CELLS_MAX: usize = 1 << 11;

/// An array of cells to add points to.
pub(super) enum Cells {
    Laned([Vec<u32>; LANES]),
    Plain(Vec<u32>),
}

impl Cells {
    pub(super) fn zeros(cells: usize) -> Cells {
        let zeros = || vec![0; cells];
        if cells > LANED_CELLS_MAX { Cells::Plain(zeros()) } else { Cells::Laned(std::array::from_fn(|_| zeros())) }
    }

    /// Adds the selected points of a block by their keys, each to the cells that begin at its offset.
    #[inline(always)]
    pub(super) fn add(&mut self, words: &[u64], offsets: Option<&Places>, binner: &Binner, keys: &ColumnKeys, block: usize) {
        let from = block * BLOCK_POINTS;
        match keys {
            ColumnKeys::U8(keys) => self.add_keys(words, offsets, binner, &keys[from..]),
            ColumnKeys::U16(keys) => self.add_keys(words, offsets, binner, &keys[from..]),
            ColumnKeys::U32(keys) => self.add_keys(words, offsets, binner, &keys[from..]),
            ColumnKeys::U64(keys) => self.add_keys(words, offsets, binner, &keys[from..]),
        }
    }

    #[inline(always)]
    fn add_keys<K: Copy + Into<u64>>(&mut self, words: &[u64], offsets: Option<&Places>, binner: &Binner, keys: &[K]) {
        match binner {
            Binner::Table(table) => {
                let table = table.as_slice();
                if let Ok(table) = <&[u32; BYTE_KEYS]>::try_from(table) {
                    self.add_binned(words, offsets, keys, move |key| table[key.into() as usize]);
                } else if let Ok(table) = <&[u32; SHORT_KEYS]>::try_from(table) {
                    self.add_binned(words, offsets, keys, move |key| table[key.into() as usize]);
                } else {
                    self.add_binned(words, offsets, keys, move |key| table[key.into() as usize]);
                }
            }
            &Binner::Own { last, outside, nulls } => {
                self.add_binned(words, offsets, keys, move |key| own(key.into(), last, outside, nulls));
            }
            Binner::Search(search) => {
                let search = search.view();
                self.add_binned(words, offsets, keys, move |key| search.place(key.into()));
            }
        }
    }

    #[inline(always)]
    fn add_binned<K: Copy>(&mut self, words: &[u64], offsets: Option<&Places>, keys: &[K], bin: impl Fn(K) -> u32) {
        match offsets {
            Some(offsets) => self.add_pairs(words, keys, offsets, move |key, offset| bin(key) + offset),
            None => self.add_pairs(words, keys, keys, move |key, _| bin(key)),
        }
    }

    /// Adds each selected point by two things that are known of it.
    #[inline(always)]
    fn add_pairs<A: Copy, B: Copy>(&mut self, words: &[u64], a: &[A], b: &[B], place: impl Fn(A, B) -> u32) {
        match self {
            Cells::Laned(lanes) => {
                let cells = lanes[0].len();
                let [first, second, third, fourth] = lanes.each_mut().map(|lane| &mut lane[..cells]);
                each_pair(words, a, b, |a, b, lane| {
                    let place = place(a, b) as usize;
                    match lane {
                        0 => first[place] += 1,
                        1 => second[place] += 1,
                        2 => third[place] += 1,
                        _ => fourth[place] += 1,
                    }
                });
            }
            Cells::Plain(cells) => each_pair(words, a, b, |a, b, _| cells[place(a, b) as usize] += 1),
        }
    }

    /// Counts the selected points by place, or all of them in the first cell.
    #[inline(always)]
    pub(super) fn count(&mut self, words: &[u64], places: Option<&Places>) {
        let Some(places) = places else {
            let selected = words.iter().map(|word| word.count_ones()).sum::<u32>();
            match self {
                Cells::Laned(lanes) => lanes[0][0] += selected,
                Cells::Plain(cells) => cells[0] += selected,
            }
            return;
        };
        self.add_pairs(words, places, places, |place, _| place);
    }

    /// The sums of the lanes.
    pub(super) fn folded(self) -> Vec<u32> {
        match self {
            Cells::Laned(lanes) => (0..lanes[0].len()).map(|cell| lanes.iter().map(|lane| lane[cell]).sum()).collect(),
            Cells::Plain(cells) => cells,
        }
    }
}

/// What is known of each selected point of a block, with a lane in turn; a full word in a plain loop of a fixed length.
#[inline(always)]
fn each_pair<A: Copy, B: Copy>(words: &[u64], a: &[A], b: &[B], mut with: impl FnMut(A, B, usize)) {
    for (at, &word) in words.iter().enumerate() {
        let first = at * 64;
        if word == u64::MAX {
            let (a, b) = (&a[first..first + 64], &b[first..first + 64]);
            for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
                (0..LANES).for_each(|lane| with(a[lane], b[lane], lane));
            }
            continue;
        }
        let mut bits = word;
        'word: loop {
            for lane in 0..LANES {
                if bits == 0 {
                    break 'word;
                }
                let i = first + bits.trailing_zeros() as usize;
                with(a[i], b[i], lane);
                bits &= bits - 1;
            }
        }
    }
}

/// What a worker counts in: the arrays of cells, and room for the places of a block's points.
pub(super) struct Tally {
    pub cells: Vec<Cells>,
    pub group: Places,
    pub slice: Places,
    pub offsets: Places,
}

impl Tally {
    pub(super) fn zeros(cells: impl IntoIterator<Item = usize>) -> Tally {
        let places = || [0; BLOCK_POINTS];
        Tally { cells: cells.into_iter().map(Cells::zeros).collect(), group: places(), slice: places(), offsets: places() }
    }
}

/// The bits of a block's words; a full word in a plain loop.
#[inline(always)]
pub(super) fn for_each_bit(words: &[u64], mut with: impl FnMut(usize)) {
    for (at, &word) in words.iter().enumerate() {
        if word == u64::MAX {
            (at * 64..at * 64 + 64).for_each(&mut with);
            continue;
        }
        let mut bits = word;
        while bits != 0 {
            with(at * 64 + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
}

/// The words of a block of the part that are points.
pub(super) fn block_words(part: &Part, block: usize) -> usize {
    (part.rows() as usize - block * BLOCK_POINTS).min(BLOCK_POINTS).div_ceil(64).min(BLOCK_WORDS)
}
