//! A part's Parquet file, held open and read at offsets.
//!
//! Held open, because an appended or compacted dataset removes the files of parts that it no longer has, while somebody may still
//! be reading its former version. At offsets, because readers share the file and have no place in it.

use super::DatasetError;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct RowsFile {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
}

impl RowsFile {
    pub fn open(path: &Path) -> Result<RowsFile, DatasetError> {
        let file = File::open(path).map_err(DatasetError::io("open", path))?;
        let bytes = file.metadata().map_err(DatasetError::io("read", path))?.len();
        Ok(RowsFile { path: path.to_owned(), file: Arc::new(file), bytes })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Length for RowsFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

/// The bytes of a file from an offset on.
pub(super) struct From {
    file: Arc<File>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl ChunkReader for RowsFile {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(From { file: self.file.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}
