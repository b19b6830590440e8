// Pixels as slices of sorted points: what `count` and `distribution` both go by. CPU twin: src/dataset/index.rs. Put after
// bitmap.wgsl and before a kernel that declares
//
//   work     a header and the jobs: which items of a part are to be looked at
//   levels   the indexed levels: pixels (16 bits each), then starts, of each level, at the offsets that a job names
//   cells    the level-16 cells: hi[cells_len], start[cells_len + 1]
//   lo       the lower half of every point's key

// A run of items of one part, all for one tile. Rust twin: layout::Job.
struct Job {
    kind: u32,
    // The job's first workgroup: those of all jobs are numbered through.
    workgroup_first: u32,
    // Items: entries of a level, level-16 cells or points.
    item_from: u32,
    item_to: u32,
    // The level of the pixels, 8 to 32.
    level: u32,
    // ENTRIES: where the level begins in `levels`, in words.
    pixel_base: u32,
    start_base: u32,
    // POINTS: the level-16 cells that hold them.
    cell_from: u32,
    cell_to: u32,
    // Where the tile's counts begin, in words.
    out_base: u32,
}

// Rust twin: layout::WorkHeader.
struct WorkHeader {
    selection: SelectionShape,
    jobs_len: u32,
    cells_len: u32,
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
            let code = (levels[job.pixel_base + item / 2u] >> (16u * (item % 2u))) & 0xFFFFu;
            return Slice(levels[job.start_base + item], levels[job.start_base + item + 1u], code);
        }
        case CELLS: {
            return slice_of_cells(job, item);
        }
        default: {
            return slice_of_points(job, item);
        }
    }
}

fn slice_of_cells(job: Job, item: u32) -> Slice {
    let shift = 32u - 2u * job.level;
    let pixel = cells[item] >> shift;
    if item > job.item_from && cells[item - 1u] >> shift == pixel {
        return NO_SLICE;
    }
    // The end of the run: gallop until past it, then bisect. `inside` is in the run, `outside` is not.
    var inside = item;
    var step = 1u;
    while inside + step < job.item_to && cells[inside + step] >> shift == pixel {
        inside += step;
        step *= 2u;
    }
    var outside = min(inside + step, job.item_to);
    while outside - inside > 1u {
        let middle = (inside + outside) / 2u;
        if cells[middle] >> shift == pixel {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    let starts = work.header.cells_len;
    return Slice(cells[starts + item], cells[starts + outside], pixel & 0xFFFFu);
}

fn slice_of_points(job: Job, item: u32) -> Slice {
    let shift = 64u - 2u * job.level;
    let starts = work.header.cells_len;
    // The level-16 cell of the point: the last one that starts at or before it.
    var cell = job.cell_from;
    var cell_to = job.cell_to;
    while cell_to - cell > 1u {
        let middle = (cell + cell_to) / 2u;
        if cells[starts + middle] <= item {
            cell = middle;
        } else {
            cell_to = middle;
        }
    }
    let pixel = lo[item] >> shift;
    if item > max(cells[starts + cell], job.item_from) && lo[item - 1u] >> shift == pixel {
        return NO_SLICE;
    }
    let end = min(cells[starts + cell + 1u], job.item_to);
    var inside = item;
    var step = 1u;
    while inside + step < end && lo[inside + step] >> shift == pixel {
        inside += step;
        step *= 2u;
    }
    var outside = min(inside + step, end);
    while outside - inside > 1u {
        let middle = (inside + outside) / 2u;
        if lo[middle] >> shift == pixel {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    // The code's 16 bits may reach into the upper half of the key.
    var code = pixel;
    if shift > 0u {
        code |= cells[cell] << (32u - shift);
    }
    return Slice(item, outside, code & 0xFFFFu);
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
