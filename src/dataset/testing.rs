//! Small datasets for unit tests: written and opened by the real code, in a temporary folder.

use super::column::ordered_key_from_float;
use super::dictionary::Values;
use super::manifest::Coordinates;
use super::stored::{BlockCache, Upload};
use super::write::{CountedValues, DatasetWriter, Description, HotColumn, Replace};
use super::{Column, ColumnKind, Dataset, Encoding, KeyWidth, Value};
use crate::store::Store;
use crate::world::{Key, WorldPoint, lonlat_from_world};
use arrow::array::{ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// One column of test values, one per point; `None` is null.
#[derive(Clone, Debug)]
pub(crate) enum TestColumn {
    Text(Vec<Option<String>>),
    /// Affine, in the narrowest width.
    Integer(Vec<Option<i64>>),
    /// Ordered floats.
    Float(Vec<Option<f64>>),
    /// Floats in a dictionary.
    FewFloats(Vec<Option<f64>>),
    Timestamp(Vec<Option<i64>>),
}

/// A dataset of `points` (any order) and named columns, in parts of at most `part_points`. The first text column, if any, is
/// the main category.
pub(crate) fn dataset(
    points: &[WorldPoint],
    columns: &[(&str, TestColumn)],
    part_points: usize,
) -> (tempfile::TempDir, Dataset) {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(|&i| Key::from_world(points[i]));
    let parts: Vec<Vec<usize>> = order.chunks(part_points).map(<[usize]>::to_vec).collect();
    dataset_of_parts(points, columns, &parts)
}

/// As [`dataset`], with the points of each part by number: parts may overlap, as appended ones do.
pub(crate) fn dataset_of_parts(
    points: &[WorldPoint],
    columns: &[(&str, TestColumn)],
    parts: &[Vec<usize>],
) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("sample");
    let described: Vec<(Column, Option<CountedValues>, Vec<u64>)> =
        columns.iter().map(|(name, column)| column.encode(name)).collect();
    let schema_columns: Vec<Column> = described.iter().map(|(column, _, _)| column.clone()).collect();
    let mut writer = DatasetWriter::create(&target, Replace::Never).unwrap();
    for part in parts {
        let mut part = part.clone();
        part.sort_by_key(|&i| Key::from_world(points[i]));
        let keys: Vec<u64> = part.iter().map(|&i| Key::from_world(points[i]).0).collect();
        let hot = described.iter().map(|(column, _, keys)| narrowed(column.width, part.iter().map(|&i| keys[i]))).collect();
        let (lon, lat): (Vec<f64>, Vec<f64>) = part.iter().map(|&i| lonlat_from_world(points[i])).unzip();
        let (lon, lat) = (Float64Array::from(lon), Float64Array::from(lat));
        let mut arrays: Vec<(&str, ArrayRef)> =
            vec![("lon", Arc::new(lon.clone())), ("lat", Arc::new(lat.clone()))];
        arrays.extend(columns.iter().map(|(name, column)| (*name, column.rows(&part))));
        let rows = RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let mut rows_writer = writer.rows(&rows.schema()).unwrap();
        rows_writer.write(&rows, &lon, &lat).unwrap();
        writer.part(&keys, &schema_columns, hot, rows_writer).unwrap();
    }
    writer
        .finish(Description {
            name: "sample".into(),
            title: "Sample".into(),
            attribution: None,
            rejected: BTreeMap::new(),
            coordinates: Coordinates { x: "lon".into(), y: "lat".into(), crs: "EPSG:4326".into() },
            category: columns.iter().find(|(_, c)| matches!(c, TestColumn::Text(_))).map(|(name, _)| (*name).to_owned()),
            style: BTreeMap::new(),
            columns: described.into_iter().map(|(column, dictionary, _)| (column, dictionary)).collect(),
        })
        .unwrap();
    let dataset = Dataset::open(&target).unwrap();
    (folder, dataset)
}

impl TestColumn {
    fn encode(&self, name: &str) -> (Column, Option<CountedValues>, Vec<u64>) {
        let column = |kind, encoding, keys: &[u64], min, max| {
            let key_max = keys.iter().copied().max().unwrap_or(0);
            Column {
                name: name.to_owned(), kind, encoding, width: KeyWidth::holding(key_max), key_max,
                nulls: keys.iter().filter(|&&key| key == 0).count() as u64,
                distinct: None, min, max, styles: BTreeMap::new(),
            }
        };
        match self {
            TestColumn::Text(values) => {
                let mut sorted: Vec<&str> = values.iter().flatten().map(String::as_str).collect();
                sorted.sort_unstable();
                sorted.dedup();
                let keys: Vec<u64> = values
                    .iter()
                    .map(|v| v.as_deref().map_or(0, |v| sorted.binary_search(&v).unwrap() as u64 + 1))
                    .collect();
                let counts = (1..=sorted.len() as u64).map(|k| keys.iter().filter(|&&key| key == k).count() as u64).collect();
                let text = |v: Option<&&str>| v.map_or(Value::Null, |v| Value::Text((*v).to_owned()));
                let described = column(ColumnKind::Text, Encoding::Dictionary, &keys, text(sorted.first()), text(sorted.last()));
                (described, Some((Values::Text(LargeStringArray::from_iter_values(sorted)), counts)), keys)
            }
            TestColumn::Integer(values) | TestColumn::Timestamp(values) => {
                let (min, max) = (values.iter().flatten().min(), values.iter().flatten().max());
                let base = min.copied().unwrap_or(0);
                let keys: Vec<u64> = values.iter().map(|v| v.map_or(0, |v| v.abs_diff(base) + 1)).collect();
                let is_time = matches!(self, TestColumn::Timestamp(_));
                let value = |v: Option<&i64>| match v {
                    None => Value::Null,
                    Some(&us) if is_time => Value::Timestamp { us },
                    Some(&v) => Value::Integer(v),
                };
                let kind = if is_time { ColumnKind::Timestamp } else { ColumnKind::Integer };
                (column(kind, Encoding::Affine { base, step: 1, decimals: 0 }, &keys, value(min), value(max)), None, keys)
            }
            TestColumn::FewFloats(values) => {
                let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
                sorted.sort_unstable_by(f64::total_cmp);
                sorted.dedup();
                let key = |v: f64| sorted.partition_point(|&other| other < v) as u64 + 1;
                let keys: Vec<u64> = values.iter().map(|v| v.map_or(0, key)).collect();
                let counts = (1..=sorted.len() as u64).map(|k| keys.iter().filter(|&&key| key == k).count() as u64).collect();
                let float = |v: Option<&f64>| v.map_or(Value::Null, |&v| Value::Float(v));
                let described = column(ColumnKind::Float, Encoding::Dictionary, &keys, float(sorted.first()), float(sorted.last()));
                (described, Some((Values::Float(sorted.into()), counts)), keys)
            }
            TestColumn::Float(values) => {
                let keys: Vec<u64> = values.iter().map(|v| v.map_or(0, ordered_key_from_float)).collect();
                let extreme = |key: Option<u64>| {
                    key.map_or(Value::Null, |key| Value::Float(super::column::float_from_ordered_key(key)))
                };
                let real = || keys.iter().copied().filter(|&key| key > 0);
                let (min, max) = (extreme(real().min()), extreme(real().max()));
                let mut described = column(ColumnKind::Float, Encoding::OrderedFloat, &keys, min, max);
                described.width = KeyWidth::U64;
                (described, None, keys)
            }
        }
    }

    fn rows(&self, order: &[usize]) -> ArrayRef {
        match self {
            TestColumn::Text(values) => Arc::new(order.iter().map(|&i| values[i].clone()).collect::<StringArray>()),
            TestColumn::Integer(values) | TestColumn::Timestamp(values) => {
                Arc::new(order.iter().map(|&i| values[i]).collect::<Int64Array>())
            }
            TestColumn::Float(values) | TestColumn::FewFloats(values) => Arc::new(order.iter().map(|&i| values[i]).collect::<Float64Array>()),
        }
    }
}

fn narrowed(width: KeyWidth, keys: impl Iterator<Item = u64>) -> HotColumn {
    let mut hot = HotColumn::new(width);
    hot.extend(keys);
    hot
}

/// The same dataset, uploaded to a store in memory and opened there.
pub(crate) fn in_a_store(local: &Dataset, overview: &Path, cache: &Arc<BlockCache>) -> Dataset {
    let store = Store::in_memory();
    Upload::begin(local, overview).unwrap().send(&store, &|_| ()).unwrap();
    Dataset::open_in(&store, cache).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{ColumnId, DatasetError};

    #[test]
    fn a_dataset_is_read_back_as_it_was_written() {
        let points: Vec<WorldPoint> = (0..100u32).map(|i| WorldPoint { x: i.wrapping_mul(0x9E37_79B9), y: i << 20 }).collect();
        let names = (0..100).map(|i| (i % 7 > 0).then(|| format!("name {}", i % 7))).collect();
        let sizes = (0..100).map(|i| (i % 5 > 0).then_some(i64::from(i) * 1000 - 500)).collect();
        let speeds = (0..100).map(|i| (i % 3 > 0).then_some(f64::from(i) * -0.1)).collect();
        let columns =
            [("name", TestColumn::Text(names)), ("size", TestColumn::Integer(sizes)), ("speed", TestColumn::Float(speeds))];
        let (_folder, dataset) = dataset(&points, &columns, 33);
        assert_eq!(dataset.parts.iter().map(|part| part.rows()).collect::<Vec<_>>(), [33, 33, 33, 1]);
        assert_eq!(dataset.manifest.rows, 100);

        let mut order: Vec<usize> = (0..100).collect();
        order.sort_by_key(|&i| Key::from_world(points[i]));
        let mut seen = order.iter();
        for part in &dataset.parts {
            for position in 0..part.rows() {
                let &i = seen.next().unwrap();
                assert_eq!(part.key(position), Key::from_world(points[i]));
                let value = |c: usize| dataset.value(ColumnId(c), part.column(ColumnId(c)).get(position as usize));
                assert_eq!(value(0), if i % 7 > 0 { Value::Text(format!("name {}", i % 7)) } else { Value::Null });
                assert_eq!(value(1), if i % 5 > 0 { Value::Integer(i as i64 * 1000 - 500) } else { Value::Null });
                assert_eq!(value(2), if i % 3 > 0 { Value::Float(i as f64 * -0.1) } else { Value::Null });
            }
        }
        let dictionary = dataset.dictionary(ColumnId(0)).unwrap();
        assert_eq!((dictionary.len(), dictionary.count(0), dictionary.count(1)), (6, 15, 15));
    }

    #[test]
    fn what_is_no_dataset_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Dataset::open(folder.path()), Err(DatasetError::NotADataset(_))));
        let (_folder, sample) = dataset(&[WorldPoint { x: 1, y: 2 }], &[], 10);
        let cut = sample.parts[0].folder().join("hot.arrow");
        let bytes = std::fs::read(&cut).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let Err(error) = Dataset::open(sample.folder()) else { panic!("half a file opened") };
        assert!(matches!(error, DatasetError::Damaged { .. }), "{error}");
        assert!(DatasetWriter::create(sample.folder(), Replace::Never).is_err_and(|e| e.to_string().contains("--force")));
    }

    #[test]
    fn an_unfinished_dataset_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("sample");
        let stale = folder.path().join(".sample.4294967295.ingest");
        std::fs::create_dir(&stale).unwrap();
        drop(DatasetWriter::create(&target, Replace::Never).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "not even what a killed run left");
    }
}
