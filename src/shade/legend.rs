//! Legends: which colour means what, from the very shader that colours the tiles.

use super::color::{Category, CategoryKind};
use super::shader::{Look, Shader, category_looks};
use super::style::{Style, StyleError};
use super::values::ValueShader;
use crate::engine::{Distribution, ValueDistribution};
use serde::Serialize;

/// Intensities that a legend names, evenly spaced.
const STOPS_MAX: usize = 6;
/// Colours of a ramp: as many as a bar of 160 pixels needs for a smooth gradient.
const RAMP_STEPS: usize = 33;

/// What the colours of one zoom, filter and style mean. Serialises as legend.json.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Legend {
    /// What the colours say, where that is not how many points there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<LegendAggregate>,
    /// The scale's name: `eq_hist`, `log`, `cbrt` or `linear`.
    pub how: &'static str,
    /// `zoom`: these colours hold for every tile of the zoom. `tile`: each tile has its own scale, and there are no stops.
    pub normalize: &'static str,
    /// In the order of the counts; empty where there are none.
    pub categories: Vec<LegendCategory>,
    /// Ascending by count or value, without repeats; none where no pixel has points, or values, and no span is given.
    pub stops: Vec<Stop>,
    /// `#rrggbb` at even intensities from 0 to 1, if pixels are coloured by their total; else empty, and opacity says how many.
    pub ramp: Vec<String>,
    /// The values whose colours `ramp` lists, if colours say values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ramp_values: Vec<f64>,
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

/// An aggregate of a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LegendAggregate {
    /// `sum`, `mean`, `min` or `max`.
    pub agg: &'static str,
    pub column: String,
}

/// A count of a pixel's visible points, or a value, and what it looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stop {
    #[serde(flatten)]
    pub level: Level,
    /// 0 to 1.
    pub intensity: f64,
    /// Opacity, 1 to 255.
    pub alpha: u8,
    /// `#rrggbb` if pixels are coloured by their total; else the colour is the mix of the pixel's categories.
    pub color: Option<String>,
}

/// Where on the scale a stop is: serialises as `"count": 5`, or as `"value": 1.5, "label": "1.5"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Level {
    Count { count: u32 },
    Value { value: f64, label: String },
}

impl Legend {
    /// The legend of `ValueShader::new(style, distribution)`. `label` writes a value for people.
    pub fn of_values(
        style: &Style,
        aggregate: LegendAggregate,
        distribution: &ValueDistribution,
        label: impl Fn(f64) -> String,
    ) -> Legend {
        let shader = ValueShader::new(style, distribution);
        let stops = shader.normalization().map_or(Vec::new(), |normalization| {
            let mut values: Vec<f64> = even_intensities(STOPS_MAX).map(|i| normalization.value_at(i)).collect();
            values.dedup();
            let stop = |value| {
                let intensity = normalization.intensity_of(value);
                let color = Some(shader.color_at(intensity).to_string());
                Stop { level: Level::Value { value, label: label(value) }, intensity, alpha: 255, color }
            };
            values.into_iter().map(stop).collect()
        });
        let ramp_values = shader.normalization().map_or(Vec::new(), |normalization| {
            even_intensities(RAMP_STEPS).map(|intensity| normalization.value_at(intensity)).collect()
        });
        Legend {
            aggregate: Some(aggregate),
            how: style.how.name(),
            normalize: style.normalize.name(),
            categories: Vec::new(),
            stops,
            ramp: even_intensities(RAMP_STEPS).map(|intensity| shader.color_at(intensity).to_string()).collect(),
            ramp_values,
            min_alpha: 255,
            spread_pixels: 0,
        }
    }

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
            aggregate: None,
            how: style.how.name(),
            normalize: style.normalize.name(),
            categories: categories.iter().zip(looks).map(of_category).collect(),
            stops: stops(&shader),
            ramp: even_intensities(RAMP_STEPS).filter_map(|i| shader.ramp_at(i)).map(|c| c.to_string()).collect(),
            ramp_values: Vec::new(),
            min_alpha: if shader.ramp_at(0.0).is_some() { 255 } else { style.min_alpha },
            spread_pixels,
        })
    }
}

/// From 0 to 1.
fn even_intensities(steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |i| i as f64 / (steps - 1) as f64)
}

/// The lowest count of each of a few even intensities. Fewer, where counts are few.
fn stops(shader: &Shader) -> Vec<Stop> {
    let Some(normalization) = shader.normalization() else { return Vec::new() };
    let mut counts: Vec<u32> =
        even_intensities(STOPS_MAX).map(|intensity| normalization.count_at(intensity).max(1)).collect();
    counts.dedup();
    let stop = |count| {
        let intensity = normalization.intensity(count);
        let alpha = shader.alpha_at(intensity);
        Stop { level: Level::Count { count }, intensity, alpha, color: shader.ramp_at(intensity).map(|color| color.to_string()) }
    };
    counts.into_iter().map(stop).collect()
}
