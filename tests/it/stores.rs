//! Datasets, inputs and outputs in a store: a real S3-compatible server, which is also slow, refuses and comes back.

use crate::object_store::ObjectStore;
use crate::served::{PROGRAM, Sample, Served, rows};
use pointillist::world::{TileId, Zoom};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

impl ObjectStore {
    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.url))
    }

    fn put(&self, name: &str, body: &[u8]) {
        let url = format!("{}/{name}", self.bucket);
        let signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let answer = ureq::put(url).header("content-type", "application/octet-stream").header("authorization", signed).send(body).unwrap();
        assert_eq!(answer.status(), 200);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM).args(arguments).envs(self.env.iter().cloned()).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn upload(&self, sample: &Sample, name: &str) -> PathBuf {
        let url = self.place(name);
        self.done(&["upload", sample.dataset().to_str().unwrap(), url.to_str().unwrap()]);
        url
    }

    fn serve(&self, url: &Path, arguments: &[&str]) -> Served {
        let variables: Vec<(&str, &Path)> = self.env.iter().map(|(name, value)| (name.as_str(), Path::new(value))).collect();
        Served::start_in(url, arguments, &variables)
    }
}

fn tile_of(sample: &Sample, row: usize, zoom: u8) -> TileId {
    TileId::containing(sample.rows[row].at, Zoom::new(zoom).unwrap())
}

#[test]
fn a_dataset_in_a_store_is_served_as_it_is_locally() {
    let Some(store) = ObjectStore::start("a_dataset_in_a_store_is_served_as_it_is_locally") else { return };
    let sample = Sample::new(60_000);
    let url = store.upload(&sample, "towers");
    let again = store.run(&["upload", sample.dataset().to_str().unwrap(), url.to_str().unwrap()]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--force"));
    // Two blocks' worth, so that nearly all that is read goes again.
    let cache = sample.folder.path().join("blocks");
    let stored = store.serve(&url, &["--store-cache", cache.to_str().unwrap(), "--store-cache-size", "300KB"]);
    let local = Served::start(&sample.dataset(), &[]);
    let mut paths = Vec::new();
    for zoom in [0, 3, 6, 9, 12, 18, 22] {
        for row in [0, 59_999] {
            let tile = tile_of(&sample, row, zoom);
            let place = format!("/towers/{}/{}/{}", tile.z(), tile.x(), tile.y());
            paths.extend(["@2x.png", ".npy", ".npy?by=none", ".npy?filter=range%20%3E%203000", ".png?agg=mean&column=range&how=linear"].map(|end| format!("{place}{end}")));
        }
    }
    let west = "bbox=-160,-70,-20,10";
    paths.extend([
        "/towers/stats".to_owned(),
        "/towers/stats?filter=range%20%3C%20700".to_owned(),
        "/towers/legend.json?zoom=9".to_owned(),
        format!("/towers/histogram?column=range&bins=40&{west}"),
        format!("/towers/points?{west}&limit=300&format=csv"),
        format!("/towers/points?{west}&limit=50&filter=range%20BETWEEN%2010%20AND%20400"),
        "/towers/5/0/0.npy".to_owned(),
    ]);
    for path in &paths {
        let (here, there) = (local.get(path), stored.get(path));
        assert_eq!((there.status, there.header("etag")), (here.status, here.header("etag")), "{path}: {}", there.text());
        assert!(there.body == here.body, "{path} differs");
    }
    let question = r#"{"bbox":[-160,-70,150,70],"zoom":3,"brushes":{"range":[100,2000],"radio":["LTE"]},"columns":["range","radio"]}"#;
    let [here, there] = [&local, &stored].map(|server| server.post("/towers/crossfilter", question));
    assert_eq!((there.status, there.json()), (200, here.json()));
    assert!(stored.metric("pointillist_tile_cache_evictions_total{cache=\"store\"}") > 0.0);
    assert!(stored.metric("pointillist_store_requests_total{result=\"failed\"}") == 0.0);
}

#[test]
fn a_store_that_is_away_costs_what_is_not_here() {
    let Some(store) = ObjectStore::start("a_store_that_is_away_costs_what_is_not_here") else { return };
    let sample = Sample::new(120_000);
    let url = store.upload(&sample, "towers");
    let cache = sample.folder.path().join("blocks");
    let arguments = ["--store-cache", cache.to_str().unwrap()];
    let served = store.serve(&url, &arguments);
    let place = |tile: TileId| format!("/towers/{}/{}/{}", tile.z(), tile.x(), tile.y());
    // Of clusters that lie far apart along the Z-curve, so that their points are in other blocks.
    let here = place(tile_of(&sample, 0, 11));
    let other = |row: &crate::served::Row| row.at.x.abs_diff(sample.rows[0].at.x) > 1 << 30 && row.at.y.abs_diff(sample.rows[0].at.y) > 1 << 28;
    let far = place(tile_of(&sample, sample.rows.iter().position(other).unwrap(), 11));
    let first = served.get(&format!("{here}.png"));
    assert_eq!(first.status, 200);

    store.faults(json!({"away": "refuse"}));
    assert_eq!(served.get(&format!("{here}.png")).body, first.body);
    assert_eq!(served.get(&format!("{here}.png?cmap=viridis&by=none")).status, 200, "its blocks are here");
    for path in [format!("{far}.png"), "/towers/points?limit=3".to_owned(), format!("{here}.npy?filter=range%20%3E%2010")] {
        let refused = served.get(&path);
        assert_eq!((refused.status, refused.header("content-type")), (503, "application/problem+json"), "{path}: {}", refused.text());
        assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
        assert!(!refused.text().contains("127.0.0.1"), "what is inside is nobody's business: {}", refused.text());
    }
    assert_eq!(served.get("/health").status, 200);

    store.faults(json!({}));
    let started = Instant::now();
    while served.get(&format!("{far}.png")).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(30), "it does not notice that the store is back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(served.get("/towers/points?limit=3").status, 200);

    // One request in three fails and the others are slow: retries hide it.
    store.faults(json!({"status": 503, "share": 0.34, "latency_ms": 20}));
    assert_eq!(served.get(&format!("{here}.npy?filter=range%20%3E%2010")).status, 200);
    store.faults(json!({}));

    // What was read is still there after a restart, and is not asked for again.
    drop(served);
    let served = store.serve(&url, &arguments);
    assert_eq!(served.get(&format!("{far}.png")).status, 200);
    assert_eq!(served.metric("pointillist_store_requests_total{result=\"done\"}"), 0.0);
    assert!(served.metric("pointillist_tile_cache_requests_total{cache=\"store\",result=\"miss\"}") > 0.0);
}

#[test]
fn damage_on_the_way_is_found() {
    let Some(store) = ObjectStore::start("damage_on_the_way_is_found") else { return };
    let sample = Sample::new(3000);
    let url = store.upload(&sample, "towers");
    let version = store.done(&["inspect", url.to_str().unwrap(), "--json"]);
    let version = serde_json::from_str::<serde_json::Value>(&version).unwrap()["data_version"].as_str().unwrap().to_owned();
    let file = sample.dataset().join("parts/00000/hot.arrow");
    let mut bytes = std::fs::read(file).unwrap();
    bytes.iter_mut().skip(600).step_by(50).for_each(|byte| *byte ^= 1);
    store.put(&format!("towers/versions/{version}/parts/00000/hot.arrow"), &bytes);
    let cache = sample.folder.path().join("blocks");
    let served = store.serve(&url, &["--store-cache", cache.to_str().unwrap()]);
    assert_eq!(served.get("/towers/0/0/0.npy?filter=range%20%3E%2010").status, 500);
}

#[test]
fn inputs_and_outputs_lie_in_stores() {
    let Some(store) = ObjectStore::start("inputs_and_outputs_lie_in_stores") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (csv, all) = rows(2000);
    let lines: Vec<&str> = csv.lines().collect();
    // In two files.
    for (name, part) in [("raw/a.csv", &lines[1..900]), ("raw/deep/b.csv", &lines[900..])] {
        store.put(name, format!("{}\n{}\n", lines[0], part.join("\n")).as_bytes());
    }
    store.put("raw/readme.md", b"not data");
    let (raw, out) = (store.place("raw"), store.place("made/towers"));
    let ingest = ["ingest", raw.to_str().unwrap(), "--category", "radio", "-o", out.to_str().unwrap()];

    // An upload that cannot end leaves no dataset.
    store.faults(json!({"status": 503, "path": "made/towers/dataset.json"}));
    assert!(!store.run(&ingest).status.success());
    store.faults(json!({}));
    let nothing = store.run(&["inspect", out.to_str().unwrap()]);
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("is not a dataset"), "{}", String::from_utf8_lossy(&nothing.stderr));

    store.done(&ingest);
    let inspected: serde_json::Value = serde_json::from_str(&store.done(&["inspect", out.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!((&inspected["rows"], &inspected["name"]), (&all.len().into(), &"towers".into()));
    let pattern = store.place("raw/*.csv");
    let local = folder.path().join("local");
    store.done(&["ingest", pattern.to_str().unwrap(), "-o", local.to_str().unwrap()]);
    assert_eq!(pointillist::dataset::Dataset::open(&local).unwrap().rows() as usize, all.len());

    // A raw file is downloaded and ingested once.
    let file = store.place("raw/a.csv");
    let mut variables = store.env.clone();
    variables.push(("XDG_CACHE_HOME".into(), folder.path().display().to_string()));
    let variables: Vec<(&str, &Path)> = variables.iter().map(|(name, value)| (name.as_str(), Path::new(value))).collect();
    let served = Served::start_in(&file, &[], &variables);
    assert_eq!(served.get("/a/stats").json()["rows"], 899);
}
