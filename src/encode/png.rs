//! PNG, exact, as small as the time allows.
//!
//! Tiles of points are noise on nothing: measured over 230 tiles of towers, ships, fires and dense clouds, no filter beats
//! none, neither by row nor by content (filtered ones are 30 to 70 % larger), so scanlines are written as they are. What
//! pays is a palette where 256 colours suffice, and compressing harder where there is little to compress.

use super::palette::Indexed;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use png::{BitDepth, ColorType, Encoder, Info, chunk};
use std::io::Write;
use std::sync::OnceLock;

/// How an image may be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Quality {
    /// Every pixel as it is.
    #[default]
    Exact,
}

/// The PNG of a square straight-alpha RGBA image of `size` pixels a side.
///
/// # Panics
/// If `rgba` is not `size * size * 4` bytes.
pub fn png(rgba: &[u8], size: usize, quality: Quality) -> Vec<u8> {
    assert_eq!(rgba.len(), size * size * 4, "an image of {size} pixels a side");
    let Quality::Exact = quality;
    match Indexed::of(rgba) {
        Some(image) if image.colors == [[0; 4]] && matches!(size, 256 | 512) => empty_png(size).to_vec(),
        Some(image) => encode_indexed(&image, size),
        None => encode_rgba(rgba, size),
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

/// The fully transparent image of `size` pixels a side: one body for all empty tiles of that size.
///
/// # Panics
/// If `size` is neither 256 nor 512.
pub fn empty_png(size: usize) -> &'static [u8] {
    static OF_256: OnceLock<Vec<u8>> = OnceLock::new();
    static OF_512: OnceLock<Vec<u8>> = OnceLock::new();
    let body = match size {
        256 => &OF_256,
        512 => &OF_512,
        _ => panic!("tiles have 256 or 512 pixels a side, not {size}"),
    };
    body.get_or_init(|| encode_indexed(&Indexed { colors: vec![[0; 4]], indices: vec![0; size * size] }, size))
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
    let is_dense = changes(&image.indices) > 0.32;
    file(info, &scanlines, Compression::new(if is_dense { 5 } else { 6 }))
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
        few if few < 0.14 => 6,
        few if few < 0.32 => 5,
        few if few < 0.45 => 4,
        _ => 2,
    };
    file(info(width, height, ColorType::Rgba, BitDepth::Eight), &scanlines, Compression::new(level))
}

/// The share of pixels that differ from the one before: what deflate's time goes by. The levels above keep a tile of 256 pixels
/// near or below 1.5 ms of one core (AMD EPYC), and levels beyond 6 save less than 2 %; table in docs/benchmarks.md.
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
fn file(info: Info<'_>, scanlines: &[u8], level: Compression) -> Vec<u8> {
    const INFALLIBLE: &str = "writing to memory does not fail, and the header is ours";
    let mut bytes = Vec::new();
    let mut writer = Encoder::with_info(&mut bytes, info).and_then(Encoder::write_header).expect(INFALLIBLE);
    writer.write_chunk(chunk::IDAT, &deflated(scanlines, level)).expect(INFALLIBLE);
    writer.finish().expect(INFALLIBLE);
    bytes
}

fn deflated(scanlines: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), level);
    encoder.write_all(scanlines).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
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
            let (back, ..) = decoded(&png(&rgba, size, Quality::Exact));
            prop_assert_eq!(back, rgba);
        }
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
        for size in [256, 512] {
            let empty = vec![0; size * size * 4];
            assert_eq!(png(&empty, size, Quality::Exact), empty_png(size));
            assert_eq!(decoded(empty_png(size)).0, empty);
            assert!(std::ptr::eq(empty_png(size), empty_png(size)));
        }
        assert!(empty_png(256).len() < 150, "{} bytes", empty_png(256).len());
    }
}
