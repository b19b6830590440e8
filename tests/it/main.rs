//! Integration tests, in one binary because linking is dear: the library and the built program, from outside.

mod aggregates;
mod append;
mod architecture;
mod bad_input;
mod brushes;
mod colour;
mod command;
mod fixtures;
mod filters;
mod http;
mod ingest;
mod real_data;
mod prewarm;
mod served;
