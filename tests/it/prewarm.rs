//! Prewarmed tiles are the server's tiles, in formats that others read, and a killed run loses nothing but time.

use crate::served::{PROGRAM, Sample, Served};
use pointillist::world::{TileId, Zoom};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub fn prewarm(sample: &Sample, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("prewarm").arg(sample.dataset()).args(arguments).output().unwrap()
}

pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The tiles with points, by asking every row.
pub fn occupied(sample: &Sample, zooms: std::ops::RangeInclusive<u8>, is_wanted: impl Fn(u32) -> bool) -> BTreeSet<TileId> {
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

/// Goal: tiles that are summed from those inside of them are the server's, who counts each. Method: a filter in two styles, every coarse tile.
#[test]
fn summed_tiles_are_the_servers() {
    let sample = Sample::new(1500);
    let served = Served::start(&sample.dataset(), &[]);
    for (arguments, query) in [
        (["--filter", "radio = 'LTE'", "--style", "cmap=fire"], "filter=radio%20%3D%20%27LTE%27&cmap=fire"),
        (["--filter", "range > 2000", "--style", "how=log"], "filter=range%20%3E%202000&how=log"),
    ] {
        let output = sample.folder.path().join("summed.mbtiles");
        let mut all = vec!["--max-zoom", "4", "--force", "--json", "-o", output.to_str().unwrap()];
        all.extend(arguments);
        let summary: serde_json::Value = serde_json::from_str(&done(&prewarm(&sample, &all))).unwrap();
        let database = Connection::open(&output).unwrap();
        let mut statement = database.prepare("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles WHERE zoom_level < 4").unwrap();
        let tiles: Vec<(u8, u32, u32, Vec<u8>)> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap().map(Result::unwrap).collect();
        assert_eq!(summary["summed"], tiles.len(), "all but the deepest");
        for (z, x, row, image) in tiles {
            let y = (1 << z) - 1 - row;
            assert!(served.get(&format!("/towers/{z}/{x}/{y}.png?{query}")).body == image, "{query}: tile {z}/{x}/{y}");
        }
    }
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    let sample = Sample::new(2500);
    let path = |name: &str| sample.folder.path().join(name);
    for (extension, style) in [("pmtiles", "agg=mean"), ("mbtiles", "agg=count")] {
        let style = ["--style", style, "--style", "column=range"];
        let (whole, resumed) = (path(&format!("whole.{extension}")), path(&format!("resumed.{extension}")));
        let run = |output: &Path, more: &[&str]| prewarm(&sample, &[&["--max-zoom", "7", "-o", output.to_str().unwrap()], &style[..], more].concat());
        done(&run(&whole, &[]));

        let mut child = Command::new(PROGRAM)
            .arg("prewarm")
            .arg(sample.dataset())
            .args(["--max-zoom", "7", "-o", resumed.to_str().unwrap()])
            .args(style)
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

        let again = run(&resumed, &["--resume", "--json"]);
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
fn equal_tiles_are_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // One point in the middle of every fifth tile of a row of zoom 8.
    let lon = |x: u32| (f64::from(x) + 0.5) / 256.0 * 360.0 - 180.0;
    let csv: String = (0..256).step_by(5).map(|x| format!("{:.7},0.7\n", lon(x))).collect();
    std::fs::write(path("row.csv"), format!("lon,lat\n{csv}")).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).current_dir(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["ingest", "row.csv", "-o", "row"]);
    for name in ["row.pmtiles", "row.mbtiles"] {
        run(&["prewarm", "row", "--min-zoom", "8", "--max-zoom", "8", "-o", name]);
    }
    let bytes = std::fs::read(path("row.pmtiles")).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((number(72), number(88)), (52, 1), "tiles that can be asked for, and images");
    let database = Connection::open(path("row.mbtiles")).unwrap();
    let count = |table: &str| database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("tiles"), count("images")), (52, 1));
}

#[test]
fn spread_points_are_made_in_every_tile_that_they_reach_into() {
    let sample = Sample::new(400);
    let output = sample.folder.path().join("spread");
    let style = ["--style", "spread=16", "--filter", "range < 1500"];
    let range = ["--min-zoom", "4", "--max-zoom", "4"];
    let dry: serde_json::Value = serde_json::from_str(&done(&prewarm(&sample, &[&range[..], &style, &["--dry-run", "--json"]].concat()))).unwrap();
    done(&prewarm(&sample, &[&range[..], &style, &["-o", output.to_str().unwrap()]].concat()));
    let made = in_folder(&output);
    assert_eq!(dry["tiles"], made.len());
    let served = Served::start(&sample.dataset(), &[]);
    let image = |tile: &TileId| served.get(&format!("/towers/{}/{}/{}.png?spread=16&filter=range%20%3C%201500", tile.z(), tile.x(), tile.y())).body;
    let empty = pointillist::encode::empty_png(256);
    let all = (0..256).map(|i| TileId::new(4, i % 16, i / 16).unwrap());
    let shown: BTreeSet<TileId> = all.filter(|tile| image(tile) != empty).collect();
    assert_eq!(made, shown);
    let own = occupied(&sample, 4..=4, |range| range < 1500);
    assert!(made.len() > own.len() && made.is_superset(&own), "no point lies near a border: the test shows nothing");
    for tile in made.difference(&own) {
        let file = output.join(format!("{}/{}/{}.png", tile.z(), tile.x(), tile.y()));
        assert_eq!(std::fs::read(file).unwrap(), image(tile), "{tile}");
    }
}

#[test]
fn of_an_aggregate_only_points_with_a_value_have_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let csv: String = (0..400).map(|i| format!("{},{},{}\n", i % 20 * 17 - 170, i / 20 * 7 - 70, if i % 3 == 0 { "7" } else { "" })).collect();
    std::fs::write(folder.path().join("some.csv"), format!("lon,lat,weight\n{csv}")).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).current_dir(folder.path()).args(arguments).output().unwrap();
        done(&output)
    };
    run(&["ingest", "some.csv", "-o", "some"]);
    let style = ["--max-zoom", "6", "--style", "agg=mean", "--style", "column=weight"];
    let dry: serde_json::Value = serde_json::from_str(&run(&[&["prewarm", "some", "--dry-run", "--json"][..], &style].concat())).unwrap();
    run(&[&["prewarm", "some", "-o", "made"][..], &style].concat());
    let made = in_folder(&folder.path().join("made"));
    assert_eq!(dry["tiles"], made.len());
    let valued = (0..400).filter(|i| i % 3 == 0).map(|i| {
        let (lon, lat) = (f64::from(i % 20 * 17 - 170), f64::from(i / 20 * 7 - 70));
        pointillist::world::world_from_lonlat(lon, lat).unwrap()
    });
    let expected: BTreeSet<TileId> = valued.flat_map(|at| (0..=6).map(move |z| TileId::containing(at, Zoom::new(z).unwrap()))).collect();
    assert_eq!(made, expected);
}

#[test]
fn what_cannot_be_written_is_said() {
    let sample = Sample::new(50);
    let wrong = prewarm(&sample, &["--max-zoom", "3", "-o", "out.gif"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("'.gif' is no output"));
    let folder = sample.folder.path().join("papers");
    std::fs::create_dir_all(folder.join("3/4")).unwrap();
    std::fs::write(folder.join("3/4/5.png"), "an old tile").unwrap();
    std::fs::write(folder.join("thesis.txt"), "mine").unwrap();
    for occupied in [&folder, &sample.dataset()] {
        let refused = prewarm(&sample, &["--max-zoom", "3", "--force", "-o", occupied.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("will not be replaced"), "{}", String::from_utf8_lossy(&refused.stderr));
        assert!(occupied.exists());
    }
    std::fs::remove_file(folder.join("thesis.txt")).unwrap();
    done(&prewarm(&sample, &["--max-zoom", "3", "--force", "-o", folder.to_str().unwrap()]));
    assert!(!folder.join("3/4/5.png").exists() && folder.join("0/0/0.png").exists());
    let taken = sample.folder.path().join("taken.pmtiles");
    std::fs::write(&taken, "mine").unwrap();
    let refused = prewarm(&sample, &["--max-zoom", "3", "-o", taken.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    let usage = prewarm(&sample, &["--max-zoom", "3"]);
    assert_eq!(usage.status.code(), Some(2));
}

/// The tiles of a folder of z/x/y.png.
fn in_folder(folder: &Path) -> BTreeSet<TileId> {
    let entries = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u32>().unwrap();
    let mut found = BTreeSet::new();
    for zoom in entries(folder) {
        for column in entries(&zoom) {
            found.extend(entries(&column).map(|file| TileId::new(number(&zoom) as u8, number(&column), number(&file)).unwrap()));
        }
    }
    found
}

#[test]
fn a_region_and_a_list_say_which_tiles() {
    let sample = Sample::new(3000);
    let path = |name: &str| sample.folder.path().join(name);
    // The east without its north, twice over.
    let ring = "[[0,-80],[180,-80],[180,0],[0,0],[0,-80]]";
    let geojson = format!(
        r#"{{"type":"FeatureCollection","features":[
            {{"type":"Feature","properties":{{}},"geometry":{{"type":"Polygon","coordinates":[{ring}]}}}},
            {{"type":"Feature","properties":{{}},"geometry":{{"type":"MultiPolygon","coordinates":[[{ring}]]}}}}]}}"#
    );
    std::fs::write(path("region.geojson"), geojson).unwrap();
    let region = path("region.geojson");
    let output = path("region");
    let arguments = ["--min-zoom", "3", "--max-zoom", "5", "--region", region.to_str().unwrap(), "-o", output.to_str().unwrap()];
    done(&prewarm(&sample, &arguments));
    let inside = |tile: &TileId| {
        // An edge touches the tiles on both sides of it.
        let middle = 1 << (tile.z() - 1);
        tile.x() >= middle - 1 && tile.y() >= middle - 1
    };
    let within = |tile: &TileId| tile.x() >= 1 << (tile.z() - 1) && tile.y() >= 1 << (tile.z() - 1);
    let all = occupied(&sample, 3..=5, |_| true);
    let found = in_folder(&output);
    assert!(found.iter().all(inside) && all.iter().filter(|tile| within(tile)).all(|tile| found.contains(tile)));
    assert!(!found.is_empty() && found.len() < all.len());

    let (listed, unlisted): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(i, _)| i % 3 == 0);
    let mut text: String = listed.iter().map(|(_, tile)| format!("{}/{}/{}\n", tile.z(), tile.x(), tile.y())).collect();
    text += "# nothing is there, and one again\n5/0/31\n";
    text += text.clone().lines().next().unwrap();
    std::fs::write(path("list.txt"), text).unwrap();
    let (list, output) = (path("list.txt"), path("listed"));
    done(&prewarm(&sample, &["--tile-list", list.to_str().unwrap(), "-o", output.to_str().unwrap()]));
    assert_eq!(in_folder(&output), listed.into_iter().map(|(_, tile)| *tile).collect());
    assert!(!unlisted.is_empty());
    std::fs::write(path("wrong.txt"), "1/0/0\n1/2/0\n").unwrap();
    let wrong = prewarm(&sample, &["--tile-list", path("wrong.txt").to_str().unwrap(), "--dry-run"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("line 2 is '1/2/0'"), "{said}");
}

#[test]
fn a_cache_is_filled_with_what_its_server_looks_for() {
    let sample = Sample::new(2000);
    let cache = sample.folder.path().join("cache");
    let folder = cache.to_str().unwrap();
    let views = ["--filter", "", "--filter", "range < 500", "--variant", "how=log", "--variant", "how=log&cmap=viridis", "--variant", "how=log"];
    let arguments = [&["--max-zoom", "4", "--style", "min_alpha=80", "--cache-dir", folder, "--json"][..], &views].concat();
    let summary = |output: &Output| serde_json::from_str::<serde_json::Value>(&done(output)).unwrap();
    let first = summary(&prewarm(&sample, &arguments));
    let (all, few) = (occupied(&sample, 0..=4, |_| true), occupied(&sample, 0..=4, |range| range < 500));
    let tiles = 2 * (all.len() + few.len()) as u64;
    assert_eq!((&first["tiles"], &first["made"], &first["found"]), (&tiles.into(), &tiles.into(), &0.into()));
    assert_eq!(first["outcome"], "complete");
    let again = summary(&prewarm(&sample, &arguments));
    assert_eq!((&again["made"], &again["found"]), (&0.into(), &tiles.into()), "what is there is not made again");
    let forced = summary(&prewarm(&sample, &[&arguments[..], &["--force"]].concat()));
    assert_eq!(forced["made"], tiles);
    let dry: serde_json::Value = serde_json::from_str(&done(&prewarm(&sample, &[&arguments[..], &["--dry-run"]].concat()))).unwrap();
    assert_eq!((&dry["tiles"], &dry["views"]), (&tiles.into(), &4.into()));
    let (estimated, made) = (dry["estimated_bytes"].as_f64().unwrap(), first["tile_bytes"].as_f64().unwrap());
    assert!((0.5..2.0).contains(&(estimated / made)), "{estimated} bytes estimated, {made} made");

    let served = Served::start(&sample.dataset(), &["--cache-dir", folder]);
    let fresh = Served::start(&sample.dataset(), &[]);
    for (query, tiles) in [("", &all), ("&filter=range%20%3C%20500", &few)] {
        for style in ["how=log&min_alpha=80", "min_alpha=80&cmap=viridis&how=log"] {
            for tile in tiles {
                let path = format!("/towers/{}/{}/{}.png?{style}{query}", tile.z(), tile.x(), tile.y());
                let got = served.get(&path);
                assert_eq!((got.header("x-cache"), &got.body), ("HIT", &fresh.get(&path).body), "{path}");
            }
        }
    }
    assert_eq!(served.metric("pointillist_tile_cache_requests_total{cache=\"grid\",result=\"miss\"}"), 0.0, "it counted");
    let several = prewarm(&sample, &[&["--max-zoom", "2", "-o", folder][..], &views, &["--force"]].concat());
    assert!(String::from_utf8_lossy(&several.stderr).contains("--cache-dir"), "a file holds one style");
}

#[test]
#[cfg(unix)]
fn a_run_that_is_told_to_stop_keeps_what_it_has_and_says_so() {
    let sample = Sample::new(2000);
    let path = |name: &str| sample.folder.path().join(name);
    let (whole, output, cache) = (path("whole.pmtiles"), path("stopped.pmtiles"), path("cache"));
    done(&prewarm(&sample, &["--max-zoom", "6", "-o", whole.to_str().unwrap()]));
    // The load is always above -1: it waits until it is told to stop.
    for target in [["-o", output.to_str().unwrap()], ["--cache-dir", cache.to_str().unwrap()]] {
        let mut child = Command::new(PROGRAM)
            .arg("prewarm")
            .arg(sample.dataset())
            .args(["--max-zoom", "6", "--max-load=-1", "--json"])
            .args(target)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = [path(".stopped.pmtiles.prewarm"), cache.join("tiles.sqlite")];
        let begun = if target[0] == "-o" { &begun[0] } else { &begun[1] };
        while !begun.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended before it began");
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(3), "{said}");
        assert!(said.contains("stopping") && said.contains("--resume"), "{said}");
        let summary: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&summary["outcome"], &summary["made"]), (&"stopped".into(), &0.into()));
    }
    assert!(!output.exists(), "a file that lacks tiles is not written");
    let resumed = prewarm(&sample, &["--max-zoom", "6", "--resume", "--max-load=1e9", "-o", output.to_str().unwrap()]);
    done(&resumed);
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&output).unwrap());
}

#[test]
fn mbtiles_are_what_the_specification_says_to_the_sqlite_of_python() {
    let sample = Sample::new(2000);
    let output = sample.folder.path().join("out.mbtiles");
    done(&prewarm(&sample, &["--min-zoom", "1", "--max-zoom", "5", "--bbox", "-170,-80,170,80", "-o", output.to_str().unwrap()]));
    let script = r#"
import json, sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
metadata = dict(db.execute("SELECT name, value FROM metadata"))
tiles = db.execute("SELECT zoom_level, tile_column, tile_row, hex(tile_data) FROM tiles").fetchall()
one = db.execute("SELECT tile_data FROM tiles WHERE zoom_level=? AND tile_column=? AND tile_row=?", tiles[0][:3]).fetchall()
print(json.dumps({"metadata": metadata, "tiles": tiles, "one": len(one), "integrity": db.execute("PRAGMA integrity_check").fetchone()[0]}))
"#;
    let Ok(read) = Command::new("python3").args(["-c", script]).arg(&output).output() else {
        crate::skipped::skipped("mbtiles_are_what_the_specification_says_to_the_sqlite_of_python", "python3 is not installed");
        return;
    };
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!((&read["integrity"], &read["one"]), (&"ok".into(), &1.into()));
    let metadata = &read["metadata"];
    for name in ["name", "format", "type", "version", "minzoom", "maxzoom", "bounds", "center"] {
        assert!(metadata[name].is_string(), "MBTiles 1.3 wants {name}: {metadata}");
    }
    assert_eq!((&metadata["format"], &metadata["minzoom"], &metadata["maxzoom"]), (&"png".into(), &"1".into(), &"5".into()));
    assert_eq!(metadata["bounds"], "-170,-80,170,80");
    let served = Served::start(&sample.dataset(), &[]);
    let tiles = read["tiles"].as_array().unwrap();
    let mut found = BTreeSet::new();
    for tile in tiles {
        let number = |k: usize| tile[k].as_u64().unwrap();
        let (z, x, y) = (number(0), number(1), (1 << number(0)) - 1 - number(2));
        found.insert(TileId::new(z as u8, x as u32, y as u32).unwrap());
        let hex: String = served.get(&format!("/towers/{z}/{x}/{y}.png")).body.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(tile[3], hex, "{z}/{x}/{y}");
    }
    assert_eq!(found.len(), tiles.len(), "no tile is there twice");
    assert_eq!(found, occupied(&sample, 1..=5, |_| true));
}

/// Tiles that a work file holds so far; 0 while it is not there or busy.
pub fn tiles_in(work: &Path) -> i64 {
    if !work.exists() {
        return 0;
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(work, flags)
        .and_then(|database| database.query_row("SELECT count(*) FROM tiles", [], |row| row.get(0)))
        .unwrap_or(0)
}
