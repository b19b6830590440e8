//! pointillist: maps of point data that is too big to draw.
//!
//! The library behind the `pointillist` binary. Modules point one way: see ARCHITECTURE.md.

pub mod archive;
pub mod bench;
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod config;
pub mod crossfilter;
pub mod dataset;
pub mod encode;
pub mod engine;
pub mod filter;
pub mod generate;
pub mod histogram;
pub mod ingest;
pub mod points;
pub mod prewarm;
pub mod server;
pub mod service;
pub mod shade;
pub mod store;
pub mod world;
