//! Rows without a place on the map: why, how many, and the file that lists them.
//!
//! Nothing is lost silently: rows in = points + rejected rows, always.

use super::error::IngestError;
use crate::world::Rejection;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Why a row was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Its coordinates have no place in the world.
    Place(Rejection),
    NotANumber,
    TooManyFields,
    NotAnObject,
    /// `--where` does not hold for it.
    NotWanted,
}

impl Reason {
    /// The reason in words, as summaries, manifests and the rejects file show it.
    pub fn words(self) -> &'static str {
        match self {
            Reason::Place(rejection) => rejection.reason(),
            Reason::NotANumber => "coordinate is not a number",
            Reason::TooManyFields => "more fields than columns",
            Reason::NotAnObject => "not a JSON object",
            Reason::NotWanted => "--where does not hold",
        }
    }
}

/// One rejected row.
#[derive(Clone, Debug)]
pub struct Reject {
    /// Line of a text file, or row of a columnar one, from 1.
    pub row: u64,
    pub reason: Reason,
    /// The row as it stood in the file; of columnar files its values, comma separated.
    pub raw: Vec<u8>,
}

/// Counts rejected rows, and writes them to a file if one was asked for.
pub struct Rejects {
    counts: BTreeMap<Reason, u64>,
    first: Option<Vec<u8>>,
    file: Option<List>,
}

/// The file that lists rejected rows.
struct List {
    path: PathBuf,
    writer: csv::Writer<BufWriter<File>>,
    /// Where it is written until it is whole; a device or a pipe is written at once.
    beside: Option<TempPath>,
}

impl List {
    fn create(path: &Path) -> Result<List, IngestError> {
        // A link stays one.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (file, beside) = if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            (File::create(&path).map_err(IngestError::io("create", &path))?, None)
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let partial = tempfile::Builder::new().prefix(".rejects-").make_in(folder, |path| File::create_new(path));
            let (file, beside) = partial.map_err(|error| IngestError::io("create", &path)(error.kind().into()))?.into_parts();
            (file, Some(beside))
        };
        let mut list = List { path, writer: csv::Writer::from_writer(BufWriter::new(file)), beside };
        list.write(["file", "row", "reason", "raw"])?;
        Ok(list)
    }

    fn write<F: AsRef<[u8]>>(&mut self, record: [F; 4]) -> Result<(), IngestError> {
        self.writer.write_record(record).map_err(|error| failed(&self.path, error))
    }

    fn finish(mut self) -> Result<(), IngestError> {
        self.writer.flush().map_err(IngestError::io("write", &self.path))?;
        match self.beside {
            Some(beside) => beside.persist(&self.path).map_err(|error| IngestError::io("write", &self.path)(error.error)),
            None => Ok(()),
        }
    }
}

/// Keeps rejected rows from being written over an input, or into the dataset.
///
/// # Errors
/// `path` is one of the inputs, the output, or within it.
pub fn refuse_place<'a>(path: &Path, mut inputs: impl Iterator<Item = &'a Path>, output: &Path) -> Result<(), IngestError> {
    let place = canonical(path);
    let refused = |what: &str| Err(IngestError::Usage(format!("--rejects {} is {what}: name another file", path.display())));
    if inputs.any(|input| canonical(input) == place) {
        return refused("one of the inputs, and would be lost");
    }
    if place.starts_with(canonical(output)) {
        return refused("within the output, which holds nothing but the dataset");
    }
    Ok(())
}

/// The absolute path without links of something that may not be there yet.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => canonical(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).join(name),
        _ => path.to_owned(),
    })
}

impl Rejects {
    /// # Errors
    /// The file cannot be created.
    pub fn new(path: Option<&Path>) -> Result<Rejects, IngestError> {
        Ok(Rejects { counts: BTreeMap::new(), first: None, file: path.map(List::create).transpose()? })
    }

    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, label: &str, rejects: &[Reject]) -> Result<(), IngestError> {
        if let (None, Some(first)) = (&self.first, rejects.first()) {
            self.first = Some(first.raw.clone());
        }
        for reject in rejects {
            *self.counts.entry(reject.reason).or_insert(0) += 1;
            if let Some(list) = &mut self.file {
                let row = reject.row.to_string();
                list.write([label.as_bytes(), row.as_bytes(), reject.reason.words().as_bytes(), &reject.raw])?;
            }
        }
        Ok(())
    }

    /// Counts rows for which `--where` does not hold. The user asked for that: they are not listed.
    pub fn count_unwanted(&mut self, rows: u64) {
        if rows > 0 {
            *self.counts.entry(Reason::NotWanted).or_insert(0) += rows;
        }
    }

    /// Rows for which `--where` does not hold.
    pub fn unwanted(&self) -> u64 {
        self.counts.get(&Reason::NotWanted).copied().unwrap_or(0)
    }

    /// The beginning of the first rejected row.
    pub fn first_row(&self) -> String {
        const SHOWN_CHARS: usize = 80;
        let row = String::from_utf8_lossy(self.first.as_deref().unwrap_or_default()).into_owned();
        if row.chars().count() > SHOWN_CHARS { row.chars().take(SHOWN_CHARS).chain("...".chars()).collect() } else { row }
    }

    /// Whether most rejected rows have coordinates, but beyond the world: of another unit, then.
    pub fn mostly_out_of_range(&self) -> bool {
        let out_of_range = |reason: &Reason| {
            matches!(reason, Reason::Place(Rejection::LatitudeOutOfRange | Rejection::LongitudeOutOfRange))
        };
        let out: u64 = self.counts.iter().filter(|(reason, _)| out_of_range(reason)).map(|(_, count)| count).sum();
        out * 2 > self.counts.values().sum()
    }

    /// Rejected rows by reason.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.iter().map(|(reason, count)| (reason.words().to_owned(), *count)).collect()
    }

    /// The reasons in words: `12 no coordinate, 3 coordinate is not a number`.
    pub fn describe(&self) -> String {
        let reasons: Vec<String> = self.counts.iter().map(|(reason, count)| format!("{count}: {}", reason.words())).collect();
        reasons.join(", ")
    }

    /// Puts the file in its place, where an older one is until now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(&mut self) -> Result<(), IngestError> {
        self.file.take().map_or(Ok(()), List::finish)
    }
}

fn failed(path: &Path, error: csv::Error) -> IngestError {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => std::io::Error::other(format!("{other:?}")),
    };
    IngestError::io("write", path)(source)
}
