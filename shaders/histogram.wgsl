// Points per bin and group of a column of a part. CPU twin: src/engine/cpu/histogram.rs. Follows shared/bitmap.wgsl and
// shared/keys.wgsl.
//
// Input: the column's keys, the bins, a selection and perhaps the bitmap of an area. Output: `counts`, u32
// [group][slot], slot being a bin, then the nulls, then what is in no bin; parts are added. Atomics only add integers, so
// the answer does not depend on their order; a workgroup counts in its own memory first where the slots fit.
// Dispatch: ceil(words / (256 * WORDS_PER_INVOCATION)) workgroups, in up to two dimensions.

const WORKGROUP: u32 = 256u;
const WORDS_PER_INVOCATION: u32 = 4u;
// 16 KiB of workgroup memory: what every device has.
const LOCAL_SLOTS: u32 = 4096u;

// The bins are edges: ascending keys, lower and upper half each, bins_len + 1 of them.
const EDGES: u32 = 0u;
// The bins are a table: the bin of every key, 16 bits each, NO_BIN for none.
const NO_BIN: u32 = 0xFFFFu;

// Rust twin: layout::HistogramHeader.
struct HistogramHeader {
    selection: SelectionShape,
    width: u32,
    bins_kind: u32,
    bins_len: u32,
    // OF_KEY: entries of the table. Keys beyond have no bin.
    table_len: u32,
    // Not 0: only points inside the area count.
    has_area: u32,
}

@group(0) @binding(0) var<storage, read> histogram_of: HistogramHeader;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> bins: array<u32>;
@group(0) @binding(3) var<storage, read> bits: array<u32>;
@group(0) @binding(4) var<storage, read> area: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;

var<workgroup> local_counts: array<atomic<u32>, LOCAL_SLOTS>;

@compute @workgroup_size(256)
fn histogram(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_id.y * workgroups.x + workgroup_id.x;
    let shape = histogram_of.selection;
    let slots = shape.groups * (histogram_of.bins_len + 2u);
    let word_first = workgroup * WORKGROUP * WORDS_PER_INVOCATION + local;
    for (var i = 0u; i < WORDS_PER_INVOCATION; i++) {
        let word = word_first + i * WORKGROUP;
        var wanted = word_of_points(shape.points, word);
        if wanted != 0u && histogram_of.has_area != 0u {
            wanted &= area[word];
        }
        if wanted != 0u {
            for (var group = 0u; group < shape.groups; group++) {
                count_word(group, word, wanted & selected_word(shape, group, word), slots);
            }
        }
    }
    workgroupBarrier();
    if slots <= LOCAL_SLOTS {
        for (var slot = local; slot < slots; slot += WORKGROUP) {
            let points = atomicLoad(&local_counts[slot]);
            if points > 0u {
                atomicAdd(&counts[slot], points);
            }
        }
    }
}

fn count_word(group: u32, word: u32, wanted: u32, slots: u32) {
    var left = wanted;
    while left != 0u {
        let bit = firstTrailingBit(left);
        left &= left - 1u;
        let key = key_at(histogram_of.width, word * 32u + bit);
        let slot = group * (histogram_of.bins_len + 2u) + slot_of(key);
        if slots <= LOCAL_SLOTS {
            atomicAdd(&local_counts[slot], 1u);
        } else {
            atomicAdd(&counts[slot], 1u);
        }
    }
}

fn slot_of(key: vec2<u32>) -> u32 {
    // Not in a bin: null (key 0) or outside.
    let outside = histogram_of.bins_len + u32(key.x != 0u || key.y != 0u);
    if histogram_of.bins_kind != EDGES {
        if key.y > 0u || key.x >= histogram_of.table_len {
            return outside;
        }
        let bin = (bins[key.x / 2u] >> (16u * (key.x % 2u))) & 0xFFFFu;
        return select(bin, outside, bin == NO_BIN);
    }
    // Edges at or before the key, by bisection: `low` of them are, those from `high` on are not.
    var low = 0u;
    var high = histogram_of.bins_len + 1u;
    while low < high {
        let middle = (low + high) / 2u;
        if at_most(vec2<u32>(bins[2u * middle], bins[2u * middle + 1u]), key) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return select(low - 1u, outside, low == 0u || low > histogram_of.bins_len);
}
