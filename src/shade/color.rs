//! Colours of categories: what is given, and what those get that are given none.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An sRGB colour, 8 bits a channel. Written as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// Six or three hexadecimal digits, with or without `#` before them.
    pub fn parse(text: &str) -> Option<Rgb> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u32::from_str_radix(digits, 16).ok()?;
        match digits.len() {
            6 => Some(Rgb::from_u32(value)),
            3 => Some(Rgb([8, 4, 0].map(|shift| ((value >> shift) & 0xf) as u8 * 17))),
            _ => None,
        }
    }

    pub(super) const fn from_u32(value: u32) -> Rgb {
        Rgb([(value >> 16) as u8, (value >> 8) as u8, value as u8])
    }

    /// Six lower-case digits without `#`, as they stand in a query.
    pub fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("{r:02x}{g:02x}{b:02x}")
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.hex())
    }
}

/// What a category stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CategoryKind {
    /// One value of the column.
    Value,
    /// The points whose value is null.
    Null,
    /// The points of all values that have no category of their own.
    Other,
}

/// One category of a count grid. A slice of them is in the grid's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// The value as text; `None` for null and other.
    pub value: Option<String>,
    pub label: String,
    /// The dataset's colour, if it has one for this category.
    pub color: Option<[u8; 3]>,
    pub kind: CategoryKind,
    /// Points, of those selected.
    pub count: u64,
}

impl Category {
    /// Whether a style's `name` means this category: its value, or the words `null` and `other`.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name() == name
    }

    pub(super) fn name(&self) -> &str {
        match (self.kind, &self.value) {
            (CategoryKind::Value, Some(value)) => value,
            (CategoryKind::Value, None) => &self.label,
            (CategoryKind::Null, _) => "null",
            (CategoryKind::Other, _) => "other",
        }
    }
}

/// Null is a light grey, other a darker one, so that neither is taken for a value and both show on light and dark maps. Of all pairs of
/// greys these are among the farthest from the first twelve defaults, for colour-blind eyes too: a middle grey is the seventh to them.
const NULL_COLOR: Rgb = Rgb::from_u32(0xb0b6bc);
const OTHER_COLOR: Rgb = Rgb::from_u32(0x70767c);

/// Distinct colours for values that have none.
///
/// The first seven are those of Okabe and Ito (2008, "Color Universal Design", jfly.uni-koeln.de/color) without black,
/// which vanishes on a dark map. The others continue them as far apart from each other as they can be, also as people
/// with red-green blindness see them: Glasbey's method (2007, "Colour displays for categorical images") in CAM02-UCS, by
/// the Python package glasbey 0.3, `extend_palette(okabe_ito, palette_size=64, colorblind_safe=True,
/// lightness_bounds=(30, 85), chroma_bounds=(25, 100), grid_size=32)`. After 64 they repeat: nobody tells 64 apart.
#[rustfmt::skip]
const VALUE_COLORS: [u32; 64] = [
    0xe69f00, 0x56b4e9, 0x009e73, 0xf0e442, 0x0072b2, 0xd55e00, 0xcc79a7, 0x636300,
    0x31ffd6, 0xef00f7, 0x844a6b, 0xffb5ff, 0x84ad7b, 0x5a9494, 0x9c00ad, 0xffc59c,
    0x29c500, 0x007b5a, 0xef8cc5, 0xad5208, 0x42efff, 0xbd5aa5, 0x7384ff, 0x5ac5b5,
    0xc59cff, 0x4242ff, 0x216b73, 0x319442, 0x10e67b, 0xa510f7, 0xff5ade, 0x737bad,
    0x84adc5, 0x946342, 0xd6ad63, 0x9ccead, 0xb50094, 0x63ad94, 0xbd7b52, 0xad42d6,
    0x94f7b5, 0xdec500, 0xefb5d6, 0x6b9c00, 0x735284, 0xad84ce, 0xa5dede, 0x21d6ff,
    0xce8c29, 0x00a5c5, 0x4a52ce, 0x84ff84, 0xa58cff, 0xc529bd, 0xb5c5e6, 0xff00bd,
    0xffc563, 0x00ef3a, 0x0073ff, 0xd69cde, 0x00d6d6, 0x00847b, 0x00b552, 0x217b3a,
];

/// One colour for each category: its own, else the default. The defaults count values only, in order, so that a null
/// category does not shift them; a default that a category owns already is passed over.
pub(super) fn colors_of(categories: &[Category]) -> Vec<Rgb> {
    let owned: Vec<[u8; 3]> = categories.iter().filter_map(|category| category.color).collect();
    let mut free: Vec<Rgb> =
        VALUE_COLORS.map(Rgb::from_u32).into_iter().filter(|color| !owned.contains(&color.0)).collect();
    if free.is_empty() {
        free = VALUE_COLORS.map(Rgb::from_u32).to_vec();
    }
    let mut defaults = free.into_iter().cycle();
    let mut color_of = |category: &Category| match (category.color, category.kind) {
        (Some(color), _) => Some(Rgb(color)),
        (None, CategoryKind::Null) => Some(NULL_COLOR),
        (None, CategoryKind::Other) => Some(OTHER_COLOR),
        (None, CategoryKind::Value) => defaults.next(),
    };
    categories.iter().map(|category| color_of(category).expect("a cycle over a non-empty list never ends")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(name: &str, kind: CategoryKind, color: Option<[u8; 3]>) -> Category {
        let value = (kind == CategoryKind::Value).then(|| name.to_owned());
        Category { value, label: name.to_owned(), color, kind, count: 1 }
    }

    #[test]
    fn hex_colours_are_read_and_written() {
        assert_eq!(Rgb::parse("#E6194b"), Some(Rgb([0xe6, 0x19, 0x4b])));
        assert_eq!(Rgb::parse("f0a"), Some(Rgb([0xff, 0x00, 0xaa])));
        assert_eq!(Rgb([0xe6, 0x19, 0x4b]).to_string(), "#e6194b");
        for wrong in ["", "#", "12", "1234", "12345", "1234567", "+12345", "gggggg", "red"] {
            assert_eq!(Rgb::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn defaults_are_distinct_and_skip_colours_that_are_taken() {
        let mut categories: Vec<Category> =
            (0..62).map(|i| category(&format!("v{i}"), CategoryKind::Value, None)).collect();
        categories.insert(0, category("", CategoryKind::Null, None));
        categories.insert(1, category("given", CategoryKind::Value, Some([0x56, 0xb4, 0xe9])));
        categories.push(category("", CategoryKind::Other, None));
        let mut colors = colors_of(&categories);
        assert_eq!(colors[0], NULL_COLOR);
        assert_eq!(colors[2], Rgb::from_u32(0xe69f00));
        assert_eq!(colors[3], Rgb::from_u32(0x009e73), "sky blue is taken");
        colors.sort();
        colors.dedup();
        assert_eq!(colors.len(), categories.len());
    }

    /// What eyes without red or green cones see of linear light: Machado, Oliveira and Fernandes (2009,
    /// doi:10.1109/TVCG.2009.113), at full severity.
    const EYES: [(&str, [[f64; 3]; 3]); 3] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "no red cones",
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        ),
        (
            "no green cones",
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        ),
    ];

    /// Oklab (Ottosson 2020), where equal distances look about equally different: what just can be told apart is some 0.02.
    fn oklab(Rgb(color): Rgb, eyes: &[[f64; 3]; 3]) -> [f64; 3] {
        let linear = color.map(|channel| match f64::from(channel) / 255.0 {
            dark if dark <= 0.04045 => dark / 12.92,
            light => ((light + 0.055) / 1.055).powf(2.4),
        });
        let times = |rows: &[[f64; 3]; 3], v: [f64; 3]| rows.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>());
        let seen = times(eyes, linear).map(|channel| channel.clamp(0.0, 1.0));
        const CONES: [[f64; 3]; 3] = [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ];
        const LAB: [[f64; 3]; 3] = [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ];
        times(&LAB, times(&CONES, seen).map(f64::cbrt))
    }

    /// The two of the colours that are nearest to each other, and how near.
    fn nearest(colors: &[Rgb], eyes: &[[f64; 3]; 3]) -> (f64, Rgb, Rgb) {
        let apart = |a: Rgb, b: Rgb| {
            let squares = oklab(a, eyes).into_iter().zip(oklab(b, eyes)).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let pairs = colors.iter().enumerate().flat_map(|(i, &a)| colors[i + 1..].iter().map(move |&b| (a, b)));
        pairs.map(|(a, b)| (apart(a, b), a, b)).min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are two colours")
    }

    /// Goal: categories can be told apart, by colour-blind people too. Method: the least distance between the first twelve defaults,
    /// null and other, as three kinds of eyes see them; and between all of them, as most do.
    #[test]
    fn defaults_can_be_told_apart_by_all_eyes() {
        let greys = [NULL_COLOR, OTHER_COLOR];
        let defaults = VALUE_COLORS.map(Rgb::from_u32);
        for (name, eyes) in &EYES {
            let (apart, a, b) = nearest(&[&defaults[..12], &greys].concat(), eyes);
            assert!(apart > 0.06, "with {name}, {a} and {b} are {apart:.3} apart");
        }
        let (apart, a, b) = nearest(&[&defaults[..], &greys].concat(), &EYES[0].1);
        assert!(apart > 0.04, "{a} and {b} are {apart:.3} apart");
    }
}
