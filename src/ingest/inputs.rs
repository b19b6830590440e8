//! Which files an ingest reads, and how their bytes are opened: paths, folders, patterns, compression, members of zips.
//!
//! What a file is, is decided by its first bytes and not by its name. Nothing here knows of rows or columns.

use super::error::IngestError;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Endings of the files that are taken from a folder; without compression endings.
const DATA_ENDINGS: [&str; 12] =
    ["csv", "tsv", "tab", "txt", "dat", "parquet", "arrow", "feather", "ipc", "json", "ndjson", "jsonl"];

const COMPRESSION_ENDINGS: [&str; 3] = ["gz", "zst", "zip"];

/// A file, or a member of a zip, whose bytes can be read.
#[derive(Clone, Debug)]
pub struct Input {
    pub path: PathBuf,
    /// Place in the zip and name.
    pub member: Option<(usize, String)>,
    pub container: Container,
    /// Found in a folder or a zip rather than named: it may turn out to be something else, and is then skipped with a note.
    pub found: bool,
    /// Bytes on disk.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Plain,
    Gzip,
    Zstd,
    Zip,
}

/// What the (decompressed) bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Text,
    Json,
    Parquet,
    ArrowFile,
    ArrowStream,
}

/// Files of the arguments of a command line: paths, folders (their data files, deeper ones too) and patterns, in order.
///
/// # Errors
/// A path that does not exist, a folder without data, a pattern that matches nothing, a file that cannot be read or is empty.
pub fn resolve(arguments: &[PathBuf]) -> Result<Vec<Input>, IngestError> {
    let mut inputs = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            let before = inputs.len();
            for path in data_files(argument)? {
                add(&path, true, &mut inputs)?;
            }
            if inputs.len() == before {
                return Err(IngestError::NoFiles(argument.clone()));
            }
        } else if argument.exists() {
            add(argument, false, &mut inputs)?;
        } else if argument.to_string_lossy().contains(['*', '?', '[']) {
            let pattern = argument.to_string_lossy().into_owned();
            let matches = glob::glob(&pattern).map_err(|error| {
                IngestError::Usage(format!("'{pattern}' is not a pattern ({error}); quote a name with brackets as [[]"))
            })?;
            let before = inputs.len();
            for path in matches {
                let path = path.map_err(|error| {
                    let at = error.path().to_owned();
                    IngestError::io("read", &at)(error.into())
                })?;
                if path.metadata().map_err(IngestError::io("read", &path))?.is_file() {
                    add(&path, false, &mut inputs)?;
                }
            }
            if inputs.len() == before {
                return Err(IngestError::NoMatch(pattern));
            }
        } else {
            return Err(IngestError::NotFound(argument.clone()));
        }
    }
    Ok(inputs)
}

/// The data files of a folder and of those within it, each once, however many links lead to it.
fn data_files(folder: &Path) -> Result<Vec<PathBuf>, IngestError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let mut known = HashSet::new();
    let mut is_new = |path: &Path| Ok::<bool, IngestError>(known.insert(path.canonicalize().map_err(IngestError::io("read", path))?));
    while let Some(folder) = folders.pop() {
        if !is_new(&folder)? {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(IngestError::io("read", &folder))? {
            let path = entry.map_err(IngestError::io("read", &folder))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
            if hidden {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if is_data_file(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut once = Vec::new();
    for file in files {
        if is_new(&file)? {
            once.push(file);
        }
    }
    Ok(once)
}

/// Whether a file's name says that it holds data.
pub fn is_data_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut endings = name.rsplit('.');
    let last = endings.next().unwrap_or_default();
    let inner = if COMPRESSION_ENDINGS.contains(&last) { endings.next().unwrap_or_default() } else { last };
    last == "zip" || DATA_ENDINGS.contains(&inner)
}

/// Whether a name's last ending says how the file is written: `.csv`, `.gz`.
pub fn is_format_ending(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    COMPRESSION_ENDINGS.contains(&ending.as_str()) || DATA_ENDINGS.contains(&ending.as_str())
}

fn add(path: &Path, found: bool, inputs: &mut Vec<Input>) -> Result<(), IngestError> {
    let mut file = File::open(path).map_err(IngestError::io("open", path))?;
    let bytes = file.metadata().map_err(IngestError::io("read", path))?.len();
    let mut magic = [0; 8];
    let read = file.read(&mut magic).map_err(IngestError::io("read", path))?;
    if read == 0 {
        return if found { Ok(()) } else { Err(IngestError::Empty(path.display().to_string())) };
    }
    let container = match magic {
        [0x1f, 0x8b, ..] => Container::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Container::Zstd,
        [b'P', b'K', 3, 4, ..] => Container::Zip,
        _ => Container::Plain,
    };
    let input = Input { path: path.to_owned(), member: None, container, found, bytes };
    if container != Container::Zip {
        inputs.push(input);
        return Ok(());
    }
    file.seek(SeekFrom::Start(0)).map_err(IngestError::io("read", path))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| damaged_zip(&input.label(), error))?;
    for place in 0..archive.len() {
        let member = archive.by_index_raw(place).map_err(|error| damaged_zip(&input.label(), error))?;
        let name = member.name().to_owned();
        let base = name.rsplit('/').next().unwrap_or_default();
        if member.is_dir() || member.size() == 0 || base.starts_with('.') || name.starts_with("__MACOSX/") {
            continue;
        }
        let bytes = member.compressed_size();
        inputs.push(Input { member: Some((place, name)), found: true, bytes, ..input.clone() });
    }
    Ok(())
}

fn damaged_zip(label: &str, error: zip::result::ZipError) -> IngestError {
    IngestError::unreadable(label, format_args!("cannot be read as a zip ({error}): fetch the file again"))
}

/// Counts the bytes that are read from disk, for progress.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// The bytes after a byte order mark of UTF-8, if there is one.
fn without_mark(bytes: &mut dyn Read) -> std::io::Result<impl Read> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let mut beginning = Vec::new();
    bytes.take(MARK.len() as u64).read_to_end(&mut beginning)?;
    if beginning == MARK {
        beginning.clear();
    }
    Ok(std::io::Cursor::new(beginning).chain(bytes))
}

impl Input {
    /// What messages and the rejects file call it.
    pub fn label(&self) -> String {
        match &self.member {
            Some((_, member)) => format!("{member} in {}", self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    /// Opens the decompressed bytes and hands them to `use_bytes`, without a byte order mark of UTF-8, counting what is read from disk in `read`.
    ///
    /// # Errors
    /// The file cannot be opened; or whatever `use_bytes` answers.
    pub fn with_bytes<T>(
        &self,
        read: &Arc<AtomicU64>,
        use_bytes: impl FnOnce(&mut dyn Read) -> Result<T, IngestError>,
    ) -> Result<T, IngestError> {
        const BUFFER_BYTES: usize = 1 << 18; // one system call per quarter megabyte
        let file = File::open(&self.path).map_err(IngestError::io("open", &self.path))?;
        if let Some((place, _)) = self.member {
            let mut archive =
                zip::ZipArchive::new(BufReader::new(file)).map_err(|error| damaged_zip(&self.label(), error))?;
            let mut member = archive.by_index(place).map_err(|error| damaged_zip(&self.label(), error))?;
            let answer = use_bytes(&mut without_mark(&mut member).map_err(|error| self.damaged(&error))?);
            read.fetch_add(self.bytes, Ordering::Relaxed);
            return answer;
        }
        let counted = BufReader::with_capacity(BUFFER_BYTES, Counted { inner: file, read: read.clone() });
        let mut bytes: Box<dyn Read> = match self.container {
            Container::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
            Container::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(counted).map_err(|error| self.damaged(&error))?),
            Container::Plain | Container::Zip => Box::new(counted),
        };
        use_bytes(&mut without_mark(&mut *bytes).map_err(|error| self.damaged(&error))?)
    }

    /// Up to `bytes_max` bytes of the decompressed beginning.
    ///
    /// # Errors
    /// The file cannot be opened or decompressed.
    pub fn beginning(&self, bytes_max: u64) -> Result<Vec<u8>, IngestError> {
        self.with_bytes(&Arc::default(), |reader| {
            let mut bytes = Vec::new();
            reader.take(bytes_max).read_to_end(&mut bytes).map_err(|error| self.damaged(&error))?;
            Ok(bytes)
        })
    }

    /// An error of reading or decompressing, in words that help.
    pub fn damaged(&self, error: &std::io::Error) -> IngestError {
        let compressed = self.container != Container::Plain;
        let what = match error.kind() {
            std::io::ErrorKind::UnexpectedEof if compressed => {
                "is cut off: its compressed data ends early; fetch the file again".to_owned()
            }
            _ if compressed => format!("cannot be decompressed ({error}): fetch the file again"),
            _ => format!("cannot be read ({error})"),
        };
        IngestError::unreadable(&self.label(), what)
    }
}

/// The longest schema of an Arrow stream: some hundred bytes a column, so that tens of thousands fit.
const STREAM_SCHEMA_BYTES_MAX: i32 = 16 << 20;

impl Content {
    /// What a file with this beginning is.
    pub fn of(beginning: &[u8]) -> Content {
        if beginning.starts_with(b"PAR1") {
            return Content::Parquet;
        }
        if beginning.starts_with(b"ARROW1") {
            return Content::ArrowFile;
        }
        // The streaming format's continuation marker, and the length of the schema: a reader takes memory for whatever stands there.
        if let [0xFF, 0xFF, 0xFF, 0xFF, a, b, c, d, ..] = *beginning
            && (1..=STREAM_SCHEMA_BYTES_MAX).contains(&i32::from_le_bytes([a, b, c, d]))
        {
            return Content::ArrowStream;
        }
        match beginning.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Content::Json,
            _ => Content::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_are_known_by_their_endings() {
        for name in ["a.csv", "a.CSV.gz", "a.tsv.zst", "a.zip", "a.parquet", "a.ndjson"] {
            assert!(is_data_file(Path::new(name)), "{name}");
        }
        for name in ["a.md", "a.gz", "a.png", "csv"] {
            assert!(!is_data_file(Path::new(name)) || name == "csv", "{name}");
        }
    }

    /// Goal: every file once. Method: a link to the folder above, a second one to a folder, and one to a file, beside three files.
    #[cfg(unix)]
    #[test]
    fn links_do_not_multiply_files() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        for name in ["a.csv", "b/c.csv", "b/d.csv"] {
            std::fs::write(at(name), "lon,lat\n1,2\n").unwrap();
        }
        symlink(folder.path(), at("b/up")).unwrap();
        symlink(at("b"), at("z")).unwrap();
        symlink(at("a.csv"), at("e.csv")).unwrap();
        let resolved = resolve(&[folder.path().to_owned()]).unwrap();
        let mut names: Vec<String> =
            resolved.iter().map(|input| input.path.canonicalize().unwrap().file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["a.csv", "c.csv", "d.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_pattern_matches_and_nobody_can_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), "lon,lat\n1,2\n").unwrap();
        std::fs::create_dir(folder.path().join("b.csv")).unwrap();
        assert_eq!(resolve(&[folder.path().join("*.csv")]).unwrap().len(), 1);
        std::os::unix::fs::symlink("nowhere", folder.path().join("c.csv")).unwrap();
        let error = resolve(&[folder.path().join("*.csv")]).unwrap_err().to_string();
        assert!(error.contains("c.csv"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for (bytes, expected) in [("\u{feff}[{}]", "[{}]"), ("a\u{feff}", "a\u{feff}"), ("\u{feff}", "")] {
            std::fs::write(&path, bytes).unwrap();
            let input = &resolve(std::slice::from_ref(&path)).unwrap()[0];
            assert_eq!(input.beginning(100).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn content_is_known_by_its_first_bytes() {
        assert_eq!(Content::of(b"PAR1...."), Content::Parquet);
        assert_eq!(Content::of(b"\n [{\"a\":1}]"), Content::Json);
        assert_eq!(Content::of(b"lon,lat"), Content::Text);
        assert_eq!(Content::of(b"\xff\xff\xff\xff\xf8\x00\x00\x00"), Content::ArrowStream);
        // Found by a fuzzer: two gigabytes were made ready for a schema of that length.
        assert_eq!(Content::of(b"\xff\xff\xff\xffon,laname"), Content::Text);
    }
}
