//! What was measured, as a table for people and as JSON for scripts.

use super::BenchError;
use crate::engine::EngineInfo;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Serialize)]
pub struct Report {
    pub program: String,
    pub dataset: String,
    pub rows: u64,
    pub parts: usize,
    /// Keys and index, bytes a point.
    pub index_bytes_per_point: f64,
    pub backends: Vec<BackendReport>,
}

#[derive(Debug, Serialize)]
pub struct BackendReport {
    pub info: EngineInfo,
    /// From nothing to the first counted tile: open, map or upload, unfiltered selection, one tile.
    pub first_tile_ms: f64,
    /// The copy bandwidth of the memory that the engine reads (a device's own, or the host's), bytes read plus written.
    pub copy_bytes_per_sec: f64,
    /// A digest of counts, histograms and distributions: backends of one report must agree.
    pub answers: u64,
    pub measurements: Vec<Measurement>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    pub what: String,
    pub detail: String,
    pub median_ms: f64,
    pub p95_ms: f64,
    pub samples: usize,
    /// Processor time of a run over all threads, the mean; absent where it is too short to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points_per_sec: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_sec: Option<f64>,
}

impl Measurement {
    pub(super) fn with_throughput(mut self, points_per_sec: f64, bytes_per_sec: f64) -> Measurement {
        self.points_per_sec = Some(points_per_sec);
        self.bytes_per_sec = Some(bytes_per_sec);
        self
    }
}

impl Report {
    /// # Errors
    /// [`BenchError::Differ`] where two backends gave different answers.
    pub fn check_answers(&self) -> Result<(), BenchError> {
        match self.backends.windows(2).find(|pair| pair[0].answers != pair[1].answers) {
            Some(pair) => Err(BenchError::Differ(pair[0].info.backend, pair[1].info.backend)),
            None => Ok(()),
        }
    }
}

impl BackendReport {
    pub(super) fn new(info: EngineInfo, first_tile: Duration) -> BackendReport {
        BackendReport {
            info,
            first_tile_ms: first_tile.as_secs_f64() * 1e3,
            copy_bytes_per_sec: 0.0,
            answers: 0,
            measurements: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} points in {} parts", self.dataset, self.rows, self.parts)?;
        writeln!(f, "keys and index: {:.2} bytes a point", self.index_bytes_per_point)?;
        for backend in &self.backends {
            write!(f, "\n{backend}")?;
        }
        if self.backends.len() > 1 && self.check_answers().is_ok() {
            writeln!(f, "\nthe backends' counts, histograms and distributions are equal")?;
        }
        Ok(())
    }
}

impl fmt::Display for BackendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let emulated = if self.info.software { " (a SOFTWARE adapter: its speed says nothing about a GPU)" } else { "" };
        writeln!(f, "{}: {}{emulated}", self.info.backend, self.info.device)?;
        writeln!(f, "opened and first tile counted in {:.1} ms", self.first_tile_ms)?;
        writeln!(f, "copy bandwidth {:.1} GB/s", self.copy_bytes_per_sec / 1e9)?;
        writeln!(f, "{:<13} {:<56} {:>10} {:>10} {:>13} {:>5}", "", "", "median ms", "p95 ms", "processor ms", "n")?;
        for m in &self.measurements {
            let processor = m.processor_ms.map_or_else(String::new, |ms| format!("{ms:.3}"));
            write!(f, "{:<13} {:<56} {:>10.3} {:>10.3} {processor:>13} {:>5}", m.what, m.detail, m.median_ms, m.p95_ms, m.samples)?;
            if let (Some(points), Some(bytes)) = (m.points_per_sec, m.bytes_per_sec) {
                let share = bytes / self.copy_bytes_per_sec * 100.0;
                write!(f, "  {:.2} G points/s, {:.1} GB/s, {share:.0} % of copy", points / 1e9, bytes / 1e9)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
