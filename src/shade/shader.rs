//! From a count grid to an image.
//!
//! A pixel's colour is the mean of its categories' colours, weighted by their counts, and its opacity says how many points
//! it has: `RGB = floor(sum(n_c K_c) / sum(n_c))`, `A = floor(min_alpha + (255 - min_alpha) * intensity(sum(n_c)))`. Without
//! categories, or with a `cmap`, the colour says how many, and the pixel is opaque. Pixels without points are transparent.

use super::cmap::Cmap;
use super::color::{Category, Rgb, colors_of};
use super::normalize::{ImageKind, Normalization};
use super::style::{Normalize, Style, StyleError};
use crate::engine::{CountGrid, Distribution};

/// Counts up to here are looked up in a table and mixed in f32. Up to this total f32 is exact: `n * 255` is below 2^24, and
/// a quotient that is not whole is at least 2^-16 away from a whole number, more than half a step of f32 below 256.
const TABLE_COUNT_MAX: u32 = 1 << 16;

/// Everything that colours need, prepared once per distribution, style and list of categories.
#[derive(Clone, Debug)]
pub struct Shader {
    /// Planes of the grid that are drawn, with their colours.
    visible: Vec<(usize, Rgb)>,
    planes: usize,
    style: Style,
    paint: Paint,
    /// The whole zoom's; `None` where each tile has its own or nothing is there to draw.
    zoom: Option<ZoomTable>,
}

/// What the colour of a pixel says.
#[derive(Clone, Debug)]
pub(super) enum Paint {
    /// Which categories; how many is said by opacity.
    Mix,
    /// How many.
    Ramp(Vec<Rgb>),
}

#[derive(Clone, Debug)]
struct ZoomTable {
    normalization: Normalization,
    paints: PaintTable,
}

/// A paint's value by count: opacity (in the last byte) or the whole colour.
#[derive(Clone, Debug)]
struct PaintTable {
    by_count: Vec<[u8; 4]>,
    /// Whether counts beyond the table all look like its last.
    is_saturated: bool,
}

impl Shader {
    /// Prepares a style for the counts of one zoom. `categories` are those of the grids, in their order; an empty slice
    /// means grids without categories, which have one plane. `distribution` is that of the selection at the zoom, over all
    /// categories, hidden ones too, so that hiding does not change what an opacity means; it is not read where the style
    /// [needs none](Style::needs_distribution).
    ///
    /// Without categories and without `cmap`, viridis is used.
    ///
    /// # Errors
    /// A category named in `colors` or `hide` that is not in `categories`.
    pub fn new(style: &Style, categories: &[Category], distribution: &Distribution) -> Result<Shader, StyleError> {
        let looks = category_looks(style, categories)?;
        let planes = categories.len().max(1);
        let visible = if categories.is_empty() {
            vec![(0, Rgb([0; 3]))]
        } else {
            looks.iter().enumerate().filter(|(_, look)| !look.is_hidden).map(|(i, look)| (i, look.color)).collect()
        };
        let paint = match (style.cmap, categories.is_empty()) {
            (Some(cmap), _) => Paint::Ramp(cmap.colors()),
            (None, true) => Paint::Ramp(Cmap::Viridis.colors()),
            (None, false) => Paint::Mix,
        };
        Ok(Shader::with_paint(style, visible, planes, paint, distribution))
    }

    pub(super) fn with_paint(
        style: &Style,
        visible: Vec<(usize, Rgb)>,
        planes: usize,
        paint: Paint,
        distribution: &Distribution,
    ) -> Shader {
        let normalization = match style.normalize {
            Normalize::Zoom => Normalization::of_distribution(distribution, style.how, style.span),
            Normalize::Tile => None,
        };
        let zoom = normalization.map(|normalization| {
            let paints = PaintTable::new(&paint, &normalization, style.min_alpha, TABLE_COUNT_MAX);
            ZoomTable { normalization, paints }
        });
        Shader { visible, planes, style: style.clone(), paint, zoom }
    }

    /// The image of a grid: straight-alpha RGBA, `size * size * 4` bytes, row 0 north.
    ///
    /// # Panics
    /// If the grid has another number of categories than the shader.
    pub fn shade(&self, grid: &CountGrid) -> Vec<u8> {
        assert_eq!(grid.categories, self.planes, "a grid is shaded with its own categories");
        let mut rgba = match (&self.zoom, self.style.normalize) {
            (Some(zoom), _) => self.shade_with(grid, &zoom.normalization, &zoom.paints),
            (None, Normalize::Tile) => self.shade_alone(grid),
            // A zoom without points has tiles without points.
            (None, Normalize::Zoom) => vec![0; grid.size * grid.size * 4],
        };
        if let Some(background) = self.style.background {
            lay_over(background, &mut rgba);
        }
        rgba
    }

    /// The scale of the whole zoom; `None` with `normalize=tile` and where no pixel has points.
    pub fn normalization(&self) -> Option<&Normalization> {
        self.zoom.as_ref().map(|zoom| &zoom.normalization)
    }

    /// The opacity of a pixel of this intensity.
    pub(super) fn alpha_at(&self, intensity: f64) -> u8 {
        paint_at(&self.paint, intensity, self.style.min_alpha)[3]
    }

    /// The colour of a pixel of this intensity; `None` if its categories say it.
    pub(super) fn ramp_at(&self, intensity: f64) -> Option<Rgb> {
        let [r, g, b, _] = paint_at(&self.paint, intensity, self.style.min_alpha);
        matches!(self.paint, Paint::Ramp(_)).then_some(Rgb([r, g, b]))
    }

    fn shade_with(&self, grid: &CountGrid, normalization: &Normalization, paints: &PaintTable) -> Vec<u8> {
        let mut rgba = vec![0; grid.size * grid.size * 4];
        let mut row_of = RowMix::new(grid.size);
        for (row, pixels) in rgba.chunks_exact_mut(grid.size * 4).enumerate() {
            if !row_of.add_up(grid, row, &self.visible) {
                continue;
            }
            let paint_of = |count| {
                paints
                    .at(count)
                    .unwrap_or_else(|| paint_at(&self.paint, normalization.intensity(count), self.style.min_alpha))
            };
            match self.paint {
                Paint::Mix => row_of.write_mix(pixels, paint_of, |column| self.mix_exactly(grid, row, column, 0)),
                Paint::Ramp(_) => row_of.write_ramp(pixels, paint_of),
            }
        }
        rgba
    }

    /// Datashader's own image of the grid, from nothing but itself.
    fn shade_alone(&self, grid: &CountGrid) -> Vec<u8> {
        let pixels = grid.size * grid.size;
        let mut totals = vec![0u32; pixels];
        for &(plane, _) in &self.visible {
            for (total, n) in totals.iter_mut().zip(grid.plane(plane)) {
                *total += n;
            }
        }
        let kind = match self.paint {
            Paint::Mix => ImageKind::Categorical,
            Paint::Ramp(_) => ImageKind::SingleChannel,
        };
        let Some(normalization) = Normalization::of_image(&totals, kind, self.style.how, self.style.span) else {
            return vec![0; pixels * 4];
        };
        let count_max = totals.iter().copied().max().unwrap_or(0).min(TABLE_COUNT_MAX);
        let paints = PaintTable::new(&self.paint, &normalization, self.style.min_alpha, count_max);
        let mut rgba = self.shade_with(grid, &normalization, &paints);
        let lowest = self.visible.iter().flat_map(|&(plane, _)| grid.plane(plane)).copied().min().unwrap_or(0);
        if matches!(self.paint, Paint::Mix) && lowest > 0 {
            // Only where no pixel lacks any category: weights then count from the lowest.
            for (index, pixel) in rgba.chunks_exact_mut(4).enumerate() {
                let mixed = self.mix_exactly(grid, index / grid.size, index % grid.size, lowest);
                pixel[..3].copy_from_slice(&mixed.0);
            }
        }
        rgba
    }

    /// A pixel's mix in integers, with `baseline` taken off every count; the plain mean where nothing is left.
    fn mix_exactly(&self, grid: &CountGrid, row: usize, column: usize, baseline: u32) -> Rgb {
        let index = row * grid.size + column;
        let mut sums = [0u64; 3];
        let mut total = 0u64;
        for &(plane, Rgb(color)) in &self.visible {
            let weight = u64::from(grid.plane(plane)[index] - baseline);
            total += weight;
            for (sum, channel) in sums.iter_mut().zip(color) {
                *sum += weight * u64::from(channel);
            }
        }
        if total == 0 {
            total = self.visible.len().max(1) as u64;
            sums = [0, 1, 2].map(|c| self.visible.iter().map(|(_, color)| u64::from(color.0[c])).sum());
        }
        Rgb(sums.map(|sum| (sum / total) as u8))
    }
}

/// A category's colour, and whether it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub color: Rgb,
    pub is_hidden: bool,
}

/// How a style draws each category.
pub(super) fn category_looks(style: &Style, categories: &[Category]) -> Result<Vec<Look>, StyleError> {
    let check = |name: &'static str, value: &String| {
        if categories.iter().any(|category| category.is_named(value)) {
            return Ok(());
        }
        const KNOWN_MAX: usize = 20;
        let mut known: Vec<&str> = categories.iter().take(KNOWN_MAX).map(Category::name).collect();
        if categories.len() > KNOWN_MAX {
            known.push("...");
        }
        let known = if known.is_empty() { "(there are no categories)".to_owned() } else { known.join(", ") };
        Err(StyleError::Category { name, value: value.clone(), known })
    };
    style.colors.keys().try_for_each(|value| check("colors", value))?;
    style.hide.iter().try_for_each(|value| check("hide", value))?;
    let looks = categories.iter().zip(colors_of(categories)).map(|(category, default)| {
        let given = style.colors.iter().find(|(name, _)| category.is_named(name));
        Look {
            color: given.map_or(default, |(_, &color)| color),
            is_hidden: style.hide.iter().any(|name| category.is_named(name)),
        }
    });
    Ok(looks.collect())
}

impl PaintTable {
    fn new(paint: &Paint, normalization: &Normalization, min_alpha: u8, count_max: u32) -> PaintTable {
        let (_, hi) = normalization.counts();
        let last = hi.min(count_max);
        let mut by_count: Vec<[u8; 4]> =
            (0..=last).map(|count| paint_at(paint, normalization.intensity(count), min_alpha)).collect();
        by_count[0] = [0; 4];
        PaintTable { by_count, is_saturated: hi <= count_max }
    }

    fn at(&self, count: u32) -> Option<[u8; 4]> {
        match self.by_count.get(count as usize) {
            None if self.is_saturated => self.by_count.last().copied(),
            paint => paint.copied(),
        }
    }
}

/// What an intensity looks like: for a mix only the opacity, in the last byte.
pub(super) fn paint_at(paint: &Paint, intensity: f64, min_alpha: u8) -> [u8; 4] {
    match paint {
        Paint::Mix => {
            let alpha = f64::from(min_alpha) + f64::from(255 - min_alpha) * intensity;
            [0, 0, 0, alpha as u8]
        }
        Paint::Ramp(colors) => {
            let at = intensity * (colors.len() - 1) as f64;
            let index = (at as usize).min(colors.len().saturating_sub(2));
            let (from, to) = (colors[index].0, colors[(index + 1).min(colors.len() - 1)].0);
            let between = |c: usize| f64::from(from[c]) + (f64::from(to[c]) - f64::from(from[c])) * (at - index as f64);
            [between(0) as u8, between(1) as u8, between(2) as u8, 255]
        }
    }
}

/// One row's totals and weighted colour sums; reused from row to row.
struct RowMix {
    totals: Vec<u32>,
    sums: [Vec<f32>; 3],
}

impl RowMix {
    fn new(size: usize) -> RowMix {
        RowMix { totals: vec![0; size], sums: [0, 1, 2].map(|_| vec![0.0; size]) }
    }

    /// Adds up a row of the visible planes. Whether it has any points.
    fn add_up(&mut self, grid: &CountGrid, row: usize, visible: &[(usize, Rgb)]) -> bool {
        self.totals.fill(0);
        self.sums.iter_mut().for_each(|sums| sums.fill(0.0));
        let mut is_occupied = false;
        for &(plane, Rgb(color)) in visible {
            let counts = &grid.plane(plane)[row * grid.size..][..grid.size];
            // Most rows of most planes are empty, and this is four times as fast as adding them.
            if counts.iter().fold(0, |any, n| any | n) == 0 {
                continue;
            }
            is_occupied = true;
            let [rs, gs, bs] = &mut self.sums;
            let [r, g, b] = color.map(f32::from);
            for ((((total, rs), gs), bs), &n) in self.totals.iter_mut().zip(rs).zip(gs).zip(bs).zip(counts) {
                *total += n;
                // Totals beyond i32 are mixed exactly, not by this sum; i32 converts faster.
                let weight = n as i32 as f32;
                *rs += weight * r;
                *gs += weight * g;
                *bs += weight * b;
            }
        }
        is_occupied
    }

    fn write_mix(&self, rgba: &mut [u8], paint_of: impl Fn(u32) -> [u8; 4], mix_exactly: impl Fn(usize) -> Rgb) {
        for (column, pixel) in rgba.chunks_exact_mut(4).enumerate() {
            let total = self.totals[column];
            if total == 0 {
                continue;
            }
            let [.., alpha] = paint_of(total);
            let Rgb([r, g, b]) = if total <= TABLE_COUNT_MAX {
                let all = total as f32;
                Rgb([0, 1, 2].map(|c| (self.sums[c][column] / all) as u8))
            } else {
                mix_exactly(column)
            };
            pixel.copy_from_slice(&[r, g, b, alpha]);
        }
    }

    fn write_ramp(&self, rgba: &mut [u8], paint_of: impl Fn(u32) -> [u8; 4]) {
        for (pixel, &total) in rgba.chunks_exact_mut(4).zip(&self.totals) {
            if total > 0 {
                pixel.copy_from_slice(&paint_of(total));
            }
        }
    }
}

/// Lays an image over an opaque colour, rounding to the nearest level.
pub(super) fn lay_over(background: Rgb, rgba: &mut [u8]) {
    for pixel in rgba.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]);
        for (channel, below) in pixel.iter_mut().zip(background.0) {
            *channel = ((u32::from(*channel) * alpha + u32::from(below) * (255 - alpha) + 127) / 255) as u8;
        }
        pixel[3] = 255;
    }
}

#[cfg(test)]
mod tests;
