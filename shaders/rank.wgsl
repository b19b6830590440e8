// Ranks of bitmaps: how many points are selected before every 512th. CPU twin: src/engine/cpu/rank.rs. Follows
// shared/bitmap.wgsl. Reduce, then scan: no workgroup waits for another, so no forward progress is assumed.
//
//   rank_blocks   popcounts of blocks of 512 points, scanned within each workgroup: ranks so far, and the workgroup's sum
//   rank_spine    the sums, scanned, SPINE at a time: one workgroup a plane; writes the planes' totals
//   rank_spread   every rank, plus the sum of the workgroups before
//
// Dispatch: rank_blocks and rank_spread by (ceil(blocks / 256), planes), rank_spine by (1, planes).

const WORKGROUP: u32 = 256u;
const SPINE: u32 = 256u;

// Rust twin: layout::RankHeader.
struct RankHeader {
    selection: SelectionShape,
    blocks: u32,
    // Workgroups a plane.
    workgroups: u32,
    // Where the segment's totals begin.
    totals_base: u32,
}

@group(0) @binding(0) var<storage, read> ranked: RankHeader;
@group(0) @binding(1) var<storage, read_write> bits: array<u32>;
// [plane][workgroup]
@group(0) @binding(2) var<storage, read_write> sums: array<u32>;
// [segment][plane]
@group(0) @binding(3) var<storage, read_write> totals: array<u32>;

var<workgroup> scanned: array<u32, WORKGROUP>;

// The sum of `value` over this invocation and those before it in the workgroup.
fn scan_inclusive(local: u32, value: u32) -> u32 {
    scanned[local] = value;
    workgroupBarrier();
    for (var distance = 1u; distance < WORKGROUP; distance *= 2u) {
        var sum = scanned[local];
        if local >= distance {
            sum += scanned[local - distance];
        }
        workgroupBarrier();
        scanned[local] = sum;
        workgroupBarrier();
    }
    return scanned[local];
}

// Two words' popcounts each: neighbours read neighbouring words, but a block's belong to one invocation. The row of a block
// is one longer than its eight pairs, so that invocations that read a column of this array meet in no memory bank.
const PAIRS: u32 = 8u;
const PAIRS_ROW: u32 = 9u;
var<workgroup> pairs: array<u32, 2304>;

@compute @workgroup_size(256)
fn rank_blocks(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let plane = workgroup.y;
    let words = plane * ranked.selection.plane_words;
    for (var i = 0u; i < PAIRS; i++) {
        let pair = i * WORKGROUP + local;
        let word = workgroup.x * WORKGROUP * RANK_WORDS + 2u * pair;
        var points = 0u;
        if word < ranked.selection.plane_words {
            points = countOneBits(bits[words + word]) + countOneBits(bits[words + word + 1u]);
        }
        pairs[pair / PAIRS * PAIRS_ROW + pair % PAIRS] = points;
    }
    workgroupBarrier();
    var total = 0u;
    for (var i = 0u; i < PAIRS; i++) {
        total += pairs[local * PAIRS_ROW + i];
    }
    let inclusive = scan_inclusive(local, total);
    let block = workgroup.x * WORKGROUP + local;
    if block < ranked.blocks {
        bits[ranks_base(plane) + block] = inclusive - total;
    }
    if local == WORKGROUP - 1u {
        sums[plane * ranked.workgroups + workgroup.x] = inclusive;
    }
}

@compute @workgroup_size(256)
fn rank_spine(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let plane = workgroup.y;
    var before = 0u;
    for (var first = 0u; first < ranked.workgroups; first += SPINE) {
        let place = plane * ranked.workgroups + first + local;
        let exists = local < SPINE && first + local < ranked.workgroups;
        var sum = 0u;
        if exists {
            sum = sums[place];
        }
        let inclusive = scan_inclusive(local, sum);
        if exists {
            sums[place] = before + inclusive - sum;
        }
        before += scanned[SPINE - 1u];
        // The next round writes what this one has read.
        workgroupBarrier();
    }
    if local == 0u {
        bits[ranks_base(plane) + ranked.blocks] = before;
        totals[ranked.totals_base + plane] = before;
    }
}

@compute @workgroup_size(256)
fn rank_spread(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = workgroup.x * WORKGROUP + local;
    if block >= ranked.blocks {
        return;
    }
    let plane = workgroup.y;
    bits[ranks_base(plane) + block] += sums[plane * ranked.workgroups + workgroup.x];
}

fn ranks_base(plane: u32) -> u32 {
    return ranked.selection.planes * ranked.selection.plane_words + plane * ranked.selection.plane_ranks;
}
