//! From a count, or another value, to an intensity between 0 and 1.
//!
//! The formulas are those of Datashader 0.19 (`transfer_functions.shade`). With `o` the lowest count, `d = count - o` and
//! `s(d)` the scale, intensity is `(s - s0) / (s1 - s0)`, where `s0` and `s1` are the scale's values at the lowest and
//! the highest count; where those are one count, intensity is 1.

use super::span::Span;
use super::style::How;
use crate::engine::{Distribution, ValueDistribution};

/// Bins of Datashader's equalised histogram (`eq_hist(nbins=256*256)`).
const EQ_HIST_BINS: usize = 1 << 16;

/// What kind of image is normalised by itself: Datashader equalises the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageKind {
    /// Totals over categories: floats as soon as a pixel is empty.
    Categorical,
    /// One channel: always integers.
    SingleChannel,
}

/// A scale from count to intensity, fixed for all pixels that share it. Monotone: more points, no lower intensity.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Counts at and below `lo` have intensity 0, unless `lo == hi`; those at and above `hi` have 1.
    lo: f64,
    hi: f64,
    curve: Curve,
    /// The curve's values at `lo` and `hi`.
    s0: f64,
    s1: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Curve {
    Linear,
    Log,
    Cbrt,
    /// Piecewise linear through (`nodes[i]`, `cdf[i]`), nodes ascending, constant beyond the ends.
    EqHist {
        nodes: Vec<f64>,
        cdf: Vec<f64>,
    },
}

impl Normalization {
    /// The normalisation of a zoom: of all non-empty pixels of the whole world. `None` if there are none; a span says all there is to say,
    /// and needs none.
    ///
    /// Here eq_hist needs no bins, for the distribution is exact: at each count that occurs, `s` is the share of non-empty
    /// pixels with at most that count.
    pub fn of_distribution(distribution: &Distribution, how: How, span: Option<Span>) -> Option<Normalization> {
        let pixels_by_count = &distribution.pixels_by_count;
        let (lo, hi) = match (pixels_by_count.first(), pixels_by_count.last(), span) {
            (Some(&(lo, _)), Some(&(hi, _)), _) => (lo, hi),
            (.., Some(_)) => (0, 0),
            (.., None) => return None,
        };
        Some(Normalization::new(lo.into(), hi.into(), how, span, || exact_cdf(pixels_by_count, lo.into())))
    }

    /// The normalisation of values: of all pixels of a zoom, or of one tile, that have any. `None` if none does; a span says all
    /// there is to say, and needs none.
    pub(super) fn of_values(distribution: &ValueDistribution, how: How, span: Option<Span>) -> Option<Normalization> {
        let lo = distribution.lowest;
        let hi = match (distribution.pixels_by_value.last(), span) {
            (Some(&(hi, _)), _) => hi,
            (None, Some(_)) => lo,
            (None, None) => return None,
        };
        Some(Normalization::new(lo, hi, how, span, || exact_cdf(&distribution.pixels_by_value, lo)))
    }

    /// Datashader's normalisation of one image, from the totals of all its pixels. `None` if all are empty.
    pub(super) fn of_image(
        totals: &[u32],
        kind: ImageKind,
        how: How,
        span: Option<Span>,
    ) -> Option<Normalization> {
        let has_empty_pixels = totals.contains(&0);
        let distribution = Distribution::of_totals(totals.iter().copied());
        let pixels_by_count = &distribution.pixels_by_count;
        let (&(lo, _), &(hi, _)) = (pixels_by_count.first()?, pixels_by_count.last()?);
        let is_integer = kind == ImageKind::SingleChannel || !has_empty_pixels;
        Some(Normalization::new(lo.into(), hi.into(), how, span, || {
            if is_integer && ((hi - lo) as usize) < EQ_HIST_BINS {
                exact_cdf(pixels_by_count, lo.into())
            } else {
                binned_cdf(pixels_by_count, lo, hi)
            }
        }))
    }

    fn new(
        lo: f64,
        hi: f64,
        how: How,
        span: Option<Span>,
        cdf: impl FnOnce() -> (Vec<f64>, Vec<f64>),
    ) -> Normalization {
        let (lo, hi) = span.map_or((lo, hi), Span::ends);
        let curve = match how {
            How::Linear => Curve::Linear,
            How::Log => Curve::Log,
            How::Cbrt => Curve::Cbrt,
            How::EqHist => {
                let (nodes, cdf) = cdf();
                Curve::EqHist { nodes, cdf }
            }
        };
        let (s0, s1) = (curve.at(0.0), curve.at(hi - lo));
        Normalization { lo, hi, curve, s0, s1 }
    }

    /// The intensity of a pixel with `count` points, 0 to 1.
    pub fn intensity(&self, count: u32) -> f64 {
        self.intensity_of(count.into())
    }

    /// The intensity of a pixel of any value but NaN, 0 to 1.
    pub(super) fn intensity_of(&self, value: f64) -> f64 {
        // The end exactly, so that the highest value has the full colour whatever the rounding.
        if value >= self.hi || self.s0 >= self.s1 {
            return 1.0;
        }
        let s = self.curve.at(value.max(self.lo) - self.lo);
        ((s - self.s0) / (self.s1 - self.s0)).clamp(0.0, 1.0)
    }

    /// The lowest and the highest count of the scale.
    pub fn counts(&self) -> (u32, u32) {
        (self.lo as u32, self.hi as u32)
    }

    /// The lowest count of the scale that has at least this intensity.
    pub fn count_at(&self, intensity: f64) -> u32 {
        let (mut below, mut at) = self.counts();
        while below < at {
            let middle = below + (at - below) / 2;
            if self.intensity(middle) >= intensity { at = middle } else { below = middle + 1 }
        }
        at
    }

    /// The lowest value of the scale that has at least this intensity, to within a rounding.
    pub(super) fn value_at(&self, intensity: f64) -> f64 {
        let (mut below, mut at) = (self.lo, self.hi);
        if self.intensity_of(below) >= intensity {
            return below;
        }
        // Halved until no f64 is left between the two.
        loop {
            let middle = f64::midpoint(below, at);
            if middle <= below || middle >= at {
                return at;
            }
            if self.intensity_of(middle) >= intensity { at = middle } else { below = middle }
        }
    }
}

impl Curve {
    /// The scale's value `d` above the lowest count.
    fn at(&self, d: f64) -> f64 {
        match self {
            Curve::Linear => d,
            Curve::Log => d.ln_1p(),
            // As Datashader: a power, where cbrt() would round differently.
            Curve::Cbrt => d.powf(1.0 / 3.0),
            Curve::EqHist { nodes, cdf } => interpolated(d, nodes, cdf),
        }
    }
}

/// `numpy.interp`: linear between nodes, constant beyond the first and the last.
fn interpolated(d: f64, nodes: &[f64], values: &[f64]) -> f64 {
    let above = nodes.partition_point(|&node| node <= d);
    if above == 0 {
        return values[0];
    }
    if above == nodes.len() {
        return values[above - 1];
    }
    let (x0, x1) = (nodes[above - 1], nodes[above]);
    let (y0, y1) = (values[above - 1], values[above]);
    y0 + (y1 - y0) / (x1 - x0) * (d - x0)
}

/// Distances from the lowest count, and the share of pixels up to each.
fn exact_cdf<V: Copy + Into<f64>>(pixels_by_value: &[(V, u64)], lo: f64) -> (Vec<f64>, Vec<f64>) {
    let pixels: u64 = pixels_by_value.iter().map(|&(_, pixels)| pixels).sum();
    let mut up_to = 0;
    pixels_by_value
        .iter()
        .map(|&(value, pixels_here)| {
            up_to += pixels_here;
            (value.into() - lo, up_to as f64 / pixels as f64)
        })
        .unzip()
}

/// `numpy.histogram(d, bins=65536)`, empty bins dropped: their centres, and the share of pixels up to each.
fn binned_cdf(pixels_by_count: &[(u32, u64)], lo: u32, hi: u32) -> (Vec<f64>, Vec<f64>) {
    let (first, last) = if lo == hi { (-0.5, 0.5) } else { (0.0, f64::from(hi - lo)) };
    let bins = EQ_HIST_BINS as f64;
    // numpy.linspace, which sets its end exactly.
    let edge = |i: usize| if i == EQ_HIST_BINS { last } else { i as f64 * ((last - first) / bins) + first };
    let mut histogram = vec![0u64; EQ_HIST_BINS];
    for &(count, pixels) in pixels_by_count {
        let d = f64::from(count - lo);
        let mut bin = (((d - first) / (last - first) * bins) as usize).min(EQ_HIST_BINS - 1);
        // As numpy does: the quotient may land one bin off the edges.
        if d < edge(bin) {
            bin -= 1;
        } else if bin + 1 < EQ_HIST_BINS && d >= edge(bin + 1) {
            bin += 1;
        }
        histogram[bin] += pixels;
    }
    let pixels: u64 = histogram.iter().sum();
    let mut up_to = 0;
    let occupied = histogram.iter().enumerate().filter(|&(_, &pixels)| pixels > 0);
    occupied
        .map(|(bin, &pixels_here)| {
            up_to += pixels_here;
            (f64::midpoint(edge(bin), edge(bin + 1)), up_to as f64 / pixels as f64)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distribution(pixels_by_count: &[(u32, u64)]) -> Distribution {
        Distribution { pixels_by_count: pixels_by_count.to_vec() }
    }

    #[test]
    fn intensities_by_hand() {
        let of = |how, span: Option<(f64, f64)>| {
            let span = span.map(|(lo, hi)| Span::new(lo, hi).unwrap());
            Normalization::of_distribution(&distribution(&[(1, 5), (2, 3), (9, 2)]), how, span).unwrap()
        };
        let eq_hist = of(How::EqHist, None);
        assert_eq!(eq_hist.intensity(1), 0.0);
        assert!((eq_hist.intensity(2) - 0.6).abs() < 1e-12, "0.8 of the pixels have 2 or fewer, 0.5 have 1");
        assert_eq!((eq_hist.intensity(9), eq_hist.intensity(10), eq_hist.intensity(0)), (1.0, 1.0, 0.0));
        assert_eq!(of(How::Linear, None).intensity(5), 0.5);
        assert!((of(How::Log, None).intensity(3) - 3f64.ln() / 9f64.ln()).abs() < 1e-12);
        assert!((of(How::Cbrt, None).intensity(2) - 0.5).abs() < 1e-12);
        assert_eq!(of(How::Linear, Some((0.0, 100.0))).intensity(25), 0.25);
        assert_eq!(of(How::Linear, Some((10.0, 100.0))).intensity(5), 0.0);
    }

    #[test]
    fn one_count_is_full_intensity_and_no_pixels_are_none() {
        for how in How::ALL {
            let only = Normalization::of_distribution(&distribution(&[(7, 3)]), how, None).unwrap();
            assert_eq!(only.intensity(7), 1.0);
            assert_eq!(Normalization::of_distribution(&distribution(&[]), how, None), None);
        }
        for kind in [ImageKind::Categorical, ImageKind::SingleChannel] {
            assert_eq!(Normalization::of_image(&[0, 0], kind, How::EqHist, None), None);
            assert_eq!(Normalization::of_image(&[0, 7, 7], kind, How::EqHist, None).unwrap().intensity(7), 1.0);
        }
    }

    proptest! {
        #[test]
        fn intensity_is_monotone_and_count_at_inverts_it(
            totals in proptest::collection::vec(prop_oneof![0..9u32, 0..200_000u32, any::<u32>()], 1..60),
            how in 0..4usize,
            categorical in any::<bool>(),
            asked in 0.0..=1.0f64,
        ) {
            let how = How::ALL[how];
            let kind = if categorical { ImageKind::Categorical } else { ImageKind::SingleChannel };
            let of_zoom = Normalization::of_distribution(&Distribution::of_totals(totals.iter().copied()), how, None);
            for normalization in [of_zoom, Normalization::of_image(&totals, kind, how, None)].into_iter().flatten() {
                let mut sorted = totals.clone();
                sorted.sort_unstable();
                let intensities: Vec<f64> = sorted.iter().map(|&n| normalization.intensity(n)).collect();
                prop_assert!(intensities.is_sorted(), "{:?}", intensities);
                let count = normalization.count_at(asked);
                prop_assert!(normalization.intensity(count) >= asked);
                let (lo, _) = normalization.counts();
                prop_assert!(count == lo || normalization.intensity(count - 1) < asked);
            }
        }
    }
}
