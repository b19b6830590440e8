//! Images of many colours as images of 256, dithered: for who wants small tiles more than exact ones.
//!
//! A pixel takes the colour that stands for its own; the error that this makes is passed on to pixels that come later, and where it has
//! added up to something, a pixel takes the colour nearest to what it should be then. So what an eye sees from afar stays.
//!
//! ```text
//!            x     1/4       errors go to the next but one, not to the next: a pixel need not wait for the one before it,
//!     1/4   1/4   1/4        and the processor works at two at once
//! ```
//!
//! Nothing appears or vanishes: transparent pixels have a place of their own in the palette, and errors that reach them are dropped.

use super::palette::{COLORS_MAX, Indexed};
use super::quantize::{Levels, Palette, TRANSPARENT};

/// Half a level: what rounding makes, and nobody sees.
const ERROR_LEVEL: f32 = 0.5;

/// An error that is smaller than this in all channels waits for more: half of a cell of `Nearest`, and half of what tells colours of
/// neighbouring pixels apart.
const ERROR_TELLING_MIN: f32 = 8.0;

/// Beyond this distance, squared, errors are passed on in part only: there is no colour near, and they would add up to speckles.
const ERROR_WHOLE_MAX: f32 = 64.0;
const PART: f32 = 0.75;

/// The image in at most 256 colours.
///
/// # Panics
/// If no pixel is visible, or there are not whole rows of them.
pub(super) fn dithered(rgba: &[u8], width: usize) -> Indexed {
    let (pixels, _) = rgba.as_chunks::<4>();
    assert!(pixels.len().is_multiple_of(width), "an image has whole rows of pixels");
    let Palette { mut colors, cells, places } = Palette::of(pixels);
    let mut levels = [[0.0; 4]; COLORS_MAX];
    levels.iter_mut().zip(&colors).for_each(|(levels, color)| *levels = color.map(f32::from));
    let mut nearest = Nearest::new(&levels[..colors.len()]);
    let transparent = colors.len() as u8;
    let mut indices = vec![transparent; pixels.len()];
    // Errors that have reached the pixels of a row and of the next one; by column, one before and two beyond the image.
    let mut here = vec![[0f32; 4]; width + 3];
    let mut below = here.clone();
    let rows = pixels.chunks_exact(width).zip(cells.chunks_exact(width)).zip(indices.chunks_exact_mut(width));
    for ((pixels, cells), indices) in rows {
        for (column, ((pixel, &cell), index)) in pixels.iter().zip(cells).zip(indices).enumerate() {
            if cell == TRANSPARENT {
                continue;
            }
            let place = places[usize::from(cell)];
            let error = here[column + 1];
            let largest = error[0].abs().max(error[1].abs()).max(error[2].abs().max(error[3].abs()));
            if largest < ERROR_LEVEL && colors[usize::from(place)] == *pixel {
                // As most of a background: what is left of an error ends here.
                *index = place;
                continue;
            }
            let wanted: Levels = std::array::from_fn(|c| (f32::from(pixel[c]) + error[c]).clamp(0.0, 255.0));
            *index = if largest < ERROR_TELLING_MIN { place } else { nearest.to(wanted) };
            let shown = levels[usize::from(*index)];
            let left: Levels = std::array::from_fn(|c| wanted[c] - shown[c]);
            let is_whole = left.iter().map(|level| level * level).sum::<f32>() <= ERROR_WHOLE_MAX;
            let quarter = left.map(|level| level * if is_whole { 0.25 } else { 0.25 * PART });
            for to in below[column..column + 3].iter_mut().chain([&mut here[column + 3]]) {
                to.iter_mut().zip(quarter).for_each(|(level, more)| *level += more);
            }
        }
        std::mem::swap(&mut here, &mut below);
        below.fill([0.0; 4]);
    }
    if cells.contains(&TRANSPARENT) {
        colors.push([0; 4]);
    }
    Indexed { colors, indices }.sorted()
}

/// Bits of each channel that a colour is looked up by.
const LOOKED_UP_BITS: u32 = 4;

/// Which colour is nearest, remembered for cells of 16 levels a side.
struct Nearest {
    /// By channel, then by place.
    levels: [[f32; COLORS_MAX]; 4],
    /// By cell, one more than the place; 0 where nobody has asked yet.
    known: Vec<u16>,
}

impl Nearest {
    fn new(colors: &[Levels]) -> Nearest {
        // Places without a colour are far from everything.
        let mut levels = [[f32::from(u16::MAX); COLORS_MAX]; 4];
        for (place, color) in colors.iter().enumerate() {
            (0..4).for_each(|channel| levels[channel][place] = color[channel]);
        }
        Nearest { levels, known: vec![0; 1 << (4 * LOOKED_UP_BITS)] }
    }

    /// The place of the colour nearest to the first that was asked for in the same cell.
    fn to(&mut self, color: Levels) -> u8 {
        let upper = color.map(|level| level as usize >> (8 - LOOKED_UP_BITS));
        let cell = upper.iter().fold(0, |cell, bits| cell << LOOKED_UP_BITS | bits);
        if self.known[cell] == 0 {
            self.known[cell] = u16::from(self.found(color)) + 1;
        }
        (self.known[cell] - 1) as u8
    }

    fn found(&self, color: Levels) -> u8 {
        let [rs, gs, bs, alphas] = &self.levels;
        let distances: [f32; COLORS_MAX] = std::array::from_fn(|i| {
            let apart = [rs[i] - color[0], gs[i] - color[1], bs[i] - color[2], alphas[i] - color[3]];
            apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2] + apart[3] * apart[3]
        });
        // Eight at a time: one by one, each would wait for the one before.
        let (eights, _) = distances.as_chunks::<8>();
        let least = eights.iter().fold([f32::MAX; 8], |least, eight| std::array::from_fn(|lane| least[lane].min(eight[lane])));
        let least = least.into_iter().fold(f32::MAX, f32::min);
        distances.iter().position(|&distance| distance == least).unwrap_or_default() as u8
    }
}
