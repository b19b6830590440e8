//! The rows of a part: GeoParquet 1.1 with all original columns and a WKB point, sorted by key.
//!
//! Columns of a row group are encoded in parallel. Pages are small (8,192 rows) and indexed, so that reading the few rows
//! under a pixel decodes a few pages and not a row group.

use super::DatasetError;
use super::rows_file::RowsFile;
use arrow::array::{ArrayRef, BinaryArray, Float64Array, RecordBatch};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group: enough for columns to compress, few enough that two of them in memory cost some tens of megabytes.
pub(super) const ROW_GROUP_ROWS: usize = 1 << 18;

/// Rows of a page: what a read of one row decodes, per column.
const PAGE_ROWS: usize = 8192;

/// The name of the geometry column, unless the input has a column of that name, which then wins and ours is `_geometry`.
const GEOMETRY: &str = "geometry";

/// Writes the rows of one part, in key order.
pub struct RowsWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: SerializedFileWriter<BufWriter<File>>,
    groups: ArrowRowGroupWriterFactory,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    rows: u64,
    geometry: String,
    bbox: [f64; 4],
}

impl RowsWriter {
    pub(super) fn create(path: &Path, input: &SchemaRef) -> Result<RowsWriter, DatasetError> {
        let geometry = if input.column_with_name(GEOMETRY).is_some() { format!("_{GEOMETRY}") } else { GEOMETRY.into() };
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(&geometry, DataType::Binary, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(geometry.as_str().into(), false)
            .set_created_by(concat!("pointillist ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let failed = |error| rows_error(path, error);
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema).map_err(failed)?;
        let file = BufWriter::new(File::create(path).map_err(DatasetError::io("create", path))?);
        let writer =
            SerializedFileWriter::new(file, parquet_schema.root_schema_ptr(), Arc::new(properties)).map_err(failed)?;
        let groups = ArrowRowGroupWriterFactory::new(&writer, schema.clone());
        Ok(RowsWriter {
            path: path.to_owned(),
            schema,
            writer,
            groups,
            pending: Vec::new(),
            pending_rows: 0,
            rows: 0,
            geometry,
            bbox: [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY],
        })
    }

    /// Appends rows: the original columns, and their longitudes and latitudes in degrees, none null.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, rows: &RecordBatch, lon: &Float64Array, lat: &Float64Array) -> Result<(), DatasetError> {
        for (x, y) in lon.values().iter().zip(lat.values()) {
            let [west, south, east, north] = self.bbox;
            self.bbox = [west.min(*x), south.min(*y), east.max(*x), north.max(*y)];
        }
        let mut columns = rows.columns().to_vec();
        columns.push(well_known_points(lon, lat));
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| rows_error(&self.path, e.into()))?;
        self.pending_rows += batch.num_rows();
        self.pending.push(batch);
        while self.pending_rows >= ROW_GROUP_ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    /// Closes the file; gives the number of rows.
    pub(super) fn finish(mut self) -> Result<u64, DatasetError> {
        while self.pending_rows > 0 {
            self.write_group()?;
        }
        let [west, south, east, north] = self.bbox;
        let geo = serde_json::json!({
            "version": "1.1.0",
            "primary_column": self.geometry,
            "columns": { self.geometry.clone(): {
                "encoding": "WKB", "geometry_types": ["Point"], "bbox": [west, south, east, north],
            }},
        });
        self.writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), geo.to_string()));
        let path = self.path;
        self.writer.close().map_err(|e| rows_error(&path, e))?;
        Ok(self.rows)
    }

    fn write_group(&mut self) -> Result<(), DatasetError> {
        let path = self.path.clone();
        let failed = |error| rows_error(&path, error);
        let all = concat_batches(&self.schema, &self.pending).map_err(|e| failed(e.into()))?;
        let rows = all.num_rows().min(ROW_GROUP_ROWS);
        let group = all.slice(0, rows);
        self.pending_rows -= rows;
        self.pending.clear();
        if self.pending_rows > 0 {
            self.pending.push(all.slice(rows, self.pending_rows));
        }
        let writers = self.groups.create_column_writers(self.writer.flushed_row_groups().len()).map_err(failed)?;
        let chunks = writers
            .into_par_iter()
            .zip_eq(leaves(&group).map_err(failed)?)
            .map(|(mut writer, leaf)| {
                writer.write(&leaf)?;
                writer.close()
            })
            .collect::<Result<Vec<ArrowColumnChunk>, ParquetError>>()
            .map_err(failed)?;
        let mut row_group = self.writer.next_row_group().map_err(failed)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group).map_err(failed)?;
        }
        row_group.close().map_err(failed)?;
        self.rows += rows as u64;
        Ok(())
    }
}

/// Rows of a Parquet file, by its footer.
///
/// # Errors
/// It has no footer.
pub(super) fn rows_in(file: &RowsFile) -> Result<u64, DatasetError> {
    let reader = SerializedFileReader::new(file.clone()).map_err(|error| DatasetError::damaged(file.path(), error))?;
    Ok(reader.metadata().file_metadata().num_rows() as u64)
}

fn leaves(group: &RecordBatch) -> Result<Vec<parquet::arrow::arrow_writer::ArrowLeafColumn>, ParquetError> {
    let schema = group.schema();
    let mut leaves = Vec::new();
    for (field, array) in schema.fields().iter().zip(group.columns()) {
        leaves.extend(compute_leaves(field, array)?);
    }
    Ok(leaves)
}

/// Points as ISO well-known binary: byte order 1 (little endian), type 1 (point), x, y.
fn well_known_points(lon: &Float64Array, lat: &Float64Array) -> ArrayRef {
    const POINT_BYTES: usize = 21;
    let mut bytes = Vec::with_capacity(lon.len() * POINT_BYTES);
    for (x, y) in lon.values().iter().zip(lat.values()) {
        bytes.extend_from_slice(&[1, 1, 0, 0, 0]);
        bytes.extend_from_slice(&x.to_le_bytes());
        bytes.extend_from_slice(&y.to_le_bytes());
    }
    let offsets = OffsetBuffer::from_repeated_length(POINT_BYTES, lon.len());
    Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes), None))
}

fn rows_error(path: &Path, error: ParquetError) -> DatasetError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => DatasetError::Io { action: "write", path: path.to_owned(), cause: *source },
            Err(other) => DatasetError::Rows(format!("cannot write {}: {other}", path.display())),
        },
        other => DatasetError::Rows(format!("cannot write {}: {other}", path.display())),
    }
}

