//! Images of few colours: the colours, and each pixel's place among them.

/// The most colours that an indexed PNG can have.
pub(super) const COLORS_MAX: usize = 256;

/// An image as a list of colours and an index for each pixel. Less opaque colours come first, as PNG's tRNS wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Indexed {
    pub colors: Vec<[u8; 4]>,
    pub indices: Vec<u8>,
}

/// Slots of the table of colours: a power of two, four for each colour, so that most are found at once.
const SLOTS: usize = 4 * COLORS_MAX;

impl Indexed {
    /// `None` if there are more than 256 colours.
    pub fn of(rgba: &[u8]) -> Option<Indexed> {
        // One more than the index in a slot that is taken; 0 in a free one.
        let mut slots = [(0u32, 0u16); SLOTS];
        let mut colors: Vec<u32> = Vec::with_capacity(COLORS_MAX);
        let mut indices = Vec::with_capacity(rgba.len() / 4);
        let (pixels, _) = rgba.as_chunks::<4>();
        let mut last = (u32::from_le_bytes(*pixels.first()?), 0u8);
        colors.push(last.0);
        slots[slot_of(last.0)] = (last.0, 1);
        for pixel in pixels {
            let color = u32::from_le_bytes(*pixel);
            if color != last.0 {
                let mut slot = slot_of(color);
                let index = loop {
                    match slots[slot] {
                        (_, 0) if colors.len() == COLORS_MAX => return None,
                        (_, 0) => {
                            colors.push(color);
                            slots[slot] = (color, colors.len() as u16);
                            break colors.len() - 1;
                        }
                        (taken, index) if taken == color => break usize::from(index) - 1,
                        _ => slot = (slot + 1) % SLOTS,
                    }
                };
                last = (color, index as u8);
            }
            indices.push(last.1);
        }
        let colors = colors.into_iter().map(u32::to_le_bytes).collect();
        Some(Indexed { colors, indices }.sorted())
    }

    /// By opacity, then by colour: neighbours in the list are alike, and the same image always has the same bytes.
    pub fn sorted(self) -> Indexed {
        let number = |place: usize| u32::from_le_bytes(self.colors[place]);
        let mut order: Vec<usize> = (0..self.colors.len()).collect();
        // Opacity is the number's highest byte.
        order.sort_unstable_by_key(|&place| number(place));
        let mut places = [0u8; COLORS_MAX];
        for (to, &from) in order.iter().enumerate() {
            places[from] = to as u8;
        }
        let colors = order.iter().map(|&place| self.colors[place]).collect();
        Indexed { colors, indices: self.indices.iter().map(|&index| places[usize::from(index)]).collect() }
    }

    /// Bits for each index: 1, 2, 4 or 8.
    pub fn bits(&self) -> usize {
        match self.colors.len() {
            0..=2 => 1,
            3..=4 => 2,
            5..=16 => 4,
            _ => 8,
        }
    }
}

fn slot_of(color: u32) -> usize {
    // Fibonacci hashing: the upper bits of a product with 2^32 / the golden ratio.
    (color.wrapping_mul(0x9e37_79b9) >> (32 - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn indices_lead_back_to_the_pixels(pixels in proptest::collection::vec(any::<[u8; 4]>().prop_map(|c| c.map(|b| b & 3)), 1..400)) {
            let rgba = pixels.as_flattened();
            let mut distinct = pixels.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let image = Indexed::of(rgba);
            prop_assert_eq!(image.is_some(), distinct.len() <= 256);
            if let Some(image) = image {
                prop_assert_eq!(image.colors.len(), distinct.len());
                prop_assert!(image.colors.is_sorted_by_key(|color| color[3]));
                let back: Vec<[u8; 4]> = image.indices.iter().map(|&index| image.colors[usize::from(index)]).collect();
                prop_assert_eq!(back, pixels);
            }
        }
    }
}
