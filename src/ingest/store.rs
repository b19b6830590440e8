//! All rows, typed, until they are sorted: columns with their texts and statistics, and the keys.

use super::batch::Batch;
use super::error::IngestError;
use super::plan::Plan;
use super::stats::NumberStats;
use super::texts::Texts;
use super::values::Values;
use rayon::prelude::*;

/// Rows of a sorted chunk: enough to share among threads, few enough to stay in the cache.
pub const CHUNK_ROWS: usize = 1 << 16;

pub struct Store {
    keys: Vec<u64>,
    columns: Vec<StoredColumn>,
}

struct StoredColumn {
    values: Values,
    texts: Texts,
    stats: NumberStats,
}

/// Some rows in key order.
pub struct Chunk {
    pub keys: Vec<u64>,
    pub columns: Vec<Values>,
}

impl Store {
    pub fn new(plan: &Plan) -> Store {
        let column = |kind| StoredColumn { values: Values::new(kind), texts: Texts::default(), stats: NumberStats::default() };
        Store { keys: Vec::new(), columns: plan.columns.iter().map(|planned| column(planned.kind())).collect() }
    }

    /// Takes in batches, in the order of the input.
    pub fn append(&mut self, batches: &[Batch]) {
        for batch in batches {
            self.keys.extend_from_slice(&batch.keys);
        }
        self.columns.par_iter_mut().enumerate().for_each(|(place, column)| {
            for batch in batches {
                let new = &batch.columns[place];
                match (&mut column.values, &new.values) {
                    (Values::Integer(all), Values::Integer(new)) => all.extend_from_slice(new),
                    (Values::Float(all), Values::Float(new)) => all.extend_from_slice(new),
                    (Values::Text(all), Values::Text(numbers)) => {
                        let merged = column.texts.merge(&new.texts);
                        all.extend(numbers.iter().map(|&number| merged[number as usize]));
                    }
                    _ => unreachable!("batches are made by the plan of the store"),
                }
                column.stats.add(&new.values);
            }
        });
    }

    pub fn rows(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Sorts the rows by (key, order of input): the statistics and texts of every column, and the rows.
    pub fn into_sorted(self) -> (Vec<(NumberStats, Texts)>, Sorted) {
        let mut order: Vec<(u64, u32)> =
            self.keys.iter().enumerate().map(|(row, &key)| (key, row as u32)).collect();
        order.par_sort_unstable();
        let (described, columns) = self
            .columns
            .into_iter()
            .map(|column| ((column.stats, column.texts), column.values))
            .unzip();
        (described, Sorted { order, columns, next: 0 })
    }
}

/// The sorted rows.
pub struct Sorted {
    order: Vec<(u64, u32)>,
    columns: Vec<Values>,
    next: usize,
}

impl Sorted {
    /// The next rows, at most `rows_max`; `None` at the end.
    ///
    /// # Errors
    /// A run cannot be read back.
    pub fn next_chunk(&mut self, rows_max: usize) -> Result<Option<Chunk>, IngestError> {
        let order = &self.order[self.next..self.order.len().min(self.next + rows_max)];
        if order.is_empty() {
            return Ok(None);
        }
        self.next += order.len();
        let keys = order.iter().map(|&(key, _)| key).collect();
        let columns = self
            .columns
            .par_iter()
            .map(|column| column.gather(order.iter().map(|&(_, row)| row as usize)))
            .collect();
        Ok(Some(Chunk { keys, columns }))
    }
}
