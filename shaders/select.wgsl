// Which points pass a filter. CPU twin: src/engine/cpu/select.rs. Follows shared/bitmap.wgsl and shared/keys.wgsl.
//
//   select_keys     one comparison: the points whose key is in one of a list of ranges
//   select_mask     a mask made elsewhere: a region, or another branch of the filter
//   select_groups   the mask, split by the group of each point's key
//
// The first two combine what they find into `mask`. One invocation makes one word, of 32 points: no atomics.
// Dispatch: ceil(words / 256) workgroups, words being those of the part, in up to two dimensions.

const WORKGROUP: u32 = 256u;

// How a term is combined into the mask.
const SET: u32 = 0u;
const AND: u32 = 1u;
const OR: u32 = 2u;

// What the smallest and largest key of a block of 4,096 points say of it.
const BLOCK_WORDS: u32 = 128u;
const NONE_PASS: u32 = 0u;
const ALL_PASS: u32 = 1u;

// Rust twin: layout::SelectKeysHeader.
struct SelectKeysHeader {
    points: u32,
    width: u32,
    combine: u32,
    ranges_len: u32,
}

struct SelectKeys {
    header: SelectKeysHeader,
    // ranges_len times first and last key, each as lower and upper half; then a verdict per block.
    table: array<u32>,
}

@group(0) @binding(0) var<storage, read> asked_of: SelectKeys;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;

@compute @workgroup_size(256)
fn select_keys(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    let points = word_of_points(asked_of.header.points, word);
    if points == 0u {
        return;
    }
    let combine = asked_of.header.combine;
    // Points that are decided already are not asked.
    var asked = points;
    if combine == AND {
        asked = mask[word];
    } else if combine == OR {
        asked = points & ~mask[word];
    }
    var passed = 0u;
    let verdict = asked_of.table[4u * asked_of.header.ranges_len + word / BLOCK_WORDS];
    if verdict == ALL_PASS {
        passed = asked;
    } else if verdict != NONE_PASS {
        while asked != 0u {
            let bit = firstTrailingBit(asked);
            asked &= asked - 1u;
            passed |= u32(in_ranges(key_at(asked_of.header.width, word * 32u + bit))) << bit;
        }
    }
    if combine == OR {
        passed |= mask[word];
    }
    mask[word] = passed;
}

// Whether the last range that begins at or before the key reaches it.
fn in_ranges(key: vec2<u32>) -> bool {
    var low = 0u;
    var high = asked_of.header.ranges_len;
    if high == 0u {
        return false;
    }
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if at_most(range_first(middle), key) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return at_most(range_first(low), key) && at_most(key, range_last(low));
}

fn range_first(range: u32) -> vec2<u32> {
    return vec2<u32>(asked_of.table[4u * range], asked_of.table[4u * range + 1u]);
}

fn range_last(range: u32) -> vec2<u32> {
    return vec2<u32>(asked_of.table[4u * range + 2u], asked_of.table[4u * range + 3u]);
}

// Rust twin: layout::SelectMaskHeader.
struct SelectMaskHeader {
    points: u32,
    combine: u32,
    // Not 0: the points outside the source are meant.
    invert: u32,
}

@group(0) @binding(3) var<storage, read> select_from: SelectMaskHeader;
@group(0) @binding(4) var<storage, read> source: array<u32>;

@compute @workgroup_size(256)
fn select_mask(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    let points = word_of_points(select_from.points, word);
    if points == 0u {
        return;
    }
    var passed = source[word];
    if select_from.invert != 0u {
        passed = points & ~passed;
    }
    if select_from.combine == AND {
        passed &= mask[word];
    } else if select_from.combine == OR {
        passed |= mask[word];
    }
    mask[word] = passed;
}

// Rust twin: layout::SelectGroupsHeader.
struct SelectGroupsHeader {
    selection: SelectionShape,
    width: u32,
    // Not 0: the mask is not read, every point passes.
    all_pass: u32,
}

const GROUPS_MAX: u32 = 32u;

@group(0) @binding(5) var<storage, read> split: SelectGroupsHeader;
// The group of every key: 8 bits each.
@group(0) @binding(6) var<storage, read> group_of_key: array<u32>;
// The selection: the words of every plane, and the ranks that `rank` fills.
@group(0) @binding(7) var<storage, read_write> bits: array<u32>;

@compute @workgroup_size(256)
fn select_groups(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    let shape = split.selection;
    var left = word_of_points(shape.points, word);
    if left == 0u {
        return;
    }
    if split.all_pass == 0u {
        left = source[word];
    }
    var found: array<u32, GROUPS_MAX>;
    while left != 0u {
        let bit = firstTrailingBit(left);
        left &= left - 1u;
        // A column with groups has at most 2^32 values: its keys' lower halves.
        let key = key_at(split.width, word * 32u + bit).x;
        let group = (group_of_key[key / 4u] >> (8u * (key % 4u))) & 0xFFu;
        if group < shape.groups {
            found[group] |= 1u << bit;
        }
    }
    var any = 0u;
    for (var group = 0u; group < shape.groups; group++) {
        bits[group * shape.plane_words + word] = found[group];
        any |= found[group];
    }
    if shape.planes > shape.groups {
        bits[shape.groups * shape.plane_words + word] = any;
    }
}
