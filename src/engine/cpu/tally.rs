//! The inner loop of all histograms: selected points of a block, each added to one cell of an array.
//!
//! An array of cells is `[slice][group][bin, outside, nulls]`. Where the cells of a point's slice and group begin is looked up once
//! per block, whatever the number of histograms; its key becomes a bin in the loop that adds it (`binner.rs`).
//!
//! There is one such loop for every width of keys, kind of binner and size of cells, and each is compiled for the processor by
//! itself: all of them together the compiler would not put into one function, and leave them to the least processor.

use super::binner::{BYTE_KEYS, Binner, SHORT_KEYS, own};
use super::select::BLOCK_WORDS;
use crate::dataset::{BLOCK_POINTS, ColumnKeys, Part};
use pulp::Arch;

/// Blocks with fewer selected points than this are looked up point by point.
const DENSE_POINTS: u32 = BLOCK_POINTS as u32 / 8;

/// In a word of 64 points of which at least so many are selected, all are added, each as often as it is selected, 0 or 1 times. To
/// go from one selected point to the next takes longer, and the branch at the end of a word is foretold wrongly.
const DENSE_WORD_POINTS: u32 = 24;

/// Something (a group, a slice, where its cells begin) of each of a block's points.
pub(super) type Places = [u32; BLOCK_POINTS];

/// Does the work once for every kind of binner, with `place` as its way from a key to a place: a loop is then compiled for each.
macro_rules! placing {
    ($binner:expr, $place:ident => $work:expr) => {
        match $binner {
            Binner::Table(table) => {
                if let Ok(table) = <&[u16; BYTE_KEYS]>::try_from(&table[..]) {
                    let $place = move |key: u64| u32::from(table[key as usize]);
                    $work
                } else if let Ok(table) = <&[u16; SHORT_KEYS]>::try_from(&table[..]) {
                    let $place = move |key: u64| u32::from(table[key as usize]);
                    $work
                } else {
                    let table = table.as_slice();
                    let $place = move |key: u64| u32::from(table[key as usize]);
                    $work
                }
            }
            Binner::WideTable(table) => {
                let table = table.as_slice();
                let $place = move |key: u64| table[key as usize];
                $work
            }
            &Binner::Own { last, outside, nulls } => {
                let $place = move |key: u64| own(key, last, outside, nulls);
                $work
            }
            Binner::Steps(steps) => {
                let steps = steps.view();
                let $place = move |key: u64| steps.place(key);
                $work
            }
            Binner::Search(search) => {
                let search = search.view();
                let $place = move |key: u64| search.place(key);
                $work
            }
        }
    };
}

impl Binner {
    /// The places of the selected points of a block; of others, anything that was there.
    pub(super) fn places(&self, arch: Arch, keys: &ColumnKeys, block: usize, words: &[u64], places: &mut Places) {
        let from = block * BLOCK_POINTS;
        match keys {
            ColumnKeys::U8(keys) => self.places_of(arch, &keys[from..], words, places),
            ColumnKeys::U16(keys) => self.places_of(arch, &keys[from..], words, places),
            ColumnKeys::U32(keys) => self.places_of(arch, &keys[from..], words, places),
            ColumnKeys::U64(keys) => self.places_of(arch, &keys[from..], words, places),
        }
    }

    fn places_of<K: Copy + Into<u64>>(&self, arch: Arch, keys: &[K], words: &[u64], places: &mut Places) {
        placing!(self, place => vectorized!(arch, each_place(keys, words, places, place)));
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
    Laned(Vec<[u32; LANES]>),
    Plain(Vec<u32>),
}

impl Cells {
    pub(super) fn zeros(cells: usize) -> Cells {
        if cells > LANED_CELLS_MAX { Cells::Plain(vec![0; cells]) } else { Cells::Laned(vec![[0; LANES]; cells]) }
    }

    /// Adds the selected points of a block by their keys, each to the cells that begin at its offset.
    pub(super) fn add(&mut self, arch: Arch, words: &[u64], offsets: Option<&Places>, binner: &Binner, keys: &ColumnKeys, block: usize) {
        let from = block * BLOCK_POINTS;
        match keys {
            ColumnKeys::U8(keys) => self.add_keys(arch, words, offsets, binner, &keys[from..]),
            ColumnKeys::U16(keys) => self.add_keys(arch, words, offsets, binner, &keys[from..]),
            ColumnKeys::U32(keys) => self.add_keys(arch, words, offsets, binner, &keys[from..]),
            ColumnKeys::U64(keys) => self.add_keys(arch, words, offsets, binner, &keys[from..]),
        }
    }

    fn add_keys<K: Copy + Into<u64>>(&mut self, arch: Arch, words: &[u64], offsets: Option<&Places>, binner: &Binner, keys: &[K]) {
        placing!(binner, place => match offsets {
            Some(offsets) => self.add_pairs(arch, words, keys, offsets, move |key: K, offset| place(key.into()) + offset),
            None => self.add_pairs(arch, words, keys, keys, move |key: K, _| place(key.into())),
        });
    }

    /// Adds each selected point by two things that are known of it.
    fn add_pairs<A: Copy, B: Copy>(&mut self, arch: Arch, words: &[u64], a: &[A], b: &[B], place: impl Fn(A, B) -> u32 + Copy) {
        match self {
            Cells::Laned(cells) => vectorized!(arch, {
                // Copies, for registers: a compiler must suspect that what it has by reference changes with every cell.
                let (place, cells) = (place, cells.as_mut_slice());
                each_pair(words, a, b, |a, b, lane, times| cells[place(a, b) as usize][lane] += times);
            }),
            Cells::Plain(cells) => vectorized!(arch, {
                let (place, cells) = (place, cells.as_mut_slice());
                each_pair(words, a, b, |a, b, _, times| cells[place(a, b) as usize] += times);
            }),
        }
    }

    /// Counts the selected points by place, or all of them in the first cell.
    pub(super) fn count(&mut self, arch: Arch, words: &[u64], places: Option<&Places>) {
        let Some(places) = places else {
            let selected = vectorized!(arch, words.iter().map(|word| word.count_ones()).sum::<u32>());
            match self {
                Cells::Laned(cells) => cells[0][0] += selected,
                Cells::Plain(cells) => cells[0] += selected,
            }
            return;
        };
        self.add_pairs(arch, words, places, places, |place, _| place);
    }

    /// The sums of the lanes.
    pub(super) fn folded(self) -> Vec<u32> {
        match self {
            Cells::Laned(cells) => cells.into_iter().map(|lanes| lanes.iter().sum()).collect(),
            Cells::Plain(cells) => cells,
        }
    }
}

/// What is known of each selected point of a block, with a lane in turn, and how often to count it: words with many points in a plain
/// loop of a fixed length.
#[inline(always)]
fn each_pair<A: Copy, B: Copy>(words: &[u64], a: &[A], b: &[B], mut with: impl FnMut(A, B, usize, u32)) {
    for (at, &word) in words.iter().enumerate() {
        let first = at * 64;
        if word.count_ones() >= DENSE_WORD_POINTS && first + 64 <= a.len() {
            let fours = a[first..first + 64].as_chunks::<LANES>().0.iter().zip(b[first..first + 64].as_chunks::<LANES>().0);
            if word == u64::MAX {
                for (a, b) in fours {
                    (0..LANES).for_each(|lane| with(a[lane], b[lane], lane, 1));
                }
                continue;
            }
            let mut bits = word;
            for (a, b) in fours {
                (0..LANES).for_each(|lane| with(a[lane], b[lane], lane, (bits >> lane) as u32 & 1));
                bits >>= LANES;
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
                with(a[i], b[i], lane, 1);
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
