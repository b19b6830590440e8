//! Arrow IPC files of exactly one record batch: mapped without a copy, written in one go.

use super::held::HeldFile;
use super::{DatasetError, mmap};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::root_as_footer;
use arrow::ipc::writer::FileWriter;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The trailer of an IPC file: a 4-byte footer length and the 6 bytes `ARROW1`.
const TRAILER_BYTES: usize = 10;

/// Maps the single record batch of `path`. Arrays point into the map.
///
/// # Errors
/// The file cannot be mapped, or is not an IPC file of one uncompressed batch.
pub(super) fn map_batch(path: &Path) -> Result<(RecordBatch, HeldFile), DatasetError> {
    let (bytes, held) = mmap::map(path)?;
    Ok((batch_of(bytes, path)?, held))
}

/// The single record batch of an IPC file's bytes. Arrays point into them.
///
/// # Errors
/// They are not those of an IPC file of one uncompressed batch.
pub(super) fn batch_of(bytes: bytes::Bytes, path: &Path) -> Result<RecordBatch, DatasetError> {
    let damaged = |what: &str| DatasetError::damaged(path, what);
    if bytes.len() < 2 * TRAILER_BYTES {
        return Err(damaged("it is cut short"));
    }
    let trailer = bytes.len() - TRAILER_BYTES;
    let trailer_bytes = bytes[trailer..].try_into().expect("the slice has the trailer's length");
    let footer_bytes = read_footer_length(trailer_bytes).map_err(|e| DatasetError::damaged(path, e))?;
    let footer_start = trailer.checked_sub(footer_bytes).ok_or_else(|| damaged("its footer is longer than the file"))?;
    let footer = root_as_footer(&bytes[footer_start..trailer]).map_err(|e| DatasetError::damaged(path, e))?;
    let schema: SchemaRef = Arc::new(fb_to_schema(footer.schema().ok_or_else(|| damaged("it has no schema"))?));
    let blocks = footer.recordBatches().ok_or_else(|| damaged("it has no record batch"))?;
    if blocks.len() != 1 {
        return Err(damaged("it does not have exactly one record batch"));
    }
    let block = blocks.get(0);
    let (offset, metadata, body) = (block.offset(), block.metaDataLength(), block.bodyLength());
    let length = usize::try_from(i64::from(metadata) + body).map_err(|_| damaged("its record batch has no length"))?;
    let offset = usize::try_from(offset).map_err(|_| damaged("its record batch has no place"))?;
    if offset.checked_add(length).is_none_or(|end| end > footer_start) || metadata < 0 || body < 0 {
        return Err(damaged("its record batch is longer than the file"));
    }
    let version = footer.version();
    let data = Buffer::from(bytes.clone()).slice_with_length(offset, length);
    FileDecoder::new(schema, version)
        .read_record_batch(block, &data)
        .map_err(|e| DatasetError::damaged(path, e))?
        .ok_or_else(|| damaged("its record batch is empty"))
}

/// Writes `batch` as an IPC file.
///
/// # Errors
/// The file cannot be written: a full disk, for instance.
pub(super) fn write_batch(path: &Path, batch: &RecordBatch) -> Result<(), DatasetError> {
    let failed = |error: arrow::error::ArrowError| DatasetError::Io {
        action: "write",
        path: path.to_owned(),
        cause: match error {
            arrow::error::ArrowError::IoError(_, source) => source,
            other => std::io::Error::other(other),
        },
    };
    let file = std::fs::File::create(path).map_err(DatasetError::io("create", path))?;
    let mut writer = FileWriter::try_new(std::io::BufWriter::new(file), &batch.schema()).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.finish().map_err(failed)?;
    let mut file = writer.into_inner().map_err(failed)?;
    file.flush().map_err(DatasetError::io("write", path))
}
