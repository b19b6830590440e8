//! Z-order keys: the interleave of the two world coordinates, and what can be read off it.

/// A position in the integer world: units of 2^-32 of the world's width, x eastwards and y southwards from the north-west
/// corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorldPoint {
    pub x: u32,
    pub y: u32,
}

/// The 64-bit Z-order (Morton) key of a world point: bits of y and x in turn, y first. Points sorted by key lie in every
/// cell, of any level, as one contiguous run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    pub fn from_world(point: WorldPoint) -> Key {
        Key(spread(point.x) | spread(point.y) << 1)
    }

    pub fn from_halves(hi: u32, lo: u32) -> Key {
        Key(u64::from(hi) << 32 | u64::from(lo))
    }

    /// The level-16 cell of the key: the upper half, and all that a tile of zoom 0 to 8 needs.
    pub fn hi(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The place within the level-16 cell: the lower half.
    pub fn lo(self) -> u32 {
        self.0 as u32
    }

    pub fn world(self) -> WorldPoint {
        WorldPoint { x: gather(self.0), y: gather(self.0 >> 1) }
    }

    /// The cell of `level` (0 to 32) that contains the key: its top 2 * level bits.
    pub fn cell(self, level: u32) -> u64 {
        if level == 0 { 0 } else { self.0 >> (64 - 2 * level) }
    }

    /// The key's pixel within its 256-pixel tile of zoom `pixel_level - 8`, as a 16-bit Z-order code.
    pub fn pixel_code(self, pixel_level: u32) -> u16 {
        self.cell(pixel_level) as u16
    }
}

/// Row (from the north) and column (from the west) of a 16-bit pixel code: `row * 256 + column`.
pub fn pixel_from_code(code: u16) -> usize {
    usize::from(PIXEL_FROM_CODE[usize::from(code)])
}

/// `row * 256 + column` of every pixel code. 128 KiB: a gather of 16 bits by arithmetic costs three times as much in the
/// counting loop.
static PIXEL_FROM_CODE: [u16; 1 << 16] = {
    let mut table = [0u16; 1 << 16];
    let mut code = 0usize;
    while code < table.len() {
        let (mut column, mut row, mut bit) = (0, 0, 0);
        while bit < 8 {
            column |= (code >> (2 * bit) & 1) << bit;
            row |= (code >> (2 * bit + 1) & 1) << bit;
            bit += 1;
        }
        table[code] = (row << 8 | column) as u16;
        code += 1;
    }
    table
};

/// Spreads 32 bits to the even positions of 64. Source: Bit Twiddling Hacks, "Interleave bits by Binary Magic Numbers".
fn spread(value: u32) -> u64 {
    let mut v = u64::from(value);
    v = (v | v << 16) & 0x0000_FFFF_0000_FFFF;
    v = (v | v << 8) & 0x00FF_00FF_00FF_00FF;
    v = (v | v << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    v = (v | v << 2) & 0x3333_3333_3333_3333;
    (v | v << 1) & 0x5555_5555_5555_5555
}

/// The inverse of [`spread`]: the even bits of 64, packed.
fn gather(value: u64) -> u32 {
    let mut v = value & 0x5555_5555_5555_5555;
    v = (v | v >> 1) & 0x3333_3333_3333_3333;
    v = (v | v >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    v = (v | v >> 4) & 0x00FF_00FF_00FF_00FF;
    v = (v | v >> 8) & 0x0000_FFFF_0000_FFFF;
    (v | v >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_round_trip(x: u32, y: u32) {
            let key = Key::from_world(WorldPoint { x, y });
            prop_assert_eq!(key.world(), WorldPoint { x, y });
            prop_assert_eq!(Key::from_halves(key.hi(), key.lo()), key);
        }

        #[test]
        fn a_cell_is_the_interleave_of_the_coordinates_upper_bits(x: u32, y: u32, level in 1u32..=32) {
            let shift = 32 - level;
            let upper = Key::from_world(WorldPoint { x: x >> shift, y: y >> shift });
            prop_assert_eq!(Key::from_world(WorldPoint { x, y }).cell(level), upper.0);
        }

        #[test]
        fn a_pixel_code_is_row_and_column_within_the_tile(x: u32, y: u32, zoom in 0u32..=24) {
            let level = zoom + 8;
            let code = Key::from_world(WorldPoint { x, y }).pixel_code(level);
            let (column, row) = ((x >> (32 - level)) & 255, (y >> (32 - level)) & 255);
            prop_assert_eq!(pixel_from_code(code), (row * 256 + column) as usize);
        }
    }
}
