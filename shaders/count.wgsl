// Counts per pixel and group of any number of tiles, from one part. CPU twin: src/engine/cpu/count.rs. Follows
// shared/bitmap.wgsl and shared/slices.wgsl.
//
// Input: the job table, the part's index and keys, a selection. Output: `counts`, u32 [tile][group][row][column], to which
// the part's points are added: parts are dispatched one after the other, with a barrier between, and within a part each
// pixel of a tile has one writer. So no atomics.
// Dispatch: the workgroups of all jobs, numbered through, in up to two dimensions.

const WORKGROUP: u32 = 256u;
const TILE_PIXELS: u32 = 65536u;

@group(0) @binding(0) var<storage, read> work: Work;
@group(0) @binding(1) var<storage, read> levels: array<u32>;
@group(0) @binding(2) var<storage, read> cells: array<u32>;
@group(0) @binding(3) var<storage, read> lo: array<u32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(256)
fn count(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_id.y * workgroups.x + workgroup_id.x;
    let job = work.jobs[job_of(workgroup)];
    let item_first = job.item_from + (workgroup - job.workgroup_first) * work.header.items_per_workgroup;
    let item_end = min(item_first + work.header.items_per_workgroup, job.item_to);
    for (var item = item_first + local; item < item_end; item += WORKGROUP) {
        let slice = slice_of(job, item);
        if slice.point_from < slice.point_to {
            add(job, slice);
        }
    }
}

fn add(job: Job, slice: Slice) {
    let shape = work.header.selection;
    let pixel = job.out_base + pixel_from_code(slice.code);
    for (var group = 0u; group < shape.groups; group++) {
        let points = count_points(shape, group, slice.point_from, slice.point_to);
        if points > 0u {
            counts[pixel + group * TILE_PIXELS] += points;
        }
    }
}
