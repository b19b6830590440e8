//! Appending: a dataset that has grown is the one that an ingest of all rows would have made, tiles say exactly whether they changed,
//! former readers go on, and a kill leaves the former version or the new one.

use crate::command::{column, ingest, pointillist, points};
use pointillist::dataset::verify::verify;
use pointillist::dataset::write::Replace;
use pointillist::dataset::{Change, Dataset, PART_POINTS_MAX, Piece, RowFiles};
use pointillist::engine::{Backend, Cancel, CountGrid, EngineOptions, Groups, open};
use pointillist::filter::Filter;
use pointillist::ingest::{ColumnWishes, DialectWishes, IngestOptions, Unobserved};
use pointillist::world::{TileId, Zoom};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// The first row of what is ingested settles the kinds.
const HEADER: &str = "lon,lat,name,code,money,when,flag,size\n10,50,aa,7,0.5,2020-01-01T00:00:00Z,true,1\n";

fn cell<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn row() -> impl Strategy<Value = String> {
    let maybe = |weight| prop::bool::weighted(weight);
    let place = prop_oneof![
        (0u32..12, 0u32..12).prop_map(|(x, y)| (f64::from(x) / 8.0, f64::from(y) / 8.0)),
        (-180.0f64..180.0, -80.0f64..80.0),
    ];
    let names = prop_oneof![Just("aa"), Just("ab"), Just("b"), Just("Ä"), Just("z"), Just("0")];
    // Few and far apart: a dictionary of numbers.
    let codes = prop_oneof![Just(7i64), Just(-5), Just(1 << 40), Just(1 << 41), 0i64..20];
    let money = (-2_000i64..2_000, 0u32..4).prop_map(|(value, places)| value as f64 / 10f64.powi(places as i32));
    // Steps of 250, now and then broken.
    let sizes = (0i64..400, prop::bool::weighted(0.02)).prop_map(|(steps, broken)| 1 + steps * 250 + i64::from(broken) * 125);
    (place, (maybe(0.9), names), (maybe(0.9), codes), (maybe(0.9), money), (maybe(0.9), 0u32..28), maybe(0.5), sizes).prop_map(
        |((lon, lat), (named, name), (coded, code), (paid, money), (timed, day), flag, size)| {
            let day = timed.then(|| format!("2021-02-{:02}T10:00:{:02}Z", day + 1, day));
            let (name, code, money) = (named.then_some(name), coded.then_some(code), paid.then_some(money));
            format!("{lon},{lat},{},{},{},{},{flag},{size}\n", cell(name), cell(code), cell(money), cell(day))
        },
    )
}

fn options(input: &Path, output: &Path, part_points_max: usize) -> IngestOptions {
    IngestOptions {
        inputs: vec![input.to_owned()], output: output.to_owned(), preset: None, columns: ColumnWishes::default(),
        dialect: DialectWishes::default(), wanted: None, rejects: None, name: Some("grown".into()), style: Default::default(), replace: Replace::Dataset,
        memory_limit_bytes: 1 << 30, part_points_max,
    }
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn grids(dataset: &Arc<Dataset>, tiles: &[TileId]) -> Vec<CountGrid> {
    let engine = open(dataset.clone(), Backend::Cpu, &EngineOptions::default()).unwrap();
    let selection = engine.select(&Arc::new(Filter::all()), &Arc::new(Groups::none(dataset)), &Cancel::never()).unwrap();
    engine.count(&selection, tiles, &Cancel::never()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Goal: appended is as good as ingested, and tiles tell whether they changed. Method: the same rows both ways, in small parts;
    /// columns compared whole, points as multisets, tiles by counting them.
    #[test]
    fn a_dataset_that_has_grown_is_the_one_of_all_rows(
        first in proptest::collection::vec(row(), 0..120), more in proptest::collection::vec(proptest::collection::vec(row(), 1..60), 1..4),
        part_points in prop_oneof![Just(PART_POINTS_MAX), 20usize..60],
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path();
        let (grown, whole) = (path.join("grown"), path.join("whole"));
        let mut text = format!("{HEADER}{}", first.concat());
        pointillist::ingest::ingest(&options(&written(path, "0.csv", &text), &grown, part_points), &Unobserved).unwrap();
        for (number, rows) in more.iter().enumerate() {
            let before = Arc::new(Dataset::open(&grown).unwrap());
            let header = HEADER.lines().next().unwrap();
            let input = written(path, "more.csv", &format!("{header}\n{}", rows.concat()));
            let summary = pointillist::ingest::append(&grown, &options(&input, &grown, part_points), &Unobserved).unwrap();
            prop_assert_eq!(summary.rows_in, rows.len() as u64);
            text.push_str(&rows.concat());
            let after = Arc::new(Dataset::open(&grown).unwrap());
            prop_assert_eq!(after.manifest.revision, number as u64 + 1);
            prop_assert_ne!(&after.manifest.data_version, &before.manifest.data_version);
            verify(&grown, &|_| {}).unwrap();

            for zoom in [0, 2, 4].map(|z| Zoom::new(z).unwrap()) {
                let side = 1 << zoom.get();
                let tiles: Vec<TileId> = (0..side * side).map(|i| TileId::new(zoom.get(), i % side, i / side).unwrap()).collect();
                let differs: Vec<bool> = grids(&before, &tiles).iter().zip(grids(&after, &tiles)).map(|(a, b)| *a != b).collect();
                let told: Vec<bool> = tiles.iter().map(|&tile| after.revision_of(tile) != before.revision_of(tile)).collect();
                prop_assert_eq!(&told, &differs);
                let since = after.manifest.revision_of_version(&before.manifest.data_version).unwrap();
                prop_assert_eq!(since, before.manifest.revision);
                let mut listed = after.tiles_changed(since, zoom, tiles.len()).unwrap();
                if listed.len() > 1 {
                    prop_assert_eq!(after.tiles_changed(since, zoom, listed.len() - 1), None);
                }
                let mut expected: Vec<TileId> = tiles.iter().zip(&differs).filter(|(_, differs)| **differs).map(|(tile, _)| *tile).collect();
                listed.sort_by_key(|tile| tile.cell());
                expected.sort_by_key(|tile| tile.cell());
                prop_assert_eq!(listed, expected);
            }
        }
        pointillist::ingest::ingest(&options(&written(path, "whole.csv", &text), &whole, part_points), &Unobserved).unwrap();
        let (all, mut appended) = (Dataset::open(&whole).unwrap(), Dataset::open(&grown).unwrap());
        let sorted = |dataset: &Dataset| { let mut points = points(dataset); points.sort(); points };
        for compacted in [false, true] {
            if compacted {
                Change::begin(&grown).unwrap().compact(&|_| {}).unwrap();
                verify(&grown, &|_| {}).unwrap();
                appended = Dataset::open(&grown).unwrap();
                prop_assert_eq!(appended.parts.len(), 1);
                // Read through the rows' files as well: row i is still point i.
                prop_assert_eq!(row_sizes(&appended), column_of(&appended, "size"));
            }
            prop_assert_eq!(&appended.manifest.columns, &all.manifest.columns);
            prop_assert_eq!(appended.manifest.bounds, all.manifest.bounds);
            prop_assert_eq!(appended.rows(), all.rows());
            prop_assert_eq!(sorted(&appended), sorted(&all));
        }
    }
}

/// The `size` of every point in order, from the rows.
fn row_sizes(dataset: &Dataset) -> Vec<String> {
    let files = Arc::new(RowFiles::of(dataset));
    let pieces = dataset.parts.iter().enumerate().map(|(part, of)| Piece { part, ranges: std::iter::once(0..of.rows()).collect() });
    let pieces: Vec<Piece> = pieces.collect();
    let mut sizes = Vec::new();
    for batch in files.read(Box::new(pieces.into_iter()), Some(&["size".to_owned()])).unwrap() {
        let batch = batch.unwrap();
        let column = batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        sizes.extend(column.iter().map(|size| size.unwrap().to_string()));
    }
    sizes
}

fn column_of(dataset: &Dataset, name: &str) -> Vec<String> {
    points(dataset).into_iter().map(|(_, mut row)| row.remove(name).unwrap()).collect()
}

/// Numbers too many to count and of too many decimals to scale, before and after a few simple ones; and a column of nulls.
#[test]
fn floats_of_any_kind_are_merged() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let mut many = String::from("lon,lat,v,w\n");
    for i in 0..66_000u32 {
        writeln!(many, "{},{},{},", i % 360, i % 80, f64::from(i).sqrt()).unwrap();
    }
    let few = "lon,lat,v,w\n1,1,0.5,\n2,2,-7.25,\n3,3,,\n";
    let (many, few) = (written(path, "many.csv", &many), written(path, "few.csv", few));
    for (first, second) in [(&many, &few), (&few, &many)] {
        let grown = path.join("grown");
        pointillist::ingest::ingest(&options(first, &grown, PART_POINTS_MAX), &Unobserved).unwrap();
        pointillist::ingest::append(&grown, &options(second, &grown, PART_POINTS_MAX), &Unobserved).unwrap();
        verify(&grown, &|_| {}).unwrap();
        let grown = Dataset::open(&grown).unwrap();
        let v = grown.column(grown.column_id("v").unwrap());
        assert_eq!((v.nulls, v.min.to_string(), v.max.to_string()), (1, "-7.25".into(), f64::from(65_999u32).sqrt().to_string()));
        let mut values: Vec<String> = (0..66_000u32).map(|i| f64::from(i).sqrt().to_string()).collect();
        values.extend(["0.5", "-7.25", "null"].map(str::to_owned));
        values.sort();
        assert_eq!(column(&grown, "v"), values);
        assert_eq!(column(&grown, "w").len(), 66_003);
    }
}

/// Goal: somebody who has a version open goes on with it, rows too, while the files of its parts are replaced and removed.
#[test]
fn a_reader_goes_on_with_its_version() {
    let folder = tempdir().unwrap();
    let first = written(folder.path(), "a.csv", &format!("{HEADER}1,1,m,1,1.5,,false,2\n"));
    let (reader, _) = ingest(folder.path(), &first, &[]);
    let before = (points(&reader), row_sizes(&reader));
    let files: Vec<_> = fs::read_dir(reader.folder().join("parts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let output = reader.folder().to_str().unwrap().to_owned();
    let more = written(folder.path(), "b.csv", "size,lat,lon,name,colour\n5,2,2,a,red\n6,91,2,b,red\n");
    let run = pointillist(["append", &output, more.to_str().unwrap(), "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("'colour'") && run.stderr.contains("'code', 'money', 'when', 'flag'"), "{}", run.stderr);
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&summary["rows_in"], &summary["points"]), (&2.into(), &3.into()));
    let run = pointillist(["compact", &output]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("2 parts became 1, 3 points"), "{}", run.stdout);
    assert!(pointillist(["compact", &output]).stdout.contains("nothing to do"));
    assert!(files.iter().all(|file| !file.exists()), "the former parts are removed");
    assert_eq!((points(&reader), row_sizes(&reader)), before);
    let after = Dataset::open(reader.folder()).unwrap();
    assert_eq!(column(&after, "size"), ["1", "2", "5"]);
    assert_eq!(after.manifest.rejected["latitude outside the Web-Mercator world"], 1);
    assert_eq!(column(&after, "name"), ["a", "aa", "m"]);
    assert!(pointillist(["verify", &output]).code == Some(0));
}

#[test]
fn what_cannot_be_appended_is_said_and_changes_nothing() {
    let folder = tempdir().unwrap();
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "a.csv", HEADER), &[]);
    let files = |folder: &Path| {
        let mut names: Vec<PathBuf> = walk(folder);
        names.sort();
        names
    };
    let before = files(dataset.folder());
    let output = dataset.folder().to_str().unwrap();
    for (text, words) in [
        ("lon,lat,size\n1,1,many\n", vec!["'size'", "integers", "together"]),
        ("x,lat\n1,1\n", vec!["no column 'lon'", "'x', 'lat'"]),
        ("lon,lat,size\n1,91,2\n", vec!["no row has a place"]),
        ("", vec!["is empty"]),
    ] {
        let input = written(folder.path(), "b.csv", text);
        let run = pointillist(["append", output, input.to_str().unwrap()]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        for word in words {
            assert!(run.error().contains(word), "'{word}' is not in: {}", run.error());
        }
        assert_eq!(files(dataset.folder()), before);
    }
    let input = written(folder.path(), "b.csv", HEADER);
    let run = pointillist(["append", folder.path().to_str().unwrap(), input.to_str().unwrap()]);
    assert!(run.code == Some(1) && run.error().contains("is not a dataset"), "{}", run.stderr);
    let changing = Change::begin(dataset.folder()).unwrap();
    let run = pointillist(["append", output, input.to_str().unwrap()]);
    assert!(run.code == Some(1) && run.error().contains("another program is changing"), "{}", run.stderr);
    drop(changing);
    assert_eq!(pointillist(["append", output, input.to_str().unwrap()]).code, Some(0));
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Goal: whenever it is killed, the dataset is the former version or the new one, whole, and the next run removes what is left over.
/// Method: kill -9 at moments spread over the time that an undisturbed run takes, for an append and then a compaction.
#[test]
fn a_killed_change_leaves_the_former_version_or_the_new_one() {
    let folder = tempdir().unwrap();
    let rows = |from: u32, to: u32| {
        let row = |i| format!("{},{},n{},{},{}.5,2020-01-01,{},{i}\n", i % 360, i % 80, i % 977, i * 7, i % 50, i % 2 == 0);
        (from..to).map(row).collect::<String>()
    };
    let header = HEADER.lines().next().unwrap();
    let first = written(folder.path(), "a.csv", &format!("{header}\n{}", rows(0, 40_000)));
    let more = written(folder.path(), "b.csv", &format!("{header}\n{}", rows(40_000, 90_000)));
    let (dataset, _) = ingest(folder.path(), &first, &[]);
    let output = dataset.folder().to_owned();
    let fresh = |name: &str| {
        let copy = folder.path().join(name);
        let copied = Command::new("cp").args(["-r".as_ref(), output.as_os_str(), copy.as_os_str()]).status().unwrap();
        assert!(copied.success());
        copy
    };
    let start = |command: &str, dataset: &Path| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointillist"));
        child.arg(command).arg(dataset).stdout(Stdio::null()).stderr(Stdio::null());
        if command == "append" {
            child.arg(&more);
        }
        child.spawn().unwrap()
    };
    let timed = fresh("timed");
    let mut kills_before_the_end = 0;
    for (command, former, new) in [("append", 40_000, 90_000), ("compact", 90_000, 90_000)] {
        let begun = Instant::now();
        assert!(start(command, &timed).wait().unwrap().success());
        let whole = begun.elapsed();
        let parts_new = Dataset::open(&timed).unwrap().parts.len();
        for moment in 1..=8u32 {
            let name = format!("{command}-{moment}");
            let killed = fresh(&name);
            if command == "compact" {
                assert!(start("append", &killed).wait().unwrap().success());
            }
            let parts_former = Dataset::open(&killed).unwrap().parts.len();
            let mut child = start(command, &killed);
            std::thread::sleep(whole * moment / 8 - Duration::from_millis(1).min(whole / 16));
            child.kill().unwrap();
            kills_before_the_end += u32::from(!child.wait().unwrap().success());
            let left = Dataset::open(&killed).unwrap();
            let found = (left.rows(), left.parts.len());
            assert!(found == (former, parts_former) || found == (new, parts_new), "{name}: {found:?}");
            verify(&killed, &|_| {}).unwrap();
            Change::begin(&killed).unwrap();
            let named: usize = left.manifest.dictionaries.len() + left.manifest.parts.iter().map(|part| part.files.len()).sum::<usize>();
            assert_eq!(walk(&killed).len(), named + 1, "{name}: only what the manifest names is left, and the manifest");
            fs::remove_dir_all(&killed).unwrap();
        }
    }
    assert!(kills_before_the_end >= 6, "only {kills_before_the_end} of 16 kills came before the end");
}
