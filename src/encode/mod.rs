//! Images and arrays as bytes: PNG and NumPy's npy. Pure functions that know nothing of what the pixels mean.

mod dither;
mod npy;
mod palette;
mod png;
mod quantize;

pub use npy::{NpyCounts, NpyDtype, NpyElement, npy, npy_f64};
pub use png::{Quality, empty_png, png, png_of_width};
