// Which points pass a filter. CPU twin: src/engine/cpu/select.rs. Follows shared/keys.wgsl and shared/bitmap.wgsl.
//
//   select_keys     one comparison: the points whose key is in one of a list of ranges
//   select_mask     a mask made elsewhere: a region, or another branch of the filter
//   select_groups   the mask, split by the group of each point's key
//
// The first two combine what they find into `mask`, 32 points a word. Keys are read 16 bytes an invocation, side by side,
// and compared as whole words; the bits meet in workgroup memory. Blocks and loads that are decided already are not read.
// Dispatch: select_keys and select_mask by ceil(words / 256) workgroups, select_groups by words / 64, in up to two
// dimensions; words are those of the segment, a multiple of 128.

const WORKGROUP: u32 = 256u;

// How a term is combined into the mask.
const SET: u32 = 0u;
const AND: u32 = 1u;
const OR: u32 = 2u;

// What the smallest and largest key of a block of 4,096 points say of it.
const NONE_PASS: u32 = 0u;
const ALL_PASS: u32 = 1u;

// Up to so many ranges are compared one after the other with all keys of a load; more are searched, key by key.
const COMPARED_RANGES_MAX: u32 = 4u;

// Rust twin: layout::SelectKeysHeader.
struct SelectKeysHeader {
    words: u32,
    width: u32,
    combine: u32,
    ranges_len: u32,
}

struct SelectKeys {
    header: SelectKeysHeader,
    // ranges_len times first and last key, each as lower and upper half, ascending, none beyond the width; then a verdict
    // per block.
    table: array<u32>,
}

@group(0) @binding(0) var<storage, read> asked_of: SelectKeys;
@group(0) @binding(1) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> block_points: array<u32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;

// Per word of the workgroup: points to compare, and those of them that pass.
var<workgroup> asked: array<u32, WORKGROUP>;
var<workgroup> found: array<atomic<u32>, WORKGROUP>;

@compute @workgroup_size(256)
fn select_keys(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word_first = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP;
    let word = word_first + local;
    let combine = asked_of.header.combine;
    // Points that are decided already are not asked.
    var candidates = 0u;
    var passed = 0u;
    if word < asked_of.header.words {
        candidates = word_of_points(word);
        if combine == AND {
            candidates = mask[word];
        } else if combine == OR {
            passed = mask[word];
            candidates &= ~passed;
        }
        let verdict = asked_of.table[4u * asked_of.header.ranges_len + word / BLOCK_WORDS];
        if verdict == ALL_PASS {
            passed |= candidates;
        }
        if verdict <= ALL_PASS {
            candidates = 0u;
        }
    }
    asked[local] = candidates;
    workgroupBarrier();
    let width = asked_of.header.width;
    let word_log2 = loads_log2(width);
    for (var load = local; load < WORKGROUP << word_log2; load += WORKGROUP) {
        let place = load >> word_log2;
        let shift = (load & ((1u << word_log2) - 1u)) * (16u / width);
        let wanted = (asked[place] >> shift) & bits_of_load(width);
        if wanted != 0u {
            let passing = wanted & passing_of(keys[(word_first << word_log2) + load], wanted);
            if passing != 0u {
                atomicOr(&found[place], passing << shift);
            }
        }
    }
    workgroupBarrier();
    if word < asked_of.header.words {
        mask[word] = passed | atomicLoad(&found[local]);
    }
}

// Which keys of a load are in a range, of those that are wanted; of others, anything.
fn passing_of(load: vec4<u32>, wanted: u32) -> u32 {
    let ranges_len = asked_of.header.ranges_len;
    var passing = 0u;
    if ranges_len <= COMPARED_RANGES_MAX {
        for (var range = 0u; range < ranges_len; range++) {
            passing |= in_range(load, range_first(range), range_last(range));
        }
        return passing;
    }
    var left = wanted;
    while left != 0u {
        let i = firstTrailingBit(left);
        left &= left - 1u;
        passing |= u32(in_ranges(key_of(asked_of.header.width, load, i))) << i;
    }
    return passing;
}

// Which keys of a load are in one range. Several keys of a word are compared at once (Hacker's Delight, section 2-18): a
// lane's upper bit is kept out of sums and differences, so that none carries into the next, and added without a carry.
fn in_range(load: vec4<u32>, first: vec2<u32>, last: vec2<u32>) -> u32 {
    switch asked_of.header.width {
        case 1u: {
            let upper = upper_in_range(load, 0x80808080u, 0x01010101u * first.x, 0x01010101u * (last.x - first.x));
            // The upper bits of four bytes, side by side.
            let four = ((upper >> vec4<u32>(7u)) * 0x10204080u) >> vec4<u32>(28u);
            return four.x | (four.y << 4u) | (four.z << 8u) | (four.w << 12u);
        }
        case 2u: {
            let upper = upper_in_range(load, 0x80008000u, 0x00010001u * first.x, 0x00010001u * (last.x - first.x));
            let two = ((upper >> vec4<u32>(15u)) & vec4<u32>(1u)) | ((upper >> vec4<u32>(30u)) & vec4<u32>(2u));
            return two.x | (two.y << 2u) | (two.z << 4u) | (two.w << 6u);
        }
        case 4u: {
            let one = vec4<u32>((load - first.x) <= vec4<u32>(last.x - first.x));
            return one.x | (one.y << 1u) | (one.z << 2u) | (one.w << 3u);
        }
        default: {
            let low = at_most(first, load.xy) && at_most(load.xy, last);
            let high = at_most(first, load.zw) && at_most(load.zw, last);
            return u32(low) | (u32(high) << 1u);
        }
    }
}

// The upper bit of every lane whose key is at least `first` and at most `first + span`; `upper` has those bits, and the
// other two hold the same key in every lane.
fn upper_in_range(load: vec4<u32>, upper: u32, first: u32, span: u32) -> vec4<u32> {
    let difference = ((load | vec4<u32>(upper)) - (first & ~upper)) ^ ((load ^ vec4<u32>(~first)) & vec4<u32>(upper));
    let no_borrow = (span | upper) - (difference & vec4<u32>(~upper));
    let at_most_span = (vec4<u32>(span) & ~difference) | (~(difference ^ vec4<u32>(span)) & no_borrow);
    return at_most_span & vec4<u32>(upper);
}

// Whether the last range that begins at or before the key reaches it.
fn in_ranges(key: vec2<u32>) -> bool {
    var low = 0u;
    var high = asked_of.header.ranges_len;
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
    words: u32,
    combine: u32,
}

@group(0) @binding(4) var<storage, read> select_from: SelectMaskHeader;
@group(0) @binding(5) var<storage, read> source: array<u32>;

@compute @workgroup_size(256)
fn select_mask(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if word >= select_from.words {
        return;
    }
    var passed = source[word];
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
// Words that a workgroup splits: what fits into 8 KiB of its memory by GROUPS_MAX groups.
const SPLIT_WORDS: u32 = 64u;

@group(0) @binding(6) var<storage, read> split: SelectGroupsHeader;
// The group of every key: 8 bits each.
@group(0) @binding(7) var<storage, read> group_of_key: array<u32>;
// The selection: the words of every plane, and the ranks that `rank` fills.
@group(0) @binding(8) var<storage, read_write> bits: array<u32>;

// [group][word]
var<workgroup> members: array<atomic<u32>, 2048>;

@compute @workgroup_size(256)
fn select_groups(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word_first = (workgroup.y * workgroups.x + workgroup.x) * SPLIT_WORDS;
    let shape = split.selection;
    if local < SPLIT_WORDS && word_first < shape.plane_words {
        let word = word_first + local;
        var passed = word_of_points(word);
        if split.all_pass == 0u {
            passed = source[word];
        }
        asked[local] = passed;
        // The last plane is all groups together: every point is in one. Where there is one group, it is that.
        bits[(shape.planes - 1u) * shape.plane_words + word] = passed;
    }
    workgroupBarrier();
    let word_log2 = loads_log2(split.width);
    for (var load = local; load < SPLIT_WORDS << word_log2; load += WORKGROUP) {
        let place = load >> word_log2;
        let shift = (load & ((1u << word_log2) - 1u)) * (16u / split.width);
        let wanted = (asked[place] >> shift) & bits_of_load(split.width);
        if wanted != 0u {
            split_load(keys[(word_first << word_log2) + load], wanted, place, shift);
        }
    }
    workgroupBarrier();
    if shape.planes == 1u || word_first >= shape.plane_words {
        return;
    }
    for (var i = local; i < shape.groups * SPLIT_WORDS; i += WORKGROUP) {
        bits[i / SPLIT_WORDS * shape.plane_words + word_first + i % SPLIT_WORDS] = atomicLoad(&members[i]);
    }
}

// Adds the wanted points of a load to their groups, equal groups in a row at once.
fn split_load(load: vec4<u32>, wanted: u32, place: u32, shift: u32) {
    var left = wanted;
    var group = 0u;
    var run = 0u;
    while left != 0u {
        let i = firstTrailingBit(left);
        left &= left - 1u;
        // A column with groups has at most 2^32 values: its keys' lower halves.
        let key = key_of(split.width, load, i).x;
        let next = (group_of_key[key / 4u] >> (8u * (key % 4u))) & 0xFFu;
        if next != group && run != 0u {
            atomicOr(&members[group * SPLIT_WORDS + place], run << shift);
            run = 0u;
        }
        group = next;
        run |= 1u << i;
    }
    atomicOr(&members[group * SPLIT_WORDS + place], run << shift);
}
