//! Legends: which colour means what, from the very shader that colours the tiles.

use super::color::{Category, CategoryKind};
use super::shader::{Look, Shader, category_looks};
use super::style::{Style, StyleError};
use crate::engine::Distribution;
use serde::Serialize;

/// Intensities that a legend names, evenly spaced.
const STOPS_MAX: usize = 6;
/// Colours of a ramp: as many as a bar of 160 pixels needs for a smooth gradient.
const RAMP_STEPS: usize = 33;

/// What the colours of one zoom, filter and style mean. Serialises as legend.json.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Legend {
    /// The scale's name: `eq_hist`, `log`, `cbrt` or `linear`.
    pub how: &'static str,
    /// `zoom`: these colours hold for every tile of the zoom. `tile`: each tile has its own scale, and there are no stops.
    pub normalize: &'static str,
    /// In the order of the counts; empty where there are none.
    pub categories: Vec<LegendCategory>,
    /// Ascending by count, without repeats; none where no pixel has points.
    pub stops: Vec<Stop>,
    /// `#rrggbb` at even intensities from 0 to 1, if pixels are coloured by their total; else empty, and opacity says how many.
    pub ramp: Vec<String>,
    /// The opacity at intensity 0; that at 1 is 255. 255 if pixels are coloured by their total.
    pub min_alpha: u8,
    /// The radius in pixels of the circle whose points a pixel's count is.
    pub spread_pixels: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LegendCategory {
    pub value: Option<String>,
    pub label: String,
    pub kind: CategoryKind,
    /// `#rrggbb`; `None` for all if pixels are coloured by their total.
    pub color: Option<String>,
    pub is_hidden: bool,
    /// Points selected.
    pub count: u64,
}

/// A count of a pixel's visible points, and what it looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stop {
    pub count: u32,
    /// 0 to 1.
    pub intensity: f64,
    /// Opacity, 1 to 255.
    pub alpha: u8,
    /// `#rrggbb` if pixels are coloured by their total; else the colour is the mix of the pixel's categories.
    pub color: Option<String>,
}

impl Legend {
    /// The legend of `Shader::new(style, categories, distribution)`. `spread_pixels` is the radius that `style.spread` came to.
    ///
    /// # Errors
    /// As [`Shader::new`].
    pub fn new(
        style: &Style,
        categories: &[Category],
        distribution: &Distribution,
        spread_pixels: usize,
    ) -> Result<Legend, StyleError> {
        let shader = Shader::new(style, categories, distribution)?;
        let looks = category_looks(style, categories)?;
        let of_category = |(category, look): (&Category, Look)| LegendCategory {
            value: category.value.clone(),
            label: category.label.clone(),
            kind: category.kind,
            color: style.cmap.is_none().then(|| look.color.to_string()),
            is_hidden: look.is_hidden,
            count: category.count,
        };
        Ok(Legend {
            how: style.how.name(),
            normalize: style.normalize.name(),
            categories: categories.iter().zip(looks).map(of_category).collect(),
            stops: stops(&shader),
            ramp: (0..RAMP_STEPS)
                .filter_map(|i| shader.ramp_at(i as f64 / (RAMP_STEPS - 1) as f64))
                .map(|c| c.to_string())
                .collect(),
            min_alpha: if shader.ramp_at(0.0).is_some() { 255 } else { style.min_alpha },
            spread_pixels,
        })
    }
}

/// The lowest count of each of a few even intensities. Fewer, where counts are few.
fn stops(shader: &Shader) -> Vec<Stop> {
    let Some(normalization) = shader.normalization() else { return Vec::new() };
    let mut counts: Vec<u32> =
        (0..STOPS_MAX).map(|i| normalization.count_at(i as f64 / (STOPS_MAX - 1) as f64).max(1)).collect();
    counts.dedup();
    let stop = |count| {
        let intensity = normalization.intensity(count);
        let alpha = shader.alpha_at(intensity);
        Stop { count, intensity, alpha, color: shader.ramp_at(intensity).map(|color| color.to_string()) }
    };
    counts.into_iter().map(stop).collect()
}
