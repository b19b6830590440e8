//! Colour maps for one channel: 256 colours each, from few points to many.

use super::color::Rgb;

/// The colour maps that people expect. All but turbo and fire rise evenly in lightness; every one can be told apart by
/// colour-blind eyes but turbo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cmap {
    Viridis,
    Magma,
    Inferno,
    Plasma,
    Cividis,
    Turbo,
    Fire,
    Gray,
}

/// 256 colours of six hexadecimal digits each, exactly those that Python users see. No maintained crate has them: colorgrad's
/// splines are up to 16 levels off viridis, colorous's polynomials up to 32 off turbo.
///
/// - viridis, magma, inferno, plasma: S. van der Walt, N. Smith and E. Firing, CC0; cividis: J. Nunez, C. Anderton and
///   R. Renslow (2018, doi:10.1371/journal.pone.0199239), CC0; turbo: A. Mikhailov, Google (2019), Apache-2.0. As in
///   matplotlib 3.10, `colormaps[name](i)`.
/// - fire: `linear_kryw_0_100_c71` of P. Kovesi, "Good Colour Maps: How to Design Them" (2015, arXiv:1509.03700), CC BY 4.0, as in
///   colorcet 3.2.
const VIRIDIS_HEX: &str = include_str!("cmaps/viridis.hex");
const MAGMA_HEX: &str = include_str!("cmaps/magma.hex");
const INFERNO_HEX: &str = include_str!("cmaps/inferno.hex");
const PLASMA_HEX: &str = include_str!("cmaps/plasma.hex");
const CIVIDIS_HEX: &str = include_str!("cmaps/cividis.hex");
const TURBO_HEX: &str = include_str!("cmaps/turbo.hex");
const FIRE_HEX: &str = include_str!("cmaps/fire.hex");

impl Cmap {
    pub const ALL: [Cmap; 8] =
        [Cmap::Viridis, Cmap::Magma, Cmap::Inferno, Cmap::Plasma, Cmap::Cividis, Cmap::Turbo, Cmap::Fire, Cmap::Gray];

    pub fn name(self) -> &'static str {
        match self {
            Cmap::Viridis => "viridis",
            Cmap::Magma => "magma",
            Cmap::Inferno => "inferno",
            Cmap::Plasma => "plasma",
            Cmap::Cividis => "cividis",
            Cmap::Turbo => "turbo",
            Cmap::Fire => "fire",
            Cmap::Gray => "gray",
        }
    }

    /// 256 colours, from the fewest points to the most.
    pub fn colors(self) -> Vec<Rgb> {
        match self {
            Cmap::Viridis => table(VIRIDIS_HEX),
            Cmap::Magma => table(MAGMA_HEX),
            Cmap::Inferno => table(INFERNO_HEX),
            Cmap::Plasma => table(PLASMA_HEX),
            Cmap::Cividis => table(CIVIDIS_HEX),
            Cmap::Turbo => table(TURBO_HEX),
            Cmap::Fire => table(FIRE_HEX),
            Cmap::Gray => (0..=255).map(|level| Rgb([level; 3])).collect(),
        }
    }
}

fn table(hex: &str) -> Vec<Rgb> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let color = |six: &[u8]| std::str::from_utf8(six).ok().and_then(Rgb::parse);
    digits.chunks_exact(6).map(|six| color(six).expect("six hexadecimal digits are a colour")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_has_256_colours() {
        for cmap in Cmap::ALL {
            assert_eq!(cmap.colors().len(), 256, "{}", cmap.name());
        }
    }

    /// Ends and middle of matplotlib 3.10's tables (`colormaps[name](i, bytes=True)`) and of colorcet 3.1's fire.
    #[test]
    fn maps_are_the_ones_that_people_know() {
        let known = [
            (Cmap::Viridis, [0x440154, 0x21918c, 0xfde725]),
            (Cmap::Magma, [0x000004, 0xb73779, 0xfcfdbf]),
            (Cmap::Inferno, [0x000004, 0xbc3754, 0xfcffa4]),
            (Cmap::Plasma, [0x0d0887, 0xcc4778, 0xf0f921]),
            (Cmap::Cividis, [0x00224e, 0x7d7c78, 0xfee838]),
            (Cmap::Turbo, [0x30123b, 0xa4fc3c, 0x7a0403]),
            (Cmap::Fire, [0x000000, 0xed1400, 0xffffff]),
            (Cmap::Gray, [0x000000, 0x808080, 0xffffff]),
        ];
        for (cmap, expected) in known {
            let colors = cmap.colors();
            for (index, expected) in [0, 128, 255].into_iter().zip(expected) {
                assert_eq!(colors[index], Rgb::from_u32(expected), "{} {index}", cmap.name());
            }
        }
    }
}
