//! Structures that the shaders read: the same fields, in the same order, as in the WGSL. A test compares them.
//!
//! All fields are u32, so both sides agree on every offset without padding.

use bytemuck::{Pod, Zeroable};

macro_rules! shared_with_wgsl {
    ($($(#[$attribute:meta])* struct $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        $($(#[$attribute])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
        pub(super) struct $name { $(pub $field: $kind),* })*

        /// Name, size, and name and offset of every field, of every structure.
        #[cfg(test)]
        pub(super) fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((stringify!($name), size_of::<$name>(), vec![$((stringify!($field), std::mem::offset_of!($name, $field))),*])),*]
        }
    };
}

shared_with_wgsl! {
    /// The selection of a segment: its bitmaps are `[plane][plane_words]` words, then `[plane][plane_ranks]` ranks.
    struct SelectionShape { groups: u32, planes: u32, plane_words: u32, plane_ranks: u32, everything: u32 }
    struct SelectKeysHeader { words: u32, width: u32, combine: u32, ranges_len: u32 }
    struct SelectMaskHeader { words: u32, combine: u32 }
    struct SelectGroupsHeader { selection: SelectionShape, width: u32, all_pass: u32 }
    struct RankHeader { selection: SelectionShape, blocks: u32, workgroups: u32, totals_base: u32 }
    /// A run of items of one part, all for one tile.
    struct Job {
        kind: u32, workgroup_first: u32, item_from: u32, item_to: u32, level: u32, code_base: u32, start_base: u32,
        point_base: u32, point_from: u32, point_to: u32, cell_from: u32, cell_to: u32, out_base: u32,
    }
    struct WorkHeader { selection: SelectionShape, jobs_len: u32, items_per_workgroup: u32 }
    struct SlicesHeader { selection: SelectionShape, slices_len: u32 }
    struct AggregateHeader { width: u32, measure: u32, upper: u32, has_worth: u32 }
    struct HistogramHeader {
        selection: SelectionShape, words: u32, width: u32, bins_kind: u32, bins_len: u32, table_len: u32, has_area: u32,
        copies: u32,
    }
}

impl SelectionShape {
    /// The shape of the selection of a segment of so many words, by `groups`; `everything` selects all without bitmaps.
    pub fn of(words: u32, groups: usize, everything: bool) -> SelectionShape {
        let groups = groups as u32;
        SelectionShape {
            groups,
            planes: if groups > 1 { groups + 1 } else { 1 },
            plane_words: words,
            plane_ranks: words / constants::RANK_WORDS + 1,
            everything: u32::from(everything),
        }
    }

    pub fn bytes(&self) -> u64 {
        4 * u64::from(self.planes) * u64::from(self.plane_words + self.plane_ranks)
    }
}

/// The constants of the WGSL that the host names too, for the test that compares them.
pub(super) mod constants {
    pub const WORKGROUP: u32 = 256;
    /// How a term is combined into the mask.
    pub const SET: u32 = 0;
    pub const AND: u32 = 1;
    pub const OR: u32 = 2;
    /// What is known of a block of points.
    pub const NONE_PASS: u32 = 0;
    pub const ALL_PASS: u32 = 1;
    pub const SOME_PASS: u32 = 2;
    /// What the items of a job are.
    pub const ENTRIES: u32 = 0;
    pub const CELLS: u32 = 1;
    pub const POINTS: u32 = 2;
    pub const EDGES: u32 = 0;
    pub const OF_KEY: u32 = 1;
    pub const WORDS_PER_WORKGROUP: u32 = 1024;
    pub const LOCAL_SLOTS: u32 = 4096;
    pub const SPLIT_WORDS: u32 = 64;
    pub const RANK_WORDS: u32 = 16;
    /// Words of a block of points that has a smallest and a largest key.
    pub const BLOCK_WORDS: u32 = 128;
    /// Totals below this are counted in a table, others listed.
    pub const SMALL: u32 = 4096;
    /// What `aggregate` makes of keys.
    pub const SUM: u32 = 0;
    pub const MOST: u32 = 1;
    pub const LEAST: u32 = 2;
    pub const TILE_PIXELS: u32 = 65536;
}
