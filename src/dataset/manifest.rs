//! `dataset.json`: what a dataset says of itself.

use super::{Column, ColumnId, DatasetError};
use crate::world::LonLatBox;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub const MANIFEST_FILE: &str = "dataset.json";

/// Versions that are remembered: at some 25 bytes each they make a manifest 25 kB longer.
pub const FORMER_VERSIONS_MAX: usize = 1000;

/// Raised whenever an older program would misread the files.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    /// The program that wrote it.
    pub created_by: String,
    /// The name in URLs: letters, digits, `-`, `_` and `.`.
    pub name: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
    /// 16 hex digits that change whenever any byte of the data does: a hash over the checksums of all files.
    pub data_version: String,
    /// How often rows have been appended or parts compacted.
    #[serde(default)]
    pub revision: u64,
    /// Data versions of the revisions before this one, the last one last; at most [`FORMER_VERSIONS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_versions: Vec<String>,
    /// The data version of revision 0, by which all revisions are known to be of one dataset. See [`Manifest::origin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Points: rows in = `rows` + the sum of `rejected`.
    pub rows: u64,
    /// Rows without a place on the map, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// The smallest box around all points, in degrees.
    pub bounds: LonLatBox,
    /// Where the coordinates came from.
    pub coordinates: Coordinates,
    /// The main category column, which colours the map unless `by=` names another.
    pub category: Option<String>,
    /// Defaults of the style, by query parameter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub style: BTreeMap<String, String>,
    /// The hot columns, in the order of `hot.arrow`.
    pub columns: Vec<Column>,
    pub dictionaries: Vec<FileInfo>,
    pub parts: Vec<PartInfo>,
}

/// Which input columns held the coordinates, in which reference system (`EPSG:4326` or `EPSG:3857`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    pub x: String,
    pub y: String,
    pub crs: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// The folder under the dataset's, such as `parts/00000`.
    pub folder: String,
    pub rows: u32,
    /// The manifest's revision with which its points came.
    #[serde(default)]
    pub revision: u64,
    /// First and last key, 16 hex digits each.
    pub first_key: String,
    pub last_key: String,
    /// Occupied cells at level 16.
    pub cells: u32,
    /// The indexed levels, ascending, and how many cells each has.
    pub levels: Vec<LevelInfo>,
    pub files: Vec<FileInfo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelInfo {
    pub level: u32,
    pub cells: u32,
}

/// A file, its size and the XXH3-64 of its bytes (16 hex digits).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Path under the dataset's folder (dictionaries) or under the part's.
    pub name: String,
    pub bytes: u64,
    pub xxh3: String,
}

/// How the data version begins in a manifest's text. In a name or title its quotes would be escaped.
const VERSION_FIELD: &str = "\"data_version\": \"";

fn version_of(text_without: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text_without.as_bytes()))
}

impl Manifest {
    /// # Errors
    /// No manifest there, one that does not parse, or one of another format version.
    pub fn read(folder: &Path) -> Result<Manifest, DatasetError> {
        let path = folder.join(MANIFEST_FILE);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                DatasetError::NotADataset(folder.to_owned())
            }
            _ => DatasetError::io("read", &path)(error),
        })?;
        Manifest::parse(&text, folder)
    }

    /// The manifest of this text, which stands in `folder` or at a URL.
    ///
    /// # Errors
    /// It does not parse, or is of another format version.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Manifest, DatasetError> {
        let path = folder.join(MANIFEST_FILE);
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let version: Versioned = serde_json::from_str(text).map_err(|e| DatasetError::damaged(&path, e))?;
        if version.format_version != FORMAT_VERSION {
            return Err(DatasetError::Version {
                folder: folder.to_owned(),
                found: version.format_version,
                expected: FORMAT_VERSION,
            });
        }
        serde_json::from_str(text).map_err(|e| DatasetError::damaged(&path, e))
    }

    /// The data version that the manifest should have: a hash of its text without it, checksums included, so that it changes
    /// with any byte of the data or its styles.
    pub(super) fn version_computed(&self) -> String {
        version_of(&Manifest { data_version: String::new(), ..self.clone() }.text())
    }

    /// The same, of the manifest in `folder` as it is written there. Text is compared with text: numbers that were read and
    /// written again might differ in their last digit.
    ///
    /// # Errors
    /// The file cannot be read, or names no version.
    pub(super) fn version_computed_in(folder: &Path) -> Result<String, DatasetError> {
        let path = folder.join(MANIFEST_FILE);
        let text = fs::read_to_string(&path).map_err(DatasetError::io("read", &path))?;
        let unversioned = text.split_once(VERSION_FIELD).and_then(|(before, after)| {
            let (_, after) = after.split_once('"')?;
            Some(format!("{before}{VERSION_FIELD}\"{after}"))
        });
        unversioned.map(|text| version_of(&text)).ok_or_else(|| DatasetError::damaged(&path, "it has no data_version"))
    }

    /// All files that it names, under the dataset's folder.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let of_parts = self.parts.iter().flat_map(|part| part.files.iter().map(|file| Path::new(&part.folder).join(&file.name)));
        self.dictionaries.iter().map(|file| PathBuf::from(&file.name)).chain(of_parts)
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has no keys that are not text")
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), DatasetError> {
        fs::write(path, self.text()).map_err(DatasetError::io("write", path))
    }

    /// The revision that had this data version; `None` of another dataset's, or one that is forgotten.
    pub fn revision_of_version(&self, data_version: &str) -> Option<u64> {
        if data_version == self.data_version {
            return Some(self.revision);
        }
        let back = self.former_versions.iter().rev().position(|version| version == data_version)?;
        self.revision.checked_sub(back as u64 + 1)
    }

    /// The data version of a revision; of one that is forgotten, that of the oldest one that is remembered.
    pub fn version_of_revision(&self, revision: u64) -> &str {
        let Some(back) = self.revision.checked_sub(revision).filter(|back| *back > 0) else { return &self.data_version };
        let remembered = self.former_versions.len();
        let place = remembered.saturating_sub(usize::try_from(back).unwrap_or(usize::MAX));
        self.former_versions.get(place).unwrap_or(&self.data_version)
    }

    /// The data version that the dataset had when it was ingested: the same for all its revisions.
    pub fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or_else(|| self.version_of_revision(0))
    }

    /// What the next revision remembers.
    pub(super) fn versions_for_next(&self) -> Vec<String> {
        let versions = self.former_versions.iter().chain([&self.data_version]).cloned();
        versions.skip((self.former_versions.len() + 1).saturating_sub(FORMER_VERSIONS_MAX)).collect()
    }

    /// The file of a column's dictionary, under the dataset's folder: `dictionaries/NNN.arrow`, or `dictionaries/NNN-R.arrow` of
    /// revision R.
    pub(super) fn dictionary_file(&self, column: ColumnId) -> Option<&FileInfo> {
        let name = format!("dictionaries/{:03}", column.0);
        self.dictionaries.iter().find(|file| file.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['.', '-'])))
    }
}
