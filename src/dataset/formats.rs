//! Rows in the formats that other programs read, batch by batch into any stream.

use super::{DatasetError, Rows};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::sync::Arc;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// `{"total": n, "rows": [{..}, ..]}`.
    Json,
    /// A FeatureCollection of points, in degrees.
    GeoJson,
    /// With a header; nulls are empty.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// GeoParquet.
    Parquet,
}

#[derive(Debug, Error)]
pub enum RowsError {
    #[error("the rows cannot be sent: {0}")]
    Sink(#[from] std::io::Error),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("the rows cannot be written: {0}")]
    Format(String),
}

impl RowFormat {
    /// The format of `format=`.
    pub fn named(name: &str) -> Option<RowFormat> {
        Some(match name {
            "json" => RowFormat::Json,
            "geojson" => RowFormat::GeoJson,
            "csv" => RowFormat::Csv,
            "arrow" => RowFormat::Arrow,
            "parquet" => RowFormat::Parquet,
            _ => return None,
        })
    }

    pub fn media_type(self) -> &'static str {
        match self {
            RowFormat::Json => "application/json",
            RowFormat::GeoJson => "application/geo+json",
            RowFormat::Csv => "text/csv; charset=utf-8",
            RowFormat::Arrow => "application/vnd.apache.arrow.stream",
            RowFormat::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether the geometry column is among the rows that are written.
    pub fn has_geometry(self) -> bool {
        matches!(self, RowFormat::GeoJson | RowFormat::Arrow | RowFormat::Parquet)
    }
}

/// Writes all rows. Of a format with a geometry, the geometry is their last column. `total` is how many there would be
/// without a limit; only JSON says it.
///
/// # Errors
/// The sink takes no more, or the rows cannot be read.
pub fn write_rows(format: RowFormat, rows: Rows, total: u64, sink: impl Write + Send) -> Result<(), RowsError> {
    match format {
        RowFormat::Json => json(rows, total, sink),
        RowFormat::GeoJson => geojson(rows, sink),
        RowFormat::Csv => csv(rows, sink),
        RowFormat::Arrow => {
            let mut writer = StreamWriter::try_new(sink, rows.schema()).map_err(arrow_error)?;
            for batch in rows {
                writer.write(&batch?).map_err(arrow_error)?;
            }
            writer.finish().map_err(arrow_error)
        }
        RowFormat::Parquet => parquet(rows, sink),
    }
}

/// Times of any zone as times in UTC, the same instants: names of zones need a database to be written out.
fn in_utc(batch: &RecordBatch) -> Result<RecordBatch, RowsError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let utc = match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
            other => other.clone(),
        };
        columns.push(cast(column, &utc).map_err(arrow_error)?);
        fields.push(field.as_ref().clone().with_data_type(utc));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(arrow_error)
}

fn json(rows: Rows, total: u64, mut sink: impl Write) -> Result<(), RowsError> {
    write!(sink, "{{\"total\":{total},\"rows\":")?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut sink);
    for batch in rows {
        writer.write(&in_utc(&batch?)?).map_err(arrow_error)?;
    }
    writer.finish().map_err(arrow_error)?;
    drop(writer);
    sink.write_all(b"}")?;
    Ok(())
}

fn geojson(rows: Rows, mut sink: impl Write) -> Result<(), RowsError> {
    sink.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
    let mut separator = "\n";
    for batch in rows {
        let batch = in_utc(&batch?)?;
        let geometry = batch.num_columns() - 1;
        let points = batch.column(geometry).as_binary::<i32>().clone();
        let properties = properties(batch, geometry)?;
        for (row, properties) in properties.iter().enumerate() {
            let [x, y] = point(points.value(row)).ok_or_else(|| RowsError::Format("a geometry is no point".into()))?;
            write!(
                sink,
                "{separator}{{\"type\":\"Feature\",\"geometry\":{{\"type\":\"Point\",\"coordinates\":[{x},{y}]}},\"properties\":{properties}}}"
            )?;
            separator = ",\n";
        }
    }
    sink.write_all(b"\n]}\n")?;
    Ok(())
}

/// Each row's columns but the geometry, as a JSON object.
fn properties(mut batch: RecordBatch, geometry: usize) -> Result<Vec<String>, RowsError> {
    batch.remove_column(geometry);
    if batch.num_columns() == 0 {
        return Ok(vec!["{}".into(); batch.num_rows()]);
    }
    let mut lines = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(&batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    drop(writer);
    let text = String::from_utf8(lines).map_err(|error| RowsError::Format(error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Longitude and latitude of a little-endian ISO well-known point, which is how ingest writes them.
fn point(bytes: &[u8]) -> Option<[f64; 2]> {
    let coordinates = bytes.strip_prefix(&[1, 1, 0, 0, 0])?;
    let (x, y) = coordinates.split_at_checked(8)?;
    Some([f64::from_le_bytes(x.try_into().ok()?), f64::from_le_bytes(y.try_into().ok()?)])
}

fn csv(rows: Rows, sink: impl Write) -> Result<(), RowsError> {
    let mut writer = csv::Writer::from_writer(sink);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => RowsError::Sink(error),
        other => RowsError::Format(format!("{other:?}")),
    };
    writer.write_record(rows.schema().fields().iter().map(|field| field.name())).map_err(failed)?;
    let options = FormatOptions::default();
    for batch in rows {
        let batch = in_utc(&batch?)?;
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).map_err(arrow_error))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            for column in &columns {
                writer.write_field(column.value(row).to_string()).map_err(failed)?;
            }
            writer.write_record(None::<&[u8]>).map_err(failed)?;
        }
    }
    writer.flush()?;
    Ok(())
}

fn parquet(rows: Rows, sink: impl Write + Send) -> Result<(), RowsError> {
    let schema = rows.schema().clone();
    let geometry = schema.field(schema.fields().len() - 1).name();
    let geo = serde_json::json!({
        "version": "1.1.0",
        "primary_column": geometry,
        "columns": { geometry.as_str(): { "encoding": "WKB", "geometry_types": ["Point"] } },
    });
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
        .set_key_value_metadata(Some(vec![KeyValue::new("geo".to_owned(), geo.to_string())]))
        .build();
    let failed = |error: parquet::errors::ParquetError| RowsError::Format(error.to_string());
    let mut writer = ArrowWriter::try_new(sink, schema, Some(properties)).map_err(failed)?;
    for batch in rows {
        writer.write(&batch?).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

fn arrow_error(error: arrow::error::ArrowError) -> RowsError {
    match error {
        arrow::error::ArrowError::IoError(_, error) => RowsError::Sink(error),
        other => RowsError::Format(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, TimestampMillisecondArray};

    #[test]
    fn times_of_named_zones_are_written_in_utc() {
        let times = TimestampMillisecondArray::from(vec![Some(-1), None, Some(1_500)]).with_timezone("Europe/Berlin");
        let batch = RecordBatch::try_from_iter([("t", Arc::new(times) as ArrayRef)]).unwrap();
        let batch = in_utc(&batch).unwrap();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let text = String::from_utf8(writer.into_inner()).unwrap();
        assert_eq!(text, r#"[{"t":"1969-12-31T23:59:59.999Z"},{"t":null},{"t":"1970-01-01T00:00:01.500Z"}]"#);
    }
}
