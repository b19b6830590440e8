//! Bad input: one clear sentence that names the value and the remedy, the right exit code, and nothing half-made.

use crate::command::{pointillist, run};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

/// The causes of an error are said once.
fn assert_said_once(error: &str) {
    for cause in ["No space left on device", "File too large", "No such file or directory", "Not a directory", "File exists"] {
        assert!(error.matches(cause).count() < 2, "the cause is repeated: {error}");
    }
}

/// Ingests `bytes` as a file called `name`, which must fail with `code`, leave only the input, and say all of `words`.
fn fails(name: &str, bytes: &[u8], more: &[&str], code: i32, words: &[&str]) {
    let folder = tempdir().unwrap();
    let input = folder.path().join(name);
    fs::write(&input, bytes).unwrap();
    let output = folder.path().join("out");
    let mut arguments = vec!["ingest", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
    arguments.extend(more);
    let run = pointillist(&arguments);
    assert_eq!(run.code, Some(code), "{name} {more:?}: {}", run.stderr);
    for word in words {
        assert!(run.error().contains(word), "'{word}' is not in: {}", run.error());
    }
    assert!(run.stdout.is_empty());
    assert_only(folder.path(), &[name]);
}

fn assert_only(folder: &Path, names: &[&str]) {
    let mut left: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, names, "nothing half-made is left");
}

const GOOD: &str = "lon,lat,name\n1,2,a\n3,4,b\n";

#[test]
fn missing_and_empty_inputs() {
    let folder = tempdir().unwrap();
    let ingest = |input: &str| {
        let output = folder.path().join("out");
        let run = pointillist(["ingest", input, "-o", output.to_str().unwrap()]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        run.error().to_owned()
    };
    assert!(ingest("/no/such/file.csv").contains("no such file or folder: /no/such/file.csv"));
    assert!(ingest("/no/such/*.csv").contains("no file matches '/no/such/*.csv'"));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(ingest(empty.to_str().unwrap()).contains("holds no data files"));
    fs::remove_dir(&empty).unwrap();
    assert_only(folder.path(), &[]);
    fails("a.csv", b"", &[], 1, &["a.csv is empty"]);
    fails("a.csv", b" \n\n", &[], 1, &["a.csv is empty"]);
    fails("a.csv", b"lon,lat\n", &[], 1, &["a.csv", "no rows"]);
}

#[test]
fn wrong_columns() {
    fails("a.csv", GOOD.as_bytes(), &["--category", "radio"], 1, &["no column 'radio'", "'lon', 'lat', 'name'"]);
    fails("a.csv", GOOD.as_bytes(), &["--columns", "name,nope"], 1, &["no column 'nope'"]);
    fails("a.csv", GOOD.as_bytes(), &["--lon", "name", "--lat", "lat"], 1, &["column 'name' is no coordinate", "'a'", "--lon"]);
    fails("a.csv", b"a,b,c\n1,2,x\n3,4,y\n", &[], 1, &["--lon and --lat", "a (1), b (2), c (x)"]);
    fails("a.csv", b"5,6,x\n7,8,y\n", &[], 1, &["--lon and --lat", "column_1 (5)"]);
    fails("a.csv", GOOD.as_bytes(), &["--lon", "lon"], 2, &["--lat"]);
    fails("a.csv", GOOD.as_bytes(), &["--preset", "nope"], 2, &["opencellid"]);
    fails("a.csv", GOOD.as_bytes(), &["--crs", "EPSG:27700"], 2, &["EPSG:3857"]);
    fails("a.csv", GOOD.as_bytes(), &["--where", "nam = 'a'"], 1, &["no column 'nam'", "did you mean 'name'"]);
    fails("a.csv", GOOD.as_bytes(), &["--where", "name = "], 2, &["CQL2"]);
    fails("a.csv", GOOD.as_bytes(), &["--where", "name = 'z'"], 1, &["--where holds for none of the 2 rows"]);
    fails("a.csv", GOOD.as_bytes(), &["--lon", "lon", "--lat", "LON"], 2, &["'lon' cannot be both coordinates", "--x and --y"]);
    let wide: Vec<String> = (0..1100).map(|i| format!("c{i}")).collect();
    let wide = format!("lon,lat,{}\n1,2,{}\n", wide.join(","), vec!["3"; 1100].join(","));
    fails("a.csv", wide.as_bytes(), &[], 1, &["1102 columns or more", "at most 1024", "--columns"]);
    // Found while reading, and before they take memory.
    let late: String = (0..60_000).map(|i| format!("{{\"lon\":1,\"lat\":2,\"c{}\":3}}\n", if i < 50_000 { 0 } else { i })).collect();
    fails("a.ndjson", late.as_bytes(), &[], 1, &["columns or more", "at most 1024", "--columns"]);
    // Mostly numbers to begin with, but no coordinate in any row.
    fails("a.csv", b"lon,lat\n1,\n2,\n", &[], 1, &["of 2 rows, 2: no coordinate", "'lon' and 'lat'"]);
    fails("a.csv", b"lon,lat\n1,90\n2,-90\n", &[], 1, &["latitude outside the Web-Mercator world"]);
    // Metres under the names of degrees.
    fails("a.csv", b"x,y\n1113194.9,6621293.7\n1113195.9,6621293.7\n", &[], 1, &["EPSG:3857", "1113194.9"]);
}

#[test]
fn damaged_files() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for i in 0..200_000u32 {
        if i == 0 { writeln!(gzip, "lon,lat,n").unwrap() }
        writeln!(gzip, "{},{},{}", i % 180, i % 80, i.wrapping_mul(2_654_435_761)).unwrap();
    }
    let gzip = gzip.finish().unwrap();
    fails("a.csv.gz", &gzip[..gzip.len() / 2], &[], 1, &["a.csv.gz is cut off", "fetch the file again"]);
    let mut broken = gzip.clone();
    broken.truncate(gzip.len() - 8);
    broken.extend([0; 8]);
    fails("a.csv.gz", &broken, &[], 1, &["a.csv.gz", "cannot be decompressed"]);
    let zstd = zstd::encode_all(&gzip[..], 1).unwrap();
    fails("a.csv.zst", &zstd[..zstd.len() / 2], &[], 1, &["a.csv.zst"]);
    fails("a.zip", b"PK\x03\x04 and then nothing", &[], 1, &["a.zip", "zip"]);
    fails("a.parquet", b"PAR1 this is no parquet file PAR1", &[], 1, &["a.parquet", "damaged"]);
    fails("a.arrow", b"ARROW1 this is no arrow file", &[], 1, &["a.arrow", "damaged"]);
    fails("a.json", b"[{\"lon\":1,\"lat\":2},{\"lon\":1,", &[], 1, &["a.json", "cut off"]);
    fails("a.csv", b"lon,lat,name\n1,2,\"never closed\n3,4,x\n", &[], 1, &["a.csv", "line 2", "--quote none"]);
    fails("a.json", b"[{\"lon\":1,\"lat\":2},\n{\"lon\":1,\"lat\":2}", &[], 1, &["a.json", "before the ']'", "rows read until there: 2"]);
    fails("a.json", b"[{\"lon\":1,\"lat\":2}]\n[{\"lon\":1,\"lat\":2}]", &[], 1, &["a.json", "more at line 2", "rows read until there: 1"]);
    fails("a.geojson", b"{\"type\":\"FeatureCollection\",\"features\":[]}", &[], 1, &["a.geojson holds no JSON object", "nothing to ingest"]);
    fails("a.json", b"[{\"lon\":1,", &[], 1, &["a.json", "cut off", "rows read until there: 0"]);
    fails("a.csv", b"lon,lat,name\n1,2\n3,4,x,y\n", &[], 1, &["a.csv has 2 to 4 fields a line", "--delimiter ','"]);
    fails("a.csv", b"\xff\xfel\0o\0n\0", &[], 1, &["UTF-16"]);
    fails("a.csv", b"Just some prose\nand no columns\n", &[], 1, &["a.csv", "--delimiter"]);
}

/// A Parquet file whose first page header is damaged, behind a good footer.
#[test]
fn a_corrupt_page() {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch};
    use std::sync::Arc;
    let values = || Arc::new((0..50_000).map(|i| Some(f64::from(i) / 1000.0)).collect::<Float64Array>()) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("lon", values()), ("lat", values())]).unwrap();
    let mut bytes = Vec::new();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_compression(parquet::basic::Compression::ZSTD(Default::default()))
        .build();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes[4..400].fill(0xAB);
    fails("a.parquet", &bytes, &[], 1, &["a.parquet", "damaged"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = tempdir().unwrap();
    let input = folder.path().join("a.csv");
    let mut text = String::from("lon,lat,n\n");
    (0..200_000u32).for_each(|i| text.push_str(&format!("{},{},{}\n", i % 180, i % 80, i.wrapping_mul(2_654_435_761))));
    fs::write(&input, text).unwrap();
    let output = folder.path().join("out");
    let ingest = |more: &[&str]| {
        let mut arguments = vec!["ingest", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
        arguments.extend(more);
        pointillist(&arguments)
    };
    let run_full = ingest(&["--rejects", "/dev/full"]);
    assert_eq!(run_full.code, Some(1), "{}", run_full.stderr);
    assert!(run_full.error().contains("/dev/full"), "{}", run_full.error());
    let run_missing = ingest(&["--rejects", "/no/such/folder/rejects.csv"]);
    assert_eq!(run_missing.code, Some(1));
    assert!(run_missing.error().contains("/no/such/folder/rejects.csv"), "{}", run_missing.error());
    // A disk that is full after 500 kB: the shell limits the size of files, which fails a write in the same way.
    let command = format!(
        "trap '' XFSZ; ulimit -f 500; exec '{}' ingest '{}' -o '{}'",
        env!("CARGO_BIN_EXE_pointillist"), input.display(), output.display()
    );
    let full = run(Command::new("bash").args(["-c", &command]));
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(full.error().contains("cannot write") && full.error().contains("free"), "{}", full.error());
    assert_said_once(full.error());
    assert_said_once(run_missing.error());
    let within_a_file = input.join("out");
    let run = pointillist(["ingest", input.to_str().unwrap(), "-o", within_a_file.to_str().unwrap()]);
    assert!(run.code == Some(1) && run.error().contains(input.to_str().unwrap()), "{}", run.stderr);
    assert_said_once(run.error());
    let run = pointillist(["ingest", input.to_str().unwrap(), "-o", input.to_str().unwrap(), "--force"]);
    assert!(run.code == Some(1) && run.error().contains("no dataset, so it will not be replaced"), "{}", run.stderr);
    assert_only(folder.path(), &["a.csv"]);
}

/// Goal: wherever a disk becomes full (spilled runs, rows, hot columns, index, the manifest), an ingest says so and leaves nothing, and an
/// append leaves the dataset as it was. Method: file systems of real memory, smaller and smaller around what is just enough.
#[test]
fn a_full_disk_at_every_stage() {
    let folder = tempdir().unwrap();
    let mut text = String::from("lon,lat,n,t\n");
    (0..20_000u32).for_each(|i| text.push_str(&format!("{},{},{},t{}\n", i % 180, i % 80, i.wrapping_mul(2_654_435_761), i % 99)));
    let input = folder.path().join("a.csv");
    fs::write(&input, text).unwrap();
    let (disk, dataset) = (folder.path().join("disk"), folder.path().join("dataset"));
    fs::create_dir(&disk).unwrap();
    assert_eq!(pointillist(["ingest".as_ref(), input.as_os_str(), "-o".as_ref(), dataset.as_os_str()]).code, Some(0));
    // In namespaces of its own, a process may mount without being root; the mount goes with it.
    let on_a_disk_of = |kilobytes: u32, script: &str| {
        let script = format!("mount -t tmpfs -o size={kilobytes}k tmpfs \"$DISK\" || exit 99; cd \"$DISK\"; {script}");
        let variables = [("DISK", disk.as_os_str()), ("IN", input.as_os_str()), ("DATASET", dataset.as_os_str())];
        let program = ("POINTILLIST", std::ffi::OsStr::new(env!("CARGO_BIN_EXE_pointillist")));
        run(Command::new("unshare").args(["-Urm", "bash", "-c", &script]).envs(variables).envs([program]))
    };
    if !Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success()) {
        crate::skipped::skipped("full disks", "this system lets no ordinary process mount one");
        return;
    }
    let ingest = "\"$POINTILLIST\" ingest \"$IN\" -o out --memory-limit 1MB 2>&1; code=$?; ls -A; [ $code != 0 ] || \"$POINTILLIST\" verify out; exit $code";
    let append = "cp -r \"$DATASET\" out || exit 98; before=$(find out -type f | sort; cat out/dataset.json); \"$POINTILLIST\" append out \"$IN\" 2>&1; code=$?; \
        [ $code = 0 ] || [ \"$before\" = \"$(find out -type f | sort; cat out/dataset.json)\" ] || echo CHANGED; \"$POINTILLIST\" verify out; exit $code";
    for (script, name) in [(ingest, "ingest"), (append, "append")] {
        let (mut too_small, mut enough) = (64, 16_384);
        let mut stages = std::collections::BTreeSet::new();
        while enough - too_small > 4 {
            let kilobytes = (too_small + enough) / 2;
            let run = on_a_disk_of(kilobytes, script);
            if run.code == Some(98) {
                too_small = kilobytes; // not even the dataset to append to
                continue;
            }
            if run.code == Some(0) {
                assert!(run.stdout.contains("is whole"), "{name} on {kilobytes} kB: {}", run.stdout);
                enough = kilobytes;
                continue;
            }
            assert_eq!(run.code, Some(1), "{name} on {kilobytes} kB: {} {}", run.stdout, run.stderr);
            let error = run.stdout.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no error in {}", run.stdout));
            assert!(error.contains("No space left on device") && error.contains("free some space"), "{error}");
            assert_said_once(error);
            stages.insert(error.split(": No space").next().unwrap().rsplit('/').next().unwrap().to_owned());
            if name == "ingest" {
                assert!(run.stdout.trim_end().ends_with(error), "{name} on {kilobytes} kB left something: {}", run.stdout);
            } else {
                assert!(!run.stdout.contains("CHANGED") && run.stdout.contains("is whole"), "{name} on {kilobytes} kB: {}", run.stdout);
            }
            too_small = kilobytes;
        }
        assert!(stages.len() >= 2, "{name}: the disk was full at {stages:?} only");
    }
}

/// Goal: an error in the middle of a long file ends the program, though the thread that reads has more than anybody takes. Method: one
/// thread's channel holds four pieces of 1 MB, and the memory is full after the first of some twenty.
#[test]
fn an_error_long_before_the_end_of_a_file() {
    let folder = tempdir().unwrap();
    let input = folder.path().join("a.csv");
    let mut text = String::from("lon,lat,name\n");
    (0..200_000u32).for_each(|i| text.push_str(&format!("1,2,{:0>100}x\n", i.wrapping_mul(2_654_435_761))));
    fs::write(&input, text).unwrap();
    let output = folder.path().join("out");
    // A minute's limit, because what is tested ends never or within a second.
    let run = run(Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_pointillist"), "ingest", "--memory-limit", "1MB", "-o"])
        .args([&output, &input])
        .env("RAYON_NUM_THREADS", "1"));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.error().contains("column 'name' has over") && run.error().contains("--memory-limit"), "{}", run.error());
    assert_only(folder.path(), &["a.csv"]);
}
