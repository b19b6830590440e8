// Keys of a column, packed as on disk, 16 bytes a load: neighbouring invocations read neighbouring bytes, whatever the
// width. CPU twin: ColumnKeys::get in src/dataset/part.rs. Put before a kernel that declares
//
//   keys           array<vec4<u32>>, the little-endian keys of one column of a segment
//   block_points   array<u32>, the points of every block of 4,096: fewer where a part ends
//
// `width` is 1, 2, 4 or 8 bytes. A word of 32 points takes 2 width loads of 16 / width keys each.

const BLOCK_WORDS: u32 = 128u;

// The bits of a word of 32 points that stand for points.
fn word_of_points(word: u32) -> u32 {
    let points = block_points[word / BLOCK_WORDS];
    let before = (word % BLOCK_WORDS) * 32u;
    if before >= points {
        return 0u;
    }
    return 0xFFFFFFFFu >> (32u - min(points - before, 32u));
}

// The loads of a word, as a shift: 2^this.
fn loads_log2(width: u32) -> u32 {
    return firstTrailingBit(2u * width);
}

// The keys of a load, as the lower bits of a word.
fn bits_of_load(width: u32) -> u32 {
    return 0xFFFFFFFFu >> (32u - 16u / width);
}

// Key i of a load as (lower, upper) half.
fn key_of(width: u32, load: vec4<u32>, i: u32) -> vec2<u32> {
    if width == 8u {
        return select(load.zw, load.xy, i == 0u);
    }
    let bit = i * 8u * width;
    return vec2<u32>(extractBits(load[bit / 32u], bit % 32u, 8u * width), 0u);
}

// a <= b, for 64-bit numbers as (lower, upper) half.
fn at_most(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x <= b.x);
}
