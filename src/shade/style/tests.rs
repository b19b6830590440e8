//! Tests of styles: every parameter read, wrong ones refused by name, and one text for equal styles.

use super::*;
use proptest::prelude::*;

fn parse(query: &str) -> Result<Style, StyleError> {
    Style::parse(query.split('&').filter_map(|pair| pair.split_once('=')))
}

#[test]
fn every_parameter_is_read() {
    let style = parse(
        "how=log&min_alpha=100&span=2,900&by=radio&colors=LTE:e6194b,null:999&cmap=fire&spread=auto&hide=GSM,other\
         &background=fff&normalize=tile&column=samples&filter=range>5",
    );
    let expected = Style {
        agg: Agg::Count,
        column: Some("samples".into()),
        how: How::Log,
        min_alpha: 100,
        span: Span::new(2.0, 900.0),
        by: Some("radio".into()),
        colors: [("LTE".into(), Rgb([0xe6, 0x19, 0x4b])), ("null".into(), Rgb([0x99; 3]))].into(),
        cmap: Some(Cmap::Fire),
        spread: Spread::Auto,
        hide: ["GSM".into(), "other".into()].into(),
        background: Some(Rgb([0xff; 3])),
        normalize: Normalize::Tile,
    };
    assert_eq!(style, Ok(expected));
}

#[test]
fn wrong_values_say_what_is_allowed() {
    for (query, message) in [
        ("how=sqrt", "how=sqrt is not allowed: give one of eq_hist, log, cbrt, linear"),
        ("min_alpha=0", "min_alpha=0 is not allowed: give a whole number from 1 to 255"),
        ("min_alpha=256", "min_alpha=256 is not allowed: give a whole number from 1 to 255"),
        ("span=9,9", "span=9,9 is not allowed: give two numbers, the lower first, as in 1,1000, or none"),
        ("span=-1,9&how=log", "span=-1,9 is not allowed: give two counts, the lower first, as in 1,1000, or none"),
        (
            "span=1,9",
            "span=1,9 has no meaning with how=eq_hist, which ranks counts: add how=linear, how=log or how=cbrt",
        ),
        ("colors=LTE", "colors=LTE is not allowed: give VALUE:rrggbb,VALUE:rrggbb,... with each value once"),
        (
            "colors=a:fff,a:000",
            "colors=a:fff,a:000 is not allowed: give VALUE:rrggbb,VALUE:rrggbb,... with each value once",
        ),
        (
            "cmap=jet",
            "cmap=jet is not allowed: give one of viridis, magma, inferno, plasma, cividis, turbo, fire, gray, or none",
        ),
        ("spread=17", "spread=17 is not allowed: give auto or a whole number from 0 to 16"),
        ("hide=a\\b", "hide=a\\b is not allowed: after a backslash give a comma or a backslash"),
        ("background=white", "background=white is not allowed: give a colour as six hexadecimal digits, or none"),
        ("normalize=world", "normalize=world is not allowed: give one of zoom, tile"),
        ("agg=median", "agg=median is not allowed: give one of count, sum, mean, min, max"),
        ("agg=mean", "agg=mean is of a column: add column=NAME"),
        ("column=", "column= is not allowed: give the name of a column"),
        (
            "agg=mean&column=range&by=radio",
            "by is of counts, and agg=mean shows the values of a column: leave by out",
        ),
        (
            "agg=sum&column=range&spread=auto",
            "spread is of counts, and agg=sum shows the values of a column: leave spread out",
        ),
        ("by=", "by= is not allowed: give the name of a column, or none"),
        ("how=log&how=log", "how is given twice: give it once"),
    ] {
        assert_eq!(parse(query).unwrap_err().to_string(), message);
    }
}

#[test]
fn canonical_text_is_sorted_and_omits_defaults() {
    assert_eq!(Style::default().canonical(), "");
    assert_eq!(parse("min_alpha=40&how=eq_hist&spread=0&cmap=none").unwrap().canonical(), "");
    let style = parse("spread=2&how=log&colors=b c:00F,a\\,b:f00&by=radio").unwrap();
    assert_eq!(style.canonical(), "by=radio&colors=a%5C,b:ff0000,b%20c:0000ff&how=log&spread=2");
}

#[test]
fn canonical_text_over_a_base_takes_back_what_the_base_says() {
    let base = parse("cmap=fire&min_alpha=100&hide=GSM").unwrap();
    let style = base.clone().with([("cmap", "none"), ("min_alpha", "40"), ("hide", "")]).unwrap();
    assert_eq!(style, Style::default());
    assert_eq!(style.canonical_over(&base), "cmap=none&hide=&min_alpha=40");
    assert_eq!(base.canonical_over(&base), "");
}

#[test]
fn an_aggregate_drops_what_its_base_says_of_counts() {
    let base = parse("by=radio&colors=LTE:fff&hide=GSM&spread=auto&min_alpha=100").unwrap();
    let style = base.clone().with([("agg", "mean"), ("column", "speed"), ("how", "linear"), ("span", "-2.5,10")]).unwrap();
    assert_eq!(style.canonical(), "agg=mean&column=speed&how=linear&span=-2.5,10");
    let carried = style.canonical_over(&base);
    assert_eq!(carried, "agg=mean&colors=&column=speed&hide=&how=linear&min_alpha=40&span=-2.5,10&spread=0");
    let pairs = carried.split('&').filter_map(|pair| pair.split_once('='));
    assert_eq!(base.with(pairs), Ok(style), "which is what a tile's URL says");
}

fn styles() -> impl Strategy<Value = Style> {
    let value = "[a-z,:\\\\% &=é]{1,6}";
    let rgb = || any::<[u8; 3]>().prop_map(Rgb);
    (
        (0..4usize, 1..=255u8, proptest::option::of((0..1000u32, 1001..u32::MAX)), proptest::option::of(value)),
        (proptest::collection::btree_map(value, rgb(), 0..4), proptest::option::of(0..8usize)),
        (proptest::option::of(0..=SPREAD_PIXELS_MAX), proptest::collection::btree_set("[a-z,:\\\\ ]{0,3}", 0..4)),
        (proptest::option::of(rgb()), any::<bool>(), proptest::option::of(value)),
    )
        .prop_map(|((how, min_alpha, span, by), (colors, cmap), (spread, hide), (background, tile, column))| Style {
            agg: Agg::Count,
            column,
            how: How::ALL[how],
            min_alpha,
            span: span.filter(|_| how > 0).and_then(|(lo, hi)| Span::new(lo.into(), hi.into())),
            by,
            colors,
            cmap: cmap.map(|i| Cmap::ALL[i]),
            spread: spread.map_or(Spread::Auto, Spread::Pixels),
            hide,
            background,
            normalize: if tile { Normalize::Tile } else { Normalize::Zoom },
        })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    /// Goal: the canonical text loses nothing. Method: parse it back, decoded, over the same base.
    #[test]
    fn canonical_text_leads_back_to_the_style(style in styles(), mut base in styles()) {
        base.by = style.by.clone().and(base.by);
        base.column = style.column.clone().and(base.column);
        for base in [Style::default(), base] {
            let text = style.canonical_over(&base);
            let pairs: Vec<(String, String)> = text
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decoded(value)))
                .collect();
            let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            prop_assert_eq!(base.with(pairs), Ok(style.clone()), "{}", text);
        }
    }
}
