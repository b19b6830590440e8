// Ranks of bitmaps: how many points are selected before every 512th. CPU twin: src/engine/cpu/rank.rs. Follows
// shared/bitmap.wgsl. Reduce, then scan: no workgroup waits for another, so no forward progress is assumed.
//
//   rank_blocks   popcounts of blocks of 512 points, scanned within each workgroup: ranks so far, and the workgroup's sum
//   rank_spine    the sums, scanned: one workgroup a plane; writes the planes' totals
//   rank_spread   every rank, plus the sum of the workgroups before
//
// Dispatch: rank_blocks and rank_spread by (ceil(blocks / 256), planes), rank_spine by (1, planes).

const WORKGROUP: u32 = 256u;

// Rust twin: layout::RankHeader.
struct RankHeader {
    selection: SelectionShape,
    blocks: u32,
    // Workgroups a plane: at most WORKGROUP, for the spine to scan them at once.
    workgroups: u32,
    // Where the part's totals begin.
    totals_base: u32,
}

@group(0) @binding(0) var<storage, read> ranked: RankHeader;
@group(0) @binding(1) var<storage, read_write> bits: array<u32>;
// [plane][workgroup]
@group(0) @binding(2) var<storage, read_write> sums: array<u32>;
// [part][plane]
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

@compute @workgroup_size(256)
fn rank_blocks(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = workgroup.x * WORKGROUP + local;
    let plane = workgroup.y;
    var total = 0u;
    if block < ranked.blocks {
        let words = plane * ranked.selection.plane_words;
        let high = min((block + 1u) * RANK_WORDS, ranked.selection.plane_words);
        for (var word = block * RANK_WORDS; word < high; word++) {
            total += countOneBits(bits[words + word]);
        }
    }
    let inclusive = scan_inclusive(local, total);
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
    var sum = 0u;
    if local < ranked.workgroups {
        sum = sums[plane * ranked.workgroups + local];
    }
    let inclusive = scan_inclusive(local, sum);
    if local < ranked.workgroups {
        sums[plane * ranked.workgroups + local] = inclusive - sum;
    }
    if local == WORKGROUP - 1u {
        bits[ranks_base(plane) + ranked.blocks] = inclusive;
        totals[ranked.totals_base + plane] = inclusive;
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
