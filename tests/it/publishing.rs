//! Publishing to several running servers, from outside; datasets that are stuck, and those that nobody asks for.

use crate::served::{PROGRAM, Sample, Served};
use pointillist::config::KeyHash;
use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const ADMIN: &str = "pk_admin";

/// A server over the folder that the sample lies in, and what is more in its configuration's `datasets`.
fn served(sample: &Sample, number: usize, more: &str) -> Served {
    let data = sample.folder.path().join(format!("data-{number}"));
    std::fs::create_dir(&data).unwrap();
    assert!(Command::new("cp").arg("-r").args([&sample.dataset(), &data.join("v1")]).status().unwrap().success());
    let config = sample.folder.path().join(format!("{number}.yaml"));
    let key = KeyHash::of(ADMIN);
    let text = format!("datasets: {{folder: {}{more}}}\naccess: {{keys: [{{name: boss, role: admin, sha256: {key}}}]}}\n", data.display());
    std::fs::write(&config, text).unwrap();
    let command: [&OsStr; 5] = ["serve".as_ref(), "--config".as_ref(), config.as_os_str(), "--admin-listen".as_ref(), "127.0.0.1:0".as_ref()];
    Served::start_command(&command)
}

fn run(arguments: &[&str], key: &str) -> Output {
    Command::new(PROGRAM).args(arguments).env("POINTILLIST_KEY", key).output().unwrap()
}

#[test]
fn several_servers_are_told_what_to_serve() {
    let sample = Sample::new(400);
    let servers = [served(&sample, 0, ""), served(&sample, 1, "")];
    let [one, other] = servers.each_ref().map(|server| server.admin.as_str());
    let publish = ["publish", "v1", "--as", "live", "--to", one, "--to", other];
    let done = run(&publish, ADMIN);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).matches("live is served").count(), 2);
    let tiles = servers.each_ref().map(|server| server.get("/live/0/0/0.png"));
    assert_eq!((tiles[0].status, &tiles[0].body, tiles[0].header("etag")), (200, &tiles[1].body, tiles[1].header("etag")));
    let listed = servers[0].get("/catalog").json()["datasets"][0].clone();
    assert_eq!((&listed["name"], &listed["revision"]), (&"live".into(), &0.into()));

    let denied = run(&publish, "pk_wrong");
    assert!(denied.status.code() == Some(1) && String::from_utf8_lossy(&denied.stderr).contains("401"));
    let wrong = run(&["publish", "nothing", "--to", one], ADMIN);
    assert!(wrong.status.code() == Some(1) && String::from_utf8_lossy(&wrong.stderr).contains("nothing"));
    // Port 1 of this machine: nobody listens there.
    let some = run(&["unpublish", "live", "--to", "http://127.0.0.1:1", "--to", one], ADMIN);
    assert_eq!((some.status.code(), servers[0].get("/live.json").status, servers[1].get("/live.json").status), (Some(3), 404, 200));
    assert!(run(&["unpublish", "live", "--to", other], ADMIN).status.success());
    assert_eq!(servers[1].get("/live.json").status, 404);
}

#[test]
fn a_dataset_is_opened_once_more_when_it_is_told_to_or_nobody_asks() {
    let sample = Sample::new(400);
    let server = served(&sample, 0, ", idle: 400ms");
    assert!(run(&["publish", "v1", "--to", &server.admin], ADMIN).status.success());
    let filtered = "/v1/0/0/0.npy?filter=range%20%3E%2010";
    let first = server.get(filtered);
    let selections = || server.metric("pointillist_tile_cache_entries{cache=\"selection\"}");
    assert_eq!((first.status, selections()), (200, 1.0));
    let restarted = server.administer("POST", "/admin/datasets/v1/restart", ADMIN, "");
    assert_eq!((restarted.status, &restarted.json()["replaced"][0], selections()), (200, &"v1".into(), 0.0));
    assert_eq!(server.administer("POST", "/admin/datasets/nobody/restart", ADMIN, "").status, 404);

    let again = server.get("/v1/0/0/0.npy?filter=range%20%3E%2011");
    assert_eq!((again.status, selections()), (200, 1.0));
    let started = Instant::now();
    while selections() > 0.0 {
        assert!(started.elapsed() < Duration::from_secs(30), "what was made of it is never let go");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.get(filtered).body, first.body);
}
