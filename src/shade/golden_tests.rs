//! Agreement with Datashader 0.19.1: images of small grids, as benches/peers/golden_shading.py has made them.

use super::shader::Paint;
use super::*;
use crate::engine::{CountGrid, Distribution};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    colors: Vec<String>,
    ramp: Vec<String>,
    grids: Vec<Grid>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Grid {
    name: String,
    size: usize,
    categories: usize,
    counts: Vec<u32>,
}

#[derive(Deserialize)]
struct Case {
    grid: String,
    how: String,
    min_alpha: u8,
    span: Option<(u32, u32)>,
    spread: serde_json::Value,
    is_ramp: bool,
    rgba: String,
}

fn colors(texts: &[String]) -> Vec<Rgb> {
    texts.iter().map(|text| Rgb::parse(text).unwrap()).collect()
}

/// Goal: `normalize=tile` is Datashader's `shade(spread(counts))`, and so is a whole zoom's scale over an image that is the zoom. Method: every
/// case, every pixel, every channel, within one level.
#[test]
fn images_are_those_of_datashader() {
    let golden: Golden = serde_json::from_str(include_str!("../../fixtures/shading/golden.json")).unwrap();
    let (category_colors, ramp) = (colors(&golden.colors), colors(&golden.ramp));
    assert!(golden.cases.len() > 150, "the fixture is whole");
    let (mut exact, mut pixels, mut zooms) = (0, 0, 0);
    for case in &golden.cases {
        let grid = golden.grids.iter().find(|grid| grid.name == case.grid).unwrap();
        let counts = CountGrid { categories: grid.categories, size: grid.size, counts: grid.counts.clone() };
        let radius = match case.spread.as_u64() {
            Some(pixels) => pixels as usize,
            None => SpreadDensity::of(&counts).radius(),
        };
        let around = [[None; 3], [None, Some(&counts), None], [None; 3]];
        let counts = spread(&halo(around, radius).unwrap(), radius);
        let style = Style {
            how: How::ALL.into_iter().find(|how| how.name() == case.how).unwrap(),
            min_alpha: case.min_alpha,
            span: case.span.and_then(|(lo, hi)| Span::new(lo.into(), hi.into())),
            normalize: Normalize::Tile,
            ..Style::default()
        };
        let visible: Vec<(usize, Rgb)> = (0..grid.categories).map(|i| (i, category_colors[i])).collect();
        let paint = if case.is_ramp { Paint::Ramp(ramp.clone()) } else { Paint::Mix };
        let expected: Vec<u8> =
            (0..case.rgba.len()).step_by(2).map(|i| u8::from_str_radix(&case.rgba[i..i + 2], 16).unwrap()).collect();
        // Of a zoom, weights count from 0 and not from the lowest count, and eq_hist needs no bins: those cases differ by intent.
        let is_alike = counts.counts.contains(&0) && counts.totals().iter().all(|&total| total < 65_536);
        for normalize in [Normalize::Tile, Normalize::Zoom] {
            if normalize == Normalize::Zoom && !is_alike {
                continue;
            }
            let style = Style { normalize, ..style.clone() };
            let distribution = Distribution::of_totals(counts.totals());
            let shader = Shader::with_paint(&style, visible.clone(), grid.categories, paint.clone(), &distribution);
            let rgba = shader.shade(&counts);
            let what = format!("{} {} spread={} is_ramp={} {normalize:?}", case.grid, case.how, case.spread, case.is_ramp);
            assert_eq!(rgba.len(), expected.len(), "{what}");
            for (index, (ours, theirs)) in rgba.chunks(4).zip(expected.chunks(4)).enumerate() {
                assert_eq!(ours[3] == 0, theirs[3] == 0, "{what}: pixel {index} is {ours:?}, Datashader's {theirs:?}");
                // The colour of a transparent pixel means nothing.
                let apart = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(ours[3] == 0 || apart <= 1, "{what}: pixel {index} is {ours:?}, Datashader's {theirs:?}");
                exact += usize::from(ours[3] == 0 || apart == 0);
                pixels += 1;
            }
            zooms += usize::from(normalize == Normalize::Zoom && case.spread != 0);
        }
    }
    assert!(zooms > 20, "{zooms} spread images are compared by the scale of a zoom");
    eprintln!("{exact} of {pixels} pixels are equal to the last bit, all within one level");
}
