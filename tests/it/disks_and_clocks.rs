//! Disks that cannot be written to, and clocks that jump.

use crate::command::{pointillist, run};
use crate::disk_cache::SmallDisk;
use crate::served::{PROGRAM, Sample, Served};
use pointillist::dataset::Dataset;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Goal: from a disk that cannot be written to, datasets are served; whatever would write says so in one sentence, and changes nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_read_only_disk_is_read_and_what_would_write_says_so() {
    let sample = Sample::new(500);
    let Some(disk) = SmallDisk::mounted(&sample.folder.path().join("disk")) else {
        crate::skipped::skipped("a_read_only_disk_is_read_and_what_would_write_says_so", "only root may mount a disk");
        return;
    };
    let at = |name: &str| disk.0.join(name).to_str().unwrap().to_owned();
    assert!(Command::new("cp").arg("-r").arg(sample.dataset()).arg(at("towers")).status().unwrap().success());
    std::fs::create_dir(at("cache")).unwrap();
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status().unwrap().success());
    let csv = sample.folder.path().join("towers.csv").to_str().unwrap().to_owned();
    for arguments in [
        vec!["ingest", &csv, "-o", &at("new")],
        vec!["ingest", &csv, "-o", &at("towers"), "--force"],
        vec!["append", &at("towers"), &csv],
        vec!["prewarm", &at("towers"), "--max-zoom", "1", "--backend", "cpu", "-o", &at("a.pmtiles")],
        vec!["generate", "towers", "--rows", "10", "-o", &at("a.csv")],
    ] {
        let run = pointillist(&arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}: {}", run.stderr);
        assert!(run.error().contains("Read-only file system") && run.error().contains(disk.0.to_str().unwrap()), "{}", run.error());
    }
    let refused = run(Command::new("timeout").args(["30", PROGRAM, "serve", &at("towers"), "--listen", "127.0.0.1:0", "--backend", "cpu", "--cache-dir", &at("cache")]));
    assert!(refused.code == Some(1) && refused.error().contains(&at("cache")), "{}", refused.stderr);

    let served = Served::start(Path::new(&at("towers")), &[]);
    assert_eq!(served.get("/towers/0/0/0.npy").counts().iter().sum::<u32>(), 500);
    assert_eq!(served.get("/towers/points?format=csv").text().lines().count(), 501);
    assert_eq!(pointillist(["verify", &at("towers")]).code, Some(0));
}

/// Goal: while `--force` replaces a dataset, again and again, there is one at every moment: a kill cannot leave none.
#[test]
#[cfg(target_os = "linux")]
fn there_is_a_dataset_at_every_moment_of_its_replacement() {
    let sample = Sample::new(400);
    let csv = sample.folder.path().join("towers.csv");
    let stop = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                assert!(sample.dataset().join("dataset.json").exists(), "after {looks} looks there is no dataset");
                looks += 1;
                if looks % 100 == 0 {
                    assert_eq!(Dataset::open(&sample.dataset()).unwrap().rows(), 400);
                }
            }
            looks
        });
        for _ in 0..8 {
            let run = pointillist(["ingest".as_ref(), csv.as_os_str(), "-o".as_ref(), sample.dataset().as_os_str(), "--force".as_ref()]);
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        stop.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    assert!(looks > 1000, "only {looks} looks");
    let left: Vec<_> = std::fs::read_dir(sample.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Goal: what a killed run left between two renames, where a disk cannot exchange, is put back by the next.
#[test]
fn a_dataset_that_a_killed_replacement_moved_away_is_put_back() {
    let sample = Sample::new(50);
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let moved = sample.folder.path().join(format!(".towers.{}.old.ingest", gone.id()));
    std::fs::rename(sample.dataset(), &moved).unwrap();
    let csv = sample.folder.path().join("towers.csv");
    let run = pointillist(["ingest".as_ref(), csv.as_os_str(), "-o".as_ref(), sample.dataset().as_os_str()]);
    assert!(run.code == Some(1) && run.error().contains("exists already"), "{}", run.stderr);
    assert!(!moved.exists());
    assert_eq!(Dataset::open(&sample.dataset()).unwrap().rows(), 50);
}

/// Goal: deadlines, timeouts and limits of clients go by a clock that does not jump. Method: the program under libfaketime, which takes the
/// wall clock ten years on and twenty back.
#[test]
fn a_clock_that_jumps_changes_no_answer() {
    let library = ["x86_64", "aarch64"].map(|cpu| format!("/usr/lib/{cpu}-linux-gnu/faketime/libfaketimeMT.so.1")).into_iter().find(|path| Path::new(path).exists());
    let Some(library) = library else {
        crate::skipped::skipped("a_clock_that_jumps_changes_no_answer", "libfaketime is not installed");
        return;
    };
    let sample = Sample::new(500);
    let clock = sample.folder.path().join("clock");
    let set = |offset: &str| std::fs::write(&clock, offset).unwrap();
    set("+0");
    let cache = sample.folder.path().join("tiles");
    let arguments = ["--cache-dir", cache.to_str().unwrap(), "--set", "limits.client_rate=0.001", "--set", "limits.client_burst=40"];
    let variables = [
        ("LD_PRELOAD", Path::new(&library)),
        ("DONT_FAKE_MONOTONIC", Path::new("1")),
        ("FAKETIME_NO_CACHE", Path::new("1")),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
    ];
    let served = Served::start_in(&sample.dataset(), &arguments, &variables);
    let year = |served: &Served| {
        let date = served.get("/health").header("date").to_owned();
        date.split(' ').nth(3).map(|year| year.parse::<i32>().unwrap())
    };
    let (now, mut asked) = (year(&served), 1);
    for (i, offset) in ["+3652d", "-3652d", "+0", "+36500d"].into_iter().enumerate() {
        set(offset);
        for tile in ["0/0/0", "1/0/0", "1/1/1"] {
            let got = served.get(&format!("/towers/{tile}.npy?filter=range%20%3E%20{i}"));
            assert_eq!(got.status, 200, "{offset}: {}", got.text());
            asked += 1;
        }
        if offset == "+3652d" {
            asked += 1;
            assert_eq!(year(&served).zip(now).map(|(then, now)| then - now), Some(10), "the clock has jumped");
        }
    }
    // A century later the client has still only what it may save up.
    let refused = (asked..60).find(|_| served.get("/towers/0/0/0.npy").status == 429);
    assert_eq!(refused, Some(40), "the bucket fills by another clock");
}
