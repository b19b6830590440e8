//! Engines: what selects and counts. Two of them, one result.

mod grid;

pub use grid::{CountGrid, Distribution};
