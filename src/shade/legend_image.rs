//! A legend as a picture: a light plate that stands out from light and dark maps alike.

use super::canvas::{Box, Canvas, text_fitted, text_width};
use super::color::Rgb;
use super::legend::{Legend, LegendCategory, Level, Stop};

/// A straight-alpha RGBA image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegendImage {
    /// Image pixels.
    pub width: usize,
    pub height: usize,
    pub rgba: Vec<u8>,
}

// Lengths in logical pixels.
const PADDING: f32 = 12.0;
const WIDTH_MIN: f32 = 184.0;
const WIDTH_MAX: f32 = 320.0;
const ROW: f32 = 20.0;
const SWATCH: f32 = 12.0;
const LABEL_LEFT: f32 = SWATCH + 8.0;
const BAR: f32 = 10.0;
const TITLE_PX: f32 = 13.0;
const TEXT_PX: f32 = 12.0;
const SMALL_PX: f32 = 10.5;

/// More rows than this make a legend taller than a map; the last then says how many are left out.
const ROWS_MAX: usize = 24;

const PLATE: Rgb = Rgb([0xff; 3]);
const PLATE_OPACITY: f32 = 0.93;
const INK: Rgb = Rgb([0x1f, 0x29, 0x33]);
const SOFT_INK: Rgb = Rgb([0x5b, 0x67, 0x70]);
const FAINT_INK: Rgb = Rgb([0xa5, 0xae, 0xb6]);

/// Draws a legend under a title, `ratio` image pixels to a logical one: 1, or 2 for `@2x`.
pub fn legend_image(legend: &Legend, title: &str, ratio: usize) -> LegendImage {
    let rows = &legend.categories[..legend.categories.len().min(ROWS_MAX)];
    let left_out = legend.categories.len() - rows.len();
    let has_colors = legend.ramp.is_empty();
    let width = width_of(title, rows).clamp(WIDTH_MIN, WIDTH_MAX);
    let rows_height = if has_colors { (rows.len() + usize::from(left_out > 0)) as f32 * ROW } else { 0.0 };
    let title_height = if title.is_empty() { 0.0 } else { ROW + 4.0 };
    let gap = if rows_height > 0.0 { 8.0 } else { 0.0 };
    let scale_height = if legend.stops.is_empty() { SMALL_PX + 2.0 } else { SMALL_PX + 6.0 + BAR + 5.0 + SMALL_PX };
    let height = PADDING + title_height + rows_height + gap + scale_height + PADDING;

    let mut canvas = Canvas::new(width, height, ratio);
    plate(&mut canvas, width, height);
    let mut top = PADDING;
    if !title.is_empty() {
        let title = text_fitted(title, TITLE_PX, width - 2.0 * PADDING);
        canvas.text(&title, TITLE_PX, (PADDING, top + TITLE_PX), INK);
        top += title_height;
    }
    if has_colors {
        for category in rows {
            row(&mut canvas, category, top, width);
            top += ROW;
        }
        if left_out > 0 {
            let more = format!("and {} more", with_thousands(left_out as u64));
            canvas.text(&more, TEXT_PX, (PADDING + LABEL_LEFT, top + 14.0), SOFT_INK);
            top += ROW;
        }
        top += gap;
    }
    scale(&mut canvas, legend, top, width);
    LegendImage { width: canvas.width, height: canvas.height, rgba: canvas.rgba }
}

fn width_of(title: &str, rows: &[LegendCategory]) -> f32 {
    let row = |category: &LegendCategory| {
        let count = text_width(&with_thousands(category.count), TEXT_PX);
        LABEL_LEFT + text_width(&category.label, TEXT_PX) + 16.0 + count
    };
    let widest = rows.iter().map(row).fold(text_width(title, TITLE_PX), f32::max);
    (widest + 2.0 * PADDING).ceil()
}

fn plate(canvas: &mut Canvas, width: f32, height: f32) {
    // A dark hairline outside a light plate: the plate shows on dark maps, the line on light ones.
    canvas.fill(Box { left: 0.0, top: 0.0, width, height }, 8.0, |_| (Rgb([0; 3]), 0.16));
    let inside = Box { left: 1.0, top: 1.0, width: width - 2.0, height: height - 2.0 };
    canvas.fill(inside, 7.0, |_| (PLATE, PLATE_OPACITY));
}

fn row(canvas: &mut Canvas, category: &LegendCategory, top: f32, width: f32) {
    let swatch = Box { left: PADDING, top: top + 4.0, width: SWATCH, height: SWATCH };
    let color = category.color.as_deref().and_then(Rgb::parse).unwrap_or(FAINT_INK);
    canvas.fill(swatch, 3.0, |_| (color, 1.0));
    if category.is_hidden {
        let hole = Box { left: swatch.left + 1.5, top: swatch.top + 1.5, width: SWATCH - 3.0, height: SWATCH - 3.0 };
        canvas.fill(hole, 2.0, |_| (PLATE, 1.0));
    }
    let count = with_thousands(category.count);
    let count_left = width - PADDING - text_width(&count, TEXT_PX);
    let label = text_fitted(&category.label, TEXT_PX, count_left - 12.0 - PADDING - LABEL_LEFT);
    let (label_ink, count_ink) = if category.is_hidden { (FAINT_INK, FAINT_INK) } else { (INK, SOFT_INK) };
    canvas.text(&label, TEXT_PX, (PADDING + LABEL_LEFT, top + 14.0), label_ink);
    canvas.text(&count, TEXT_PX, (count_left, top + 14.0), count_ink);
}

/// What the intensities mean: a caption, a bar, and counts below it.
fn scale(canvas: &mut Canvas, legend: &Legend, top: f32, width: f32) {
    let caption = match (legend.normalize, legend.stops.is_empty(), &legend.aggregate, legend.spread_pixels) {
        ("tile", ..) => "each tile has its own scale".to_owned(),
        (_, true, Some(_), _) => "no values".to_owned(),
        (_, true, None, _) => "no points".to_owned(),
        (_, _, Some(of), _) => text_fitted(&format!("{} of {}", of.agg, of.column), SMALL_PX, width - 2.0 * PADDING),
        (_, _, None, 0) => "points per pixel".to_owned(),
        (_, _, None, pixels) => format!("points within {pixels} px"),
    };
    canvas.text(&caption, SMALL_PX, (PADDING, top + SMALL_PX - 1.0), SOFT_INK);
    if legend.stops.is_empty() {
        return;
    }
    let bar = Box { left: PADDING, top: top + SMALL_PX + 6.0, width: width - 2.0 * PADDING, height: BAR };
    let ramp: Vec<Rgb> = legend.ramp.iter().filter_map(|color| Rgb::parse(color)).collect();
    let min_opacity = f32::from(legend.min_alpha) / 255.0;
    // The ends of some ramps are as light as the plate: a hairline keeps the bar's shape.
    let line = Box { left: bar.left - 0.5, top: bar.top - 0.5, width: bar.width + 1.0, height: bar.height + 1.0 };
    canvas.fill(line, 3.5, |_| (INK, 0.25));
    canvas.fill(bar, 3.0, |_| (PLATE, 1.0));
    canvas.fill(bar, 3.0, |share| match ramp.len() {
        0 => (INK, min_opacity + (1.0 - min_opacity) * share),
        _ => (between(&ramp, share), 1.0),
    });
    let baseline = bar.top + BAR + 5.0 + SMALL_PX - 2.0;
    let mut free_from = bar.left;
    let (last, others) = legend.stops.split_last().expect("a scale has stops");
    let last_label = stop_label(last);
    let last_left = bar.left + bar.width - text_width(&last_label, SMALL_PX);
    canvas.text(&last_label, SMALL_PX, (last_left, baseline), SOFT_INK);
    for stop in others {
        let label = stop_label(stop);
        let label_width = text_width(&label, SMALL_PX);
        let at = bar.left + bar.width * stop.intensity as f32 - label_width / 2.0;
        let left = at.max(bar.left);
        if left >= free_from && left + label_width + 8.0 <= last_left {
            canvas.text(&label, SMALL_PX, (left, baseline), SOFT_INK);
            free_from = left + label_width + 8.0;
        }
    }
}

fn stop_label(stop: &Stop) -> String {
    match &stop.level {
        Level::Count { count } => compact(*count),
        Level::Value { label, .. } => label.clone(),
    }
}

/// The colour at a share of the way along a ramp.
fn between(ramp: &[Rgb], share: f32) -> Rgb {
    let at = share * (ramp.len() - 1) as f32;
    let (from, to) = (ramp[at as usize].0, ramp[(at as usize + 1).min(ramp.len() - 1)].0);
    let channel = |c: usize| (f32::from(from[c]) + (f32::from(to[c]) - f32::from(from[c])) * at.fract()).round() as u8;
    Rgb([channel(0), channel(1), channel(2)])
}

/// 1,234,567.
fn with_thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits at least: 950, 1.23k, 45.6k, 789k, 1.23M.
fn compact(n: u32) -> String {
    let (unit, letter) = match n {
        0..10_000 => return with_thousands(n.into()),
        10_000..1_000_000 => (1_000, 'k'),
        1_000_000..1_000_000_000 => (1_000_000, 'M'),
        _ => (1_000_000_000, 'G'),
    };
    let (whole, tenths) = (n / unit, n % unit * 10 / unit);
    if whole < 100 && tenths > 0 { format!("{whole}.{tenths}{letter}") } else { format!("{whole}{letter}") }
}

/// A number as short as it can be told from its neighbours: three digits, or all of a whole number below 10,000.
pub fn number_label(value: f64) -> String {
    let size = value.abs();
    let (unit, letter) = match size {
        _ if size < 1e4 => (1.0, ""),
        _ if size < 1e6 => (1e3, "k"),
        _ if size < 1e9 => (1e6, "M"),
        _ if size < 1e12 => (1e9, "G"),
        _ => return format!("{value:.2e}"),
    };
    if size > 0.0 && size < 1e-3 {
        return format!("{value:.2e}");
    }
    let scaled = value / unit;
    // Digits behind the point so that there are three in all.
    let decimals = match scaled.abs() {
        digits if digits >= 100.0 => 0,
        digits if digits >= 10.0 => 1,
        digits if digits >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Distribution;
    use crate::shade::{Category, CategoryKind, Style};

    fn legend(query: &[(&str, &str)], labels: &[(&str, u64)]) -> Legend {
        let categories: Vec<Category> = labels
            .iter()
            .map(|&(label, count)| Category {
                value: Some(label.to_owned()),
                label: label.to_owned(),
                color: None,
                kind: CategoryKind::Value,
                count,
            })
            .collect();
        let pixels_by_count = vec![(1, 5000), (2, 2100), (3, 900), (8, 300), (40, 90), (1200, 3), (41_250, 1)];
        Legend::new(&Style::parse(query.iter().copied()).unwrap(), &categories, &Distribution { pixels_by_count }, 0)
            .unwrap()
    }

    #[test]
    fn swatches_show_the_categories_colours_and_corners_are_transparent() {
        let image = legend_image(&legend(&[("hide", "GSM")], &[("LTE", 102_462), ("GSM", 7)]), "radio", 2);
        let at = |x: f32, y: f32| {
            let index = ((y * 2.0) as usize * image.width + (x * 2.0) as usize) * 4;
            [0, 1, 2, 3].map(|c| image.rgba[index + c])
        };
        assert_eq!(at(0.0, 0.0)[3], 0);
        let first_row = PADDING + ROW + 4.0;
        let center = PADDING + SWATCH / 2.0;
        assert_eq!(at(center, first_row + 10.0), [0xe6, 0x9f, 0x00, 255], "LTE is orange");
        assert_eq!(at(center, first_row + ROW + 10.0), [255; 4], "GSM is hidden: a hole");
    }

    #[test]
    fn numbers_are_short_and_readable() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(with_thousands));
        let compacted = [9_999, 10_000, 45_678, 456_789, 1_234_567, 4_000_000_000].map(compact);
        assert_eq!(compacted, ["9,999", "10k", "45.6k", "456k", "1.2M", "4G"]);
    }

    #[test]
    fn labels_of_values_have_three_digits() {
        for (value, label) in [
            (0.0, "0"), (0.5, "0.5"), (-0.125, "-0.125"), (2.0, "2"), (3.456, "3.46"), (12.34, "12.3"), (102.3, "102"),
            (1234.0, "1234"), (-45_678.0, "-45.7k"), (250_000.0, "250k"), (6_474_551.0, "6.47M"), (3e9, "3G"), (1.5e15, "1.50e15"),
            (0.00012, "1.20e-4"),
        ] {
            assert_eq!(number_label(value), label);
        }
    }

    /// Writes pictures for eyes, if LEGEND_PICTURES names a folder.
    #[test]
    fn pictures_for_eyes() {
        let Ok(folder) = std::env::var("LEGEND_PICTURES") else {
            eprintln!("SKIPPED: set LEGEND_PICTURES to a folder to look at legends");
            return;
        };
        let radios = [("LTE", 102_462), ("GSM", 15_430), ("UMTS", 9_671), ("NR", 3_785), ("CDMA", 12)];
        let long = [("Criminal damage and arson in the whole of the county", 1), ("日本", 2)];
        for (name, query, labels) in [
            ("radio", vec![], &radios[..]),
            ("log", vec![("how", "log"), ("hide", "UMTS")], &radios[..]),
            ("fire", vec![("cmap", "fire")], &radios[..]),
            ("viridis", vec![("how", "linear")], &[]),
            ("long", vec![("normalize", "tile")], &long[..]),
        ] {
            let image = legend_image(&legend(&query, labels), name, 2);
            let path = format!("{folder}/{name}-{}x{}.rgba", image.width, image.height);
            std::fs::write(path, image.rgba).unwrap();
        }
    }
}
