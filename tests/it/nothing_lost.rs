//! What an ingest must never lose without a word: a row, a file, the difference of two values, a file that was there before.

use crate::command::{Run, column, ingest, kind, pointillist, points};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

fn written(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

const GOOD: &str = "lon,lat,name\n1,2,a\n3,4,b\n";
/// Two good rows and a bad one.
const MIXED: &str = "lon,lat,name\n1,2,a\n3,4,b\n,,c\n";

#[test]
fn rejects_are_not_written_over_inputs_and_outputs() {
    let folder = tempdir().unwrap();
    let input = written(folder.path(), "a.csv", MIXED);
    let link = folder.path().join("link.csv");
    std::os::unix::fs::symlink(&input, &link).unwrap();
    let out = folder.path().join("out");
    let run = |command: &[&str], rejects: &Path| -> Run {
        let mut arguments = command.to_vec();
        arguments.extend(["--rejects", rejects.to_str().unwrap()]);
        pointillist(&arguments)
    };
    let (i, o) = (input.to_str().unwrap(), out.to_str().unwrap());
    let refused = |command: &[&str]| {
        for (rejects, words) in [(&input, "one of the inputs"), (&link, "one of the inputs"), (&out.join("x.csv"), "within the output"), (&out, "within the output")] {
            let run = run(command, rejects);
            assert_eq!(run.code, Some(2), "{command:?} {rejects:?}: {}", run.stderr);
            assert!(run.error().contains(words), "{}", run.error());
        }
        assert_eq!(fs::read_to_string(&input).unwrap(), MIXED);
    };
    refused(&["ingest", i, "-o", o]);
    assert!(!out.exists());
    let rejects = written(folder.path(), "rejects.csv", "of an earlier run");
    // An ingest that fails leaves the older list.
    let bad = written(folder.path(), "bad.json", "[{\"lon\":1,\"lat\":2},{\"lat\":1}");
    assert_eq!(run(&["ingest", bad.to_str().unwrap(), "-o", o], &rejects).code, Some(1));
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "of an earlier run");
    let listed = format!("file,row,reason,raw\n{i},4,no coordinate,\",,c\"\n");
    assert_eq!(run(&["ingest", i, "-o", o], &rejects).code, Some(0));
    assert_eq!(fs::read_to_string(&rejects).unwrap(), listed);
    refused(&["append", o, i]);
    fs::write(&rejects, "of an earlier run").unwrap();
    assert_eq!(run(&["append", o, i], &rejects).code, Some(0));
    assert_eq!(fs::read_to_string(&rejects).unwrap(), listed);
    let mut left: Vec<String> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["a.csv", "bad.json", "link.csv", "out", "rejects.csv"]);
}

#[test]
fn features_are_where_their_geometry_is() {
    let folder = tempdir().unwrap();
    let feature = |id: &str, lon: f64, properties: &str| {
        format!("{{\"type\":\"Feature\",\"id\":\"{id}\",\"geometry\":{{\"type\":\"Point\",\"coordinates\":[{lon},5]}},\"properties\":{properties}}}")
    };
    let text = format!(
        "{{\"type\":\"FeatureCollection\",\"features\":[{},{}]}}",
        feature("p", 10.0, "{\"lon\":-170,\"lat\":80}"), feature("q", 20.0, "{\"lon\":-171,\"lat\":81}")
    );
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "a.geojson", text), &[]);
    assert_eq!(column(&dataset, "id"), ["p", "q"]);
    assert_eq!(column(&dataset, "properties.lon"), ["-170", "-171"]);
    let plain = written(folder.path(), "b.csv", "lon,lat\n10,5\n20,5\n");
    let keys = |dataset: &pointillist::dataset::Dataset| points(dataset).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let found = keys(&dataset);
    assert_eq!(found, keys(&ingest(folder.path(), &plain, &[]).0));
}

#[test]
fn long_ids_stay_distinct() {
    let folder = tempdir().unwrap();
    let csv = |values: &[&str]| values.iter().fold("lon,lat,id\n".to_owned(), |text, id| format!("{text}1,2,{id}\n"));
    let ids = ["12345678901234567890", "12345678901234567891", "12345678901234567892"];
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "a.csv", csv(&ids)), &[]);
    assert_eq!((kind(&dataset, "id").as_str(), column(&dataset, "id")), ("text", ids.map(str::to_owned).to_vec()));
    // The decimal makes floats of the column, and the integer that no f64 is makes texts of it.
    let ids = ["0.5", "9007199254740992", "9007199254740993"];
    let (dataset, summary) = ingest(folder.path(), &written(folder.path(), "b.csv", csv(&ids)), &[]);
    assert_eq!((kind(&dataset, "id").as_str(), column(&dataset, "id")), ("text", ids.map(str::to_owned).to_vec()), "{summary}");
    let ids = ["0.5", "9007199254740992", "9007199254740994"];
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "c.csv", csv(&ids)), &[]);
    assert_eq!((kind(&dataset, "id").as_str(), column(&dataset, "id")), ("float", ids.map(str::to_owned).to_vec()));
}

#[test]
fn names_that_are_years_and_byte_order_marks() {
    let folder = tempdir().unwrap();
    let (dataset, summary) = ingest(folder.path(), &written(folder.path(), "a.csv", "lon,lat,2020,2021\n1,2,3,4\n5,6,7,8\n"), &[]);
    assert_eq!((summary["rows_in"].as_u64(), column(&dataset, "2021")), (Some(2), vec!["4".to_owned(), "8".to_owned()]));
    for (name, text) in [("b.json", "\u{feff}[{\"lon\":1,\"lat\":2,\"n\":3}]"), ("c.ndjson", "\u{feff}{\"lon\":1,\"lat\":2,\"n\":3}\n"), ("d.csv", "\u{feff}lon,lat,n\n1,2,3\n")] {
        let (dataset, summary) = ingest(folder.path(), &written(folder.path(), name, text), &[]);
        assert_eq!((summary["rows_in"].as_u64(), column(&dataset, "n")), (Some(1), vec!["3".to_owned()]), "{name}");
    }
}

#[test]
fn files_that_are_skipped_or_add_nothing_are_named() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    written(&data, "part1.csv", format!("{GOOD}5,6,c\n"));
    let part2 = written(&data, "part2.csv", "7,8,d\n");
    let (_, summary) = ingest(folder.path(), &data, &[]);
    let skipped = format!("{} (no header like the others')", part2.display());
    assert_eq!((&summary["rows_in"], &summary["files"], &summary["skipped"]), (&3.into(), &2.into(), &serde_json::json!([skipped])));
    let out = folder.path().join("out");
    let text = |inputs: &[&Path]| {
        let mut arguments = vec!["ingest".as_ref(), "--force".as_ref(), "-o".as_ref(), out.as_os_str()];
        arguments.extend(inputs.iter().map(|input| input.as_os_str()));
        let run = pointillist(arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run
    };
    assert!(text(&[&data]).stdout.contains(&format!("1 of 2 files skipped: {skipped}")));
    let run = text(&[&data.join("part1.csv"), &part2]);
    assert!(!run.stdout.contains("skipped") && run.stderr.contains(&format!("note: no row of {} has a place on the map", part2.display())), "{}", run.stderr);
}

/// The last day of the calendar is what many write for "never".
#[test]
fn the_last_day_of_9999() {
    let folder = tempdir().unwrap();
    let input = written(folder.path(), "a.csv", "lon,lat,until\n1,2,2020-01-01\n3,4,9999-12-31\n5,6,9999-12-31T12:00:00Z\n");
    let (dataset, _) = ingest(folder.path(), &input, &[]);
    assert_eq!(column(&dataset, "until"), ["2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T12:00:00Z"]);
    for (filter, rows) in [("until = DATE('9999-12-31')", 1), ("until >= TIMESTAMP('9999-12-31T00:00:00Z')", 2), ("until < DATE('9999-12-31')", 1)] {
        let (dataset, _) = ingest(folder.path(), &input, &["--where", filter]);
        assert_eq!(points(&dataset).len(), rows, "{filter}");
    }
    let out = folder.path().join("out");
    let shown = pointillist(["inspect", out.to_str().unwrap()]);
    assert!(shown.code == Some(0) && !shown.stdout.contains(" us"), "{}", shown.stdout);
}
