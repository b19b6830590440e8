//! Logs: to stderr, so that stdout carries nothing but a command's answer. `RUST_LOG` overrides the levels. And traces, where they go
//! anywhere.

use crate::config::LogFormat;
use crate::service::TRACE;
use opentelemetry_sdk::trace::SdkTracer;
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Called once, before anything is logged.
pub fn start(format: LogFormat) {
    let lines = tracing_subscriber::fmt().with_env_filter(levels()).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// As [`start`], where traces are sent as well: lines have their levels, and traces their spans.
pub fn start_traced(format: LogFormat, tracer: SdkTracer) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let spans = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false).with_target(false);
    let spans = spans.with_tracked_inactivity(false).with_filter(Targets::new().with_target(TRACE, LevelFilter::INFO));
    tracing_subscriber::registry().with(lines.with_filter(levels())).with(spans).init();
}

fn levels() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,pointillist=info"))
}
