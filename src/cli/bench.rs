//! `pointillist bench`: measures the engines on a dataset.
//!
//! Arguments and printing only; what is measured is [`crate::bench`]'s subject.

use crate::bench::{self, Report};
use crate::dataset::Dataset;
use crate::engine::{self, Engine, EngineError, EngineOptions, OnDeviceLoss};
use anyhow::Context;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Measure how fast an engine selects, counts, shades and encodes on a dataset
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist bench towers/
  pointillist bench towers/ --backend cpu,gpu --json bench.json")]
pub struct BenchArgs {
    /// The dataset's folder
    pub path: PathBuf,

    /// Engines to measure, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cpu")]
    pub backend: Vec<Backend>,

    /// Also write every figure to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Cpu,
    /// A GPU, or software that emulates one: the report says which
    Gpu,
}

pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    let dataset = Dataset::open(&args.path)?;
    let index_bytes: usize = dataset.parts.iter().map(|part| part.index_bytes()).sum();
    let mut report = Report {
        program: concat!("pointillist ", env!("CARGO_PKG_VERSION")).to_owned(),
        dataset: dataset.manifest.name.clone(),
        rows: dataset.rows(),
        parts: dataset.parts.len(),
        index_bytes_per_point: index_bytes as f64 / dataset.rows().max(1) as f64,
        backends: Vec::new(),
    };
    drop(dataset);
    for backend in args.backend {
        let open = |dataset: Arc<Dataset>| -> Result<Arc<dyn Engine>, EngineError> {
            let wanted = match backend {
                Backend::Cpu => engine::Backend::Cpu,
                Backend::Gpu => engine::Backend::Gpu,
            };
            // A GPU that is lost while it is measured is an error, not a slower GPU.
            engine::open(dataset, wanted, &EngineOptions { on_device_loss: OnDeviceLoss::Fail, ..EngineOptions::default() })
        };
        let step = |name: &str| tracing::info!("{backend:?}: {name}");
        report.backends.push(bench::backend(&args.path, &open, None, &step)?);
    }
    write!(std::io::stdout().lock(), "{report}")?;
    if let Some(path) = args.json {
        let text = serde_json::to_string_pretty(&report).expect("a report has no keys that are not text");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.check_answers()?)
}
