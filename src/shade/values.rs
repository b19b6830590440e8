//! From the values of an aggregate to an image: each has the colour of its place on the scale, and none is transparent.

use super::normalize::Normalization;
use super::shader::{Paint, lay_over, paint_at};
use super::style::{Normalize, Style};
use super::{Cmap, Rgb};
use crate::engine::{ValueDistribution, ValueGrid};

/// Everything that the colours of values need, prepared once per distribution and style.
#[derive(Clone, Debug)]
pub struct ValueShader {
    style: Style,
    paint: Paint,
    /// The whole zoom's; `None` where each tile has its own or no pixel has a value.
    zoom: Option<Normalization>,
}

impl ValueShader {
    /// Prepares a style for the values of one zoom, whose distribution it is; with a span or `normalize=tile` it is not read.
    /// Without `cmap`, viridis is used.
    pub fn new(style: &Style, distribution: &ValueDistribution) -> ValueShader {
        let zoom = match style.normalize {
            Normalize::Zoom => Normalization::of_values(distribution, style.how, style.span),
            Normalize::Tile => None,
        };
        let paint = Paint::Ramp(style.cmap.unwrap_or(Cmap::Viridis).colors());
        ValueShader { style: style.clone(), paint, zoom }
    }

    /// The image of a grid: straight-alpha RGBA, `size * size * 4` bytes, row 0 north.
    pub fn shade(&self, grid: &ValueGrid) -> Vec<u8> {
        let mut rgba = vec![0; grid.values.len() * 4];
        let alone = match self.style.normalize {
            Normalize::Zoom => None,
            Normalize::Tile => {
                let distribution = ValueDistribution::of_values(grid.values.iter().copied());
                Normalization::of_values(&distribution, self.style.how, self.style.span)
            }
        };
        if let Some(normalization) = self.zoom.as_ref().or(alone.as_ref()) {
            for (pixel, &value) in rgba.chunks_exact_mut(4).zip(&grid.values).filter(|(_, value)| !value.is_nan()) {
                pixel.copy_from_slice(&paint_at(&self.paint, normalization.intensity_of(value), self.style.min_alpha));
            }
        }
        if let Some(background) = self.style.background {
            lay_over(background, &mut rgba);
        }
        rgba
    }

    /// The scale of the whole zoom; `None` with `normalize=tile` and where no pixel has a value.
    pub(super) fn normalization(&self) -> Option<&Normalization> {
        self.zoom.as_ref()
    }

    pub(super) fn color_at(&self, intensity: f64) -> Rgb {
        let [r, g, b, _] = paint_at(&self.paint, intensity, self.style.min_alpha);
        Rgb([r, g, b])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Distribution;
    use crate::engine::CountGrid;
    use crate::shade::Shader;

    fn style(query: &[(&str, &str)]) -> Style {
        Style::parse(query.iter().copied().chain([("agg", "mean"), ("column", "x")])).unwrap()
    }

    fn grid(values: &[f64]) -> ValueGrid {
        ValueGrid { size: 2, values: values.to_vec() }
    }

    #[test]
    fn values_have_the_colours_of_their_places_and_none_is_transparent() {
        let values = [-10.0, f64::NAN, 0.0, 10.0];
        let of_zoom = ValueDistribution::of_values(values);
        let rgba = ValueShader::new(&style(&[("how", "linear"), ("cmap", "gray")]), &of_zoom).shade(&grid(&values));
        assert_eq!(rgba, [[0, 0, 0, 255], [0, 0, 0, 0], [127, 127, 127, 255], [255; 4]].concat());
        let narrowed = style(&[("how", "linear"), ("cmap", "gray"), ("span", "-5,5"), ("background", "ff0000")]);
        let rgba = ValueShader::new(&narrowed, &of_zoom).shade(&grid(&[f64::NEG_INFINITY, f64::NAN, 0.0, f64::INFINITY]));
        assert_eq!(rgba, [[0, 0, 0, 255], [255, 0, 0, 255], [127, 127, 127, 255], [255; 4]].concat());
    }

    #[test]
    fn a_tile_alone_and_a_zoom_without_values() {
        let tile = style(&[("how", "linear"), ("cmap", "gray"), ("normalize", "tile")]);
        let rgba = ValueShader::new(&tile, &ValueDistribution::of_values([0.0, 1000.0])).shade(&grid(&[1.0, 2.0, 3.0, f64::NAN]));
        assert_eq!(rgba, [[0, 0, 0, 255], [127, 127, 127, 255], [255; 4], [0; 4]].concat());
        let nothing = ValueShader::new(&style(&[]), &ValueDistribution::default());
        assert_eq!(nothing.shade(&ValueGrid::empty(2)), [0; 16]);
        let given = ValueShader::new(&style(&[("how", "linear"), ("cmap", "gray"), ("span", "0,2")]), &ValueDistribution::default());
        assert_eq!(given.shade(&grid(&[1.0, 2.0, f64::NAN, 0.0])), [[127, 127, 127, 255], [255; 4], [0; 4], [0, 0, 0, 255]].concat());
    }

    /// Goal: one scale for all. Method: whole numbers as values and as counts have the same colours, whatever the scale.
    #[test]
    fn counts_and_equal_values_look_alike() {
        let counts = [1u32, 2, 9, 400];
        for how in ["eq_hist", "log", "cbrt", "linear"] {
            let of_counts = Style::parse([("how", how), ("cmap", "fire")]).unwrap();
            let shader = Shader::new(&of_counts, &[], &Distribution::of_totals(counts)).unwrap();
            let expected = shader.shade(&CountGrid { categories: 1, size: 2, counts: counts.to_vec() });
            let values = counts.map(f64::from);
            let shader = ValueShader::new(&style(&[("how", how), ("cmap", "fire")]), &ValueDistribution::of_values(values));
            assert_eq!(shader.shade(&grid(&values)), expected, "{how}");
        }
    }
}
