//! Rows by position: what lies behind points, with all original columns, from the parts' Parquet files.
//!
//! Row i of a part's file is point i, so positions need no search. Pages are indexed: of a few rows, a few pages are decoded.

use super::rows_file::RowsFile;
use super::{Dataset, DatasetError};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;
use std::ops::Range;
use std::sync::OnceLock;
use thiserror::Error;

/// Rows of a batch: what a stream holds in memory at a time, some megabytes of wide rows.
const BATCH_ROWS: usize = 8192;

/// The files of a dataset's rows. Their footers and page indexes are read once each, when first needed.
pub struct RowFiles {
    parts: Vec<RowFile>,
}

struct RowFile {
    file: RowsFile,
    metadata: OnceLock<ArrowReaderMetadata>,
}

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("there is no column '{name}' in the rows; they have {}", known.join(", "))]
    UnknownColumn { name: String, known: Vec<String> },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// Rows of a part: ascending, disjoint ranges of positions. Best within [`PIECE_ROWS`], for memory's sake.
pub struct Piece {
    pub part: usize,
    pub ranges: Vec<Range<u32>>,
}

/// Pieces that begin at multiples of this lie in one row group each.
pub const PIECE_ROWS: u32 = super::rows::ROW_GROUP_ROWS as u32;

/// Batches of rows, in the order of their positions.
pub struct Rows {
    files: std::sync::Arc<RowFiles>,
    schema: SchemaRef,
    projection: Vec<usize>,
    wanted: Box<dyn Iterator<Item = Piece> + Send>,
    reading: Option<(RowsFile, ParquetRecordBatchReader)>,
}

impl RowFiles {
    pub fn of(dataset: &Dataset) -> RowFiles {
        let file = |file: &RowsFile| RowFile { file: file.clone(), metadata: OnceLock::new() };
        RowFiles { parts: dataset.parts.iter().map(|part| file(part.rows_file())).collect() }
    }

    /// The columns of the rows: the original ones, then the geometry.
    ///
    /// # Errors
    /// The first part's file cannot be read, or there is none.
    pub fn schema(&self) -> Result<SchemaRef, DatasetError> {
        match self.parts.first() {
            Some(file) => Ok(file.metadata()?.schema().clone()),
            None => Err(DatasetError::Rows("the dataset has no rows".into())),
        }
    }

    /// The rows of the pieces, one after the other. `columns`, where given, are those wanted, in that order.
    ///
    /// # Errors
    /// An unknown column, or a file that cannot be read.
    pub fn read(
        self: &std::sync::Arc<Self>,
        wanted: Box<dyn Iterator<Item = Piece> + Send>,
        columns: Option<&[String]>,
    ) -> Result<Rows, ReadError> {
        let all = self.schema()?;
        let known = || all.fields().iter().map(|field| field.name().clone()).collect();
        let projection = match columns {
            None => (0..all.fields().len()).collect(),
            Some(names) => names
                .iter()
                .map(|name| all.index_of(name).map_err(|_| ReadError::UnknownColumn { name: name.clone(), known: known() }))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let schema = std::sync::Arc::new(all.project(&projection).expect("the places are the schema's"));
        Ok(Rows { files: self.clone(), schema, projection, wanted, reading: None })
    }
}

impl RowFiles {
    /// The name of the geometry column: the rows' last.
    ///
    /// # Errors
    /// As [`RowFiles::schema`].
    pub fn geometry(&self) -> Result<String, DatasetError> {
        let schema = self.schema()?;
        Ok(schema.field(schema.fields().len() - 1).name().clone())
    }
}

impl Rows {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns in the order wanted: the reader gives them in the file's.
    fn ordered(&self, batch: &RecordBatch) -> RecordBatch {
        let column = |&place: &usize| -> ArrayRef {
            let before = self.projection.iter().collect::<std::collections::BTreeSet<_>>();
            let at = before.iter().position(|&&p| p == place).expect("the place was projected");
            batch.column(at).clone()
        };
        let columns = self.projection.iter().map(column).collect();
        RecordBatch::try_new(self.schema.clone(), columns).expect("all parts have one schema")
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((file, reader)) = &mut self.reading {
                match reader.next() {
                    Some(Ok(batch)) => return Some(Ok(self.ordered(&batch))),
                    Some(Err(error)) => return Some(Err(file.failed(error))),
                    None => self.reading = None,
                }
            }
            let Piece { part, ranges } = self.wanted.next()?;
            match self.files.parts[part].reader(&ranges, &self.projection) {
                Ok(reader) => self.reading = Some((self.files.parts[part].file.clone(), reader)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl RowFile {
    fn metadata(&self) -> Result<&ArrowReaderMetadata, DatasetError> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let loaded = ArrowReaderMetadata::load(&self.file, options).map_err(|e| self.file.failed(e))?;
        Ok(self.metadata.get_or_init(|| loaded))
    }

    fn reader(&self, ranges: &[Range<u32>], projection: &[usize]) -> Result<ParquetRecordBatchReader, DatasetError> {
        let metadata = self.metadata()?.clone();
        let file_metadata = metadata.metadata().clone();
        let (groups, selection) = selection(ranges, file_metadata.row_groups().iter().map(|group| group.num_rows() as usize));
        let mask = ProjectionMask::roots(metadata.parquet_schema(), projection.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| self.file.failed(e))
    }
}

/// The row groups that hold any of the rows, and the rows as a selection within those groups.
fn selection(ranges: &[Range<u32>], group_rows: impl Iterator<Item = usize>) -> (Vec<usize>, RowSelection) {
    let (mut groups, mut kept, mut kept_rows) = (Vec::new(), Vec::new(), 0);
    let mut begin = 0;
    let mut ranges = ranges.iter().map(|range| range.start as usize..range.end as usize).peekable();
    for (group, rows) in group_rows.enumerate() {
        let end = begin + rows;
        let before = kept.len();
        while let Some(range) = ranges.peek().filter(|range| range.start < end) {
            let (from, to) = (range.start.max(begin), range.end.min(end));
            kept.push(kept_rows + from - begin..kept_rows + to - begin);
            if range.end > end {
                break;
            }
            ranges.next();
        }
        if kept.len() > before {
            groups.push(group);
            kept_rows += rows;
        }
        begin = end;
    }
    (groups, RowSelection::from_consecutive_ranges(kept.into_iter(), kept_rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::{TestColumn, dataset};
    use crate::world::WorldPoint;
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn rows_are_those_at_the_positions() {
        let points: Vec<WorldPoint> = (0..500).map(|i| WorldPoint { x: 0, y: i }).collect();
        let sizes = TestColumn::Integer((0..500).map(Some).collect());
        let names = TestColumn::Text((0..500).map(|i| Some(format!("n{i}"))).collect());
        let (_folder, sample) = dataset(&points, &[("size", sizes), ("name", names)], 200);
        let files = Arc::new(RowFiles::of(&sample));
        let piece = |part, ranges| Piece { part, ranges };
        let wanted = Box::new([piece(0, vec![3..5, 199..200]), piece(2, vec![0..1, 50..53])].into_iter());
        let columns = ["name".to_owned(), "size".to_owned()];
        let rows = files.read(wanted, Some(&columns)).unwrap();
        assert_eq!(rows.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["name", "size"]);
        let mut seen = Vec::new();
        for batch in rows {
            let batch = batch.unwrap();
            let sizes = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                assert_eq!(batch.column(0).as_string::<i32>().value(row), format!("n{}", sizes.value(row)));
                seen.push(sizes.value(row));
            }
        }
        assert_eq!(seen, [3, 4, 199, 400, 450, 451, 452]);
        let error = files.read(Box::new(std::iter::empty()), Some(&["speed".to_owned()])).err().unwrap().to_string();
        assert_eq!(error, "there is no column 'speed' in the rows; they have lon, lat, size, name, geometry");
    }

    proptest! {
        #[test]
        fn a_selection_keeps_the_rows_of_its_groups(
            group_rows in proptest::collection::vec(1usize..9, 1..6), bits in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let rows: usize = group_rows.iter().sum();
            let mut ranges: Vec<Range<u32>> = Vec::new();
            for at in (0..rows as u32).filter(|&at| bits[at as usize]) {
                match ranges.last_mut() {
                    Some(last) if last.end == at => last.end += 1,
                    _ => ranges.push(at..at + 1),
                }
            }
            let (groups, selection) = selection(&ranges, group_rows.iter().copied());
            // Rows of the kept groups, and which of them are selected.
            let mut begin = 0;
            let mut expected = Vec::new();
            for (group, &rows) in group_rows.iter().enumerate() {
                let of_group = &bits[begin..begin + rows];
                prop_assert_eq!(groups.contains(&group), of_group.contains(&true));
                if groups.contains(&group) {
                    expected.extend_from_slice(of_group);
                }
                begin += rows;
            }
            let mut got: Vec<bool> = selection.iter().flat_map(|s| std::iter::repeat_n(!s.skip, s.row_count)).collect();
            got.resize(expected.len(), false);
            prop_assert_eq!(got, expected);
        }
    }
}
