//! A part's Parquet file, held open and read at offsets.
//!
//! Held open, because an appended or compacted dataset removes the files of parts that it no longer has, while somebody may still
//! be reading its former version. At offsets, because readers share the file and have no place in it. Of a part in a store, what is read is
//! fetched.

use super::DatasetError;
use super::stored::{BlockCache, StoredFile, Wants};
use crate::store::Store;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct RowsFile {
    path: PathBuf,
    bytes: u64,
    place: Arc<Place>,
}

enum Place {
    Local(File),
    Stored {
        file: Arc<StoredFile>,
        store: Store,
        cache: Arc<BlockCache>,
        /// What last went wrong: Parquet's readers pass on no more than its text.
        failure: Mutex<Option<DatasetError>>,
    },
}

impl RowsFile {
    pub fn open(path: &Path) -> Result<RowsFile, DatasetError> {
        let file = File::open(path).map_err(DatasetError::io("open", path))?;
        let bytes = file.metadata().map_err(DatasetError::io("read", path))?.len();
        Ok(RowsFile { path: path.to_owned(), bytes, place: Arc::new(Place::Local(file)) })
    }

    pub fn stored(file: Arc<StoredFile>, store: Store, cache: Arc<BlockCache>) -> RowsFile {
        let (path, bytes) = (PathBuf::from(format!("{}/{}", store.url(), file.name())), file.bytes());
        RowsFile { path, bytes, place: Arc::new(Place::Stored { file, store, cache, failure: Mutex::default() }) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an error of a reader of this file means: that it is damaged, or that its store does not answer.
    pub fn failed(&self, error: impl std::fmt::Display) -> DatasetError {
        let of_store = match &*self.place {
            Place::Local(_) => None,
            Place::Stored { failure, .. } => failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        of_store.unwrap_or_else(|| DatasetError::damaged(&self.path, error))
    }
}

impl Place {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match self {
            Place::Local(file) => file.read_at(buffer, offset),
            Place::Stored { file, store, cache, failure } => {
                let mut wants = Wants::default();
                wants.add(file, offset..(offset + buffer.len() as u64).min(file.bytes()));
                match cache.hold(store, &wants) {
                    Ok(_held) => file.read_at(buffer, offset),
                    Err(error) => {
                        let said = std::io::Error::other(error.to_string());
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Err(said)
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Place::Local(_) => "Local",
            Place::Stored { .. } => "Stored",
        })
    }
}

impl Length for RowsFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

/// The bytes of a file from an offset on.
pub(super) struct From {
    place: Arc<Place>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.place.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl ChunkReader for RowsFile {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(From { place: self.place.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        From { place: self.place.clone(), offset: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
