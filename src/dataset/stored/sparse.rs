//! The local copy of an object in a store: a sparse file, mapped, with what is there of it.
//!
//! ```text
//! FOLDER/NAME         as long as the object; `/` of the object's name is `,` here
//! FOLDER/NAME.have    a byte per block: 1 where it is there
//! ```
//!
//! Which blocks are wanted, held and given up is [`super::blocks`]' subject.

use super::super::held::HeldFile;
use super::super::{DatasetError, mmap};
use bytes::Bytes;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a block. A tile's ranges are some kilobytes to megabytes: smaller blocks would cost more requests, larger ones more bytes beside
/// what was asked for. Small in tests, so that little data has many.
pub const BLOCK_BYTES: u64 = if cfg!(test) { 256 } else { 128 << 10 };

/// The local copy of an object.
pub struct SparseFile {
    /// Under the place of the dataset's version in the store.
    name: String,
    bytes: u64,
    checksums: Vec<u64>,
    file: File,
    have: File,
    map: Bytes,
    held: HeldFile,
}

impl SparseFile {
    /// The copy of an object in a folder, which may have blocks of it already: which, it says.
    ///
    /// # Errors
    /// It cannot be made or mapped.
    pub fn open(folder: &Path, name: &str, bytes: u64, checksums: Vec<u64>) -> Result<(SparseFile, Vec<bool>), DatasetError> {
        fs::create_dir_all(folder).map_err(DatasetError::io("create", folder))?;
        let path = folder.join(name.replace('/', ","));
        let have_path = folder.join(format!("{}.have", name.replace('/', ",")));
        let open = |path: &Path| File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open(&path).map_err(DatasetError::io("create", &path))?;
        let have = open(&have_path).map_err(DatasetError::io("create", &have_path))?;
        file.set_len(bytes).map_err(DatasetError::io("write", &path))?;
        have.set_len(checksums.len() as u64).map_err(DatasetError::io("write", &have_path))?;
        let (map, held) = mmap::map(&path)?;
        let found = fs::read(&have_path).map_err(DatasetError::io("read", &have_path))?;
        let there = found.iter().map(|&there| there == 1).collect();
        Ok((SparseFile { name: name.to_owned(), bytes, checksums, file, have, map, held }, there))
    }

    /// The object's bytes. Those of blocks that nobody holds may be anything.
    pub fn map(&self) -> &Bytes {
        &self.map
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether somebody has read where there was nothing any more. That blocks are written is its way.
    pub fn is_cut(&self) -> bool {
        self.held.is_cut()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Copies bytes that are held.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// The blocks that bytes lie in.
    pub fn blocks(&self, bytes: &Range<u64>) -> Range<usize> {
        (bytes.start / BLOCK_BYTES) as usize..bytes.end.min(self.bytes).div_ceil(BLOCK_BYTES) as usize
    }

    /// The bytes of blocks.
    pub fn bytes_of(&self, blocks: &Range<usize>) -> Range<u64> {
        blocks.start as u64 * BLOCK_BYTES..(blocks.end as u64 * BLOCK_BYTES).min(self.bytes)
    }

    /// Whether a block that an earlier process left is what it should be.
    pub fn is_whole(&self, place: usize) -> bool {
        let range = self.bytes_of(&(place..place + 1));
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start).is_ok() && xxh3_64(&bytes) == self.checksums[place]
    }

    /// Takes in a run of blocks of the object, which lies under this URL.
    ///
    /// # Errors
    /// They are not what their checksums say, or the disk is full.
    pub fn write(&self, store: &str, run: &Range<usize>, bytes: &[u8]) -> Result<(), DatasetError> {
        let place = self.bytes_of(run);
        let url = || PathBuf::from(format!("{}/{}", store, self.name));
        if bytes.len() as u64 != place.end - place.start {
            return Err(DatasetError::damaged(&url(), format!("{} bytes were asked for, and {} came", place.end - place.start, bytes.len())));
        }
        for (block, bytes) in run.clone().zip(bytes.chunks(BLOCK_BYTES as usize)) {
            if xxh3_64(bytes) != self.checksums[block] {
                return Err(DatasetError::damaged(&url(), format!("block {block} has another checksum than overview.json says")));
            }
        }
        let failed = || DatasetError::io("write", Path::new(&self.name));
        self.file.write_all_at(bytes, place.start).map_err(failed())?;
        self.have.write_all_at(&vec![1; run.len()], run.start as u64).map_err(failed())
    }

    /// Gives a block's space back.
    ///
    /// # Errors
    /// The disk cannot.
    pub fn punch(&self, place: usize) -> Result<(), DatasetError> {
        let range = self.bytes_of(&(place..place + 1));
        self.have.write_all_at(&[0], place as u64).map_err(DatasetError::io("write", Path::new(&self.name)))?;
        let mode = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        let punched = rustix::fs::fallocate(&self.file, mode, range.start, range.end - range.start);
        punched.map_err(|error| DatasetError::io("free a block of", Path::new(&self.name))(error.into()))
    }
}

impl std::fmt::Debug for SparseFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparseFile").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
