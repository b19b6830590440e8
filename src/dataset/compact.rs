//! Compaction: the parts of a dataset merged into as few as hold its points, in key order and disjoint, as an ingest makes them.

use super::dictionary::Dictionary;
use super::read::Piece;
use super::write::{DatasetWriter, Description, HotColumn, Replace};
use super::{Change, ColumnId, Dataset, DatasetError, Manifest, PART_POINTS_MAX, RowFiles};
use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// Rows that are merged at a time: some tens of megabytes of wide rows.
const CHUNK_ROWS: usize = 1 << 16;

impl Change {
    /// Merges the parts into as few as hold the points. `None` where they are as few already, and none overlap. `progress` is told
    /// how many rows have been written, again and again.
    ///
    /// # Errors
    /// A file cannot be read or written; the dataset is then as it was.
    pub fn compact(self, progress: &dyn Fn(u64)) -> Result<Option<Manifest>, DatasetError> {
        self.compact_into(PART_POINTS_MAX, progress)
    }

    /// As [`Change::compact`], into parts of at most `part_points_max`.
    pub(super) fn compact_into(
        self,
        part_points_max: usize,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Manifest>, DatasetError> {
        let dataset = Dataset::open(self.folder())?;
        if is_compact(&dataset, part_points_max) {
            return Ok(None);
        }
        let mut writer = DatasetWriter::create(&self.staging(), Replace::Never)?;
        let mut merge = Merge::of(&dataset)?;
        let mut left = dataset.rows() as usize;
        while left > 0 {
            let rows = left.min(part_points_max);
            merge.write_part(rows, &mut writer, progress)?;
            left -= rows;
        }
        writer.finish(description(&dataset))?;
        self.replace_parts().map(Some)
    }
}

fn is_compact(dataset: &Dataset, part_points_max: usize) -> bool {
    let follow = dataset.manifest.parts.windows(2).all(|pair| pair[0].last_key <= pair[1].first_key);
    follow && dataset.parts.len() <= dataset.rows().div_ceil(part_points_max as u64) as usize
}

/// The points of all parts in key order; equal keys in the order of the parts.
struct Merge<'a> {
    dataset: &'a Dataset,
    files: Arc<RowFiles>,
    schema: SchemaRef,
    /// The next key of every part that has points left, and the part.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// The next position of every part.
    positions: Vec<u32>,
    cells: Vec<usize>,
}

impl Merge<'_> {
    fn of(dataset: &Dataset) -> Result<Merge<'_>, DatasetError> {
        let files = Arc::new(RowFiles::of(dataset));
        let with_geometry = files.schema()?;
        let originals = with_geometry.fields().len() - 1;
        let schema = Arc::new(Schema::new(with_geometry.fields()[..originals].to_vec()));
        let next = dataset.parts.iter().enumerate().map(|(number, part)| Reverse((part.key(0).0, number))).collect();
        let parts = dataset.parts.len();
        Ok(Merge { dataset, files, schema, next, positions: vec![0; parts], cells: vec![0; parts] })
    }

    fn write_part(&mut self, rows: usize, writer: &mut DatasetWriter, progress: &dyn Fn(u64)) -> Result<(), DatasetError> {
        let columns = self.dataset.columns();
        let mut rows_writer = writer.rows(&self.schema)?;
        let mut keys = Vec::with_capacity(rows);
        let mut hot: Vec<HotColumn> = columns.iter().map(|column| HotColumn::new(column.width)).collect();
        while keys.len() < rows {
            let before = self.positions.clone();
            let order = self.take(CHUNK_ROWS.min(rows - keys.len()), &mut keys);
            hot.par_iter_mut().enumerate().for_each(|(column, hot)| {
                let of = |&(part, position): &(usize, u32)| self.dataset.parts[part].column(ColumnId(column)).get(position as usize);
                hot.extend(order.iter().map(of));
            });
            let (rows, lon, lat) = self.rows(&before, &order)?;
            rows_writer.write(&rows, &lon, &lat)?;
            progress(order.len() as u64);
        }
        writer.part(&keys, columns, hot, rows_writer)
    }

    /// The next `rows` points as (part, position). Their keys are appended to `keys`.
    fn take(&mut self, rows: usize, keys: &mut Vec<u64>) -> Vec<(usize, u32)> {
        let mut order = Vec::with_capacity(rows);
        while order.len() < rows {
            let Some(Reverse((key, number))) = self.next.pop() else { break };
            keys.push(key);
            order.push((number, self.positions[number]));
            self.positions[number] += 1;
            if let Some(key) = self.key(number) {
                self.next.push(Reverse((key, number)));
            }
        }
        order
    }

    /// The key at a part's next position, found by going on from the cell of the one before.
    fn key(&mut self, number: usize) -> Option<u64> {
        let (index, position) = (self.dataset.parts[number].index(), self.positions[number]);
        if position == self.dataset.parts[number].rows() {
            return None;
        }
        while index.start[self.cells[number] + 1] <= position {
            self.cells[number] += 1;
        }
        Some(crate::world::Key::from_halves(index.hi[self.cells[number]], index.lo[position as usize]).0)
    }

    /// The rows of points, of each part those from `before` to its next position, and where they are in degrees.
    fn rows(&self, before: &[u32], order: &[(usize, u32)]) -> Result<(RecordBatch, Float64Array, Float64Array), DatasetError> {
        let schema = self.files.schema()?;
        let mut batches = Vec::new();
        let mut places = vec![0; before.len()];
        for (part, (&from, &to)) in before.iter().zip(&self.positions).enumerate().filter(|(_, (from, to))| from < to) {
            let piece = Piece { part, ranges: std::iter::once(from..to).collect() };
            let read = self.files.read(Box::new(std::iter::once(piece)), None).map_err(|e| DatasetError::Rows(e.to_string()))?;
            let read = read.collect::<Result<Vec<_>, _>>()?;
            places[part] = batches.len();
            batches.push(concat_batches(&schema, &read).map_err(|e| DatasetError::Rows(e.to_string()))?);
        }
        let indices: Vec<(usize, usize)> =
            order.iter().map(|&(part, position)| (places[part], (position - before[part]) as usize)).collect();
        let all = interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &indices).map_err(|e| DatasetError::Rows(e.to_string()))?;
        let geometry = all.columns().last().expect("the geometry is the last column").as_binary::<i32>();
        // Well-known binary of a point: 5 bytes, then x and y.
        let number = |at: usize| (0..geometry.len()).map(move |i| f64::from_le_bytes(geometry.value(i)[at..at + 8].try_into().expect("8 bytes")));
        let (lon, lat) = (number(5).collect(), number(13).collect());
        let originals: Vec<usize> = (0..all.num_columns() - 1).collect();
        let rows = all.project(&originals).expect("the places are the schema's");
        Ok((RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec()).expect("all parts have one schema"), lon, lat))
    }
}

/// The staged dataset only lends its parts: of what it says, columns and dictionaries have to be true.
fn description(dataset: &Dataset) -> Description {
    let manifest = &dataset.manifest;
    let counted = |dictionary: &Arc<Dictionary>| {
        let counts = (1..=dictionary.len() as u64).map(|key| dictionary.count(key)).collect();
        (dictionary.values().clone(), counts)
    };
    let columns = manifest.columns.iter().enumerate();
    Description {
        name: manifest.name.clone(),
        title: manifest.title.clone(),
        attribution: None,
        rejected: BTreeMap::new(),
        coordinates: manifest.coordinates.clone(),
        category: manifest.category.clone(),
        style: BTreeMap::new(),
        columns: columns.map(|(i, column)| (column.clone(), dataset.dictionary(ColumnId(i)).map(counted))).collect(),
    }
}
