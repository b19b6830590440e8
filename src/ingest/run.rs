//! Sorted runs on disk: what does not fit into memory, and the merge that reads it back in order.
//!
//! A run is an Arrow IPC stream of batches with the keys and every column, packed as the statistics allow when it is
//! written (an affine integer of 1 to 8 bytes, exact like a hot key), which makes it some three times smaller than the
//! columns in memory. Runs are read batch by batch and not mapped, so that memory stays bounded.

use super::error::IngestError;
use super::stats::NumberStats;
use super::value::NULL_INTEGER;
use super::values::{Chunk, Values};
use crate::dataset::column::{power_of_ten, scaled};
use crate::dataset::{ColumnKind, Encoding, KeyWidth};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array, UInt16Array, UInt32Array, UInt64Array};
use arrow::datatypes::{Field, Schema, SchemaRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a batch of a run: one per run is in memory during the merge, some hundred kilobytes.
const BATCH_ROWS: usize = 1 << 14;

/// How a column of a run is packed: 0 is null, otherwise `1 + (value * 10^decimals - base) / step`; or the bits themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packing {
    Affine { base: i64, step: u64, decimals: u8, width: KeyWidth },
    /// i64 or f64, as they are.
    Bits,
    /// Text numbers.
    Text { width: KeyWidth },
}

/// A run on disk.
pub struct Run {
    path: PathBuf,
    packings: Vec<Packing>,
    kinds: Vec<ColumnKind>,
}

impl Packing {
    /// The packing of a column with these statistics of everything read so far.
    pub fn new(kind: ColumnKind, stats: &NumberStats, texts: usize) -> Packing {
        if kind == ColumnKind::Text {
            return Packing::Text { width: KeyWidth::holding(texts as u64) };
        }
        match stats.affine(kind) {
            Some((Encoding::Affine { base, step, decimals }, key_max)) => {
                Packing::Affine { base, step, decimals, width: KeyWidth::holding(key_max) }
            }
            _ => Packing::Bits,
        }
    }

    fn width(self) -> KeyWidth {
        match self {
            Packing::Affine { width, .. } | Packing::Text { width } => width,
            Packing::Bits => KeyWidth::U64,
        }
    }

    /// The values at the rows of `order`, packed.
    fn pack(self, values: &Values, order: &[(u64, u32)]) -> ArrayRef {
        let rows = order.iter().map(|&(_, row)| row as usize);
        match (self, values) {
            (Packing::Bits, Values::Float(values)) => array(KeyWidth::U64, rows.map(|row| values[row].to_bits())),
            (Packing::Bits, Values::Integer(values)) => array(KeyWidth::U64, rows.map(|row| values[row] as u64)),
            (Packing::Affine { base, step, width, .. }, Values::Integer(values)) => array(width, rows.map(|row| {
                if values[row] == NULL_INTEGER { 0 } else { values[row].abs_diff(base) / step + 1 }
            })),
            (Packing::Affine { base, step, width, decimals }, Values::Float(values)) => array(width, rows.map(|row| {
                if values[row].is_nan() { return 0 }
                let scaled = scaled(values[row], decimals).expect("the decimals were found so that every value scales");
                scaled.abs_diff(base) / step + 1
            })),
            (_, Values::Text(numbers)) => array(self.width(), rows.map(|row| u64::from(numbers[row]))),
            (Packing::Text { .. }, _) => unreachable!("only texts are packed as texts"),
        }
    }

    fn unpack(self, kind: ColumnKind, array: &ArrayRef) -> Values {
        let packed: Vec<u64> = match self.width() {
            KeyWidth::U8 => array.as_primitive::<UInt8Type>().values().iter().map(|&v| v.into()).collect(),
            KeyWidth::U16 => array.as_primitive::<UInt16Type>().values().iter().map(|&v| v.into()).collect(),
            KeyWidth::U32 => array.as_primitive::<UInt32Type>().values().iter().map(|&v| v.into()).collect(),
            KeyWidth::U64 => array.as_primitive::<UInt64Type>().values().to_vec(),
        };
        let is_float = kind == ColumnKind::Float;
        match self {
            Packing::Text { .. } => Values::Text(packed.iter().map(|&number| number as u32).collect()),
            Packing::Bits if is_float => Values::Float(packed.iter().map(|&bits| f64::from_bits(bits)).collect()),
            Packing::Bits => Values::Integer(packed.iter().map(|&bits| bits as i64).collect()),
            Packing::Affine { base, step, decimals, .. } => {
                // Wrapping arithmetic is exact here: base + step * (key - 1) was an i64 when it was packed.
                let value = |key: u64| base.wrapping_add_unsigned(step.wrapping_mul(key - 1));
                if is_float {
                    let power = power_of_ten(decimals);
                    Values::Float(packed.iter().map(|&k| if k == 0 { f64::NAN } else { value(k) as f64 / power }).collect())
                } else {
                    Values::Integer(packed.iter().map(|&k| if k == 0 { NULL_INTEGER } else { value(k) }).collect())
                }
            }
        }
    }
}

fn array(width: KeyWidth, values: impl Iterator<Item = u64>) -> ArrayRef {
    match width {
        KeyWidth::U8 => Arc::new(UInt8Array::from_iter_values(values.map(|v| v as u8))),
        KeyWidth::U16 => Arc::new(UInt16Array::from_iter_values(values.map(|v| v as u16))),
        KeyWidth::U32 => Arc::new(UInt32Array::from_iter_values(values.map(|v| v as u32))),
        KeyWidth::U64 => Arc::new(UInt64Array::from_iter_values(values)),
    }
}

impl Run {
    /// Writes the rows of `columns` in `order` (key and row) to `path`.
    ///
    /// # Errors
    /// The file cannot be written: a full disk, for instance.
    pub fn write(
        path: &Path,
        order: &[(u64, u32)],
        columns: &[(&Values, ColumnKind, Packing)],
    ) -> Result<Run, IngestError> {
        let packed: Vec<(&Values, Packing)> = columns.iter().map(|&(values, _, packing)| (values, packing)).collect();
        let packings: Vec<Packing> = columns.iter().map(|&(_, _, packing)| packing).collect();
        let mut writer = RunWriter::create(path, &packings)?;
        // Batches are made in parallel, a few at a time, and written in order.
        for part in order.chunks(BATCH_ROWS * rayon::current_num_threads() * 4) {
            let batches: Vec<RecordBatch> =
                part.par_chunks(BATCH_ROWS).map(|order| batch(&writer.schema, order, &packed)).collect();
            writer.write(&batches)?;
        }
        writer.finish()?;
        Ok(Run { path: path.to_owned(), packings, kinds: columns.iter().map(|&(_, kind, _)| kind).collect() })
    }
}

/// A run being written.
struct RunWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<File>>,
}

impl RunWriter {
    fn create(path: &Path, packings: &[Packing]) -> Result<RunWriter, IngestError> {
        let schema = schema(packings.iter().enumerate().map(|(place, packing)| (format!("c{place}"), packing.width())));
        let file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(IngestError::io("create", path))?);
        let writer = StreamWriter::try_new(file, &schema).map_err(|error| arrow_io("write", path, error))?;
        Ok(RunWriter { path: path.to_owned(), schema, writer })
    }

    fn write(&mut self, batches: &[RecordBatch]) -> Result<(), IngestError> {
        batches.iter().try_for_each(|batch| self.writer.write(batch)).map_err(|error| arrow_io("write", &self.path, error))
    }

    fn finish(mut self) -> Result<(), IngestError> {
        let failed = |error| arrow_io("write", &self.path, error);
        self.writer.finish().map_err(failed)?;
        self.writer.into_inner().map_err(failed)?.flush().map_err(IngestError::io("write", &self.path))
    }
}

/// The rows of `order`, packed.
fn batch(schema: &SchemaRef, order: &[(u64, u32)], columns: &[(&Values, Packing)]) -> RecordBatch {
    let mut arrays = vec![array(KeyWidth::U64, order.iter().map(|&(key, _)| key))];
    arrays.extend(columns.iter().map(|(values, packing)| packing.pack(values, order)));
    RecordBatch::try_new(schema.clone(), arrays).expect("arrays are as wide as the schema says, and equally long")
}

fn schema(columns: impl Iterator<Item = (String, KeyWidth)>) -> SchemaRef {
    let mut fields = vec![Field::new("key", data_type(KeyWidth::U64), false)];
    fields.extend(columns.map(|(name, width)| Field::new(name, data_type(width), false)));
    Arc::new(Schema::new(fields))
}

fn data_type(width: KeyWidth) -> arrow::datatypes::DataType {
    use arrow::datatypes::DataType;
    match width {
        KeyWidth::U8 => DataType::UInt8,
        KeyWidth::U16 => DataType::UInt16,
        KeyWidth::U32 => DataType::UInt32,
        KeyWidth::U64 => DataType::UInt64,
    }
}

fn arrow_io(action: &'static str, path: &Path, error: ArrowError) -> IngestError {
    let source = match error {
        ArrowError::IoError(_, source) => source,
        other => std::io::Error::other(other),
    };
    IngestError::io(action, path)(source)
}

/// Merges runs: by key, and by the order of the runs where keys are equal.
pub struct Merge {
    cursors: Vec<Cursor>,
    /// Next key and run of every run that has rows left.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

/// The place of the merge in one run.
struct Cursor {
    run: Run,
    reader: StreamReader<BufReader<File>>,
    keys: Vec<u64>,
    columns: Vec<Values>,
    next: usize,
}

impl Merge {
    /// # Errors
    /// A run cannot be read.
    pub fn new(runs: Vec<Run>) -> Result<Merge, IngestError> {
        let mut cursors = Vec::new();
        let mut heap = BinaryHeap::new();
        for (place, run) in runs.into_iter().enumerate() {
            let file = File::open(&run.path).map_err(IngestError::io("open", &run.path))?;
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 18, file), None)
                .map_err(|error| arrow_io("read", &run.path, error))?;
            let mut cursor = Cursor { run, reader, keys: Vec::new(), columns: Vec::new(), next: 0 };
            if cursor.refill()? {
                heap.push(Reverse((cursor.keys[0], place)));
            }
            cursors.push(cursor);
        }
        Ok(Merge { cursors, heap })
    }

    /// The next rows, at most `rows_max`, fewer where a run needs its next batch; `None` at the end.
    ///
    /// # Errors
    /// A run cannot be read.
    pub fn next_chunk(&mut self, rows_max: usize) -> Result<Option<Chunk>, IngestError> {
        let mut keys = Vec::new();
        let mut picks: Vec<u32> = Vec::new();
        let mut positions: Vec<usize> = self.cursors.iter().map(|cursor| cursor.next).collect();
        let mut exhausted = None;
        while let Some(mut top) = self.heap.peek_mut() {
            if keys.len() == rows_max {
                break;
            }
            let Reverse((key, run)) = *top;
            keys.push(key);
            picks.push(run as u32);
            positions[run] += 1;
            match self.cursors[run].keys.get(positions[run]) {
                Some(&next) => *top = Reverse((next, run)),
                None => {
                    std::collections::binary_heap::PeekMut::pop(top);
                    exhausted = Some(run);
                    break;
                }
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let columns = self.cursors[0].columns.len();
        let columns = (0..columns).into_par_iter().map(|column| self.column(column, &picks)).collect();
        for (cursor, position) in self.cursors.iter_mut().zip(positions) {
            cursor.next = position;
        }
        if let Some(run) = exhausted
            && self.cursors[run].refill()?
        {
            self.heap.push(Reverse((self.cursors[run].keys[0], run)));
        }
        Ok(Some(Chunk { keys, columns }))
    }

    /// Writes everything as one run and removes the old ones.
    ///
    /// # Errors
    /// A run cannot be written or read.
    pub fn into_run(mut self, path: &Path, packings: Vec<Packing>, kinds: Vec<ColumnKind>) -> Result<Run, IngestError> {
        let mut writer = RunWriter::create(path, &packings)?;
        while let Some(chunk) = self.next_chunk(BATCH_ROWS)? {
            let order: Vec<(u64, u32)> = chunk.keys.iter().enumerate().map(|(row, &key)| (key, row as u32)).collect();
            let columns: Vec<(&Values, Packing)> = chunk.columns.iter().zip(packings.iter().copied()).collect();
            writer.write(&[batch(&writer.schema, &order, &columns)])?;
        }
        writer.finish()?;
        for cursor in self.cursors {
            std::fs::remove_file(&cursor.run.path).map_err(IngestError::io("remove", &cursor.run.path))?;
        }
        Ok(Run { path: path.to_owned(), packings, kinds })
    }

    /// The values of a column in the order of the picked runs.
    fn column(&self, column: usize, picks: &[u32]) -> Values {
        fn picked<'a, T: Copy + 'a>(cursors: &'a [Cursor], picks: &[u32], values: impl Fn(&'a Cursor) -> &'a [T]) -> Vec<T> {
            let mut rests: Vec<std::slice::Iter<T>> = cursors.iter().map(|cursor| values(cursor)[cursor.next.min(values(cursor).len())..].iter()).collect();
            picks.iter().map(|&run| *rests[run as usize].next().expect("a run is picked as often as it has rows")).collect()
        }
        // A run that is at its end has no columns any more, but is not picked either.
        match self.cursors[0].run.kinds[column] {
            ColumnKind::Float => Values::Float(picked(&self.cursors, picks, |cursor| match cursor.columns.get(column) {
                Some(Values::Float(values)) => values,
                _ => &[],
            })),
            ColumnKind::Text => Values::Text(picked(&self.cursors, picks, |cursor| match cursor.columns.get(column) {
                Some(Values::Text(values)) => values,
                _ => &[],
            })),
            _ => Values::Integer(picked(&self.cursors, picks, |cursor| match cursor.columns.get(column) {
                Some(Values::Integer(values)) => values,
                _ => &[],
            })),
        }
    }
}

impl Cursor {
    /// Reads the next batch; whether there was one.
    fn refill(&mut self) -> Result<bool, IngestError> {
        self.next = 0;
        let Some(batch) = self.reader.next() else {
            // Keep the columns' number, drop their values.
            self.keys = Vec::new();
            self.columns.iter_mut().for_each(Values::clear);
            return Ok(false);
        };
        let batch = batch.map_err(|error| arrow_io("read", &self.run.path, error))?;
        self.keys = batch.column(0).as_primitive::<UInt64Type>().values().to_vec();
        self.columns = (0..self.run.packings.len())
            .into_par_iter()
            .map(|column| self.run.packings[column].unpack(self.run.kinds[column], batch.column(column + 1)))
            .collect();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_loses_nothing(
            integers in proptest::collection::vec(prop_oneof![any::<i64>(), -9i64..9, Just(NULL_INTEGER)], 1..50),
            floats in proptest::collection::vec(prop_oneof![any::<f64>().prop_filter("number", |v| !v.is_nan()), (-999i32..999).prop_map(|c| f64::from(c) / 100.0)], 1..50),
        ) {
            for (values, kind) in [(Values::Integer(integers), ColumnKind::Integer), (Values::Float(floats), ColumnKind::Float)] {
                let mut stats = NumberStats::default();
                stats.add(&values);
                let packing = Packing::new(kind, &stats, 0);
                let rows = match &values { Values::Integer(values) => values.len(), Values::Float(values) => values.len(), Values::Text(numbers) => numbers.len() };
                let order: Vec<(u64, u32)> = (0..rows as u32).map(|row| (0, row)).collect();
                prop_assert_eq!(packing.unpack(kind, &packing.pack(&values, &order)), values);
            }
        }

        #[test]
        fn a_merge_is_a_stable_sort(keys in proptest::collection::vec(0u64..40, 1..300), run_rows in 1usize..80, chunk_rows in 1usize..50) {
            let folder = tempfile::tempdir().unwrap();
            let values = Values::Integer((0..keys.len() as i64).collect());
            let packing = Packing::Bits;
            let runs = keys.chunks(run_rows).enumerate().map(|(number, chunk)| {
                let mut order: Vec<(u64, u32)> =
                    chunk.iter().enumerate().map(|(i, &key)| (key, (number * run_rows + i) as u32)).collect();
                order.sort_unstable();
                Run::write(&folder.path().join(number.to_string()), &order, &[(&values, ColumnKind::Integer, packing)]).unwrap()
            }).collect();
            let mut merge = Merge::new(runs).unwrap();
            let (mut found_keys, mut found_rows) = (Vec::new(), Vec::new());
            while let Some(chunk) = merge.next_chunk(chunk_rows).unwrap() {
                prop_assert!(chunk.keys.len() <= chunk_rows);
                found_keys.extend(chunk.keys);
                let Values::Integer(rows) = &chunk.columns[0] else { panic!("integers were written") };
                found_rows.extend(rows.iter().copied());
            }
            let mut expected: Vec<(u64, i64)> = keys.iter().copied().zip(0..).collect();
            expected.sort();
            prop_assert_eq!(found_keys.into_iter().zip(found_rows).collect::<Vec<_>>(), expected);
        }
    }
}
