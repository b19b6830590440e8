// Pixels as slices of sorted points: what `count` and `distribution` both go by. CPU twin: src/dataset/index.rs. Put after
// bitmap.wgsl and before a kernel that declares
//
//   work     a header and the jobs: which items of which parts are to be looked at
//   levels   the indexed levels of a segment's parts: of each, pixels (16 bits each), then starts
//   cells    the level-16 cells of its parts: of each, hi[n], then start[n + 1]
//   lo       the lower half of every point's key
//
// A segment is several parts, one after the other; items and starts count from the part's first point.

// A run of items of one part, all for one tile. Rust twin: layout::Job.
struct Job {
    kind: u32,
    // The job's first workgroup: those of all jobs are numbered through.
    workgroup_first: u32,
    // Items: what their kind says; of `aggregate`, words of 32 points of the segment.
    item_from: u32,
    item_to: u32,
    // The level of the pixels, 8 to 32.
    level: u32,
    // Where the codes and the starts of the level begin in `levels`, or those of the part's cells in `cells`; in words.
    code_base: u32,
    start_base: u32,
    // The part's first point in the segment.
    point_base: u32,
    // The points, in the segment, and the entries of the level or else the level-16 cells that hold them.
    point_from: u32,
    point_to: u32,
    cell_from: u32,
    cell_to: u32,
    // Where the tile's counts begin, in words.
    out_base: u32,
}

// Rust twin: layout::WorkHeader.
struct WorkHeader {
    selection: SelectionShape,
    jobs_len: u32,
    items_per_workgroup: u32,
}

struct Work {
    header: WorkHeader,
    jobs: array<Job>,
}

// Items are the entries of an indexed level: one pixel each.
const ENTRIES: u32 = 0u;
// Items are level-16 cells, for levels up to 16 that are not indexed: runs of them share a pixel.
const CELLS: u32 = 1u;
// Items are points, for levels over 16 that are not indexed: runs of them share a pixel.
const POINTS: u32 = 2u;

// The points of a pixel and its 16-bit code within the tile. Empty where the item is not the first of its pixel: so each
// pixel of a part has one writer.
struct Slice {
    point_from: u32,
    point_to: u32,
    code: u32,
}

const NO_SLICE: Slice = Slice(0u, 0u, 0u);

// What an invocation looks at: items from `first`, every WORKGROUP-th, to `end`.
struct Share {
    job: Job,
    first: u32,
    end: u32,
}

fn share_of(workgroup: u32, local: u32) -> Share {
    let job = work.jobs[job_of(workgroup)];
    let first = job.item_from + (workgroup - job.workgroup_first) * work.header.items_per_workgroup;
    return Share(job, first + local, min(first + work.header.items_per_workgroup, job.item_to));
}

// The job that a workgroup works on: the last one that begins at or before it.
fn job_of(workgroup: u32) -> u32 {
    var low = 0u;
    var high = work.header.jobs_len;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if work.jobs[middle].workgroup_first <= workgroup {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn slice_of(job: Job, item: u32) -> Slice {
    switch job.kind {
        case ENTRIES: {
            return slice_in(job, levels[job.start_base + item], levels[job.start_base + item + 1u], code_of_entry(job, item));
        }
        case CELLS: {
            return slice_of_cells(job, item);
        }
        default: {
            return slice_of_points(job, item);
        }
    }
}

// The pixel codes of an entry of the job's level; of a level-16 cell, for levels up to 16; and of a point in such a cell,
// for levels over 16, where the code's 16 bits may reach into the upper half of the key.
fn code_of_entry(job: Job, entry: u32) -> u32 {
    return (levels[job.code_base + entry / 2u] >> (16u * (entry % 2u))) & 0xFFFFu;
}

fn code_of_cell(job: Job, cell: u32) -> u32 {
    return (cells[job.code_base + cell] >> (32u - 2u * job.level)) & 0xFFFFu;
}

fn code_of_point(job: Job, cell: u32, item: u32) -> u32 {
    let shift = 64u - 2u * job.level;
    var code = lo[job.point_base + item] >> shift;
    if shift > 0u {
        code |= cells[job.code_base + cell] << (32u - shift);
    }
    return code & 0xFFFFu;
}

// A slice of the part as one of the segment.
fn slice_in(job: Job, point_from: u32, point_to: u32, code: u32) -> Slice {
    return Slice(job.point_base + point_from, job.point_base + point_to, code);
}

fn slice_of_cells(job: Job, item: u32) -> Slice {
    let shift = 32u - 2u * job.level;
    let pixel = cells[job.code_base + item] >> shift;
    if item > job.item_from && cells[job.code_base + item - 1u] >> shift == pixel {
        return NO_SLICE;
    }
    // The end of the run: gallop until past it, then bisect. `inside` is in the run, `outside` is not.
    var inside = item;
    var step = 1u;
    while inside + step < job.item_to && cells[job.code_base + inside + step] >> shift == pixel {
        inside += step;
        step *= 2u;
    }
    var outside = min(inside + step, job.item_to);
    while outside - inside > 1u {
        let middle = (inside + outside) / 2u;
        if cells[job.code_base + middle] >> shift == pixel {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    return slice_in(job, cells[job.start_base + item], cells[job.start_base + outside], code_of_cell(job, item));
}

fn slice_of_points(job: Job, item: u32) -> Slice {
    let shift = 64u - 2u * job.level;
    // The level-16 cell of the point: the last one that starts at or before it.
    var cell = job.cell_from;
    var cell_to = job.cell_to;
    while cell_to - cell > 1u {
        let middle = (cell + cell_to) / 2u;
        if cells[job.start_base + middle] <= item {
            cell = middle;
        } else {
            cell_to = middle;
        }
    }
    let pixel = lo[job.point_base + item] >> shift;
    if item > max(cells[job.start_base + cell], job.item_from) && lo[job.point_base + item - 1u] >> shift == pixel {
        return NO_SLICE;
    }
    let end = min(cells[job.start_base + cell + 1u], job.item_to);
    var inside = item;
    var step = 1u;
    while inside + step < end && lo[job.point_base + inside + step] >> shift == pixel {
        inside += step;
        step *= 2u;
    }
    var outside = min(inside + step, end);
    while outside - inside > 1u {
        let middle = (inside + outside) / 2u;
        if lo[job.point_base + middle] >> shift == pixel {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    return slice_in(job, item, outside, code_of_point(job, cell, item));
}

// Row (from the north) times 256 plus column (from the west) of a 16-bit pixel code. Twin: pixel_from_code.
fn pixel_from_code(code: u32) -> u32 {
    return even_bits(code >> 1u) * 256u + even_bits(code);
}

// The even bits of 16, packed. Source: Bit Twiddling Hacks, "Interleave bits by Binary Magic Numbers", backwards.
fn even_bits(value: u32) -> u32 {
    var v = value & 0x5555u;
    v = (v | (v >> 1u)) & 0x3333u;
    v = (v | (v >> 2u)) & 0x0F0Fu;
    return (v | (v >> 4u)) & 0x00FFu;
}
