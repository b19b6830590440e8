//! The samples of `fixtures/` are counted as an independent program counts them: see fixtures/counts/make.py.

use crate::command::ingest;
use flate2::read::GzDecoder;
use pointillist::encode::{NpyDtype, npy};
use pointillist::engine::{Backend, Cancel, EngineError, EngineOptions, Groups, open};
use pointillist::filter::Filter;
use pointillist::world::TileId;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

#[derive(Deserialize)]
struct Case {
    name: String,
    sample: String,
    tile: (u8, u32, u32),
    filter: Option<String>,
    by: Option<String>,
    points: u64,
}

/// Goal: both engines count what NumPy counts, point by point, from the formulas alone. Method: every byte of the `.npy`.
#[test]
fn both_engines_count_what_numpy_counts() {
    let fixtures = Path::new("fixtures");
    let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(fixtures.join("counts/cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 6, "the fixture is whole");
    let mut samples = BTreeMap::new();
    for case in &cases {
        let (_, dataset) = samples.entry(case.sample.clone()).or_insert_with(|| {
            let folder = tempdir().unwrap();
            let dataset = Arc::new(ingest(folder.path(), &fixtures.join(&case.sample), &[]).0);
            (folder, dataset)
        });
        let filter = Arc::new(Filter::parse(case.filter.as_deref().unwrap_or_default(), dataset).unwrap());
        let groups = Arc::new(match &case.by {
            Some(name) => Groups::by_column(dataset, dataset.column_id(name).unwrap(), &[]).unwrap(),
            None => Groups::none(dataset),
        });
        let mut expected = Vec::new();
        let path = fixtures.join(format!("counts/{}.npy.gz", case.name));
        GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut expected).unwrap();
        for backend in [Backend::Cpu, Backend::Gpu] {
            let engine = match open(dataset.clone(), backend, &EngineOptions::default()) {
                Err(EngineError::NoDevice(why)) if backend == Backend::Gpu => {
                    crate::skipped::skipped(&case.name, format!("the GPU engine: {why}"));
                    continue;
                }
                engine => engine.unwrap(),
            };
            let selection = engine.select(&filter, &groups, &Cancel::never()).unwrap();
            let tile = TileId::new(case.tile.0, case.tile.1, case.tile.2).unwrap();
            let counts = engine.count(&selection, &[tile], &Cancel::never()).unwrap().remove(0);
            assert_eq!(counts.total(), case.points, "{} on {backend:?}", case.name);
            assert!(npy(&counts, NpyDtype::U32) == expected, "{} on {backend:?} differs from NumPy's", case.name);
        }
    }
}
