//! All rows, typed, until they are sorted: in memory as far as the limit allows, and in sorted runs on disk beyond it.

use super::batch::Batch;
use super::error::IngestError;
use super::plan::Plan;
use super::run::{Merge, Packing, Run};
use super::stats::NumberStats;
use super::texts::Texts;
use super::values::{Chunk, Values};
use crate::dataset::ColumnKind;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Rows of a sorted chunk: enough to share among threads, few enough to stay in the cache.
pub const CHUNK_ROWS: usize = 1 << 16;

/// The share of the memory limit that rows may take; the rest is for what is being read, sorted runs being merged, and the
/// part being written.
const ROWS_SHARE: f64 = 0.7;

/// Bytes that sorting takes for each row besides the row: key and place.
const SORT_BYTES: usize = 16;

/// Runs that are merged at a time: each costs a file handle and a batch in memory.
const RUNS_MAX: usize = 200;

pub struct Store {
    keys: Vec<u64>,
    columns: Vec<StoredColumn>,
    rows: u64,
    runs: Vec<Run>,
    runs_written: usize,
    folder: PathBuf,
    memory_limit_bytes: u64,
}

struct StoredColumn {
    name: String,
    kind: ColumnKind,
    values: Values,
    texts: Texts,
    stats: NumberStats,
}

impl Store {
    /// A store whose runs are written to `folder`, which need not exist.
    pub fn new(plan: &Plan, folder: &Path, memory_limit_bytes: u64) -> Store {
        let columns = plan
            .columns
            .iter()
            .map(|planned| StoredColumn {
                name: planned.name.clone(),
                kind: planned.kind(),
                values: Values::new(planned.kind()),
                texts: Texts::default(),
                stats: NumberStats::default(),
            })
            .collect();
        let folder = folder.to_owned();
        Store { keys: Vec::new(), columns, rows: 0, runs: Vec::new(), runs_written: 0, folder, memory_limit_bytes }
    }

    /// Takes in batches, in the order of the input; writes a run when memory is full.
    ///
    /// # Errors
    /// A run cannot be written, or the distinct texts alone do not fit into the limit.
    pub fn append(&mut self, batches: &[Batch]) -> Result<(), IngestError> {
        if self.rows == 0 {
            self.reserve(self.rows_in_memory_max()?);
        }
        let mut rest = batches;
        while !rest.is_empty() {
            // As many batches as fit; one at least, or a batch larger than the limit would never be taken.
            let room = self.rows_in_memory_max()?.saturating_sub(self.keys.len());
            let mut rows = 0;
            let fitting = rest.iter().take_while(|batch| { rows += batch.keys.len(); rows <= room }).count();
            let (now, later) = rest.split_at(fitting.max(1));
            self.extend(now);
            rest = later;
            if !rest.is_empty() || self.keys.len() >= self.rows_in_memory_max()? {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Takes address space for all rows that memory may hold, once: growing step by step would copy, and touch, everything
    /// twice. The system lends a page only when it is written.
    fn reserve(&mut self, rows: usize) {
        self.keys.reserve_exact(rows);
        self.columns.iter_mut().for_each(|column| column.values.reserve_exact(rows));
    }

    fn extend(&mut self, batches: &[Batch]) {
        for batch in batches {
            self.keys.extend_from_slice(&batch.keys);
            self.rows += batch.keys.len() as u64;
        }
        self.columns.par_iter_mut().enumerate().for_each(|(place, column)| {
            for batch in batches {
                column.append(&batch.columns[place].values, &batch.columns[place].texts);
            }
        });
    }

    /// Runs written so far.
    pub fn runs_written(&self) -> usize {
        self.runs_written
    }

    /// All rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn row_bytes(&self) -> usize {
        8 + self.columns.iter().map(|column| column.values.value_bytes()).sum::<usize>()
    }

    fn rows_in_memory_max(&self) -> Result<usize, IngestError> {
        let budget = (self.memory_limit_bytes as f64 * ROWS_SHARE) as usize;
        let texts_bytes: usize = self.columns.iter().map(|column| column.texts.memory_bytes()).sum();
        if texts_bytes > budget {
            let column = self.columns.iter().max_by_key(|column| column.texts.memory_bytes()).expect("some column has texts");
            return Err(IngestError::TooManyTexts {
                column: column.name.clone(),
                texts: column.texts.len(),
                limit: format!("{}MB", self.memory_limit_bytes / 1_000_000),
            });
        }
        // With little left beside the texts, runs would get too small to merge.
        let rows_bytes = (budget - texts_bytes).max(budget / 8);
        Ok((rows_bytes / (self.row_bytes() + SORT_BYTES)).clamp(1, u32::MAX as usize))
    }

    /// Sorts the rows in memory and writes them as a run.
    fn spill(&mut self) -> Result<(), IngestError> {
        if self.runs.is_empty() {
            std::fs::create_dir_all(&self.folder).map_err(IngestError::io("create", &self.folder))?;
        }
        let order = order(&self.keys);
        let columns: Vec<(&Values, ColumnKind, Packing)> = self
            .columns
            .iter()
            .map(|column| (&column.values, column.kind, Packing::new(column.kind, &column.stats, column.texts.len())))
            .collect();
        let path = self.folder.join(format!("{:05}.arrow", self.runs_written));
        self.runs.push(Run::write(&path, &order, &columns)?);
        self.runs_written += 1;
        self.keys.clear();
        self.columns.iter_mut().for_each(|column| column.values.clear());
        if self.runs.len() == RUNS_MAX {
            self.merge_runs()?;
        }
        Ok(())
    }

    /// Makes one run of all.
    fn merge_runs(&mut self) -> Result<(), IngestError> {
        tracing::debug!("merging {} runs into one", self.runs.len());
        let path = self.folder.join(format!("{:05}.arrow", self.runs_written));
        self.runs_written += 1;
        let packings = self.columns.iter().map(|c| Packing::new(c.kind, &c.stats, c.texts.len())).collect();
        let kinds = self.columns.iter().map(|column| column.kind).collect();
        let runs = std::mem::take(&mut self.runs);
        self.runs.push(Merge::new(runs)?.into_run(&path, packings, kinds)?);
        Ok(())
    }

    /// Sorts the rows by (key, order of input): the statistics and texts of every column, and the rows.
    ///
    /// # Errors
    /// A run cannot be written or read.
    pub fn into_sorted(mut self) -> Result<(Vec<(NumberStats, Texts)>, Sorted), IngestError> {
        if !self.runs.is_empty() && !self.keys.is_empty() {
            self.spill()?;
        }
        let order = order(&self.keys);
        self.keys = Vec::new();
        let (described, columns): (Vec<_>, Vec<_>) =
            self.columns.into_iter().map(|column| ((column.stats, column.texts), column.values)).unzip();
        let sorted = if self.runs.is_empty() {
            Sorted::InMemory { order, columns, next: 0 }
        } else {
            drop(columns);
            Sorted::OnDisk(Merge::new(self.runs)?)
        };
        Ok((described, sorted))
    }
}

impl StoredColumn {
    fn append(&mut self, new: &Values, texts: &Texts) {
        match (&mut self.values, new) {
            (Values::Integer(all), Values::Integer(new)) => all.extend_from_slice(new),
            (Values::Float(all), Values::Float(new)) => all.extend_from_slice(new),
            (Values::Text(all), Values::Text(numbers)) => {
                let merged = self.texts.merge(texts);
                all.extend(numbers.iter().map(|&number| merged[number as usize]));
            }
            _ => unreachable!("batches are made by the plan of the store"),
        }
        self.stats.add(new);
    }
}

/// Keys and rows, by (key, row).
fn order(keys: &[u64]) -> Vec<(u64, u32)> {
    let mut order: Vec<(u64, u32)> = keys.par_iter().enumerate().map(|(row, &key)| (key, row as u32)).collect();
    order.par_sort_unstable();
    order
}

/// The sorted rows.
pub enum Sorted {
    InMemory { order: Vec<(u64, u32)>, columns: Vec<Values>, next: usize },
    OnDisk(Merge),
}

impl Sorted {
    /// The next rows, at most `rows_max`; `None` at the end.
    ///
    /// # Errors
    /// A run cannot be read back.
    pub fn next_chunk(&mut self, rows_max: usize) -> Result<Option<Chunk>, IngestError> {
        let (order, columns, next) = match self {
            Sorted::OnDisk(merge) => return merge.next_chunk(rows_max),
            Sorted::InMemory { order, columns, next } => (order, columns, next),
        };
        let order = &order[*next..order.len().min(*next + rows_max)];
        if order.is_empty() {
            return Ok(None);
        }
        *next += order.len();
        let keys = order.iter().map(|&(key, _)| key).collect();
        let columns =
            columns.par_iter().map(|column| column.gather(order.iter().map(|&(_, row)| row as usize))).collect();
        Ok(Some(Chunk { keys, columns }))
    }
}
