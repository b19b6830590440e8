//! Twin of `shaders/select.wgsl`: a predicate becomes words of bits, block by block.
//!
//! A block is [`BLOCK_POINTS`] points, 64 words. Its smallest and largest keys often answer a leaf without reading the column;
//! otherwise 64 keys at a time are compared into 64 bytes, which a multiplication packs into a word.

use super::rank::{BlockCounts, reduce};
use super::spare::Room;
use crate::dataset::{BLOCK_POINTS, ColumnId, ColumnKeys, Level, Part};
use crate::engine::bitmap::{Bitmap, CellRanks, GroupBits, GroupedBitmaps, RANK_WORDS, Ranks};
use crate::engine::{Cancel, EngineError, Groups, region};
use crate::filter::Predicate;
use crate::world::TILE_PIXELS_LOG2;
use pulp::Arch;
use rayon::prelude::*;
use std::sync::Arc;

pub(super) const BLOCK_WORDS: usize = BLOCK_POINTS / 64;

/// Blocks that one task takes: 64 Ki points, some tens of microseconds.
const TASK_BLOCKS: usize = 16;
const TASK_WORDS: usize = TASK_BLOCKS * BLOCK_WORDS;

/// A leaf with more ranges than this is looked up in a table of its column's keys instead of being compared range by range.
const COMPARED_RANGES_MAX: usize = 4;

/// Memory for ranks at the cells of coarse levels, bytes a point. Cell towers by 5 radios have room for levels 8 to 13, where
/// pixels have dozens of points and more; below, to rank costs no more than to copy.
const CELL_RANKS_BYTES_MAX: usize = 2;

/// The bitmaps of all points of a part, by group.
pub(super) fn unfiltered(arch: Arch, part: &Part, groups: &Groups) -> GroupedBitmaps {
    let points = part.rows() as usize;
    let Some(column) = groups.column() else { return GroupedBitmaps::ungrouped(Bitmap::full(points)) };
    let keys = part.column(column);
    let bitmaps: Vec<Arc<Bitmap>> = (0..groups.len() as u8)
        .into_par_iter()
        .map(|group| {
            let is_member: Vec<bool> = groups.group_of_key().iter().map(|&g| g == group).collect();
            let leaf = Leaf { column, test: Test::Table(is_member) };
            let mut words = vec![0u64; points.div_ceil(64)];
            words.par_chunks_mut(BLOCK_WORDS).enumerate().for_each(|(block, words)| {
                vectorized!(arch, leaf.evaluate(keys, block, words));
            });
            Arc::new(vectorized!(arch, Bitmap::from_words(words)))
        })
        .collect();
    let cells = cell_ranks(arch, part, &bitmaps);
    let groups = bitmaps.into_iter().map(GroupBits::Whole).collect();
    GroupedBitmaps { all: Arc::new(Bitmap::full(points)), groups, cells }
}

/// Ranks at the cells of as many coarse levels as there is room for: of an unfiltered tile a copy is left to do.
fn cell_ranks(arch: Arch, part: &Part, groups: &[Arc<Bitmap>]) -> Vec<CellRanks> {
    let mut room = part.rows() as usize * CELL_RANKS_BYTES_MAX;
    let mut levels = Vec::new();
    while let Some(level) = part.level(TILE_PIXELS_LOG2 + levels.len() as u32) {
        let Some(left) = room.checked_sub(level.start.len() * groups.len() * size_of::<u32>()) else { break };
        room = left;
        levels.push(level);
    }
    let ranks = |level: &Level<'_>, group: &Bitmap| vectorized!(arch, level.start.iter().map(|&at| group.rank(at)).collect());
    levels
        .into_par_iter()
        .map(|level| CellRanks { level: level.level, ranks: groups.par_iter().map(|group| ranks(&level, group)).collect() })
        .collect()
}

/// Ranks of a part's selection: of all that are selected, and of each group that is not all.
pub(super) fn ranks_of(base: &GroupedBitmaps) -> usize {
    if is_grouped(base) { 1 + base.groups.len() } else { 1 }
}

fn is_grouped(base: &GroupedBitmaps) -> bool {
    !matches!(&base.groups[..], [GroupBits::Whole(only)] if Arc::ptr_eq(only, &base.all))
}

/// What of `base`, the part's unfiltered bitmaps, passes the predicate.
pub(super) fn filtered(
    arch: Arch,
    part: &Part,
    predicate: &Predicate,
    base: &GroupedBitmaps,
    room: Room,
    cancel: &Cancel,
) -> Result<GroupedBitmaps, EngineError> {
    let plan = Plan::of(predicate, part);
    let points = part.rows() as usize;
    let is_grouped = is_grouped(base);
    let members: Vec<&[u64]> = base.groups.iter().filter(|_| is_grouped).map(|group| &group.members().words[..]).collect();
    let Room { mut words, mut ranks } = room;
    // A task counts the words that it has just compared, for all groups.
    let mut tasks: Vec<(&mut [u64], Vec<BlockCounts<'_>>)> = words.chunks_mut(TASK_WORDS).map(|words| (words, Vec::new())).collect();
    for ranks in &mut ranks {
        let (totals, within) = ranks.blocks_mut();
        let counts = totals.chunks_mut(TASK_WORDS / RANK_WORDS).zip(within.chunks_mut(TASK_WORDS / RANK_WORDS));
        tasks.iter_mut().zip(counts).for_each(|(task, counts)| task.1.push(counts));
    }
    tasks.into_par_iter().enumerate().try_for_each(|(task, (words, mut counts))| {
        cancel.check()?;
        for (i, words) in words.chunks_mut(BLOCK_WORDS).enumerate() {
            plan.evaluate(arch, part, task * TASK_BLOCKS + i, words);
        }
        // Conditions on the last word's missing points may hold; they are no points.
        if task == (points - 1) / (TASK_BLOCKS * BLOCK_POINTS) && !points.is_multiple_of(64) {
            *words.last_mut().expect("a chunk is never empty") &= (1 << (points % 64)) - 1;
        }
        let here = task * TASK_WORDS..task * TASK_WORDS + words.len();
        vectorized!(arch, reduce(words, members.iter().map(|group| &group[here.clone()]), &mut counts));
        Ok::<(), EngineError>(())
    })?;
    ranks.iter_mut().for_each(Ranks::scan);
    let mut ranks = ranks.into_iter();
    let all = Bitmap { words, ranks: ranks.next().expect("the first are of all that are selected") };
    if !is_grouped {
        return Ok(GroupedBitmaps::ungrouped(all));
    }
    let cut = |(group, ranks): (&GroupBits, Ranks)| GroupBits::Cut { group: group.members().clone(), ranks };
    let groups = base.groups.iter().zip(ranks).map(cut).collect();
    Ok(GroupedBitmaps { all: Arc::new(all), groups, cells: Vec::new() })
}

/// Clears the bits of points that do not pass; blocks without a bit are not looked at.
pub(super) fn keep_passing(arch: Arch, part: &Part, predicate: &Predicate, words: &mut [u64]) {
    if *predicate == Predicate::All {
        return;
    }
    let plan = Plan::of(predicate, part);
    words.par_chunks_mut(BLOCK_WORDS).enumerate().for_each(|(block, words)| {
        if words.iter().any(|&word| word != 0) {
            let mut passing = [0; BLOCK_WORDS];
            let passing = &mut passing[..words.len()];
            plan.evaluate(arch, part, block, passing);
            words.iter_mut().zip(passing).for_each(|(word, passing)| *word &= *passing);
        }
    });
}

/// A predicate, prepared for one part.
pub(super) enum Plan {
    All,
    Nothing,
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Leaf(Leaf),
    /// A region's bits, already evaluated by way of the index.
    Mask(Vec<u64>),
}

pub(super) struct Leaf {
    column: ColumnId,
    test: Test,
}

enum Test {
    /// In one of a few inclusive ranges.
    Ranges(Vec<(u64, u64)>),
    /// By key. Keys of dictionaries are dense, so the table has as many entries as the dictionary.
    Table(Vec<bool>),
}

/// What is known of a block without reading its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Every,
    No,
    Unknown,
}

impl Plan {
    pub(super) fn of(predicate: &Predicate, part: &Part) -> Plan {
        let all = |terms: &[Predicate]| terms.iter().map(|term| Plan::of(term, part)).collect();
        match predicate {
            Predicate::All => Plan::All,
            Predicate::Nothing => Plan::Nothing,
            Predicate::And(terms) => Plan::And(all(terms)),
            Predicate::Or(terms) => Plan::Or(all(terms)),
            Predicate::Keys { column, ranges } => {
                let key_max = ranges.last().map_or(0, |range| range.1);
                let few = ranges.len() <= COMPARED_RANGES_MAX || key_max > u64::from(u32::MAX);
                let test = if few { Test::Ranges(ranges.clone()) } else { Test::Table(table(ranges)) };
                Plan::Leaf(Leaf { column: *column, test })
            }
            Predicate::Inside(region) => Plan::Mask(region::region_words(region, part)),
            Predicate::Outside(region) => {
                Plan::Mask(region::region_words(region, part).into_iter().map(|word| !word).collect())
            }
        }
    }

    /// Writes the block's words. Bits past the part's last point are anything.
    pub(super) fn evaluate(&self, arch: Arch, part: &Part, block: usize, words: &mut [u64]) {
        match self.known(part, block) {
            Known::Every => words.fill(u64::MAX),
            Known::No => words.fill(0),
            Known::Unknown => match self {
                Plan::All | Plan::Nothing => unreachable!("what they say is known"),
                Plan::Leaf(leaf) => vectorized!(arch, leaf.evaluate(part.column(leaf.column), block, words)),
                Plan::Mask(mask) => words.copy_from_slice(&mask[block * BLOCK_WORDS..][..words.len()]),
                Plan::And(terms) => combine(arch, terms, part, block, words, u64::MAX, |a, b| a & b),
                Plan::Or(terms) => combine(arch, terms, part, block, words, 0, |a, b| a | b),
            },
        }
    }

    fn known(&self, part: &Part, block: usize) -> Known {
        match self {
            Plan::All => Known::Every,
            Plan::Nothing => Known::No,
            Plan::Mask(_) => Known::Unknown,
            Plan::Leaf(leaf) => {
                let blocks = part.blocks(leaf.column);
                leaf.test.known(blocks.min[block], blocks.max[block])
            }
            Plan::And(terms) => {
                strongest(terms.iter().map(|term| term.known(part, block)), Known::No, Known::Every)
            }
            Plan::Or(terms) => strongest(terms.iter().map(|term| term.known(part, block)), Known::Every, Known::No),
        }
    }
}

/// `decisive` if any term says so, `neutral` if all are, else unknown.
fn strongest(known: impl Iterator<Item = Known>, decisive: Known, neutral: Known) -> Known {
    let mut answer = neutral;
    for term in known {
        if term == decisive {
            return decisive;
        }
        if term == Known::Unknown {
            answer = Known::Unknown;
        }
    }
    answer
}

fn combine(
    arch: Arch,
    terms: &[Plan],
    part: &Part,
    block: usize,
    words: &mut [u64],
    neutral: u64,
    operation: fn(u64, u64) -> u64,
) {
    words.fill(neutral);
    let mut one = [0u64; BLOCK_WORDS];
    let settled = !neutral;
    for term in terms {
        let one = &mut one[..words.len()];
        term.evaluate(arch, part, block, one);
        for (word, term_word) in words.iter_mut().zip(one.iter()) {
            *word = operation(*word, *term_word);
        }
        if words.iter().all(|&word| word == settled) {
            return; // No later term can change what is already decided.
        }
    }
}

impl Test {
    fn known(&self, min: u64, max: u64) -> Known {
        match self {
            Test::Ranges(ranges) => {
                if ranges.iter().any(|&(lo, hi)| lo <= min && max <= hi) {
                    Known::Every
                } else if ranges.iter().all(|&(lo, hi)| hi < min || max < lo) {
                    Known::No
                } else {
                    Known::Unknown
                }
            }
            // Tables stand for scattered values, which extremes seldom decide.
            Test::Table(_) => Known::Unknown,
        }
    }
}

impl Leaf {
    #[inline(always)]
    fn evaluate(&self, keys: &ColumnKeys, block: usize, words: &mut [u64]) {
        match keys {
            ColumnKeys::U8(keys) => self.test.words(&keys[block * BLOCK_POINTS..], words),
            ColumnKeys::U16(keys) => self.test.words(&keys[block * BLOCK_POINTS..], words),
            ColumnKeys::U32(keys) => self.test.words(&keys[block * BLOCK_POINTS..], words),
            ColumnKeys::U64(keys) => self.test.words(&keys[block * BLOCK_POINTS..], words),
        }
    }
}

impl Test {
    #[inline(always)]
    fn words<K: KeyType>(&self, keys: &[K], words: &mut [u64]) {
        match self {
            Test::Ranges(ranges) => {
                let mut fresh = true;
                for &(lo, hi) in ranges {
                    let Some((lo, hi)) = K::range(lo, hi) else { continue };
                    let span = hi.minus(lo);
                    pack(keys, words, fresh, |key| key.minus(lo) <= span);
                    fresh = false;
                }
                if fresh {
                    words.fill(0);
                }
            }
            Test::Table(table) => pack(keys, words, true, |key| table.get(key.index()).copied().unwrap_or(false)),
        }
    }
}

/// Writes (`fresh`) or ORs one bit per key.
#[inline(always)]
fn pack<K: KeyType>(keys: &[K], words: &mut [u64], fresh: bool, test: impl Fn(K) -> bool) {
    for (word, keys) in words.iter_mut().zip(keys.chunks(64)) {
        let mut bytes = [0u8; 64];
        match <&[K; 64]>::try_from(keys) {
            // A fixed length is what lets the compiler vectorise the comparison.
            Ok(keys) => (0..64).for_each(|i| bytes[i] = u8::from(test(keys[i]))),
            Err(_) => keys.iter().zip(&mut bytes).for_each(|(key, byte)| *byte = u8::from(test(*key))),
        }
        let bits = packed(&bytes);
        *word = if fresh { bits } else { *word | bits };
    }
}

/// 64 bytes of 0 or 1 as 64 bits: a multiplication gathers the low bits of eight bytes in the top byte (Hacker's Delight,
/// section 7-3).
#[inline(always)]
pub(super) fn packed(bytes: &[u8; 64]) -> u64 {
    let mut word = 0;
    for (i, eight) in bytes.chunks_exact(8).enumerate() {
        let eight = u64::from_le_bytes(eight.try_into().expect("a chunk of eight"));
        word |= (eight.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}

fn table(ranges: &[(u64, u64)]) -> Vec<bool> {
    let key_max = ranges.last().map_or(0, |range| range.1) as usize;
    let mut table = vec![false; key_max + 1];
    for &(lo, hi) in ranges {
        table[lo as usize..=hi as usize].fill(true);
    }
    table
}

/// The widths of keys, so that a scan is written once.
pub(super) trait KeyType: Copy + Ord {
    /// The part of a range of keys that this width can hold.
    fn range(lo: u64, hi: u64) -> Option<(Self, Self)>;
    fn minus(self, other: Self) -> Self;
    fn index(self) -> usize;
}

macro_rules! key_type {
    ($($width:ty),*) => {$(
        impl KeyType for $width {
            #[inline(always)]
            fn range(lo: u64, hi: u64) -> Option<(Self, Self)> {
                let lo = Self::try_from(lo).ok()?;
                Some((lo, Self::try_from(hi).unwrap_or(Self::MAX)))
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}
key_type!(u8, u16, u32, u64);
