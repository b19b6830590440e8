// Counts per pixel and group of any number of tiles, from one segment. CPU twin: src/engine/cpu/count.rs. Follows
// shared/bitmap.wgsl and shared/slices.wgsl.
//
// Input: the job table, the segment's index and keys, a selection. Output: `counts`, u32 [tile][group][row][column], to
// which the segment's points are added. Within a part each pixel of a tile has one writer, so an atomic is met by as many
// additions as parts have points there: mostly one, never a hot one; integers, so their order does not matter.
// Dispatch: the workgroups of all jobs, numbered through, in up to two dimensions.

const WORKGROUP: u32 = 256u;
const TILE_PIXELS: u32 = 65536u;

@group(0) @binding(0) var<storage, read> work: Work;
@group(0) @binding(1) var<storage, read> levels: array<u32>;
@group(0) @binding(2) var<storage, read> cells: array<u32>;
@group(0) @binding(3) var<storage, read> lo: array<u32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;

@compute @workgroup_size(256)
fn count(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let share = share_of(workgroup.y * workgroups.x + workgroup.x, local);
    for (var item = share.first; item < share.end; item += WORKGROUP) {
        let slice = slice_of(share.job, item);
        if slice.point_from < slice.point_to {
            add(share.job, slice);
        }
    }
}

fn add(job: Job, slice: Slice) {
    let shape = work.header.selection;
    let pixel = job.out_base + pixel_from_code(slice.code);
    for (var group = 0u; group < shape.groups; group++) {
        let points = count_points(shape, group, slice.point_from, slice.point_to);
        if points > 0u {
            atomicAdd(&counts[pixel + group * TILE_PIXELS], points);
        }
    }
}
