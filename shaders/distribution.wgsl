// How often each total count occurs among the non-empty pixels of a zoom. CPU twin: src/engine/cpu/distribution.rs. Follows
// shared/bitmap.wgsl and shared/slices.wgsl.
//
//   distribution          pixels that lie in one part only: how many have each total
//   distribution_slices   the totals of given slices, for the pixels that several parts share: the host adds those
//
// Totals below SMALL are counted in a table. There are at most points / SMALL pixels with more, which are listed, in any
// order: the host sorts. Atomics add integers or hand out places in that list, so the answer does not depend on their order.
// Dispatch: the workgroups of all jobs, numbered through, in up to two dimensions; distribution_slices: ceil(slices / 256).

const WORKGROUP: u32 = 256u;
// Totals below this are counted in workgroup memory first: most pixels hold few points.
const TINY: u32 = 512u;
const SMALL: u32 = 4096u;

struct Totals {
    large_len: atomic<u32>,
    // Pixels with a total of 0 to SMALL - 1 points; 0 is not used.
    small: array<atomic<u32>, SMALL>,
    large: array<u32>,
}

@group(0) @binding(0) var<storage, read> work: Work;
@group(0) @binding(1) var<storage, read> levels: array<u32>;
@group(0) @binding(2) var<storage, read> cells: array<u32>;
@group(0) @binding(3) var<storage, read> lo: array<u32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@group(0) @binding(5) var<storage, read_write> totals: Totals;

var<workgroup> tiny: array<atomic<u32>, TINY>;

@compute @workgroup_size(256)
fn distribution(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let share = share_of(workgroup.y * workgroups.x + workgroup.x, local);
    // Most pixels hold a point or two: equal totals in a row are added at once, so that not all wait for one place.
    var points = 0u;
    var pixels = 0u;
    for (var item = share.first; item < share.end; item += WORKGROUP) {
        let slice = slice_of(share.job, item);
        if slice.point_from < slice.point_to {
            let next = total(work.header.selection, slice.point_from, slice.point_to);
            if next != points {
                add(points, pixels);
                points = next;
                pixels = 0u;
            }
            pixels++;
        }
    }
    add(points, pixels);
    workgroupBarrier();
    for (var place = local; place < TINY; place += WORKGROUP) {
        let added = atomicLoad(&tiny[place]);
        if added > 0u {
            atomicAdd(&totals.small[place], added);
        }
    }
}

// So many pixels of the same total.
fn add(points: u32, pixels: u32) {
    if points == 0u || pixels == 0u {
        return;
    }
    if points < TINY {
        atomicAdd(&tiny[points], pixels);
    } else if points < SMALL {
        atomicAdd(&totals.small[points], pixels);
    } else {
        let place = atomicAdd(&totals.large_len, pixels);
        for (var i = 0u; i < pixels; i++) {
            totals.large[place + i] = points;
        }
    }
}

// Selected points of a slice, over all groups: of the last plane.
fn total(shape: SelectionShape, point_from: u32, point_to: u32) -> u32 {
    return count_points(shape, shape.planes - 1u, point_from, point_to);
}

// Rust twin: layout::SlicesHeader.
struct SlicesHeader {
    selection: SelectionShape,
    slices_len: u32,
}

struct Slices {
    header: SlicesHeader,
    // First position and the one after the last.
    slices: array<vec2<u32>>,
}

@group(0) @binding(6) var<storage, read> shared_slices: Slices;
@group(0) @binding(7) var<storage, read_write> slice_totals: array<u32>;

@compute @workgroup_size(256)
fn distribution_slices(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index >= shared_slices.header.slices_len {
        return;
    }
    let slice = shared_slices.slices[index];
    slice_totals[index] = total(shared_slices.header.selection, slice.x, slice.y);
}
