//! PNG, exact unless asked otherwise, as small as the time allows.
//!
//! Tiles of points are noise on nothing: measured over 230 tiles of towers, ships, fires and dense clouds, no filter beats
//! none, neither by row nor by content (filtered ones are 30 to 70 % larger), so scanlines are written as they are. What
//! pays is a palette where 256 colours suffice, and compressing harder where there is little to compress.

use super::dither::dithered;
use super::palette::Indexed;
use libdeflater::{CompressionLvl, Compressor};
use png::{BitDepth, ColorType, Encoder, Info, chunk};
use std::sync::OnceLock;

/// How an image may be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Quality {
    /// Every pixel as it is.
    #[default]
    Exact,
    /// With at most 256 colours, dithered: about half of the bytes where there are more. Transparent pixels stay so, and no other
    /// becomes transparent.
    Palette,
}

/// The PNG of a square straight-alpha RGBA image of `size` pixels a side.
///
/// # Panics
/// If `rgba` is not `size * size * 4` bytes.
pub fn png(rgba: &[u8], size: usize, quality: Quality) -> Vec<u8> {
    assert_eq!(rgba.len(), size * size * 4, "an image of {size} pixels a side");
    match Indexed::of(rgba) {
        Some(image) if image.colors == [[0; 4]] && EMPTY_SIZES.contains(&size) => empty_png(size).to_vec(),
        Some(image) => encode_indexed(&image, size),
        None => match quality {
            Quality::Exact => encode_rgba(rgba, size),
            Quality::Palette => encode_indexed(&dithered(rgba, size), size),
        },
    }
}

/// The exact PNG of any straight-alpha RGBA image, `width` pixels wide.
///
/// # Panics
/// If there are no pixels, or not whole rows of them.
pub fn png_of_width(rgba: &[u8], width: usize) -> Vec<u8> {
    assert!(!rgba.is_empty() && rgba.len().is_multiple_of(width * 4), "rows of {width} pixels");
    Indexed::of(rgba).map_or_else(|| encode_rgba(rgba, width), |image| encode_indexed(&image, width))
}

/// Pixels along the sides of the tiles that are served.
const EMPTY_SIZES: [usize; 3] = [256, 512, 1024];

/// The fully transparent image of `size` pixels a side: one body for all empty tiles of that size.
///
/// # Panics
/// If `size` is none of 256, 512 and 1024.
pub fn empty_png(size: usize) -> &'static [u8] {
    static BODIES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    let place = EMPTY_SIZES.iter().position(|&known| known == size);
    let place = place.unwrap_or_else(|| panic!("tiles have 256, 512 or 1024 pixels a side, not {size}"));
    BODIES[place].get_or_init(|| encode_indexed(&Indexed { colors: vec![[0; 4]], indices: vec![0; size * size] }, size))
}

fn encode_indexed(image: &Indexed, width: usize) -> Vec<u8> {
    let bits = image.bits();
    let row_bytes = (width * bits).div_ceil(8);
    let height = image.indices.len() / width;
    let mut scanlines = vec![0u8; (row_bytes + 1) * height];
    for (scanline, indices) in scanlines.chunks_exact_mut(row_bytes + 1).zip(image.indices.chunks_exact(width)) {
        for (column, &index) in indices.iter().enumerate() {
            // The leftmost pixel has the highest bits of a byte.
            let bit = column * bits;
            scanline[1 + bit / 8] |= index << (8 - bits - bit % 8);
        }
    }
    let depth = match bits {
        1 => BitDepth::One,
        2 => BitDepth::Two,
        4 => BitDepth::Four,
        _ => BitDepth::Eight,
    };
    let mut info = info(width, height, ColorType::Indexed, depth);
    info.palette = Some(image.colors.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect());
    let opacities: Vec<u8> = image.colors.iter().map(|color| color[3]).take_while(|&alpha| alpha < 255).collect();
    info.trns = (!opacities.is_empty()).then(|| opacities.into());
    let level = match changes(&image.indices) {
        few if few < 0.05 => 8,
        few if few < 0.32 => 7,
        few if few < 0.55 => 6,
        // Little is found twice, and looking for it takes twice the time and saves nothing.
        _ => 1,
    };
    file(info, &scanlines, level)
}

fn encode_rgba(rgba: &[u8], width: usize) -> Vec<u8> {
    let height = rgba.len() / (width * 4);
    let mut scanlines = Vec::with_capacity((width * 4 + 1) * height);
    for row in rgba.chunks_exact(width * 4) {
        scanlines.push(0);
        scanlines.extend_from_slice(row);
    }
    let (pixels, _) = rgba.as_chunks::<4>();
    let level = match changes(pixels) {
        few if few < 0.05 => 8,
        few if few < 0.14 => 7,
        few if few < 0.32 => 6,
        few if few < 0.45 => 4,
        few if few < 0.6 => 3,
        _ => 1,
    };
    file(info(width, height, ColorType::Rgba, BitDepth::Eight), &scanlines, level)
}

/// The share of pixels that differ from the one before: what deflate's time goes by. Libdeflate's levels above keep a tile of 256 pixels
/// near or below 1.5 ms of one core (AMD EPYC), and the next level would save less than 2 %; table in docs/benchmarks.md.
fn changes<T: PartialEq>(pixels: &[T]) -> f64 {
    let changes = pixels.iter().zip(&pixels[1..]).filter(|(before, pixel)| before != pixel).count();
    changes as f64 / pixels.len() as f64
}

fn info(width: usize, height: usize, color_type: ColorType, bit_depth: BitDepth) -> Info<'static> {
    let side = |pixels: usize| u32::try_from(pixels).expect("an image in memory has sides of less than 2^32 pixels");
    let mut info = Info::with_size(side(width), side(height));
    (info.color_type, info.bit_depth) = (color_type, bit_depth);
    info
}

/// The file around filtered scanlines. The png crate writes everything but the pixels, for it would choose their filters and
/// compression itself.
fn file(info: Info<'_>, scanlines: &[u8], level: i32) -> Vec<u8> {
    const INFALLIBLE: &str = "writing to memory does not fail, and the header is ours";
    let pixels = deflated(scanlines, level);
    let colors = [&info.palette, &info.trns].into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>();
    // Exactly as large as it gets: a cache keeps what a vector has, not what it uses, and the allocator gives nothing back of what is
    // half used.
    let mut bytes = Vec::with_capacity(pixels.len() + colors + chunk_bytes(&info));
    let mut writer = Encoder::with_info(&mut bytes, info).and_then(Encoder::write_header).expect(INFALLIBLE);
    writer.write_chunk(chunk::IDAT, &pixels).expect(INFALLIBLE);
    writer.finish().expect(INFALLIBLE);
    bytes
}

/// What a file has beside its pixels and colours: the signature, a header of 13 bytes, and 12 around the content of every chunk.
fn chunk_bytes(info: &Info<'_>) -> usize {
    let chunks = 3 + usize::from(info.palette.is_some()) + usize::from(info.trns.is_some());
    8 + 13 + 12 * chunks
}

fn deflated(scanlines: &[u8], level: i32) -> Vec<u8> {
    let level = CompressionLvl::new(level).expect("libdeflate has the levels 0 to 12");
    let mut compressor = Compressor::new(level);
    let mut bytes = vec![0; compressor.zlib_compress_bound(scanlines.len())];
    let written = compressor.zlib_compress(scanlines, &mut bytes).expect("there is room for the bound");
    bytes.truncate(written);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(bytes: &[u8]) -> (Vec<u8>, ColorType, BitDepth) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::ALPHA);
        let mut reader = decoder.read_info().unwrap();
        let (color, depth) = (reader.info().color_type, reader.info().bit_depth);
        let mut rgba = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgba).unwrap();
        reader.finish().unwrap();
        (rgba, color, depth)
    }

    fn images() -> impl Strategy<Value = (usize, Vec<u8>)> {
        (
            prop_oneof![Just(1usize), 2..40usize],
            prop_oneof![Just(1u32), Just(3), 2..300u32, Just(u32::MAX)],
            any::<u64>(),
        )
            .prop_map(|(size, colors, seed)| {
                // A congruential generator: what matters is the number of colours, their opacities and runs.
                let mut state = seed | 1;
                let mut next = || {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 33) as u32
                };
                let mut color = 0;
                let mut pixel = || {
                    if next() % 3 > 0 {
                        color = (next() % colors).wrapping_mul(0x9e37_79b1);
                    }
                    color.to_le_bytes()
                };
                (size, (0..size * size).flat_map(|_| pixel()).collect())
            })
    }

    proptest! {
        #[test]
        fn every_pixel_comes_back((size, rgba) in images()) {
            let image = png(&rgba, size, Quality::Exact);
            prop_assert_eq!(image.capacity(), image.len(), "a cache pays for the capacity");
            let (back, ..) = decoded(&image);
            prop_assert_eq!(back, rgba);
        }
    }

    proptest! {
        /// Goal: png8 hides nothing and shows nothing that is not there. Method: images of any number of colours.
        #[test]
        fn a_palette_keeps_what_is_transparent_and_what_is_not((size, rgba) in images()) {
            let (back, color, _) = decoded(&png(&rgba, size, Quality::Palette));
            prop_assert_eq!(color, ColorType::Indexed);
            for (before, after) in rgba.chunks(4).zip(back.chunks(4)) {
                prop_assert_eq!(before[3] == 0, after[3] == 0);
            }
            let is_exact = Indexed::of(&rgba).is_some();
            prop_assert!(!is_exact || back == rgba, "at most 256 colours stay as they are");
        }
    }

    /// Goal: dithering is good: what an eye sees from afar stays. Method: a gradient of 4096 colours in three channels and opacity,
    /// every third pixel empty; the means of blocks of 8 by 8 pixels.
    #[test]
    fn dithering_keeps_the_means_of_a_gradient() {
        let pixel = |i: u32| match (i % 64, i / 64) {
            (x, y) if (x + y) % 3 == 0 => [0; 4],
            (x, y) => [x * 4, y * 4, 255 - x * 2 - y * 2, 55 + x + y * 2].map(|channel| channel as u8),
        };
        let rgba: Vec<u8> = (0..64 * 64).flat_map(pixel).collect();
        let (back, ..) = decoded(&png(&rgba, 64, Quality::Palette));
        let mean = |rgba: &[u8], block: usize, channel: usize| {
            let at = |i: usize| ((block / 8 * 8 + i / 8) * 64 + block % 8 * 8 + i % 8) * 4 + channel;
            (0..64).map(|i| f64::from(rgba[at(i)])).sum::<f64>() / 64.0
        };
        let apart = |block: usize, channel: usize| (mean(&rgba, block, channel) - mean(&back, block, channel)).abs();
        let worst = (0..64 * 4).map(|i| apart(i / 4, i % 4)).fold(0.0, f64::max);
        assert!(worst < 4.0, "a block's mean moved by {worst} levels");
        assert_ne!(back, rgba);
    }

    #[test]
    fn few_colours_take_few_bits() {
        for (colors, bits) in [(1u32, 1), (2, 1), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)] {
            let rgba: Vec<u8> = (0..1024u32).flat_map(|i| (0xff00_0000 | (i % colors)).to_le_bytes()).collect();
            let (back, color, depth) = decoded(&png(&rgba, 32, Quality::Exact));
            assert_eq!((back, color, depth as usize), (rgba, ColorType::Indexed, bits), "{colors} colours");
        }
        let many: Vec<u8> = (0..1024u32).flat_map(|i| (0xff00_0000 | (i % 257)).to_le_bytes()).collect();
        assert_eq!(decoded(&png(&many, 32, Quality::Exact)).1, ColorType::Rgba);
    }

    #[test]
    fn images_need_not_be_square() {
        let rgba: Vec<u8> = (0..3 * 7 * 4u8).collect();
        assert_eq!(decoded(&png_of_width(&rgba, 7)).0, rgba);
        assert_eq!(decoded(&png_of_width(&rgba, 3)).0, rgba);
    }

    #[test]
    fn empty_tiles_share_one_small_body() {
        for size in EMPTY_SIZES {
            let empty = vec![0; size * size * 4];
            assert_eq!(png(&empty, size, Quality::Exact), empty_png(size));
            assert_eq!(decoded(empty_png(size)).0, empty);
            assert!(std::ptr::eq(empty_png(size), empty_png(size)));
        }
        assert!(empty_png(256).len() < 150, "{} bytes", empty_png(256).len());
    }
}
