// Points per bin and group of a column of a segment. CPU twin: src/engine/cpu/histogram.rs. Follows shared/keys.wgsl and
// shared/bitmap.wgsl.
//
// Input: the column's keys, the bins, a selection and perhaps the bitmap of an area. Output: `counts`, u32
// [group][slot], slot being a bin, then the nulls, then what is in no bin; segments are added. Atomics only add integers, so
// the answer does not depend on their order; a workgroup counts in its own memory first where the slots fit, in several
// copies where they fit several times, so that a bin that holds most points is no queue.
// Dispatch: ceil(words / WORDS_PER_WORKGROUP) workgroups, in up to two dimensions.

const WORKGROUP: u32 = 256u;
const WORDS_PER_WORKGROUP: u32 = 1024u;
// 16 KiB of workgroup memory: what every device has.
const LOCAL_SLOTS: u32 = 4096u;

// The bins are edges: ascending keys, lower and upper half each, bins_len + 1 of them.
const EDGES: u32 = 0u;
// The bins are a table: the bin of every key, 16 bits each, NO_BIN for none.
const NO_BIN: u32 = 0xFFFFu;

// Rust twin: layout::HistogramHeader.
struct HistogramHeader {
    selection: SelectionShape,
    // Words of 32 points.
    words: u32,
    width: u32,
    bins_kind: u32,
    bins_len: u32,
    // OF_KEY: entries of the table. Keys beyond have no bin.
    table_len: u32,
    // Not 0: only points inside the area count.
    has_area: u32,
    // Copies of the slots in workgroup memory, a power of two; 0 where they do not fit.
    copies: u32,
}

@group(0) @binding(0) var<storage, read> histogram_of: HistogramHeader;
@group(0) @binding(1) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> block_points: array<u32>;
@group(0) @binding(3) var<storage, read> bins: array<u32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@group(0) @binding(5) var<storage, read> area: array<u32>;
@group(0) @binding(6) var<storage, read_write> counts: array<atomic<u32>>;

// [slot][copy]: neighbouring invocations have neighbouring copies, which lie in different memory banks.
var<workgroup> local_counts: array<atomic<u32>, LOCAL_SLOTS>;

@compute @workgroup_size(256)
fn histogram(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word_first = (workgroup.y * workgroups.x + workgroup.x) * WORDS_PER_WORKGROUP;
    let word_log2 = loads_log2(histogram_of.width);
    for (var load = local; load < WORDS_PER_WORKGROUP << word_log2; load += WORKGROUP) {
        let word = word_first + (load >> word_log2);
        if word < histogram_of.words {
            count_load(word, load & ((1u << word_log2) - 1u), local);
        }
    }
    workgroupBarrier();
    let copies = histogram_of.copies;
    if copies > 0u {
        let slots = histogram_of.selection.groups * (histogram_of.bins_len + 2u);
        for (var slot = local; slot < slots; slot += WORKGROUP) {
            var points = 0u;
            for (var copy = 0u; copy < copies; copy++) {
                points += atomicLoad(&local_counts[slot * copies + copy]);
            }
            if points > 0u {
                atomicAdd(&counts[slot], points);
            }
        }
    }
}

// Counts the points of one load of a word.
fn count_load(word: u32, load_of_word: u32, local: u32) {
    let width = histogram_of.width;
    let shape = histogram_of.selection;
    var wanted = word_of_points(word);
    if shape.everything == 0u {
        wanted &= bits[(shape.planes - 1u) * shape.plane_words + word];
    }
    if histogram_of.has_area != 0u {
        wanted &= area[word];
    }
    let shift = load_of_word * (16u / width);
    wanted = (wanted >> shift) & bits_of_load(width);
    if wanted == 0u {
        return;
    }
    let load = keys[(word << loads_log2(width)) + load_of_word];
    if shape.planes == 1u {
        count_points_of(load, 0u, wanted, local);
        return;
    }
    for (var group = 0u; group < shape.groups && wanted != 0u; group++) {
        let members = wanted & (bits[group * shape.plane_words + word] >> shift);
        count_points_of(load, group, members, local);
        wanted &= ~members;
    }
}

// Counts some points of a load, equal slots in a row at once.
fn count_points_of(load: vec4<u32>, group: u32, members: u32, local: u32) {
    let slot_first = group * (histogram_of.bins_len + 2u);
    var left = members;
    var slot = 0u;
    var points = 0u;
    while left != 0u {
        let i = firstTrailingBit(left);
        left &= left - 1u;
        let next = slot_first + slot_of(key_of(histogram_of.width, load, i));
        if next != slot && points > 0u {
            add(slot, points, local);
            points = 0u;
        }
        slot = next;
        points++;
    }
    if points > 0u {
        add(slot, points, local);
    }
}

fn add(slot: u32, points: u32, local: u32) {
    let copies = histogram_of.copies;
    if copies > 0u {
        atomicAdd(&local_counts[slot * copies + (local & (copies - 1u))], points);
    } else {
        atomicAdd(&counts[slot], points);
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
