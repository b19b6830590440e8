//! Styles: how counts become colours, as query parameters and as one canonical text.
//!
//! A style knows words, not data: whether a column or a category exists is asked where the dataset is known.

use super::agg::Agg;
use super::cmap::Cmap;
use super::color::Rgb;
use super::span::Span;
use super::spread::SPREAD_PIXELS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use thiserror::Error;

/// Entries in `colors=` and in `hide=`. A dictionary column of one byte has at most 256 categories with null and other.
const LIST_ENTRIES_MAX: usize = 256;

/// Why a style is none. Each says the value and what is allowed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum StyleError {
    #[error("{name}={value} is not allowed: {allowed}")]
    Value { name: &'static str, value: String, allowed: String },
    #[error("{name} is given twice: give it once")]
    Repeated { name: &'static str },
    #[error("span={lo},{hi} has no meaning with how=eq_hist, which ranks counts: add how=linear, how=log or how=cbrt")]
    SpanOfRanks { lo: f64, hi: f64 },
    #[error("agg={agg} is of a column: add column=NAME")]
    NoColumn { agg: &'static str },
    #[error("{name} is of counts, and agg={agg} shows the values of a column: leave {name} out")]
    OfCounts { name: &'static str, agg: &'static str },
    #[error("{name} names the category {value}, which is not one of: {known}")]
    Category { name: &'static str, value: String, known: String },
}

/// The scale from count to intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum How {
    /// By rank: the share of non-empty pixels that have at most as many points.
    #[default]
    EqHist,
    /// ln(1 + count - lowest count).
    Log,
    /// Cube root of count - lowest count.
    Cbrt,
    Linear,
}

impl How {
    pub const ALL: [How; 4] = [How::EqHist, How::Log, How::Cbrt, How::Linear];

    pub fn name(self) -> &'static str {
        match self {
            How::EqHist => "eq_hist",
            How::Log => "log",
            How::Cbrt => "cbrt",
            How::Linear => "linear",
        }
    }
}

/// Over which pixels counts are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Normalize {
    /// Those of the whole world at the tile's zoom: colours agree across tile borders and with the legend.
    #[default]
    Zoom,
    /// Those of the tile alone, exactly as Datashader does for an image. Tiles then do not fit together.
    Tile,
}

impl Normalize {
    pub const ALL: [Normalize; 2] = [Normalize::Zoom, Normalize::Tile];

    pub fn name(self) -> &'static str {
        match self {
            Normalize::Zoom => "zoom",
            Normalize::Tile => "tile",
        }
    }
}

/// How many pixels around itself a point colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// 0 to 3, by how sparse the zoom is: see [`SpreadDensity`](super::SpreadDensity).
    Auto,
    /// A circle of this radius in image pixels, 0 to [`SPREAD_PIXELS_MAX`].
    Pixels(usize),
}

/// How counts become colours. Two equal styles give equal images; [`Style::canonical`] is their one text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Style {
    /// What pixels show: how many points, or what the values of `column` come to. Of values there are neither categories nor
    /// spreading, and the column is there.
    pub agg: Agg,
    pub column: Option<String>,
    pub how: How,
    /// Opacity of the lowest count where categories are coloured, 1 to 255. Not 0: no pixel with points is transparent.
    pub min_alpha: u8,
    /// Lowest and highest count (or value) of the scale, in place of the distribution's own; what is outside takes its ends.
    pub span: Option<Span>,
    /// The column whose values are the categories, `none` for no categories, `None` for the dataset's main one.
    pub by: Option<String>,
    /// Colours by category.
    pub colors: BTreeMap<String, Rgb>,
    /// Colours pixels by their total count in place of their mix of categories.
    pub cmap: Option<Cmap>,
    pub spread: Spread,
    /// Categories that are left out of colours and of the totals behind them, not of counts or of the distribution.
    pub hide: BTreeSet<String>,
    /// An opaque colour behind the points; transparent without.
    pub background: Option<Rgb>,
    pub normalize: Normalize,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            agg: Agg::Count,
            column: None,
            how: How::EqHist,
            min_alpha: 40,
            span: None,
            by: None,
            colors: BTreeMap::new(),
            cmap: None,
            spread: Spread::Pixels(0),
            hide: BTreeSet::new(),
            background: None,
            normalize: Normalize::Zoom,
        }
    }
}

impl Style {
    /// The names of all parameters that make up a style, in alphabetical order.
    pub const PARAMETERS: [&'static str; 12] = [
        "agg", "background", "by", "cmap", "colors", "column", "hide", "how", "min_alpha", "normalize", "span", "spread",
    ];

    /// The style of a query: see [`Style::with`], over the default style.
    ///
    /// # Errors
    /// As [`Style::with`].
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Style, StyleError> {
        Style::default().with(pairs)
    }

    /// This style, changed by the (name, value) pairs of a query, already percent-decoded. Names other than
    /// [`Style::PARAMETERS`] are passed over: they are the caller's.
    ///
    /// `colors=VALUE:hex,...` and `hide=VALUE,...` replace the whole list, and are empty if the text is. In a value, a comma
    /// is written `\,` and a backslash `\\`. `null` and `other` name the categories of null and of all remaining values. `none`
    /// takes back a `span`, `cmap` or `background`.
    ///
    /// # Errors
    /// A value outside its range, a parameter given twice, a span for a scale of ranks, an aggregate of no column, or one with
    /// what only counts have.
    pub fn with<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Style, StyleError> {
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            let Some(name) = Style::PARAMETERS.into_iter().find(|known| *known == name) else { continue };
            if !seen.insert(name) {
                return Err(StyleError::Repeated { name });
            }
            self.set(name, value)?;
        }
        if let (Some(Span { lo, hi }), How::EqHist) = (self.span, self.how) {
            return Err(StyleError::SpanOfRanks { lo, hi });
        }
        match (self.agg, self.span) {
            (Agg::Count, Some(Span { lo, hi })) if self.span.is_some_and(|span| !span.is_of_counts()) => Err(StyleError::Value {
                name: "span", value: format!("{lo},{hi}"), allowed: "give two counts, the lower first, as in 1,1000, or none".into(),
            }),
            (Agg::Count, _) => Ok(self),
            _ => self.of_values(&seen),
        }
    }

    /// This style without what only counts have. What a default style says of counts is dropped; what was asked for is refused.
    fn of_values(mut self, asked: &BTreeSet<&'static str>) -> Result<Style, StyleError> {
        let agg = self.agg.name();
        if self.column.is_none() {
            return Err(StyleError::NoColumn { agg });
        }
        let of_counts = [
            ("by", self.by.as_deref().is_some_and(|by| by != "none")),
            ("colors", !self.colors.is_empty()),
            ("hide", !self.hide.is_empty()),
            ("spread", self.spread != Spread::Pixels(0)),
        ];
        if let Some((name, _)) = of_counts.into_iter().find(|(name, says)| *says && asked.contains(name)) {
            return Err(StyleError::OfCounts { name, agg });
        }
        let counts = Style::default();
        self.min_alpha = counts.min_alpha;
        (self.by, self.colors, self.hide, self.spread) = (counts.by, counts.colors, counts.hide, counts.spread);
        Ok(self)
    }

    fn set(&mut self, name: &'static str, value: &str) -> Result<(), StyleError> {
        let wrong = |allowed: String| StyleError::Value { name, value: excerpt(value), allowed };
        match name {
            "agg" => self.agg = one_of(value, &Agg::ALL, Agg::name).map_err(wrong)?,
            "column" if value.is_empty() => return Err(wrong("give the name of a column".into())),
            "column" => self.column = Some(value.to_owned()),
            "how" => self.how = one_of(value, &How::ALL, How::name).map_err(wrong)?,
            "min_alpha" => {
                let alpha = value.parse().ok().filter(|&alpha| alpha >= 1);
                self.min_alpha = alpha.ok_or_else(|| wrong("give a whole number from 1 to 255".into()))?;
            }
            "span" => self.span = unless_none(value, parse_span).map_err(wrong)?,
            "by" if value.is_empty() => return Err(wrong("give the name of a column, or none".into())),
            "by" => self.by = Some(value.to_owned()),
            "colors" => self.colors = parse_colors(value).map_err(wrong)?,
            "cmap" => self.cmap = unless_none(value, |text| one_of(text, &Cmap::ALL, Cmap::name)).map_err(wrong)?,
            "spread" => self.spread = parse_spread(value).map_err(wrong)?,
            "hide" => self.hide = list_entries(value).map_err(wrong)?.into_iter().collect(),
            "background" => self.background = unless_none(value, parse_color).map_err(wrong)?,
            "normalize" => self.normalize = one_of(value, &Normalize::ALL, Normalize::name).map_err(wrong)?,
            _ => unreachable!("every name in PARAMETERS has its arm, and no other name comes here"),
        }
        Ok(())
    }

    /// Whether colours go by what the pixels of the whole zoom have: not where each tile has its own scale, or a span is given.
    pub fn needs_distribution(&self) -> bool {
        self.normalize == Normalize::Zoom && self.span.is_none()
    }

    /// One text for all equal styles: `name=value` joined by `&`, sorted by name, defaults omitted, percent-encoded, ready for
    /// a URL or a cache key. [`Style::parse`] of its decoded pairs is this style.
    pub fn canonical(&self) -> String {
        self.canonical_over(&Style::default())
    }

    /// As [`Style::canonical`], but what `base` says alike is omitted: the text to carry in URLs to a server whose dataset
    /// has `base` for its style.
    pub fn canonical_over(&self, base: &Style) -> String {
        let values = self.values();
        let mut text = String::new();
        for ((name, value), (_, of_base)) in values.iter().zip(base.values()) {
            // A `by` cannot be taken back to "the main column"; a base without one is the only way to it.
            let Some(value) = value else { continue };
            if of_base.as_ref() == Some(value) {
                continue;
            }
            let separator = if text.is_empty() { "" } else { "&" };
            let _ = write!(text, "{separator}{name}={}", percent_encoded(value));
        }
        text
    }

    /// Every parameter's value as a query would give it, in the order of [`Style::PARAMETERS`].
    fn values(&self) -> [(&'static str, Option<String>); 12] {
        let or_none = |value: Option<String>| Some(value.unwrap_or_else(|| "none".to_owned()));
        let colors = self.colors.iter().map(|(value, color)| format!("{}:{}", escaped(value), color.hex()));
        let mut hidden = self.hide.iter().map(|value| escaped(value)).collect::<Vec<_>>().join(",");
        if hidden.is_empty() && !self.hide.is_empty() {
            // The one value hidden is the empty text: twice in a list, for an empty text is an empty list.
            hidden.push(',');
        }
        [
            ("agg", Some(self.agg.name().to_owned())),
            ("background", or_none(self.background.map(Rgb::hex))),
            ("by", self.by.clone()),
            ("cmap", or_none(self.cmap.map(|cmap| cmap.name().to_owned()))),
            ("colors", Some(colors.collect::<Vec<_>>().join(","))),
            ("column", self.column.clone()),
            ("hide", Some(hidden)),
            ("how", Some(self.how.name().to_owned())),
            ("min_alpha", Some(self.min_alpha.to_string())),
            ("normalize", Some(self.normalize.name().to_owned())),
            ("span", or_none(self.span.map(|Span { lo, hi }| format!("{lo},{hi}")))),
            (
                "spread",
                Some(match self.spread {
                    Spread::Auto => "auto".to_owned(),
                    Spread::Pixels(pixels) => pixels.to_string(),
                }),
            ),
        ]
    }
}

/// The one of `all` with this name; else what is allowed.
fn one_of<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    all.iter().copied().find(|&value| name(value) == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&value| name(value)).collect();
        format!("give one of {}", names.join(", "))
    })
}

fn unless_none<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { parse(text).map(Some).map_err(|allowed| format!("{allowed}, or none")) }
}

fn parse_color(text: &str) -> Result<Rgb, String> {
    Rgb::parse(text).ok_or_else(|| "give a colour as six hexadecimal digits".to_owned())
}

fn parse_span(text: &str) -> Result<Span, String> {
    let span = text.split_once(',').and_then(|(lo, hi)| Span::new(lo.parse().ok()?, hi.parse().ok()?));
    span.ok_or_else(|| "give two numbers, the lower first, as in 1,1000".to_owned())
}

fn parse_spread(text: &str) -> Result<Spread, String> {
    if text == "auto" {
        return Ok(Spread::Auto);
    }
    let pixels = text.parse().ok().filter(|&pixels| pixels <= SPREAD_PIXELS_MAX);
    pixels.map(Spread::Pixels).ok_or_else(|| format!("give auto or a whole number from 0 to {SPREAD_PIXELS_MAX}"))
}

fn parse_colors(text: &str) -> Result<BTreeMap<String, Rgb>, String> {
    const ALLOWED: &str = "give VALUE:rrggbb,VALUE:rrggbb,... with each value once";
    let mut colors = BTreeMap::new();
    for entry in list_entries(text)? {
        let color = entry.rsplit_once(':').and_then(|(value, color)| Some((value, Rgb::parse(color)?)));
        let (value, color) = color.ok_or(ALLOWED)?;
        if colors.insert(value.to_owned(), color).is_some() {
            return Err(ALLOWED.to_owned());
        }
    }
    Ok(colors)
}

/// The entries of a list with commas between them, `\,` and `\\` taken back to what they stand for.
fn list_entries(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let last = entries.last_mut().expect("begins with one entry and only grows");
        match character {
            '\\' => match characters.next() {
                Some(escaped @ (',' | '\\')) => last.push(escaped),
                _ => return Err(r"after a backslash give a comma or a backslash".to_owned()),
            },
            ',' => entries.push(String::new()),
            other => last.push(other),
        }
        if entries.len() > LIST_ENTRIES_MAX {
            return Err(format!("give at most {LIST_ENTRIES_MAX} entries"));
        }
    }
    Ok(entries)
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace(',', r"\,")
}

/// The start of a value, for a message: a query may be long.
fn excerpt(value: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    match value.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// RFC 3986, for a query: unreserved characters stay, and so do comma and colon, which make lists readable.
fn percent_encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' | b':' => text.push(byte.into()),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
