//! Writes a table of any length as CSV, gzipped CSV or Parquet, in order, on all cores and in bounded memory.
//!
//! Bytes depend on the table, the number of rows and the format alone, not on the number of threads: chunks are made and encoded independently and
//! written in order. It knows nothing of what the rows mean.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::Compression as Codec;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;

use super::table::{CHUNK_ROWS, Table};

/// The file formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// One gzip member for each chunk: a valid .gz, compressed by all cores.
    CsvGz,
    Parquet,
}

/// Jobs made at once for each thread; two keep every thread busy while neighbours differ in length. With 15 MB a chunk it bounds the memory.
const JOBS_PER_THREAD: usize = 2;

/// Chunks in a Parquet row group: about 262,000 rows, small enough to encode whole in one thread.
const CHUNKS_PER_ROW_GROUP: u64 = 4;

/// Writes `rows` rows of `table` to `out`. `written` is told the rows and bytes of every step.
///
/// # Errors
/// Those of `out`, which may then hold a part of the rows.
pub fn write_rows<T: Table>(table: &T, rows: u64, format: Format, out: &mut (impl Write + Send), written: &(dyn Fn(u64, u64) + Sync)) -> io::Result<()> {
    match format {
        Format::Csv => write_csv(table, rows, Ok, out, written),
        Format::CsvGz => write_csv(table, rows, gzip, out, written),
        Format::Parquet => write_parquet(table, rows, out, written).map_err(io_error),
    }
}

/// How many rows the chunk with this number has.
fn chunk_rows(rows: u64, index: u64) -> usize {
    rows.saturating_sub(index * CHUNK_ROWS as u64).min(CHUNK_ROWS as u64) as usize
}

/// Calls `make` for `0..count` on all threads, a bounded number at once, and `take` with the results in order.
fn in_order<R: Send, E: Send>(count: u64, make: impl Fn(u64) -> Result<R, E> + Sync, mut take: impl FnMut(u64, R) -> Result<(), E>) -> Result<(), E> {
    let at_once = (rayon::current_num_threads() * JOBS_PER_THREAD) as u64;
    let mut start = 0;
    while start < count {
        let end = count.min(start + at_once);
        let made: Vec<Result<R, E>> = (start..end).into_par_iter().map(&make).collect();
        for (index, result) in (start..end).zip(made) {
            take(index, result?)?;
        }
        start = end;
    }
    Ok(())
}

fn write_csv<T: Table>(
    table: &T,
    rows: u64,
    pack: impl Fn(Vec<u8>) -> io::Result<Vec<u8>> + Sync,
    out: &mut impl Write,
    written: &(dyn Fn(u64, u64) + Sync),
) -> io::Result<()> {
    let make = |index| {
        let mut text = Vec::with_capacity(CHUNK_ROWS * 128);
        if index == 0 {
            text.extend_from_slice(T::CSV_HEADER.as_bytes());
            text.push(b'\n');
        }
        T::push_csv(&table.chunk(index, chunk_rows(rows, index)), &mut text);
        pack(text)
    };
    // No rows are still a file with a header.
    let chunks = rows.div_ceil(CHUNK_ROWS as u64).max(1);
    in_order(chunks, make, |index, bytes| {
        out.write_all(&bytes)?;
        written(chunk_rows(rows, index) as u64, bytes.len() as u64);
        Ok(())
    })?;
    out.flush()
}

fn gzip(text: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 3), Compression::fast());
    encoder.write_all(&text)?;
    encoder.finish()
}

fn write_parquet<T: Table>(table: &T, rows: u64, out: &mut (impl Write + Send), written: &(dyn Fn(u64, u64) + Sync)) -> Result<(), ParquetError> {
    // Dictionaries pay for repeated values only; the writer gives up on them by itself, but only after the work of building them.
    let properties = ["lon", "lat", "area", "cell", "range", "samples", "created", "updated", "LON", "LAT"]
        .into_iter()
        .fold(WriterProperties::builder(), |builder, column| builder.set_column_dictionary_enabled(column.into(), false))
        .set_compression(Codec::SNAPPY)
        .build();
    let schema = T::schema();
    let (mut writer, factory) = ArrowWriter::try_new(out, schema.clone(), Some(properties))?.into_serialized_writer()?;
    let groups = rows.div_ceil(CHUNK_ROWS as u64 * CHUNKS_PER_ROW_GROUP);
    let chunks_of = |group: u64| group * CHUNKS_PER_ROW_GROUP..(group + 1) * CHUNKS_PER_ROW_GROUP;
    let make = |group: u64| -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let mut columns = factory.create_column_writers(group as usize)?;
        for index in chunks_of(group).filter(|&index| chunk_rows(rows, index) > 0) {
            let batch = T::batch(&table.chunk(index, chunk_rows(rows, index)));
            // Every column is flat, so that it has one leaf and one writer.
            for ((column, field), writer) in batch.columns().iter().zip(schema.fields()).zip(&mut columns) {
                for leaf in compute_leaves(field, column)? {
                    writer.write(&leaf)?;
                }
            }
        }
        columns.into_iter().map(ArrowColumnWriter::close).collect()
    };
    in_order(groups, make, |group, columns| {
        let mut row_group = writer.next_row_group()?;
        for column in columns {
            column.append_to_row_group(&mut row_group)?;
        }
        let bytes = row_group.close()?.compressed_size();
        written(chunks_of(group).map(|index| chunk_rows(rows, index) as u64).sum(), bytes as u64);
        Ok(())
    })?;
    writer.close()?;
    Ok(())
}

/// The writer's own error holds the disk's; give that one back, so that "no space left on device" is what the user reads.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
