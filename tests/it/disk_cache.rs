//! The cache on disk against what happens to disks and processes: killed, full, damaged, shared.

use crate::served::{PROGRAM, Sample, Served};
use pointillist::world::{TileId, Zoom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Paths of the tiles with points at some zooms, in no particular order.
fn tiles(sample: &Sample, zooms: std::ops::RangeInclusive<u8>) -> Vec<String> {
    let of = |zoom: u8| sample.rows.iter().map(move |row| TileId::containing(row.at, Zoom::new(zoom).unwrap()));
    let mut all: Vec<TileId> = zooms.flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all.iter().map(|tile| format!("/towers/{}/{}/{}@2x.png", tile.z(), tile.x(), tile.y())).collect()
}

fn stats(cache: &Path) -> serde_json::Value {
    let output = Command::new(PROGRAM).args(["cache", "stats", "--json"]).arg(cache).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until a cache holds so many tiles.
fn until_kept(cache: &Path, tiles: usize) {
    let started = Instant::now();
    while stats(cache)["tiles"].as_u64() < Some(tiles as u64) {
        assert!(started.elapsed() < Duration::from_secs(60), "{} are not kept: {}", tiles, stats(cache));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[cfg(unix)]
fn a_kill_at_any_moment_costs_counts_and_no_answer() {
    let sample = Sample::new(3000);
    let cache = sample.folder.path().join("tiles");
    let arguments = ["--cache-dir", cache.to_str().unwrap()];
    let wanted: Vec<String> = tiles(&sample, 3..=7).into_iter().step_by(5).take(120).collect();
    let reference = Served::start(&sample.dataset(), &[]);
    let expected: Vec<Vec<u8>> = wanted.iter().map(|path| reference.get(path).body).collect();
    let mut hits = Vec::new();
    for answers in [30, 70, 120] {
        let served = Served::start(&sample.dataset(), &arguments);
        let mut found = 0;
        for (path, body) in wanted.iter().zip(&expected).take(answers) {
            let got = served.get(path);
            assert_eq!((got.status, &got.body), (200, body), "{path}");
            found += usize::from(got.header("x-cache") == "HIT");
        }
        hits.push(found);
        // `Served` kills with SIGKILL, here in the middle of what the last answers made it write.
        drop(served);
    }
    assert!(hits[0] == 0 && hits[2] > 0, "nothing survived: {hits:?}");
}

#[test]
fn two_servers_share_a_cache() {
    let sample = Sample::new(1000);
    let cache = sample.folder.path().join("tiles");
    let arguments = ["--cache-dir", cache.to_str().unwrap()];
    let servers = [Served::start(&sample.dataset(), &arguments), Served::start(&sample.dataset(), &arguments)];
    let wanted = tiles(&sample, 2..=4);
    std::thread::scope(|scope| {
        for (i, server) in servers.iter().enumerate() {
            let mine = wanted.iter().skip(i).step_by(2);
            scope.spawn(move || mine.for_each(|path| assert_eq!(server.get(path).header("x-cache"), "MISS")));
        }
    });
    until_kept(&cache, wanted.len());
    for (i, path) in wanted.iter().enumerate() {
        let [mine, other] = [&servers[i % 2], &servers[(i + 1) % 2]].map(|server| server.get(path));
        assert_eq!((other.header("x-cache"), &other.body), ("HIT", &mine.body), "{path} was made by the other one");
    }
}

/// A file system of a megabyte, unmounted when dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    pub fn mounted(folder: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_no_answer_and_is_said_once() {
    let sample = Sample::new(3000);
    let log = sample.folder.path().join("log");
    let Some(disk) = SmallDisk::mounted(&sample.folder.path().join("small")) else {
        crate::skipped::skipped("a_full_disk_costs_no_answer_and_is_said_once", "only root may mount a small disk");
        return;
    };
    let arguments = ["--cache-dir", disk.0.to_str().unwrap()];
    // Counts are a megabyte a tile.
    let wanted: Vec<String> = (0..4).flat_map(|x| [0, 1].map(|y| format!("/towers/2/{x}/{y}.npy"))).collect();
    let reference = Served::start(&sample.dataset(), &[]);
    let served = Served::start_logged(&sample.dataset(), &arguments, &log);
    let mut bytes = 0;
    for path in &wanted {
        let (got, expected) = (served.get(path), reference.get(path));
        assert_eq!((got.status, got.body == expected.body), (200, true), "{path}");
        bytes += got.body.len();
    }
    assert!(bytes > 2 << 20, "{bytes} bytes may fit on the disk: the test fills it too little");
    let started = Instant::now();
    let warned = || std::fs::read_to_string(&log).unwrap().matches("does not work as it should").count();
    while warned() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "a full disk is not said");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(warned(), 1, "one line, not one a tile: {}", std::fs::read_to_string(&log).unwrap());
    drop(served);

    // And one that is full from the start.
    let rest = vec![0; 2 << 20];
    let _ = std::fs::write(disk.0.join("filler"), rest);
    let served = Served::start_logged(&sample.dataset(), &arguments, &log);
    for path in &wanted {
        assert!(served.get(path).body == reference.get(path).body, "{path}");
    }
}

#[test]
fn a_damaged_file_costs_counts_and_is_said() {
    let sample = Sample::new(1500);
    let cache = sample.folder.path().join("tiles");
    let (dataset, log) = (sample.dataset(), sample.folder.path().join("log"));
    let filled = Command::new(PROGRAM).arg("prewarm").arg(&dataset).args(["--max-zoom", "5", "--cache-dir"]).arg(&cache).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let file = cache.join("tiles.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let quarter = bytes.len() / 4;
    bytes[quarter..2 * quarter].fill(0xA5);
    std::fs::write(&file, bytes).unwrap();

    let reference = Served::start(&dataset, &[]);
    let served = Served::start_logged(&dataset, &["--cache-dir", cache.to_str().unwrap()], &log);
    let wanted: Vec<String> = tiles(&sample, 0..=5).iter().map(|path| path.replace("@2x", "")).collect();
    let mut found = 0;
    for path in &wanted {
        let got = served.get(path);
        assert_eq!((got.status, &got.body), (200, &reference.get(path).body), "{path}");
        found += usize::from(got.header("x-cache") == "HIT");
    }
    assert!(0 < found && found < wanted.len(), "{found} of {} were intact", wanted.len());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("WARN") && said.contains("damaged"), "{said}");
    assert!(said.matches("WARN").count() < 10, "a line for the file, not one a tile: {said}");
}

#[test]
fn tiles_without_points_cost_no_rows_and_a_new_style_no_old_tile() {
    let sample = Sample::new(500);
    let cache = sample.folder.path().join("tiles");
    let served = Served::start(&sample.dataset(), &["--cache-dir", cache.to_str().unwrap()]);
    for y in 0..64 {
        assert_eq!(served.get(&format!("/towers/12/17/{y}.png")).status, 200);
        assert_eq!(served.get(&format!("/towers/1/1/0.png?filter=range%20%3E%209{y:03}")).status, 200);
    }
    let first = served.get("/towers/1/1/0.png?how=log");
    until_kept(&cache, 1);
    assert_eq!(stats(&cache)["tiles"], 1);
    let other = served.get("/towers/1/1/0.png?how=log&min_alpha=200");
    assert_eq!(other.header("x-cache"), "MISS");
    assert_ne!(other.body, first.body);
}

#[test]
fn a_purge_on_the_command_line_takes_what_it_is_told() {
    let sample = Sample::new(1000);
    let cache = sample.folder.path().join("tiles");
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (dataset, folder) = (sample.dataset(), cache.to_str().unwrap());
    run(&["prewarm", dataset.to_str().unwrap(), "--max-zoom", "5", "--cache-dir", folder]);
    let all = stats(&cache);
    let at_zoom_5 = tiles(&sample, 5..=5).len();
    assert_eq!(all["tiles"], tiles(&sample, 0..=5).len());
    assert_eq!(run(&["cache", "purge", folder, "--min-zoom", "5"]), format!("{at_zoom_5} tiles forgotten\n"));
    assert_eq!(run(&["cache", "purge", folder, "--dataset", "ships"]), "0 tiles forgotten\n");
    assert_eq!(run(&["cache", "purge", folder, "--dataset", "towers", "--bbox", "-179,-80,-178,-79", "--max-zoom", "0"]), "1 tiles forgotten\n");
    let left = stats(&cache);
    assert_eq!(left["tiles"].as_u64().unwrap(), all["tiles"].as_u64().unwrap() - at_zoom_5 as u64 - 1);
    assert!(left["file_bytes"].as_u64() < all["file_bytes"].as_u64(), "space is given back");
    let output = Command::new(PROGRAM).args(["cache", "stats", sample.folder.path().to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("there is no cache"), "{said}");
}
