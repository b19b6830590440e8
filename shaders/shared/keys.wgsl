// Keys of a column, packed as on disk. CPU twin: ColumnKeys::get in src/dataset/part.rs. Put before a kernel that declares
// `keys: array<u32>`, the little-endian keys of one column of a part.

// The key of a point as (lower, upper) half. `width` is 1, 2, 4 or 8 bytes.
fn key_at(width: u32, position: u32) -> vec2<u32> {
    switch width {
        case 1u: {
            return vec2<u32>((keys[position / 4u] >> (8u * (position % 4u))) & 0xFFu, 0u);
        }
        case 2u: {
            return vec2<u32>((keys[position / 2u] >> (16u * (position % 2u))) & 0xFFFFu, 0u);
        }
        case 4u: {
            return vec2<u32>(keys[position], 0u);
        }
        default: {
            return vec2<u32>(keys[2u * position], keys[2u * position + 1u]);
        }
    }
}

// a <= b, for 64-bit numbers as (lower, upper) half.
fn at_most(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x <= b.x);
}
