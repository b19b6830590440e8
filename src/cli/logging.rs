//! Logs: to stderr, so that stdout carries nothing but a command's answer. `RUST_LOG` overrides the levels.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Called once, before anything is logged.
pub fn start(format: LogFormat) {
    let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,pointillist=info"));
    let lines = tracing_subscriber::fmt().with_env_filter(levels).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
