//! From counts to colours: styles, scales, shading, spreading and legends. Pure functions over count grids.
//!
//! ```text
//! Distribution + Style -> Normalization (count -> 0..1)  \
//! Category list + Style -> a colour for each category      > Shader -> RGBA, Legend
//! CountGrid (with a halo, where points are spread) -> spread -> CountGrid
//! ValueDistribution + Style -> ValueShader: of ValueGrids, RGBA; Legend
//! ```
//!
//! This module knows nothing of tiles' addresses, of requests, of how points were counted or of how images are encoded.
//! The formulas are Datashader's; what differs, and why, is said where it differs.

mod agg;
mod canvas;
mod cmap;
mod color;
mod legend;
mod legend_image;
mod normalize;
mod sample;
mod shader;
mod span;
mod spread;
mod style;
mod values;

pub use agg::Agg;
pub use cmap::Cmap;
pub use color::{Category, CategoryKind, Rgb};
pub use legend::{Legend, LegendAggregate, LegendCategory, Level, Stop};
pub use legend_image::{LegendImage, legend_image, number_label};
pub use normalize::Normalization;
pub use sample::SampledTiles;
pub use shader::Shader;
pub use span::Span;
pub use spread::{SPREAD_PIXELS_MAX, SpreadDensity, halo, spread};
pub use style::{How, Normalize, Spread, Style, StyleError};
pub use values::ValueShader;

#[cfg(test)]
mod golden_tests;
