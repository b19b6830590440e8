//! Prewarmed tiles are the server's tiles, in formats that others read, and a killed run loses nothing but time.

use crate::served::{PROGRAM, Sample, Served};
use pointillist::world::{TileId, Zoom};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn prewarm(sample: &Sample, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("prewarm").arg(sample.dataset()).args(arguments).output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The tiles with points, by asking every row.
fn occupied(sample: &Sample, zooms: std::ops::RangeInclusive<u8>, is_wanted: impl Fn(u32) -> bool) -> BTreeSet<TileId> {
    let rows = sample.rows.iter().filter(|row| is_wanted(row.range));
    rows.flat_map(|row| zooms.clone().map(|z| TileId::containing(row.at, Zoom::new(z).unwrap()))).collect()
}

#[test]
fn mbtiles_hold_exactly_the_tiles_with_points_and_they_are_the_servers() {
    let sample = Sample::new(3000);
    let output = sample.folder.path().join("out.mbtiles");
    let said = prewarm(&sample, &["--max-zoom", "6", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&done(&said)).unwrap();
    let expected = occupied(&sample, 0..=6, |_| true);
    assert_eq!(plan["tiles"], expected.len());

    done(&prewarm(&sample, &["--max-zoom", "6", "-o", output.to_str().unwrap()]));
    let database = Connection::open(&output).unwrap();
    let served = Served::start(&sample.dataset(), &[]);
    let mut statement = database.prepare("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles").unwrap();
    let tiles: Vec<(u8, u32, u32, Vec<u8>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // MBTiles 1.3: rows count from the south.
    let found: BTreeSet<TileId> =
        tiles.iter().map(|&(z, x, row, _)| TileId::new(z, x, (1 << z) - 1 - row).unwrap()).collect();
    assert_eq!(found, expected);
    for (z, x, row, image) in tiles.iter().step_by(17) {
        let y = (1 << z) - 1 - row;
        let got = served.get(&format!("/towers/{z}/{x}/{y}.png"));
        assert_eq!(&got.body, image, "tile {z}/{x}/{y}");
    }
    let bounds: String =
        database.query_row("SELECT value FROM metadata WHERE name = 'bounds'", [], |row| row.get(0)).unwrap();
    assert_eq!(bounds.split(',').count(), 4);
}

#[test]
fn a_filter_and_overlapping_boxes_make_each_tile_once() {
    let sample = Sample::new(3000);
    let folder = sample.folder.path().join("tiles");
    let boxes = ["--bbox", "-180,-85,0,85", "--bbox", "-90,-85,0,85"];
    let mut arguments = vec!["--min-zoom", "2", "--max-zoom", "5", "--filter", "range < 500", "-o", folder.to_str().unwrap()];
    arguments.extend(boxes);
    done(&prewarm(&sample, &arguments));
    let mut found = BTreeSet::new();
    for z in 2..=5u8 {
        for column in std::fs::read_dir(folder.join(z.to_string())).unwrap().map(Result::unwrap) {
            let x: u32 = column.file_name().to_str().unwrap().parse().unwrap();
            for file in std::fs::read_dir(column.path()).unwrap().map(Result::unwrap) {
                let y: u32 = file.path().file_stem().unwrap().to_str().unwrap().parse().unwrap();
                found.insert(TileId::new(z, x, y).unwrap());
            }
        }
    }
    // The eastern edge of the boxes is longitude 0, the first column of the eastern half.
    let expected: BTreeSet<TileId> = occupied(&sample, 2..=5, |range| range < 500)
        .into_iter()
        .filter(|tile| tile.x() <= 1 << (tile.z() - 1))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    let sample = Sample::new(20_000);
    let path = |name: &str| sample.folder.path().join(name);
    for extension in ["pmtiles", "mbtiles"] {
        let (whole, resumed) = (path(&format!("whole.{extension}")), path(&format!("resumed.{extension}")));
        done(&prewarm(&sample, &["--max-zoom", "9", "-o", whole.to_str().unwrap()]));

        let mut child = Command::new(PROGRAM)
            .arg("prewarm")
            .arg(sample.dataset())
            .args(["--max-zoom", "9", "-o", resumed.to_str().unwrap()])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let work = path(&format!(".resumed.{extension}.prewarm"));
        while tiles_in(&work) == 0 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!resumed.exists(), "a killed run leaves no output");

        let again = prewarm(&sample, &["--max-zoom", "9", "-o", resumed.to_str().unwrap(), "--resume", "--json"]);
        let summary: serde_json::Value = serde_json::from_str(&done(&again)).unwrap();
        assert!(summary["made"].as_u64() < summary["tiles"].as_u64(), "it made all tiles again: {summary}");
        assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&resumed).unwrap());
        assert!(!work.exists(), "the work file goes when the output is there");
    }
}

#[test]
fn pmtiles_are_clustered_and_name_their_zooms() {
    let sample = Sample::new(2000);
    let output = sample.folder.path().join("out.pmtiles");
    done(&prewarm(&sample, &["--min-zoom", "1", "--max-zoom", "5", "-o", output.to_str().unwrap()]));
    // The header of PMTiles 3, by the specification: magic, version, then at fixed places.
    let bytes = std::fs::read(&output).unwrap();
    assert_eq!(&bytes[..8], b"PMTiles\x03");
    let addressed = u64::from_le_bytes(bytes[72..80].try_into().unwrap());
    assert_eq!(addressed as usize, occupied(&sample, 1..=5, |_| true).len());
    assert_eq!(bytes[96], 1, "clustered");
    assert_eq!((bytes[99], bytes[100], bytes[101]), (2, 1, 5), "PNG, from zoom 1 to 5");
}

#[test]
fn what_cannot_be_written_is_said() {
    let sample = Sample::new(50);
    let wrong = prewarm(&sample, &["--max-zoom", "3", "-o", "out.gif"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("'.gif' is no output"));
    let taken = sample.folder.path().join("taken.pmtiles");
    std::fs::write(&taken, "mine").unwrap();
    let refused = prewarm(&sample, &["--max-zoom", "3", "-o", taken.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    let usage = prewarm(&sample, &["--max-zoom", "3"]);
    assert_eq!(usage.status.code(), Some(2));
}

/// Tiles that a work file holds so far; 0 while it is not there or busy.
fn tiles_in(work: &Path) -> i64 {
    if !work.exists() {
        return 0;
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(work, flags)
        .and_then(|database| database.query_row("SELECT count(*) FROM tiles", [], |row| row.get(0)))
        .unwrap_or(0)
}
