//! Images of many colours as images of 256, dithered: for who wants small tiles more than exact ones.
//!
//! The palette is quantizr's (clusters in RGBA), and so is the error diffusion (Floyd and Steinberg's, row by row in turning
//! directions). What is ours is that nothing appears or vanishes: transparent pixels have a place of their own in the palette and
//! pass on the errors of their neighbours without adding any.

use super::palette::{COLORS_MAX, Indexed};
use quantizr::{Histogram, Image, Options, QuantizeResult};

/// The image in at most 256 colours.
///
/// # Panics
/// If there are no pixels, or not whole rows of them.
pub(super) fn quantized(rgba: &[u8], width: usize) -> Indexed {
    const SIZES_FIT: &str = "an image has whole rows of pixels";
    let (pixels, _) = rgba.as_chunks::<4>();
    let visible: Vec<[u8; 4]> = pixels.iter().copied().filter(|pixel| pixel[3] > 0).collect();
    let mut histogram = Histogram::new();
    histogram.add_image(&Image::new(visible.as_flattened(), visible.len(), 1).expect(SIZES_FIT));
    let mut options = Options::default();
    // One place is left for what is transparent.
    options.set_max_colors(COLORS_MAX as i32 - 1).expect("255 colours are allowed");
    let result = QuantizeResult::quantize_histogram(&histogram, &options);
    let palette = result.get_palette();
    let mut colors: Vec<[u8; 4]> = palette.entries[..palette.count as usize]
        .iter()
        // A cluster of faint colours must not round to nothing.
        .map(|color| [color.r, color.g, color.b, color.a.max(1)])
        .collect();

    // Where nothing is, quantizr shall find a colour that it has exactly.
    let filled: Vec<[u8; 4]> = pixels.iter().map(|&pixel| if pixel[3] > 0 { pixel } else { colors[0] }).collect();
    let image = Image::new(filled.as_flattened(), width, pixels.len() / width).expect(SIZES_FIT);
    let mut indices = vec![0; pixels.len()];
    result.remap_image(&image, &mut indices).expect("there is an index for each pixel");
    if visible.len() < pixels.len() {
        let transparent = colors.len() as u8;
        colors.push([0; 4]);
        for (index, pixel) in indices.iter_mut().zip(pixels) {
            if pixel[3] == 0 {
                *index = transparent;
            }
        }
    }
    Indexed { colors, indices }.sorted()
}
