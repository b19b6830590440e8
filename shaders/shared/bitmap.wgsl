// Ranks in the bitmaps of a selection. CPU twin: src/engine/bitmap.rs. Put before a kernel that declares
// `bits: array<u32>`, the selection of one segment:
//
//   words   [plane][plane_words]   bit i % 32 of word i / 32: point i is selected
//   ranks   [plane][plane_ranks]   selected points before point 512 b
//
// A plane a group; where there are several groups, one more for all of them together.

const RANK_POINTS: u32 = 512u;
const RANK_WORDS: u32 = 16u;

// A selection of a segment. Rust twin: layout::SelectionShape.
struct SelectionShape {
    groups: u32,
    planes: u32,
    plane_words: u32,
    plane_ranks: u32,
    // Not 0: every point is selected, in one group, and there are no bitmaps.
    everything: u32,
}

// Selected points of a plane before a position.
fn rank(shape: SelectionShape, plane: u32, position: u32) -> u32 {
    let block = position / RANK_POINTS;
    let last = position / 32u;
    let words = plane * shape.plane_words;
    var total = bits[shape.planes * shape.plane_words + plane * shape.plane_ranks + block];
    for (var word = block * RANK_WORDS; word < last; word++) {
        total += countOneBits(bits[words + word]);
    }
    let rest = position % 32u;
    if rest > 0u {
        total += countOneBits(bits[words + last] & ((1u << rest) - 1u));
    }
    return total;
}

// Selected points of a plane in a slice: of a short one the words themselves are counted, of a long one the ranks
// subtracted. Twin: Bitmap::count.
fn count_points(shape: SelectionShape, plane: u32, point_from: u32, point_to: u32) -> u32 {
    if shape.everything != 0u {
        return point_to - point_from;
    }
    if point_to - point_from > RANK_POINTS {
        return rank(shape, plane, point_to) - rank(shape, plane, point_from);
    }
    if point_from >= point_to {
        return 0u;
    }
    let words = plane * shape.plane_words;
    let first = point_from / 32u;
    let last = (point_to - 1u) / 32u;
    let head = 0xFFFFFFFFu << (point_from % 32u);
    let tail = 0xFFFFFFFFu >> (31u - (point_to - 1u) % 32u);
    if first == last {
        return countOneBits(bits[words + first] & head & tail);
    }
    var total = countOneBits(bits[words + first] & head) + countOneBits(bits[words + last] & tail);
    for (var word = first + 1u; word < last; word++) {
        total += countOneBits(bits[words + word]);
    }
    return total;
}
