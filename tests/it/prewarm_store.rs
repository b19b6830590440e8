//! Prewarming into a store of objects: what lies there is what would lie on a disk, whatever happens on the way.

use crate::object_store::ObjectStore;
use crate::prewarm::{done, tiles_in};
use crate::served::{Got, PROGRAM, Sample, Served};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The store looks for a signature, and checks none.
const ANYBODY: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A prewarm that knows the store, and has a cache folder of its own.
fn command(sample: &Sample, store: &ObjectStore, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("prewarm").arg(sample.dataset()).args(arguments).env("XDG_CACHE_HOME", sample.folder.path().join("cache"));
    command.envs(store.env.iter().map(|(name, value)| (name, value)));
    command
}

fn run(sample: &Sample, store: &ObjectStore, arguments: &[&str]) -> Output {
    command(sample, store, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The store's objects under a prefix, as other software reads them.
fn objects(store: &ObjectStore, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let get = |path: &str| Got::from(ureq::get(format!("{}{path}", store.bucket)).header("Authorization", ANYBODY).call().unwrap());
    let listed = get(&format!("?list-type=2&prefix={prefix}")).text();
    assert!(listed.contains("<IsTruncated>false<"), "more than one page: {listed}");
    let names = listed.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
    names.map(|name| (name.strip_prefix(prefix).unwrap().to_owned(), get(&format!("/{name}")).body)).collect()
}

/// The files of a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for path in std::fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn work_files(sample: &Sample) -> Vec<PathBuf> {
    let folder = sample.folder.path().join("cache/pointillist/prewarm");
    let names = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|extension| extension == "prewarm")).collect()
}

#[test]
fn archives_in_a_store_are_those_of_a_disk_and_are_served_from_there() {
    let Some(store) = ObjectStore::start("archives_in_a_store_are_those_of_a_disk_and_are_served_from_there") else { return };
    let sample = Sample::new(1200);
    for name in ["made.pmtiles", "made.mbtiles"] {
        let (local, url) = (sample.folder.path().join(name), format!("{}/maps/{name}", store.url));
        done(&run(&sample, &store, &["--max-zoom", "5", "-o", local.to_str().unwrap()]));
        let there = run(&sample, &store, &["--max-zoom", "5", "-o", &url, "--json"]);
        let summary: serde_json::Value = serde_json::from_str(&done(&there)).unwrap();
        let bytes = std::fs::read(&local).unwrap();
        assert_eq!((&summary["output"], &summary["output_bytes"]), (&json!(url), &json!(bytes.len())));
        assert!(objects(&store, "maps/")[name] == bytes, "{name}");
        let again = run(&sample, &store, &["--max-zoom", "5", "-o", &url]);
        assert!(again.status.code() == Some(1) && said(&again).contains("exists already"), "{}", said(&again));
        done(&run(&sample, &store, &["--max-zoom", "2", "-o", &url, "--force"]));
        assert!(objects(&store, "maps/")[name].len() < bytes.len());
        done(&run(&sample, &store, &["--max-zoom", "5", "-o", &url, "--force"]));
    }
    let left = files(&sample.folder.path().join("cache"));
    assert!(left.is_empty(), "nothing is left of what has gone: {:?}", left.keys());

    let variables: Vec<(&str, &Path)> = store.env.iter().map(|(name, value)| (name.as_str(), Path::new(value))).collect();
    let remote = Served::start_in(Path::new(&format!("{}/maps/made.pmtiles", store.url)), &[], &variables);
    let local = Served::start(&sample.folder.path().join("made.pmtiles"), &[]);
    for path in ["/made/0/0/0.png", "/made/3/6/3.png", "/made/5/0/31.png", "/made/5/19/12.png"] {
        let (got, expected) = (remote.get(path), local.get(path));
        assert_eq!((got.status, got.header("content-type"), &got.body), (200, "image/png", &expected.body), "{path}");
    }
    let known = remote.get_with("/made/0/0/0.png", &[("If-None-Match", remote.get("/made/0/0/0.png").header("etag"))]);
    assert_eq!(known.status, 304);
    assert_eq!(remote.get("/made.json").json()["bounds"], local.get("/made.json").json()["bounds"]);
    store.faults(json!({"status": 403}));
    let refused = remote.get("/made/1/1/0.png");
    assert_eq!((refused.status, refused.header("cache-control")), (500, "no-store"), "{}", refused.text());
    assert!(!refused.text().contains("s3:"), "what lies behind is nobody's business: {}", refused.text());
    store.faults(json!({}));
    assert_eq!(remote.get("/made/1/1/0.png").body, local.get("/made/1/1/0.png").body, "an error is not kept");

    let wrong = Command::new(PROGRAM).args(["serve", &format!("{}/maps/made.mbtiles", store.url)]).envs(variables).output().unwrap();
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("make PMTiles"), "{}", said(&wrong));
}

#[test]
fn a_folder_that_was_broken_off_is_told_and_completed_with_what_is_missing() {
    let Some(store) = ObjectStore::start("a_folder_that_was_broken_off_is_told_and_completed_with_what_is_missing") else { return };
    let sample = Sample::new(1200);
    let (local, url) = (sample.folder.path().join("tiles"), format!("{}/towers/", store.url));
    done(&run(&sample, &store, &["--max-zoom", "5", "-o", local.to_str().unwrap()]));
    let expected = files(&local);
    let to_store = |more: &[&str]| run(&sample, &store, &[&["--max-zoom", "5", "-o", &url, "--json"][..], more].concat());

    store.faults(json!({"status": 403, "path": "/towers/5/"}));
    let broken = to_store(&[]);
    assert!(broken.status.code() == Some(1) && said(&broken).contains("/towers/5/"), "{}", said(&broken));
    store.faults(json!({}));
    let there = objects(&store, "towers/");
    assert!(there.len() > 1 && there.contains_key(".prewarm") && !there.keys().any(|name| name.starts_with("5/")));

    for (arguments, why) in [(&[][..], "exists already"), (&["--resume", "--style", "how=log"], "begun for other")] {
        let refused = to_store(arguments);
        assert!(refused.status.code() == Some(1) && said(&refused).contains(why), "{arguments:?}: {}", said(&refused));
    }
    store.reset();
    let resumed = to_store(&["--resume"]);
    let summary: serde_json::Value = serde_json::from_str(&done(&resumed)).unwrap();
    assert_eq!((&summary["made"], &summary["found"]), (&json!(0), &json!(expected.len())));
    // What was on its way when zoom 5 was refused may lie there in part, and is put again; what is whole is not.
    let whole: BTreeSet<&String> = expected.keys().filter(|name| there.get(*name) == expected.get(*name)).collect();
    let put: BTreeSet<String> = store.names_put().into_iter().filter_map(|path| Some(path.split_once("/towers/")?.1.to_owned())).collect();
    let again: Vec<&String> = put.iter().filter(|name| whole.contains(name)).collect();
    assert!(again.is_empty() && put.iter().any(|name| name.starts_with("5/")), "{again:?} are put again");
    assert!(objects(&store, "towers/") == expected, "what is there is what the disk has");

    // Another output in its place takes the tiles along that it has not, and nothing else.
    ureq::put(format!("{}/towers/readme.txt", store.bucket)).header("Authorization", ANYBODY).content_type("text/plain").send("mine").unwrap();
    done(&to_store(&["--force", "--style", "how=log", "--min-zoom", "5", "--filter", "range < 900"]));
    let replaced = objects(&store, "towers/");
    assert_eq!(replaced["readme.txt"], b"mine");
    let tiles: Vec<&String> = replaced.keys().filter(|name| *name != "readme.txt").collect();
    assert!(!tiles.is_empty() && tiles.len() < expected.len() && tiles.iter().all(|name| name.starts_with("5/")), "{tiles:?}");
}

#[test]
#[cfg(unix)]
fn a_store_that_hangs_keeps_nobody_from_stopping() {
    let Some(store) = ObjectStore::start("a_store_that_hangs_keeps_nobody_from_stopping") else { return };
    let sample = Sample::new(600);
    let (local, url) = (sample.folder.path().join("whole.pmtiles"), format!("{}/stopped.pmtiles", store.url));
    let child = command(&sample, &store, &["--max-zoom", "4", "-o", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("it does not begin", &|| !work_files(&sample).is_empty());
    store.faults(json!({"away": "hang"}));
    store.reset();
    until("it uploads nothing", &|| store.requests() > 0);
    let told = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    // What it promises, and not how fast it is.
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
    assert!(ended.status.code() == Some(3) && said(&ended).contains("--resume goes on"), "{}", said(&ended));
    store.faults(json!({}));
    assert!(objects(&store, "").is_empty(), "an upload that was broken off leaves no object");
    assert!(tiles_in(&work_files(&sample)[0]) > 0);
    done(&run(&sample, &store, &["--max-zoom", "4", "-o", &url, "--resume"]));
    done(&run(&sample, &store, &["--max-zoom", "4", "-o", local.to_str().unwrap()]));
    assert!(objects(&store, "")["stopped.pmtiles"] == std::fs::read(&local).unwrap());
}
