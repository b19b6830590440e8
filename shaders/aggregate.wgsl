// What the keys of a column come to per pixel of any number of tiles, from one segment. CPU twin: src/engine/cpu/aggregate.rs.
// Follows shared/keys.wgsl, shared/bitmap.wgsl and shared/slices.wgsl.
//
// Input: the job table, whose items are words of 32 points, so that a pixel with most points is the work of many; the
// segment's index, a column, a selection. Output: `found`, u32 [tile][field][row][column], zero at first:
//
//   SUM    4 fields: points with a value; the sum of what their keys are worth, 96 bits, lowest first
//   MOST   2 fields: the upper half of the largest key, and the lower half of the largest with that upper half
//   LEAST  the same of keys less 1 and complemented: what is largest then was smallest
//
// MOST and LEAST of 8-byte keys take two dispatches, the second when the upper halves are known. Atomics only add and take
// the larger, with carries between words, so the answer does not depend on their order; points of a pixel meet in their
// word first.
// Dispatch: the workgroups of all jobs, numbered through, in up to two dimensions.

const WORKGROUP: u32 = 256u;
const TILE_PIXELS: u32 = 65536u;

const SUM: u32 = 0u;
const MOST: u32 = 1u;
const LEAST: u32 = 2u;

// Rust twin: layout::AggregateHeader.
struct AggregateHeader {
    width: u32,
    measure: u32,
    // Not 0: this is the dispatch for upper halves.
    upper: u32,
    // Not 0: keys are worth what `worth` says; else their number, less 1.
    has_worth: u32,
}

@group(0) @binding(0) var<storage, read> work: Work;
@group(0) @binding(1) var<storage, read> levels: array<u32>;
@group(0) @binding(2) var<storage, read> cells: array<u32>;
@group(0) @binding(3) var<storage, read> lo: array<u32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@group(0) @binding(5) var<storage, read> block_points: array<u32>;
@group(0) @binding(6) var<storage, read> aggregate_of: AggregateHeader;
@group(0) @binding(7) var<storage, read> keys: array<vec4<u32>>;
// Lower and upper half of what every key but null's is worth.
@group(0) @binding(8) var<storage, read> worth: array<vec2<u32>>;
@group(0) @binding(9) var<storage, read_write> found: array<atomic<u32>>;

@compute @workgroup_size(256)
fn aggregate(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let share = share_of(workgroup.y * workgroups.x + workgroup.x, local);
    for (var word = share.first; word < share.end; word += WORKGROUP) {
        add_word(share.job, word);
    }
}

// The selected points of a word inside the job's slice.
fn points_of(job: Job, word: u32) -> u32 {
    let shape = work.header.selection;
    var points = word_of_points(word);
    if shape.everything == 0u {
        points &= bits[(shape.planes - 1u) * shape.plane_words + word];
    }
    let first = word * 32u;
    if first < job.point_from {
        points &= 0xFFFFFFFFu << (job.point_from - first);
    }
    if first + 32u > job.point_to {
        points &= 0xFFFFFFFFu >> (first + 32u - job.point_to);
    }
    return points;
}

fn add_word(job: Job, word: u32) {
    var left = points_of(job, word);
    if left == 0u {
        return;
    }
    var run = run_of(job, word * 32u + firstTrailingBit(left) - job.point_base);
    var code = 0u;
    var points = 0u;
    var sum = vec3<u32>(0u);
    while left != 0u {
        let position = word * 32u + firstTrailingBit(left);
        left &= left - 1u;
        let key = key_at(position);
        if key.x == 0u && key.y == 0u {
            continue;
        }
        let item = position - job.point_base;
        while start_of(job, run + 1u) <= item {
            run++;
        }
        let next = code_of(job, run, item);
        if next != code && points > 0u {
            add(job.out_base + pixel_from_code(code), points, sum);
            points = 0u;
            sum = vec3<u32>(0u);
        }
        code = next;
        points++;
        sum = with_key(sum, key);
    }
    if points > 0u {
        add(job.out_base + pixel_from_code(code), points, sum);
    }
}

fn key_at(position: u32) -> vec2<u32> {
    let width = aggregate_of.width;
    let keys_of_load = 16u / width;
    return key_of(width, keys[position / keys_of_load], position % keys_of_load);
}

// The run (entry of a level, or level-16 cell) of a point of the part: the last one that starts at or before it.
fn run_of(job: Job, item: u32) -> u32 {
    var low = job.cell_from;
    var high = job.cell_to;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if start_of(job, middle) <= item {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn start_of(job: Job, run: u32) -> u32 {
    if job.kind == ENTRIES {
        return levels[job.start_base + run];
    }
    return cells[job.start_base + run];
}

// The pixel code of a point of the part that is in a run.
fn code_of(job: Job, run: u32, item: u32) -> u32 {
    switch job.kind {
        case ENTRIES: {
            return code_of_entry(job, run);
        }
        case CELLS: {
            return code_of_cell(job, run);
        }
        default: {
            return code_of_point(job, run, item);
        }
    }
}

// What some points come to, and one key more: a sum in 96 bits, or the largest so far.
fn with_key(sum: vec3<u32>, key: vec2<u32>) -> vec3<u32> {
    if aggregate_of.measure == SUM {
        var value = less_1(key);
        if aggregate_of.has_worth != 0u {
            value = worth[value.x];
        }
        return add_96(sum, vec3<u32>(value, 0u));
    }
    var next = key;
    if aggregate_of.measure == LEAST {
        next = ~less_1(key);
        if aggregate_of.width < 8u {
            next.y = 0u;
        }
    }
    return vec3<u32>(select(next, sum.xy, at_most(next, sum.xy)), 0u);
}

fn less_1(key: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(key.x - 1u, key.y - u32(key.x == 0u));
}

fn add_96(a: vec3<u32>, b: vec3<u32>) -> vec3<u32> {
    let x = a.x + b.x;
    let carry_x = u32(x < b.x);
    let y = a.y + b.y;
    let carried_y = y + carry_x;
    return vec3<u32>(x, carried_y, a.z + b.z + u32(y < b.y) + u32(carried_y < carry_x));
}

// Adds what some points come to to their pixel.
fn add(pixel: u32, points: u32, sum: vec3<u32>) {
    if aggregate_of.measure == SUM {
        atomicAdd(&found[pixel], points);
        let x = atomicAdd(&found[pixel + TILE_PIXELS], sum.x);
        let carry_x = u32(x + sum.x < sum.x);
        let y_added = sum.y + carry_x;
        var z_added = sum.z + u32(y_added < carry_x);
        if y_added > 0u {
            let y = atomicAdd(&found[pixel + 2u * TILE_PIXELS], y_added);
            z_added += u32(y + y_added < y_added);
        }
        if z_added > 0u {
            atomicAdd(&found[pixel + 3u * TILE_PIXELS], z_added);
        }
    } else if aggregate_of.upper != 0u {
        atomicMax(&found[pixel], sum.y);
    } else if atomicLoad(&found[pixel]) == sum.y {
        atomicMax(&found[pixel + TILE_PIXELS], sum.x);
    }
}
