//! Integration tests, in one binary because linking is dear: the library and the built program, from outside.

mod aggregates;
mod append;
mod architecture;
mod archives;
mod bad_input;
mod changed_files;
mod brushes;
mod colour;
mod command;
mod disk_cache;
mod filters;
mod fixtures;
mod http;
mod ingest;
mod needs;
mod nginx;
mod object_store;
mod operation;
mod prewarm;
mod prewarm_store;
mod prewarm_trouble;
mod publishing;
mod real_data;
mod replicas;
mod served;
mod stores;
