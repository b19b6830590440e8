//! Ingesting: every format, every oddity of real files, memory limits and kills.

use crate::command::{column, counts, ingest, kind, pointillist, points};
use pointillist::dataset::Dataset;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::tempdir;

/// id, name, lon, lat, speed, time.
type Row = (u64, String, f64, f64, f64, String);

fn written(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Rows as every format can hold them: id, name, lon, lat, speed, time.
fn sample_rows(rows: u64) -> Vec<Row> {
    (0..rows)
        .map(|i| {
            let spread = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let lon = (spread >> 40) as f64 / (1u64 << 24) as f64 * 360.0 - 180.0;
            let lat = (spread & 0xFF_FFFF) as f64 / (1u64 << 24) as f64 * 160.0 - 80.0;
            let round = |v: f64| (v * 1e5).round() / 1e5;
            (i, format!("name, {}", i % 7), round(lon), round(lat), (i % 1000) as f64 / 10.0, format!("2020-01-{:02}T10:00:{:02}Z", i % 28 + 1, i % 60))
        })
        .collect()
}

fn as_csv(rows: &[Row], delimiter: char) -> String {
    let mut text = format!("id{delimiter}name{delimiter}lon{delimiter}lat{delimiter}speed{delimiter}time\n");
    for (id, name, lon, lat, speed, time) in rows {
        writeln!(text, "{id}{delimiter}\"{name}\"{delimiter}{lon}{delimiter}{lat}{delimiter}{speed}{delimiter}{time}").unwrap();
    }
    text
}

fn as_json(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|(id, name, lon, lat, speed, time)| {
            serde_json::json!({"id": id, "name": name, "lon": lon, "lat": lat, "speed": speed, "time": time}).to_string()
        })
        .collect()
}

fn as_batch(rows: &[Row]) -> arrow::array::RecordBatch {
    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray, UInt16Array};
    use std::sync::Arc;
    let floats = |value: fn(&Row) -> f64| Arc::new(rows.iter().map(|r| Some(value(r))).collect::<Float64Array>()) as ArrayRef;
    let millis = rows.iter().map(|r| Some(r.5.parse::<jiff::Timestamp>().unwrap().as_millisecond())).collect::<TimestampMillisecondArray>();
    arrow::array::RecordBatch::try_from_iter([
        ("id", Arc::new(rows.iter().map(|r| Some(r.0 as u16)).collect::<UInt16Array>()) as ArrayRef),
        ("name", Arc::new(rows.iter().map(|r| Some(r.1.clone())).collect::<StringArray>()) as _),
        ("lon", floats(|r| r.2)),
        ("lat", floats(|r| r.3)),
        ("speed", floats(|r| r.4)),
        ("time", Arc::new(millis) as _),
    ])
    .unwrap()
}

/// Goal: whatever the format, the same rows give the same points. The first is checked against the rows themselves.
#[test]
fn every_format_gives_the_same_points() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let rows = sample_rows(500);
    let csv = as_csv(&rows, ',');
    let (dataset, summary) = ingest(path, &written(path, "a.csv", &csv), &[]);
    assert_eq!((summary["rows_in"].as_u64(), summary["points"].as_u64()), (Some(500), Some(500)));
    let expected = points(&dataset);
    let mut by_hand: Vec<(u64, u64)> = rows
        .iter()
        .map(|row| (pointillist::world::Key::from_world(pointillist::world::world_from_lonlat(row.2, row.3).unwrap()).0, row.0))
        .collect();
    by_hand.sort_unstable();
    for ((key, row), (key_by_hand, id)) in expected.iter().zip(&by_hand) {
        let (_, name, _, _, speed, time) = &rows[*id as usize];
        assert_eq!((key, &row["id"], &row["name"]), (key_by_hand, &id.to_string(), name));
        assert_eq!((&row["speed"], &row["time"]), (&speed.to_string(), time));
    }

    let (first, second) = (as_csv(&rows[..200], ','), as_csv(&rows[200..], ','));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("data/1.csv", first.as_str()), ("data/2.csv", &second), ("readme.txt", "About these files.\nNothing here.\n")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let batch = as_batch(&rows);
    let mut parquet = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut arrow_file = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow_file.write(&batch).unwrap();
    let mut arrow_stream = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow_stream.write(&batch).unwrap();
    let features: Vec<String> = rows
        .iter()
        .map(|(id, name, lon, lat, speed, time)| {
            serde_json::json!({"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": {"id": id, "name": name, "speed": speed, "time": time}}).to_string()
        })
        .collect();
    let json = as_json(&rows);
    let formats: Vec<(&str, Vec<u8>)> = vec![
        ("a.tsv", as_csv(&rows, '\t').into()),
        ("semicolons.csv", as_csv(&rows, ';').into()),
        ("crlf.csv", csv.replace('\n', "\r\n").into()),
        ("bom.csv", format!("\u{feff}{csv}").into()),
        ("a.csv.gz", gzip(csv.as_bytes())),
        // Two gzip members, one after the other, are one file.
        ("b.csv.gz", [gzip(&csv.as_bytes()[..999]), gzip(&csv.as_bytes()[999..])].concat()),
        ("a.csv.zst", zstd::encode_all(csv.as_bytes(), 1).unwrap()),
        ("a.zip", zip.finish().unwrap().into_inner()),
        ("a.ndjson", json.join("\n").into()),
        ("a.json", format!("[\n{}\n]\n", json.join(",\n")).into()),
        ("a.geojson.json", format!("{{\"type\": \"FeatureCollection\", \"features\": [{}]}}", features.join(",")).into()),
        ("a.parquet", parquet),
        ("a.arrow", arrow_file.into_inner().unwrap()),
        ("a.arrows", arrow_stream.into_inner().unwrap()),
    ];
    for (name, bytes) in formats {
        let (dataset, _) = ingest(path, &written(path, name, bytes), &[]);
        assert_eq!(points(&dataset), expected, "{name}");
    }
    // A folder and a pattern: two files in name order.
    let parts = path.join("parts");
    fs::create_dir(&parts).unwrap();
    written(&parts, "1.csv", first);
    written(&parts, "2.csv", second);
    written(&parts, "notes.md", "not data");
    assert_eq!(points(&ingest(path, &parts, &[]).0), expected);
    assert_eq!(points(&ingest(path, &parts.join("*.csv"), &[]).0), expected);
}

#[test]
fn oddities_of_text_files() {
    let folder = tempdir().unwrap();
    let text = "LAT,LON,code,note,when,maybe,maybe,empty\n\
        \n\
        1.5,2.5,0035,\"two\nlines, \"\"quoted\"\"\",2020-01-01 10:00:00,\\N,a,\n\
        ,3,0100,x,2020-01-02,1,b,\n\
        south,3,0100,x,2020-01-02,1,b,\n\
        86,3,0100,x,2020-01-02,1,b,\n\
        1,361,0100,\"x\ny\",2020-01-02,1,b,\n\
        1,2,0100,NA,2020-01-02T00:00:00+02:00,1,b,,,\n\
        1,2,0100,caf\u{e9},2020-01-02,2,b,,,surplus\n\
        1,2,7,5\" pipe,,3,,\n";
    // As Latin-1, and without the last line's end.
    let bytes: Vec<u8> = text.trim_end().chars().map(|c| c as u32 as u8).collect();
    let rejects = folder.path().join("rejects.csv");
    let (dataset, summary) = ingest(folder.path(), &written(folder.path(), "a.csv", bytes), &["--rejects", rejects.to_str().unwrap()]);
    assert_eq!(summary["rows_in"], 8);
    assert_eq!(dataset.rows(), 3);
    assert_eq!(column(&dataset, "code"), ["0035", "0100", "7"]);
    assert_eq!(column(&dataset, "note"), ["5\" pipe", "NA", "two\nlines, \"quoted\""]);
    assert_eq!(column(&dataset, "when"), ["2020-01-01T10:00:00Z", "2020-01-01T22:00:00Z", "null"]);
    assert_eq!(column(&dataset, "maybe"), ["1", "3", "null"]);
    assert_eq!(column(&dataset, "maybe_2"), ["a", "b", "null"]);
    assert_eq!(kind(&dataset, "empty"), "text");
    let listed: Vec<csv::StringRecord> =
        csv::Reader::from_path(&rejects).unwrap().into_byte_records().map(|r| csv::StringRecord::from_byte_record_lossy(r.unwrap())).collect();
    let found: Vec<(&str, &str)> = listed.iter().map(|record| (&record[1], &record[2])).collect();
    assert_eq!(found, [
        ("5", "no coordinate"),
        ("6", "coordinate is not a number"),
        ("7", "latitude outside the Web-Mercator world"),
        ("8", "longitude out of range"),
        ("11", "more fields than columns"),
    ]);
    assert_eq!(&listed[3][3], "1,361,0100,\"x\ny\",2020-01-02,1,b,");
    let rejected: u64 = summary["rejected"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(rejected, 5);
}

/// Goal: kinds hold for all rows, though the beginning looks narrower.
#[test]
fn types_are_inferred_on_the_whole() {
    let folder = tempdir().unwrap();
    let mut text = String::from("lon,lat,a,b,c,d,e\n");
    for i in 0..120_000 {
        writeln!(text, "{},{},{i},{i},true,2020-01-01,", i % 360 - 180, i % 160 - 80).unwrap();
    }
    text.push_str("1,1,0.5,x7,maybe,2020-13-01,12\n");
    let (dataset, summary) = ingest(folder.path(), &written(folder.path(), "a.csv", &text), &[]);
    assert_eq!(summary["points"], 120_001);
    let kinds: Vec<String> = ["a", "b", "c", "d", "e"].map(|name| kind(&dataset, name)).into();
    assert_eq!(kinds, ["float", "text", "text", "text", "integer"]);
    assert!(column(&dataset, "a").contains(&"0.5".to_owned()));
    assert_eq!(counts(&dataset, "c")["true"], 120_000);
}

#[test]
fn late_json_columns_are_kept() {
    let folder = tempdir().unwrap();
    let mut text = String::new();
    for i in 0..40_000 {
        writeln!(text, "{{\"p\": {{\"lon\": {}, \"lat\": 1}}, \"n\": {i}}}", i % 180).unwrap();
    }
    text.push_str("{\"p\": {\"lon\": 1, \"lat\": \"2\"}, \"late\": [1]}\nnonsense\n");
    let (dataset, summary) = ingest(folder.path(), &written(folder.path(), "a.ndjson", &text), &[]);
    assert_eq!((dataset.rows(), &summary["rejected"]["not a JSON object"]), (40_001, &1.into()));
    assert_eq!(counts(&dataset, "late")["[1]"], 1);
}

#[test]
fn presets_bring_names_times_sentinels_and_groups() {
    let folder = tempdir().unwrap();
    let cells = "GSM,234,10,21574,49007018536,0,-1.1264,52.3113,1278,23,1,1459814306,1741057142,0\n\
        LTE,234,15,139,2243,0,-0.4484,51.5013,1043,31,1,1311882509,1751652009,0\n";
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "cells.csv", cells), &[]);
    assert_eq!(column(&dataset, "created"), ["2011-07-28T19:48:29Z", "2016-04-04T23:58:26Z"]);
    assert_eq!(column(&dataset, "cell"), ["2243", "49007018536"]);
    assert_eq!(dataset.manifest.category.as_deref(), Some("radio"));
    let radio = dataset.column(dataset.column_id("radio").unwrap());
    assert!(radio.styles["LTE"].color.is_some() && radio.styles["LTE"].color != radio.styles["GSM"].color);
    assert!(dataset.manifest.attribution.as_ref().unwrap().contains("CC BY-SA"));

    let ships = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType\n\
        1,2020-01-01T22:26:22,25.5,-76.6,0.0,360.0,511.0,A,IMO1,Z,37.0\n\
        2,2020-01-01T22:26:22,25.5,-76.6,102.3,359.9,510.0,B,,,\n\
        3,2020-01-01T22:26:22,25.5,-76.6,12.5,1.0,1.0,C,,,1004.0\n";
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "ships.csv", ships), &[]);
    assert_eq!(column(&dataset, "SOG"), ["0", "12.5", "null"]);
    assert_eq!(column(&dataset, "COG"), ["1", "359.9", "null"]);
    assert_eq!(column(&dataset, "Heading"), ["1", "510", "null"]);
    assert_eq!(column(&dataset, "VesselGroup"), ["other", "pleasure", "unknown"]);
    assert_eq!(dataset.manifest.category.as_deref(), Some("VesselGroup"));
}

#[test]
fn columns_and_coordinates_can_be_chosen() {
    let folder = tempdir().unwrap();
    let text = "x,y,a,b,lon,lat\n1113194.9,-1118889.97,p,1,50,50\n";
    let input = written(folder.path(), "a.csv", text);
    let (dataset, _) = ingest(folder.path(), &input, &["--x", "x", "--y", "y", "--crs", "EPSG:3857", "--columns", "b", "--category", "a"]);
    let names: Vec<&str> = dataset.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let bounds = dataset.manifest.bounds;
    assert!((bounds.west - 10.0).abs() < 1e-5 && (bounds.south + 10.0).abs() < 1e-5, "{bounds:?}");
    assert_eq!(dataset.manifest.category.as_deref(), Some("a"));
    let headerless = written(folder.path(), "b.csv", "7,50,q\n8,51,r\n");
    let (dataset, _) = ingest(folder.path(), &headerless, &["--lon", "column_1", "--lat", "column_2"]);
    assert_eq!(column(&dataset, "column_3"), ["q", "r"]);
}

#[test]
fn where_keeps_only_what_was_asked_for() {
    let folder = tempdir().unwrap();
    let text = "lon,lat,name,n\n1,2,a,5\n1,3,b,\n1,4,b,7\n1,5,c,8\n,6,c,9\n";
    let input = written(folder.path(), "a.csv", text);
    let (dataset, summary) = ingest(folder.path(), &input, &["--where", "n > 5 AND name IN ('b', 'c') AND lat < 5"]);
    assert_eq!(column(&dataset, "n"), ["7"]);
    assert_eq!(counts(&dataset, "name").into_iter().collect::<Vec<_>>(), [("b".to_owned(), 1)]);
    assert_eq!((&summary["rows_in"], &summary["rejected"]["--where does not hold"]), (&5.into(), &3.into()));
}

/// Goal: a memory limit far below the data changes nothing but the way. 24 MB of rows are sorted within 1 MB: some twenty
/// runs; equal data versions mean equal checksums of every file.
#[test]
fn a_memory_limit_changes_nothing_in_the_dataset() {
    use pointillist::dataset::write::Replace;
    use pointillist::ingest::{ColumnWishes, DialectWishes, IngestOptions, Unobserved};
    let folder = tempdir().unwrap();
    let input = written(folder.path(), "a.csv", as_csv(&sample_rows(300_000), ','));
    let version = |memory_limit_bytes| {
        let output = folder.path().join("limited");
        let options = IngestOptions {
            inputs: vec![input.clone()], output: output.clone(), preset: None, columns: ColumnWishes::default(),
            dialect: DialectWishes::default(), wanted: None, rejects: None, name: None, style: Default::default(), replace: Replace::Dataset,
            memory_limit_bytes, part_points_max: 60_000,
        };
        let summary = pointillist::ingest::ingest(&options, &Unobserved).unwrap();
        assert!(!output.join("spill").exists());
        (summary.runs, summary.manifest.data_version, summary.manifest.parts.len())
    };
    let (runs, unlimited, parts) = version(4 << 30);
    assert_eq!((runs, parts), (0, 5));
    let (runs, limited, parts) = version(1_000_000);
    assert!(runs >= 10, "{runs} runs");
    assert_eq!((limited, parts), (unlimited, 5));
}

#[test]
fn texts_that_do_not_fit_the_memory_limit_are_an_error() {
    let folder = tempdir().unwrap();
    let mut text = String::from("lon,lat,hash\n");
    for i in 0..60_000u64 {
        writeln!(text, "1,2,text-{:x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap();
    }
    let input = written(folder.path(), "a.csv", text);
    let output = folder.path().join("out");
    let run = pointillist(["ingest", input.to_str().unwrap(), "-o", output.to_str().unwrap(), "--memory-limit", "1MB"]);
    assert_eq!(run.code, Some(1));
    assert!(run.error().contains("'hash'") && run.error().contains("--columns"), "{}", run.error());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the input is left");
}

/// Goal: a kill at any moment leaves nothing that looks like a dataset, and the next run removes the rest.
#[test]
fn a_killed_ingest_leaves_no_dataset() {
    let folder = tempdir().unwrap();
    let input = written(folder.path(), "a.csv", as_csv(&sample_rows(300_000), ','));
    let output = folder.path().join("out");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointillist"))
        .args(["ingest", input.to_str().unwrap(), "-o", output.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let leftover = folder.path().join(format!(".out.{}.ingest", child.id()));
    while !leftover.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(leftover.exists(), "it was killed while it worked");
    assert!(!output.exists());
    let (dataset, _) = ingest(folder.path(), &written(folder.path(), "b.csv", "lon,lat\n1,2\n"), &[]);
    assert_eq!(dataset.rows(), 1);
    assert!(!leftover.exists());
}

/// Goal: a raw file is served, and what was made of it is found again.
#[test]
fn a_raw_file_is_served_from_the_cache() {
    let folder = tempdir().unwrap();
    let input = written(folder.path(), "a.csv.gz", gzip(as_csv(&sample_rows(500), ',').as_bytes()));
    let cache = folder.path().join("cache");
    let entries = || fs::read_dir(cache.join("pointillist")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut made = Vec::new();
    for _ in 0..2 {
        let served = crate::served::Served::start_in(&input, &[], &[("XDG_CACHE_HOME", &cache)]);
        assert!(served.get("/a/stats").text().contains("500"));
        made.push((entries(), fs::metadata(entries()[0].join("dataset.json")).unwrap().modified().unwrap()));
    }
    assert_eq!(made[0].0.len(), 1);
    assert_eq!(made[0], made[1], "the second time nothing is ingested");
}

#[test]
fn an_existing_output_is_replaced_only_by_force() {
    let folder = tempdir().unwrap();
    let (one, two) = (written(folder.path(), "a.csv", "lon,lat\n1,2\n"), written(folder.path(), "b.csv", "lon,lat\n1,2\n3,4\n"));
    ingest(folder.path(), &one, &[]);
    let output = folder.path().join("out");
    let run = pointillist(["ingest".as_ref(), two.as_os_str(), "-o".as_ref(), output.as_os_str()]);
    assert_eq!(run.code, Some(1));
    assert!(run.error().contains("--force"), "{}", run.error());
    assert_eq!(Dataset::open(&output).unwrap().rows(), 1);
    let (dataset, _) = ingest(folder.path(), &two, &[]);
    assert_eq!(dataset.rows(), 2);
    let not_ours = folder.path().join("folder");
    fs::create_dir(&not_ours).unwrap();
    written(&not_ours, "precious.txt", "x");
    let run = pointillist(["ingest".as_ref(), two.as_os_str(), "-o".as_ref(), not_ours.as_os_str(), "--force".as_ref()]);
    assert_eq!(run.code, Some(1), "a folder that is no dataset is not removed, even by force");
    assert!(not_ours.join("precious.txt").exists());
}
