//! Parquet and Arrow IPC files: their columns, and their batches as typed rows.

use super::batch::{Batch, BatchColumn, key};
use super::error::IngestError;
use super::inputs::{Content, Input};
use super::plan::{Plan, SeenColumn};
use super::rejects::{Reason, Reject};
use super::texts::Texts;
use super::value::NULL_INTEGER;
use super::values::Values;
use crate::dataset::ColumnKind;
use crate::world::Rejection;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast_with_options, CastOptions, filter};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::{BufReader, Read};

/// Rows of a batch: enough to amortise the threads' hand-over, some megabytes at a time.
const BATCH_ROWS: usize = 1 << 16;

/// Rows of a Parquet or Arrow file.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + 'a>;

/// The columns of an input that can be ingested, and those that cannot (name and type).
pub struct Columns {
    pub seen: Vec<SeenColumn>,
    pub left_out: Vec<(String, String)>,
}

/// # Errors
/// The file is damaged.
pub fn columns(input: &Input, content: Content) -> Result<Columns, IngestError> {
    let mut columns = Columns { seen: Vec::new(), left_out: Vec::new() };
    let schema = schema(input, content)?;
    let unique = super::names::unique(schema.fields().iter().map(|field| field.name().clone()));
    for (field, name) in schema.fields().iter().zip(unique) {
        match kind(field.data_type()) {
            Some(kind) => columns.seen.push(SeenColumn {
                name,
                kind: (*field.data_type() != DataType::Null).then_some(kind),
                example: None,
            }),
            None => columns.left_out.push((name, field.data_type().to_string())),
        }
    }
    Ok(columns)
}

/// Names and types of all columns of a Parquet file.
///
/// # Errors
/// The file is damaged.
pub fn types(input: &Input) -> Result<Vec<(String, DataType)>, IngestError> {
    let schema = schema(input, Content::Parquet)?;
    Ok(schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect())
}

/// The kind of a column of an Arrow type; `None` for nested and binary columns, which are no attributes of a point.
fn kind(data_type: &DataType) -> Option<ColumnKind> {
    match data_type {
        DataType::Boolean => Some(ColumnKind::Boolean),
        data_type if data_type.is_integer() && *data_type != DataType::UInt64 => Some(ColumnKind::Integer),
        DataType::UInt64 => Some(ColumnKind::Integer),
        data_type if data_type.is_floating() => Some(ColumnKind::Float),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Some(ColumnKind::Float)
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Some(ColumnKind::Timestamp),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Some(ColumnKind::Text),
        DataType::Time32(_) | DataType::Time64(_) => Some(ColumnKind::Text),
        DataType::Dictionary(_, values) => kind(values),
        _ => None,
    }
}

fn schema(input: &Input, content: Content) -> Result<SchemaRef, IngestError> {
    match content {
        Content::Parquet => Ok(parquet_builder(input)?.schema().clone()),
        Content::ArrowFile => Ok(arrow_file(input)?.schema()),
        _ => input.with_bytes(&Default::default(), |reader| {
            Ok(StreamReader::try_new(reader, None).map_err(|e| damaged(input, &e))?.schema())
        }),
    }
}

fn open(input: &Input) -> Result<File, IngestError> {
    if input.container != super::inputs::Container::Plain {
        let what = "is a compressed Parquet or Arrow file, which cannot be read piece by piece: decompress it first";
        return Err(IngestError::unreadable(&input.label(), what));
    }
    File::open(&input.path).map_err(IngestError::io("open", &input.path))
}

fn parquet_builder(input: &Input) -> Result<ParquetRecordBatchReaderBuilder<File>, IngestError> {
    ParquetRecordBatchReaderBuilder::try_new(open(input)?).map_err(|error| damaged(input, &error))
}

fn arrow_file(input: &Input) -> Result<FileReader<BufReader<File>>, IngestError> {
    FileReader::try_new(BufReader::new(open(input)?), None).map_err(|error| damaged(input, &error))
}

/// An error of the arrow or parquet reader, in words that help.
pub fn damaged(input: &Input, error: &dyn std::fmt::Display) -> IngestError {
    IngestError::unreadable(&input.label(), format_args!("is damaged ({error}): fetch or write the file again"))
}

/// Opens the rows of an input, only the columns called `wanted`, and hands them to `use_batches`.
///
/// # Errors
/// The file is damaged; or whatever `use_batches` answers.
pub fn with_batches<T>(
    input: &Input,
    content: Content,
    wanted: &[String],
    use_batches: impl FnOnce(&Schema, Batches) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let wanted_places = |schema: &Schema| -> Vec<usize> {
        let unique = super::names::unique(schema.fields().iter().map(|field| field.name().clone()));
        unique.iter().enumerate().filter(|(_, name)| wanted.contains(name)).map(|(place, _)| place).collect()
    };
    match content {
        Content::Parquet => {
            let builder = parquet_builder(input)?;
            let roots = wanted_places(builder.schema());
            let schema = builder.schema().project(&roots).map_err(|e| damaged(input, &e))?;
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            let reader = builder
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(|error| damaged(input, &error))?;
            use_batches(&schema, Box::new(reader))
        }
        Content::ArrowFile => {
            let reader = arrow_file(input)?;
            let places = wanted_places(&reader.schema());
            let schema = reader.schema().project(&places).map_err(|e| damaged(input, &e))?;
            let project = move |batch: Result<RecordBatch, ArrowError>| batch?.project(&places);
            use_batches(&schema, Box::new(reader.flat_map(pieces).map(project)))
        }
        _ => input.with_bytes(&Default::default(), |bytes| {
            let reader = StreamReader::try_new(bytes as &mut dyn Read, None).map_err(|e| damaged(input, &e))?;
            let places = wanted_places(&reader.schema());
            let schema = reader.schema().project(&places).map_err(|e| damaged(input, &e))?;
            let project = move |batch: Result<RecordBatch, ArrowError>| batch?.project(&places);
            use_batches(&schema, Box::new(reader.flat_map(pieces).map(project)))
        }),
    }
}

/// Cuts a large batch of an Arrow file into pieces of [`BATCH_ROWS`].
fn pieces(batch: Result<RecordBatch, ArrowError>) -> Vec<Result<RecordBatch, ArrowError>> {
    match batch {
        Err(error) => vec![Err(error)],
        Ok(batch) => (0..batch.num_rows())
            .step_by(BATCH_ROWS)
            .map(|start| Ok(batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start))))
            .collect(),
    }
}

/// Types a batch. `fields` says at which column of it each column of the plan stands.
///
/// # Errors
/// A column that cannot be converted to its planned kind.
pub fn convert(batch: &RecordBatch, first_row: u64, plan: &Plan, fields: &[Option<usize>]) -> Result<Batch, ArrowError> {
    let rows = batch.num_rows();
    let coordinates = |column: usize| -> Result<Option<ArrayRef>, ArrowError> {
        let Some(place) = fields[column] else { return Ok(None) };
        lossy_cast(batch.column(place), &DataType::Float64).map(Some)
    };
    let (x, y) = (coordinates(plan.x)?, coordinates(plan.y)?);
    let mut keep = vec![true; rows];
    let mut keys = Vec::with_capacity(rows);
    let mut rejects = Vec::new();
    for (row, keep) in keep.iter_mut().enumerate() {
        let value = |column: usize, array: &Option<ArrayRef>| match (array, fields[column]) {
            (Some(array), _) if array.is_valid(row) => Ok(array.as_primitive::<Float64Type>().value(row)),
            // The cast made a null of a text that is no number.
            (Some(_), Some(place)) if batch.column(place).is_valid(row) => Err(Reason::NotANumber),
            _ => Err(Reason::Place(Rejection::NullCoordinate)),
        };
        let key = value(plan.x, &x).and_then(|x| key(plan.crs, x, value(plan.y, &y)?));
        match key {
            Ok(key) => keys.push(key),
            Err(reason) => {
                *keep = false;
                rejects.push(Reject { row: first_row + row as u64, reason, raw: raw_row(batch, row)? });
            }
        }
    }
    let keep = (!rejects.is_empty()).then(|| BooleanArray::from(keep));
    let mut columns = Vec::new();
    for (place, planned) in plan.columns.iter().enumerate() {
        let mut column = BatchColumn { values: Values::new(planned.read_as), texts: Texts::default() };
        match fields[place] {
            Some(field) => {
                let kept = keep.as_ref().map_or_else(|| Ok(batch.column(field).clone()), |keep| filter(batch.column(field), keep))?;
                fill(&mut column, &kept, planned.read_as)?;
            }
            None => {
                keys.iter().for_each(|_| column.values.push_null());
                column.texts.intern_null(keys.len() as u64);
            }
        }
        columns.push(column);
    }
    let contradictions = vec![None; columns.len()];
    let unplanned = Default::default();
    let mut batch = Batch { keys, columns, rejects, contradictions, unplanned, unwanted: 0, latin1_fields: 0 };
    batch.complete(plan);
    Ok(batch)
}

fn fill(column: &mut BatchColumn, array: &ArrayRef, kind: ColumnKind) -> Result<(), ArrowError> {
    match &mut column.values {
        Values::Float(values) => {
            let array = strict_cast(array, &DataType::Float64)?;
            values.extend(array.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        Values::Integer(values) if kind == ColumnKind::Timestamp => {
            let array = strict_cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            values.extend(array.as_primitive::<TimestampMicrosecondType>().iter().map(|value| value.unwrap_or(NULL_INTEGER)));
        }
        Values::Integer(values) => {
            let array = strict_cast(array, &DataType::Int64)?;
            values.extend(array.as_primitive::<Int64Type>().iter().map(|value| value.unwrap_or(NULL_INTEGER)));
        }
        Values::Text(values) => {
            let array = strict_cast(array, &DataType::LargeUtf8)?;
            for text in array.as_string::<i64>() {
                // As in text files: an empty text is no value.
                match text.filter(|text| !text.is_empty()) {
                    Some(text) => values.push(column.texts.intern(text.as_bytes(), 1)),
                    None => {
                        values.push(0);
                        column.texts.intern_null(1);
                    }
                }
            }
        }
    }
    Ok(())
}

/// A cast in which a value that does not fit is an error.
fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// A cast in which a value that does not fit is null.
fn lossy_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// The values of a row, comma separated, for the rejects file.
fn raw_row(batch: &RecordBatch, row: usize) -> Result<Vec<u8>, ArrowError> {
    let options = FormatOptions::default();
    let mut record = csv::Writer::from_writer(Vec::new());
    let mut values = Vec::new();
    for column in batch.columns() {
        values.push(ArrayFormatter::try_new(column, &options)?.value(row).to_string());
    }
    record.write_record(&values).expect("memory takes every byte");
    Ok(record.into_inner().expect("memory takes every byte").trim_ascii_end().to_vec())
}
