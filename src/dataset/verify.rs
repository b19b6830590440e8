//! Verification: whether the files of a dataset are what was written, and say the truth about each other.
//!
//! Checksums find a damaged byte; the rest finds a faulty writer. The first fault ends it.

use super::dictionary::Values;
use super::write::file_info;
use super::{BLOCK_POINTS, Column, ColumnId, ColumnKeys, Dataset, DatasetError, Manifest, Part, Value, index};
use crate::world::Key;
use arrow::array::Array;
use rayon::prelude::*;
use std::path::Path;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub points: u64,
    pub files: u64,
    pub bytes: u64,
}

/// Bytes of all files that a manifest names.
pub fn bytes_of(manifest: &Manifest) -> u64 {
    let of_parts = manifest.parts.iter().flat_map(|part| &part.files);
    manifest.dictionaries.iter().chain(of_parts).map(|file| file.bytes).sum()
}

/// Reads every byte of the dataset in `folder`; `progress` is told how many have been read, again and again.
///
/// # Errors
/// The first fault.
pub fn verify(folder: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Verified, DatasetError> {
    let manifest = Manifest::read(folder)?;
    let mut verified = Verified::default();
    let mut files: Vec<(std::path::PathBuf, &super::manifest::FileInfo)> =
        manifest.dictionaries.iter().map(|file| (folder.to_owned(), file)).collect();
    for part in &manifest.parts {
        files.extend(part.files.iter().map(|file| (folder.join(&part.folder), file)));
    }
    for (folder, expected) in files {
        let found = file_info(&folder, &expected.name)?;
        let path = folder.join(&expected.name);
        if found.bytes != expected.bytes {
            let what = format!("it has {} bytes, and dataset.json says {}", found.bytes, expected.bytes);
            return Err(DatasetError::damaged(&path, what));
        }
        if found.xxh3 != expected.xxh3 {
            return Err(DatasetError::damaged(&path, format!("its checksum is {}, and should be {}", found.xxh3, expected.xxh3)));
        }
        progress(found.bytes);
        verified.files += 1;
        verified.bytes += found.bytes;
    }
    manifest_is_whole(folder, &manifest)?;
    let dataset = Dataset::open(folder)?;
    let mut last_key = None;
    for (place, part) in dataset.parts.iter().enumerate() {
        let keys = part_is_true(part)?;
        let info = &manifest.parts[place];
        let damaged = |file: &str, what: &str| Err(DatasetError::damaged(&part.folder().join(file), what));
        let (first, last) = (keys[0], keys[keys.len() - 1]);
        if (format!("{first:016x}"), format!("{last:016x}")) != (info.first_key.clone(), info.last_key.clone()) {
            return damaged("hot.arrow", "its first or last key is not the one in dataset.json");
        }
        // Parts of one revision follow one another; of different ones they may overlap.
        if last_key.replace((part.revision(), last)).is_some_and(|(revision, before)| revision == part.revision() && before > first) {
            return damaged("hot.arrow", "it begins before the previous part ends");
        }
        if super::rows::rows_in(part.rows_file())? != u64::from(part.rows()) {
            return damaged("rows.parquet", "it has another number of rows than there are points");
        }
        verified.points += u64::from(part.rows());
    }
    if verified.points != manifest.rows {
        let what = format!("it says {} points, and the parts have {}", manifest.rows, verified.points);
        return Err(DatasetError::damaged(&folder.join(super::manifest::MANIFEST_FILE), what));
    }
    for (i, column) in dataset.columns().iter().enumerate() {
        column_is_true(&dataset, ColumnId(i), column)?;
    }
    Ok(verified)
}

/// The data version is a hash of the manifest without it: an edited manifest is found out.
fn manifest_is_whole(folder: &Path, manifest: &Manifest) -> Result<(), DatasetError> {
    if Manifest::version_computed_in(folder)? == manifest.data_version {
        return Ok(());
    }
    let path = folder.join(super::manifest::MANIFEST_FILE);
    Err(DatasetError::damaged(&path, "its data_version is not that of its contents: it has been edited"))
}

/// Keys are sorted, the index is what a rebuild makes, and blocks say their smallest and largest keys. Gives the keys.
fn part_is_true(part: &Part) -> Result<Vec<u64>, DatasetError> {
    let damaged = |file: &str, what: String| Err(DatasetError::damaged(&part.folder().join(file), what));
    let cells = part.index();
    if cells.start.first() != Some(&0) || cells.start.last() != Some(&part.rows()) || !cells.start.is_sorted() {
        return damaged("cells.arrow", "its cells do not cover the points".into());
    }
    let keys: Vec<u64> = (0..cells.hi.len())
        .into_par_iter()
        .flat_map_iter(|cell| {
            let positions = cells.start[cell] as usize..cells.start[cell + 1] as usize;
            let hi = cells.hi[cell];
            cells.lo[positions].iter().map(move |&lo| Key::from_halves(hi, lo).0)
        })
        .collect();
    if let Some(at) = keys.windows(2).position(|pair| pair[0] > pair[1]) {
        return damaged("hot.arrow", format!("its points are not sorted: number {} comes before number {at}", at + 1));
    }
    let built = index::build(&keys);
    if built.hi != cells.hi || built.hi_start != cells.start {
        return damaged("cells.arrow", "it is not the index of the points".into());
    }
    for (level, pixel, start) in &built.levels {
        let is_equal = part.level(*level).is_some_and(|found| found.pixel == &pixel[..] && found.start == &start[..]);
        if !is_equal {
            return damaged("levels.arrow", format!("its level {level} is not the index of the points"));
        }
    }
    if part.level_max() != built.levels.last().map(|(level, _, _)| *level) {
        return damaged("levels.arrow", "it has other levels than the points give".into());
    }
    for column in 0..part.column_count() {
        let (keys, blocks) = (part.column(ColumnId(column)), part.blocks(ColumnId(column)));
        let wrong = (0..blocks.min.len()).into_par_iter().find_first(|&block| {
            let positions = block * BLOCK_POINTS..((block + 1) * BLOCK_POINTS).min(keys.len());
            let extremes = positions.fold((u64::MAX, 0), |(min, max), i| (min.min(keys.get(i)), max.max(keys.get(i))));
            extremes != (blocks.min[block], blocks.max[block])
        });
        if let Some(block) = wrong {
            return damaged("blocks.arrow", format!("block {block} of column {column} does not say its smallest and largest key"));
        }
    }
    Ok(keys)
}

/// The manifest's statistics are those of the keys; a dictionary is sorted and counts its values.
fn column_is_true(dataset: &Dataset, id: ColumnId, column: &Column) -> Result<(), DatasetError> {
    let manifest = dataset.folder().join(super::manifest::MANIFEST_FILE);
    let damaged = |what: &str| Err(DatasetError::damaged(&manifest, format!("column '{}': {what}", column.name)));
    let (nulls, smallest, largest) = dataset
        .parts
        .par_iter()
        .map(|part| extremes(part.column(id)))
        .reduce(|| (0, u64::MAX, 0), |a, b| (a.0 + b.0, a.1.min(b.1), a.2.max(b.2)));
    if nulls != column.nulls {
        return damaged("it says another number of nulls than there are");
    }
    if largest > column.key_max {
        return damaged("a point has a key beyond the column's largest");
    }
    let is_told = |key: u64, value: &Value| is_same(&dataset.value(id, key), value);
    if largest > 0 && !(is_told(smallest, &column.min) && is_told(largest, &column.max)) {
        return damaged("its smallest or largest value is not that of the points");
    }
    let Some(dictionary) = dataset.dictionary(id) else { return Ok(()) };
    let is_sorted = match dictionary.values() {
        Values::Text(values) => (1..values.len()).all(|i| values.value(i - 1) < values.value(i)),
        Values::Integer(values, _) => values.values().windows(2).all(|pair| pair[0] < pair[1]),
        Values::Float(values) => values.values().windows(2).all(|pair| pair[0] < pair[1]),
    };
    if !is_sorted {
        return damaged("its dictionary is not sorted");
    }
    let mut counts = vec![0u64; dictionary.len() + 1];
    for part in &dataset.parts {
        let keys = part.column(id);
        for position in 0..keys.len() {
            counts[keys.get(position) as usize] += 1;
        }
    }
    if let Some(key) = (1..counts.len()).find(|&key| counts[key] != dictionary.count(key as u64)) {
        let value = dictionary.value(key as u64);
        return damaged(&format!("its dictionary counts {} points with '{value}', and there are {}", dictionary.count(key as u64), counts[key]));
    }
    Ok(())
}

/// Equal, but for the last digit of a number that has been written and read.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || (a - b).abs() <= a.abs() * 2.0 * f64::EPSILON,
        _ => a == b,
    }
}

/// Nulls, and the smallest and largest key of a value.
fn extremes(keys: &ColumnKeys) -> (u64, u64, u64) {
    (0..keys.len()).map(|i| keys.get(i)).fold((0, u64::MAX, 0), |(nulls, min, max), key| match key {
        0 => (nulls + 1, min, max),
        key => (nulls, min.min(key), max.max(key)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::{TestColumn, dataset};
    use crate::world::WorldPoint;
    use std::fs;

    #[test]
    fn every_damaged_file_is_found() {
        let points: Vec<WorldPoint> =
            (0..20_000u32).map(|i| WorldPoint { x: i.wrapping_mul(0x9E37_79B9) >> 9, y: (i % 700) << 12 }).collect();
        let names = TestColumn::Text((0..20_000).map(|i| (i % 9 > 0).then(|| format!("n{}", i % 5))).collect());
        let sizes = TestColumn::Integer((0..20_000).map(|i| (i % 4 > 0).then_some(i * 3)).collect());
        let (_folder, sample) = dataset(&points, &[("name", names), ("size", sizes)], 9000);
        let folder = sample.folder().to_owned();
        let all = verify(&folder, &|_| {}).unwrap();
        assert_eq!((all.points, all.files, all.bytes), (20_000, 16, bytes_of(&sample.manifest)));

        let part = folder.join("parts/00001");
        let files: Vec<_> = ["rows.parquet", "hot.arrow", "cells.arrow", "levels.arrow", "blocks.arrow"]
            .iter()
            .map(|name| part.join(name))
            .chain([folder.join("dictionaries/000.arrow")])
            .collect();
        for file in files {
            let whole = fs::read(&file).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut broken = whole.clone();
                broken[at] ^= 0x10;
                // Not in place: the file is mapped.
                fs::remove_file(&file).unwrap();
                fs::write(&file, broken).unwrap();
                let fault = verify(&folder, &|_| {}).unwrap_err().to_string();
                assert!(fault.contains(&file.display().to_string()) && fault.contains("checksum"), "{fault}");
            }
            fs::remove_file(&file).unwrap();
            fs::write(&file, &whole[..whole.len() - 1]).unwrap();
            assert!(verify(&folder, &|_| {}).unwrap_err().to_string().contains("bytes"));
            fs::remove_file(&file).unwrap();
            fs::write(&file, whole).unwrap();
        }
        let manifest = folder.join("dataset.json");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("\"title\": \"Sample\"", "\"title\": \"Another\"")).unwrap();
        assert!(verify(&folder, &|_| {}).unwrap_err().to_string().contains("edited"));
        fs::write(&manifest, text).unwrap();
        assert!(verify(&folder, &|_| {}).is_ok());
    }
}
