//! Prewarming that does not go undisturbed: tiles that fail, somebody who stops it, a server that needs the cores.

use crate::prewarm::{done, occupied, prewarm, tiles_in};
use crate::served::{PROGRAM, Sample, Served};
use pointillist::dataset::{ColumnKeys, Dataset};
use pointillist::engine::cpu::CpuEngine;
use pointillist::filter::Filter;
use pointillist::prewarm::{self as library, Area, Begin, Format, Job, Outcome, Place, Plan, Replace, Stop, Target};
use pointillist::service::{CacheBudgets, Metrics, Pipeline, Source, View};
use pointillist::world::{TileId, Zoom};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a run may take to make the tiles that a test waits for.
const UNDER_WAY_TIME_MAX: Duration = Duration::from_secs(60);

fn summary(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Gives one point of `points` a weight that there is not, and names the tiles that it lies in, zoom by zoom. Whoever reads the
/// weight there fails; everybody else notices nothing.
fn damage(points: &Path, zooms: std::ops::RangeInclusive<u8>) -> Vec<String> {
    let dataset = Dataset::open(points).unwrap();
    let part = &dataset.parts[0];
    let ColumnKeys::U8(keys) = part.column(dataset.column_id("weight").unwrap()) else { panic!("four weights take a byte each") };
    let (keys, at) = (keys.to_vec(), 150);
    let key = part.key(at);
    let file = part.folder().join("hot.arrow");
    let mut bytes = std::fs::read(&file).unwrap();
    let column = bytes.windows(keys.len()).position(|window| window == keys).unwrap();
    bytes[column + at as usize] = 200;
    std::fs::write(&file, bytes).unwrap();
    zooms.map(|z| TileId::from_cell(Zoom::new(z).unwrap(), key.cell(z.into())).to_string()).collect()
}

#[test]
fn damage_under_a_tile_costs_that_tile_and_a_repair_makes_the_run_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |arguments: &[&str]| Command::new(PROGRAM).current_dir(folder.path()).args(arguments).output().unwrap();
    let weights = [0, 1_000_003, 5_000_011, 90_000_049];
    let csv: String = (0..300i32).map(|i| format!("{},{},{}\n", i % 20 * 2 - 70, i / 20 * 2 - 15, weights[i as usize % 4])).collect();
    std::fs::write(path("points.csv"), format!("lon,lat,weight\n{csv}")).unwrap();
    done(&run(&["ingest", "points.csv", "-o", "points"]));
    let made = |arguments: &[&str]| {
        let style = ["--style", "agg=mean", "--style", "column=weight", "--style", "how=linear", "--style", "span=0,1e8"];
        run(&[&["prewarm", "points", "--max-zoom", "6", "--json"][..], &style, arguments].concat())
    };
    done(&made(&["-o", "whole.pmtiles"]));
    assert!(Command::new("cp").arg("-r").args([path("points"), path("intact")]).status().unwrap().success());
    let damaged = damage(&path("points"), 0..=6);

    let failed = made(&["-o", "part.pmtiles", "--max-errors", "6"]);
    assert!(failed.status.code() == Some(1) && failed.stdout.is_empty(), "seven tiles fail, and six may: {}", said(&failed));
    let error = said(&failed);
    assert!(error.contains("7 tiles could not be made, more than --max-errors 6") && error.contains("pointillist verify"), "{error}");
    assert_eq!(run(&["verify", "points"]).status.code(), Some(1), "which does tell");

    let partial = made(&["-o", "part.pmtiles", "--max-errors", "7", "--resume"]);
    assert_eq!(partial.status.code(), Some(3), "{}", said(&partial));
    let told = summary(&partial);
    let number = |name: &str| told[name].as_u64().unwrap();
    assert_eq!((&told["outcome"], number("failed")), (&"partial".into(), 7));
    assert_eq!(number("made") + number("found") + 7, number("tiles"));
    assert!(number("found") > 0, "the run that failed kept what it had made: {told}");
    assert!(damaged.iter().any(|tile| told["first_failure"]["tile"] == *tile), "{told} {damaged:?}");
    assert!(said(&partial).contains(&format!("7 of {} tiles are not made: run it again with --resume", number("tiles"))));
    assert!(!path("part.pmtiles").exists(), "a file that lacks tiles is not written");

    let cached = made(&["--cache-dir", "cache", "--max-errors", "7"]);
    assert_eq!((cached.status.code(), &summary(&cached)["failed"]), (Some(3), &7.into()), "{}", said(&cached));

    std::fs::rename(path("points"), path("damaged")).unwrap();
    std::fs::rename(path("intact"), path("points")).unwrap();
    let whole = made(&["-o", "part.pmtiles", "--resume"]);
    done(&whole);
    assert_eq!(summary(&whole)["made"], 7);
    assert_eq!(std::fs::read(path("part.pmtiles")).unwrap(), std::fs::read(path("whole.pmtiles")).unwrap());
}

/// Starts a prewarm into a file, and waits until it has made some tiles.
fn under_way(sample: &Sample, arguments: &[&str], work: &Path, tiles_min: i64) -> Child {
    let mut child = Command::new(PROGRAM)
        .arg("prewarm")
        .arg(sample.dataset())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !work.exists() || tiles_in(work) < tiles_min {
        assert!(started.elapsed() < UNDER_WAY_TIME_MAX, "it has made too few tiles: {}", tiles_in(work));
        assert!(child.try_wait().unwrap().is_none(), "it has ended already: the test gives it too little to do");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
#[cfg(unix)]
fn a_signal_ends_a_run_amid_its_tiles_in_good_order() {
    let sample = Sample::new(2500);
    let path = |name: &str| sample.folder.path().join(name);
    let (output, work) = (path("stopped.pmtiles"), path(".stopped.pmtiles.prewarm"));
    let child = under_way(&sample, &["--max-zoom", "10", "-o", output.to_str().unwrap(), "--json"], &work, 1);
    let told = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    // What it promises, and not how fast it is: tiles that take longer are given up.
    assert!(told.elapsed() < Duration::from_secs(10), "it drained for {:?}", told.elapsed());
    assert_eq!(ended.status.code(), Some(3), "{}", said(&ended));
    let summary = summary(&ended);
    let (made, tiles) = (summary["made"].as_u64().unwrap(), summary["tiles"].as_u64().unwrap());
    assert!(summary["outcome"] == "stopped" && 0 < made && made < tiles, "{summary}");
    assert_eq!(tiles_in(&work), made as i64, "what it says is what it kept");
    assert!(!output.exists() && said(&ended).contains(&format!("{} of {tiles} tiles are not made", tiles - made)), "{}", said(&ended));
}

#[test]
fn tiles_under_way_are_given_up_where_draining_takes_too_long() {
    let sample = Sample::new(1500);
    let dataset = Arc::new(Dataset::open(&sample.dataset()).unwrap());
    let source = Arc::new(Source::new(dataset.clone(), Arc::new(CpuEngine::new(dataset))).unwrap());
    let pipeline = Pipeline::new(&CacheBudgets::of(64 << 20), Arc::new(Metrics::new()));
    let view = Arc::new(View::new(&source, Filter::all(), []).unwrap());
    let (zooms, area) = (0..=9, Area::world());
    let plan = Arc::new(Plan::of(&view, &pipeline, &zooms, &area).unwrap());
    let path = sample.folder.path().join("given_up.pmtiles");
    let job = Job {
        views: vec![(view, plan)],
        zooms,
        area,
        target: Target::Output { place: Place::Local(path.clone()), format: Format::Pmtiles },
        begin: Begin::Afresh,
        replace: Replace::Never,
        load_max: None,
        yield_to: None,
        errors_max: 0,
    };
    let stop = Stop::new();
    // After the first batch, as if the time were over.
    let summary = library::run(&job, &pipeline, &stop, &|tiles, _| if tiles > 0 { stop.give_up() }).unwrap();
    assert_eq!((summary.outcome, summary.failed), (Outcome::Stopped, 0), "given up is not failed");
    assert!(0 < summary.made && summary.made < summary.tiles && !path.exists(), "{summary:?}");
}

#[test]
fn live_traffic_goes_first() {
    let sample = Sample::new(1000);
    let path = |name: &str| sample.folder.path().join(name);
    let served = Served::start(&sample.dataset(), &[]);
    let is_busy = AtomicBool::new(true);
    // Several, so that the server has work also while one of them waits for a core.
    const CLIENTS: usize = 4;
    let (served_ref, is_busy_ref, answered) = (&served, &is_busy, &AtomicUsize::new(0));
    let traffic = |client: usize| {
        for n in (client..).step_by(CLIENTS) {
            if !is_busy_ref.load(Ordering::Relaxed) {
                return;
            }
            assert_eq!(served_ref.get(&format!("/towers/1/1/0.npy?filter=range%20%3C%20{n}")).status, 200);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || traffic(client))).collect();
        let started = Instant::now();
        while answered.load(Ordering::Relaxed) == 0 {
            assert!(started.elapsed() < UNDER_WAY_TIME_MAX && !busy.iter().any(|client| client.is_finished()), "there is no traffic");
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = path("yielding.pmtiles");
        let arguments = ["--max-zoom", "5", "-o", output.to_str().unwrap(), "--yield-to", &served.base, "--json"];
        let work = path(".yielding.pmtiles.prewarm");
        let child = under_way(&sample, &arguments, &work, 0);
        // Long enough for it to look several times.
        std::thread::sleep(Duration::from_secs(3));
        let made = tiles_in(&work);
        is_busy.store(false, Ordering::Relaxed);
        busy.into_iter().for_each(|client| client.join().unwrap());
        assert!(work.exists() && made == 0, "it made {made} tiles while somebody waited for others");
        let ended = child.wait_with_output().unwrap();
        done(&ended);
        assert!(summary(&ended)["waited_seconds"].as_f64() > Some(2.0));
    });

    // A quiet server costs nothing but the looks, and one that goes leaves nobody to yield to.
    let output = path("alone.pmtiles");
    let arguments = ["--max-zoom", "16", "-o", output.to_str().unwrap(), "--yield-to", &format!("{}/", served.base)];
    let child = under_way(&sample, &arguments, &path(".alone.pmtiles.prewarm"), 1);
    let address = served.base.clone();
    drop(served);
    let ended = child.wait_with_output().unwrap();
    done(&ended);
    assert!(output.exists() && said(&ended).contains("nobody left to yield to"), "{}", said(&ended));
    let missing = prewarm(&sample, &["--max-zoom", "1", "-o", path("no.pmtiles").to_str().unwrap(), "--yield-to", &address]);
    assert!(missing.status.code() == Some(1) && said(&missing).contains("--yield-to"), "{}", said(&missing));
    let wrong = prewarm(&sample, &["--max-zoom", "1", "-o", "no.pmtiles", "--yield-to", "localhost:8080"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
}

/// Goal: what a GPU's batches make is, byte for byte, what the CPU makes tile by tile. Method: whole archives.
#[test]
fn both_engines_make_the_same_archive() {
    let sample = Sample::new(1500);
    let path = |name: &str| sample.folder.path().join(name);
    for (name, style) in [
        ("plain", &[][..]),
        ("filtered", &["--filter", "range < 700 AND radio <> 'UMTS'"]),
        ("mean", &["--style", "agg=mean", "--style", "column=range"]),
    ] {
        let run = |backend: &str, more: &[&str]| {
            let output = path(&format!("{name}-{backend}.pmtiles"));
            let target = ["-o", output.to_str().unwrap(), "--backend", backend, "--max-zoom", "5", "--json"];
            (prewarm(&sample, &[&target[..], style, more].concat()), output)
        };
        let (on_gpu, gpu) = run("gpu", &[]);
        if said(&on_gpu).contains("no usable GPU") {
            crate::skipped::skipped("both_engines_make_the_same_archive", said(&on_gpu).trim());
            return;
        }
        let (on_cpu, cpu) = run("cpu", &[]);
        done(&on_gpu);
        done(&on_cpu);
        assert!(std::fs::read(&gpu).unwrap() == std::fs::read(&cpu).unwrap(), "{name}: the archives differ");
        let dry = run("gpu", &["--dry-run"]).0;
        assert_eq!((&summary(&on_gpu)["made"], &summary(&dry)["tiles"]), (&summary(&on_cpu)["made"], &summary(&on_cpu)["tiles"]), "{name}");
        if name == "plain" {
            assert_eq!(summary(&dry)["tiles"], occupied(&sample, 0..=5, |_| true).len());
        }
    }
}
