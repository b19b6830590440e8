//! A server on the internet: keys, changes while it serves, and clients that ask too much or too slowly.

use crate::served::{Got, PROGRAM, Sample, Served};
use pointillist::config::KeyHash;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Writes a configuration beside the sample.
pub fn configured(sample: &Sample, yaml: &str) -> PathBuf {
    let path = sample.folder.path().join("pointillist.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

/// A copy of the sample's dataset.
fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

pub fn serve(config: &Path, arguments: &[&str]) -> Served {
    let command: Vec<&std::ffi::OsStr> = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()]
        .into_iter()
        .chain(arguments.iter().map(|argument| argument.as_ref()))
        .collect();
    Served::start_command(&command)
}

const READER: &str = "pk_reader";
const VISITOR: &str = "pk_visitor";
pub const ADMIN: &str = "pk_admin";

pub fn keys() -> String {
    let key = |name: &str, key: &str, more: &str| format!("    - {{name: {name}, sha256: {}{more}}}\n", KeyHash::of(key));
    format!(
        "access:\n  keys:\n{}{}{}",
        key("reader", READER, ""),
        key("visitor", VISITOR, ", datasets: [towers]"),
        key("boss", ADMIN, ", role: admin")
    )
}

#[test]
fn a_key_opens_what_it_is_for_and_nothing_else() {
    let sample = Sample::new(500);
    let dataset = sample.dataset();
    let dataset = dataset.display();
    let config = configured(&sample, &format!("datasets: {{sources: {{towers: {dataset}, ships: {dataset}}}}}\nlog: {{slow: 0}}\n{}", keys()));
    let served = serve(&config, &["--admin-listen", "127.0.0.1:0"]);
    for (path, bare, visitor, reader, admin) in [
        ("/towers/0/0/0.png", 401, 200, 200, 200),
        ("/ships/0/0/0.png", 401, 403, 200, 200),
        ("/ships.json", 401, 403, 200, 200),
        ("/ships/stats", 401, 403, 200, 200),
        ("/ships/points?limit=1", 401, 403, 200, 200),
        ("/planes/0/0/0.png", 401, 403, 404, 404),
        ("/metrics", 401, 403, 403, 200),
        ("/", 200, 200, 200, 200),
        ("/health", 200, 200, 200, 200),
        ("/ready", 200, 200, 200, 200),
        ("/catalog", 200, 200, 200, 200),
        ("/openapi.json", 200, 200, 200, 200),
    ] {
        let found = [
            served.get(path).status,
            served.get_with(path, &[("X-API-Key", VISITOR)]).status,
            served.get_with(path, &[("Authorization", &format!("Bearer {READER}"))]).status,
            served.get(&format!("{path}{}key={ADMIN}", if path.contains('?') { '&' } else { '?' })).status,
        ];
        assert_eq!(found, [bare, visitor, reader, admin], "{path}");
        assert_eq!(served.get_with(path, &[("X-API-Key", "pk_guess")]).status, 401, "{path}: a wrong key is worse than none");
    }
    assert_eq!(served.get("/towers/0/0/0.png").header("www-authenticate"), "Bearer");
    let names = |key: &str| {
        let catalog = served.get_with("/catalog", &[("X-API-Key", key)]).json();
        catalog["datasets"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(VISITOR), names(READER)), (vec!["towers".to_owned()], vec!["ships".to_owned(), "towers".to_owned()]));
    assert_eq!(served.get("/catalog").json()["datasets"].as_array().unwrap().len(), 0);
    assert!(served.get("/catalog").header("vary").contains("authorization"), "with a key it is another");
    assert_eq!(served.get("/health").json()["datasets"].as_array().unwrap().len(), 0);

    // A key in an address is carried on, and works there; a key in a header stays there.
    let tile_json = served.get(&format!("/towers.json?key={VISITOR}&how=log")).json();
    let template = tile_json["tiles"][0].as_str().unwrap().to_owned();
    let tile = template.replace("{z}", "0").replace("{x}", "0").replace("{y}", "0");
    assert!(template.contains(&format!("key={VISITOR}")), "{template}");
    let tile = served.get(tile.strip_prefix(&served.base).unwrap());
    assert_eq!(tile.status, 200);
    assert!(tile.header("cache-control").starts_with("private, ") && tile.header("vary").contains("x-api-key"), "{:?}", tile.headers);
    let style = served.get(&format!("/towers/style.json?key={VISITOR}"));
    assert!(style.text().contains(&format!("key={VISITOR}")));
    let by_header = served.get_with("/towers.json", &[("X-API-Key", VISITOR)]);
    assert!(!by_header.text().contains(VISITOR) && by_header.header("cache-control").starts_with("private"));
    // Two keys see one tile: what a key opens is not what it is cached by.
    assert_eq!(served.get(&format!("/towers/0/0/0.png?how=log&key={READER}")).header("x-cache"), "HIT");

    assert_eq!(served.administer("POST", "/admin/reload", READER, "").status, 403);
    assert_eq!(served.administer("POST", "/admin/reload", "", "").status, 401);
    assert_eq!(served.post("/admin/reload", "").status, 404, "there is no /admin on the public listener");
}

#[test]
fn no_log_has_a_key_in_it() {
    let sample = Sample::new(100);
    let config = configured(&sample, &format!("datasets: {{paths: [{}]}}\nlog: {{slow: 0, format: json}}\n{}", sample.dataset().display(), keys()));
    let log = sample.folder.path().join("log");
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .env("RUST_LOG", "trace")
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let base = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let asked = |path: &str| agent.get(format!("{base}{path}")).header("x-request-id", "abc-1").call().unwrap();
    let got = asked(&format!("/towers/0/0/0.png?key={READER}&how=log"));
    assert_eq!((got.status().as_u16(), got.headers()["x-request-id"].to_str().unwrap()), (200, "abc-1"));
    assert_eq!(asked("/towers/0/0/0.png?key=pk_guess").status(), 401);
    child.kill().unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    let slow = log.lines().find(|line| line.contains("slow request") && line.contains("how=log")).expect("it took longer than nothing");
    let slow: serde_json::Value = serde_json::from_str(slow).unwrap();
    assert_eq!((&slow["request_id"], &slow["key"], &slow["status"]), (&"abc-1".into(), &"reader".into(), &200.into()));
    assert!(slow["timing"].as_str().unwrap().contains("encode;dur="), "{slow}");
    assert!(!log.contains(READER) && !log.contains("pk_guess"), "a key is in the log");
}

#[test]
#[cfg(unix)]
fn datasets_come_change_and_go_while_requests_are_answered() {
    let (old, new) = (Sample::new(700), Sample::new(900));
    let folder = old.folder.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    copied(&old.dataset(), &folder.join("v1"));
    copied(&new.dataset(), &folder.join("v2"));
    let yaml = |paths: &str| format!("datasets: {{folder: {}, sources: {{{paths}}}}}\n{}", folder.display(), keys()) + "  anonymous: all\n";
    let fixed = format!("fixed: {}", old.dataset().display());
    let config = configured(&old, &yaml(&fixed));
    let served = serve(&config, &["--admin-listen", "127.0.0.1:0"]);
    let rows = |name: &str| served.get(&format!("/{name}/stats")).json()["rows"].as_u64();
    let publish = |name: &str, folder: &str| served.administer("POST", "/admin/datasets", ADMIN, &format!(r#"{{"name":"{name}","folder":"{folder}"}}"#));
    assert_eq!((served.get("/live/stats").status, rows("fixed")), (404, Some(700)));
    let added = publish("live", "v1");
    assert_eq!((added.status, &added.json()["added"][0]), (201, &"live".into()), "{}", added.text());
    assert_eq!(added.json()["unchanged"][0], "fixed");
    let before = served.get("/live/0/0/0.npy");
    assert_eq!(before.counts().iter().sum::<u32>(), 700);

    // Under load: every answer is whole, of one version or the other, and never of both.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let (served, stop) = (&served, &stop);
                scope.spawn(move || {
                    let mut sums = std::collections::BTreeSet::new();
                    for i in 0.. {
                        // Another filter each time, so that nothing comes from a cache.
                        let got = served.get(&format!("/live/0/0/0.npy?filter=range%20%3E%20-{}", reader * 100_000 + i + 1));
                        assert_eq!(got.status, 200, "{}", got.text());
                        sums.insert(got.counts().iter().sum::<u32>());
                        if stop.load(std::sync::atomic::Ordering::Relaxed) && i > 3 {
                            return sums;
                        }
                    }
                    sums
                })
            })
            .collect();
        for i in 0..10 {
            let replaced = publish("live", ["v2", "v1"][i % 2]);
            assert_eq!((replaced.status, &replaced.json()["replaced"][0]), (201, &"live".into()), "{}", replaced.text());
        }
        publish("live", "v2");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap().is_subset(&[700, 900].into()), "a tile of neither version");
        }
    });
    let after = served.get("/live/0/0/0.npy");
    assert_eq!((after.counts().iter().sum::<u32>(), after.header("etag") == before.header("etag")), (900, false));
    let stale = served.get_with("/live/0/0/0.npy", &[("If-None-Match", before.header("etag"))]);
    assert_eq!(stale.status, 200, "the old tile is not taken for the new one");

    for (name, folder, status) in [
        ("live", "../v1", 422),
        ("live", "nothing", 422),
        ("../live", "v1", 422),
        ("catalog", "v1", 422),
        ("_live", "v1", 422),
        ("a/b", "v1", 422),
        ("fixed", "v1", 409),
    ] {
        let got = publish(name, folder);
        assert_eq!((got.status, got.header("content-type")), (status, "application/problem+json"), "{name} {folder}: {}", got.text());
    }
    assert_eq!(served.administer("POST", "/admin/datasets", ADMIN, "{").status, 400);
    assert_eq!(served.administer("DELETE", "/admin/datasets/fixed", ADMIN, "").status, 409);
    assert_eq!(served.administer("DELETE", "/admin/datasets/nobody", ADMIN, "").status, 404);

    // The configuration is read again at a hangup; what was published stays, also beyond the program's end.
    configured(&old, &yaml(&format!("moved: {}", old.dataset().display())));
    let hangup = |served: &Served| assert!(Command::new("kill").args(["-HUP", &served.process_id().to_string()]).status().unwrap().success());
    hangup(&served);
    let started = std::time::Instant::now();
    while served.get("/moved/stats").status != 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "the hangup is not heard");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((served.get("/fixed/stats").status, rows("live")), (404, Some(900)));
    // A wrong configuration changes nothing.
    configured(&old, &yaml("moved: /nowhere"));
    let refused = served.administer("POST", "/admin/reload", ADMIN, "");
    assert!(refused.status == 422 && refused.text().contains("/nowhere"), "{}", refused.text());
    assert_eq!(rows("moved"), Some(700));
    configured(&old, &yaml(""));
    let reloaded = served.administer("POST", "/admin/reload", ADMIN, "");
    assert_eq!((reloaded.status, &reloaded.json()["datasets"]["removed"][0]), (200, &"moved".into()), "{}", reloaded.text());
    drop(served);

    let served = serve(&config, &["--admin-listen", "127.0.0.1:0", "--set", "limits.queue=99"]);
    assert_eq!(served.get("/live/stats").json()["rows"], 900);
    configured(&old, &(yaml("") + "listen: 127.0.0.1:1\n"));
    let removed = served.administer("DELETE", "/admin/datasets/live", ADMIN, "");
    assert_eq!((removed.status, served.get("/live/stats").status), (200, 404));
    let listed = served.administer("GET", "/admin/datasets", ADMIN, "").json();
    assert_eq!(listed["datasets"].as_array().unwrap().len(), 0);
    assert!(folder.join("v2/dataset.json").exists(), "what is served no longer is still there");
}

fn connected(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// All that comes until the server closes the connection.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset says the same as an end.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn clients_that_are_slow_or_many_are_cut_off() {
    let sample = Sample::new(100);
    let set = ["--set", "limits.head_timeout=300ms", "--set", "limits.body_timeout=300ms", "--set", "limits.connections=4"];
    let served = Served::start(&sample.dataset(), &set);
    // Nothing at all; the start of a head; and one letter at a time.
    assert_eq!(read_to_end(connected(&served)), "");
    let mut half = connected(&served);
    half.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: ").unwrap();
    let said = read_to_end(half);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    let mut body = connected(&served);
    body.write_all(b"POST /towers/crossfilter HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").unwrap();
    let said = read_to_end(body);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("problem+json"), "{said}");

    // More than there may be: some are told so at once, the others are cut off in their turn, and make room.
    let idle: Vec<TcpStream> = (0..40).map(|_| connected(&served)).collect();
    let said: Vec<String> = idle.into_iter().map(read_to_end).collect();
    assert!(said.iter().any(String::is_empty), "{said:?}");
    assert!(said.iter().any(|said| said.starts_with("HTTP/1.1 503") && said.contains("Retry-After")), "{said:?}");
    let started = std::time::Instant::now();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    loop {
        match agent.get(format!("{}/health", served.base)).call() {
            Ok(got) if got.status() == 200 => break,
            _ => assert!(started.elapsed() < Duration::from_secs(60), "there is no room again"),
        }
    }
    assert!(served.metric("pointillist_shed_total{reason=\"connections\"}") >= 1.0);
}

#[test]
fn what_is_too_large_or_too_often_is_refused_with_its_reason() {
    let sample = Sample::new(100);
    let served = Served::start(&sample.dataset(), &["--set", "limits.body=1000", "--set", "limits.client_rate=0.001", "--set", "limits.client_burst=5"]);
    let large = served.post("/towers/crossfilter", &format!("{{\"filter\":\"{}\"}}", " ".repeat(2000)));
    assert_eq!((large.status, large.header("content-type")), (413, "application/problem+json"));
    let mut chunked = connected(&served);
    chunked.write_all(b"POST /towers/crossfilter HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..3 {
        // The server may have said no before the end.
        let _ = chunked.write_all(format!("1f4\r\n{}\r\n", " ".repeat(500)).as_bytes());
    }
    assert!(read_to_end(chunked).starts_with("HTTP/1.1 413"));
    let mut head = connected(&served);
    let _ = head.write_all(format!("GET /health HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(80_000)).as_bytes());
    assert!(read_to_end(head).starts_with("HTTP/1.1 431"));
    let statuses: Vec<u16> = (0..4).map(|_| served.get("/catalog").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = served.get("/towers/0/0/0.png");
    assert_eq!((refused.status, refused.header("content-type"), refused.header("cache-control")), (429, "application/problem+json", "no-store"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 100, "{}", refused.header("retry-after"));
}

#[test]
fn a_full_queue_refuses_at_once_and_answers_the_rest() {
    let sample = Sample::new(4000);
    let served = Served::start(&sample.dataset(), &["--set", "limits.threads=1", "--queue", "2", "--set", "limits.client_requests=100"]);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |i: usize| served.get(&format!("/towers/0/0/0@2x.png?filter=range%20%3C%20{}", 4000 + i));
        let all: Vec<_> = (0..64).map(|i| scope.spawn(move || ask(i))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|got| got.status == 503).collect();
    assert!(answers.iter().all(|got| got.status == 200 || got.status == 503));
    assert!(!refused.is_empty() && refused.len() < 64, "{} of 64 were refused", refused.len());
    for got in &refused {
        assert_eq!((got.header("content-type"), got.header("retry-after"), got.header("cache-control")), ("application/problem+json", "2", "no-store"));
    }
    assert_eq!(served.metric("pointillist_shed_total{reason=\"queue_full\"}"), refused.len() as f64);
}

/// Goal: what takes longer than it may is given up and said, and the next request is answered for itself. Method: no thread can start
/// within a microsecond.
#[test]
fn an_answer_that_would_come_too_late_is_given_up() {
    let sample = Sample::new(100);
    let served = Served::start(&sample.dataset(), &["--set", "limits.deadline=0.000001"]);
    for path in ["/towers/0/0/0.png", "/towers/0/0/0.png", "/towers/0/0/0.npy", "/towers/histogram?column=range"] {
        let got = served.get(path);
        assert_eq!((got.status, got.header("content-type"), got.header("cache-control")), (504, "application/problem+json", "no-store"), "{path}");
        assert!(got.header("retry-after").parse::<u64>().unwrap() > 0, "{path}");
    }
    assert_eq!(served.get("/health").status, 200);
}

#[test]
fn a_configuration_is_checked_and_shown() {
    let sample = Sample::new(10);
    let run = |arguments: &[&str], yaml: &str| {
        let output = Command::new(PROGRAM).arg("config").args(arguments).arg(configured(&sample, yaml)).env("POINTILLIST_LIMITS_QUEUE", "77").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = run(&["check"], "cache: {sise: 1GB}");
    assert!(code == Some(1) && said.contains("did you mean 'size'"), "{said}");
    let (code, said) = run(&["check"], "datasets: {paths: [/no/such/place]}");
    assert!(code == Some(1) && said.contains("/no/such/place does not exist"), "{said}");
    assert_eq!(run(&["check"], "cache: {size: 1GB}"), (Some(0), "the configuration is right\n".into()));
    let (code, said) = run(&["show", "--json"], "cache: {size: 1GB}");
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &shown["cache"]["size"], &shown["limits"]["queue"]), (Some(0), &"1GB".into(), &77.into()));
    assert_eq!(shown["limits"]["client_requests"], 38, "half of the queue");
}

#[test]
fn the_example_configuration_is_right() {
    let output = Command::new(PROGRAM).args(["config", "show", "deploy/pointillist.yaml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_admin_makes_the_server_forget_tiles() {
    let sample = Sample::new(1000);
    let cache = sample.folder.path().join("tiles");
    let config = configured(&sample, &format!("datasets: {{paths: [{}]}}\ncache: {{dir: {}}}\n{}", sample.dataset().display(), cache.display(), keys()));
    let served = serve(&config, &[]);
    let get = |path: &str| served.get_with(path, &[("X-API-Key", READER)]);
    let delete = |path: &str, key: &[(&str, &str)]| {
        let request = key.iter().fold(ureq::delete(format!("{}{path}", served.base)), |request, (name, value)| request.header(*name, *value));
        Got::from(request.config().http_status_as_error(false).build().call().unwrap())
    };
    let admin = [("Authorization", format!("Bearer {ADMIN}"))];
    let admin: Vec<(&str, &str)> = admin.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let origin = |path: &str| get(path).header("x-cache").to_owned();
    let (near, far) = ("/towers/1/1/0.png", "/towers/3/6/3.png");
    for path in [near, far] {
        assert_eq!((origin(path).as_str(), origin(path).as_str()), ("MISS", "HIT"), "{path}");
    }
    for (key, status) in [(vec![], 401), (vec![("X-API-Key", READER)], 403), (vec![("X-API-Key", "pk_guess")], 401)] {
        assert_eq!(delete("/cache/towers", &key).status, status, "{key:?}");
    }
    assert_eq!(origin(near), "HIT", "nobody else makes it forget");
    let some = delete("/cache/towers?minzoom=2&bbox=-180,-85,180,85", &admin);
    assert_eq!((some.status, &some.json()["tiles"]), (200, &1.into()), "{}", some.text());
    assert_eq!((origin(near).as_str(), origin(far).as_str()), ("HIT", "MISS"));
    assert_eq!(delete("/cache/towers", &admin).json()["tiles"], 2);
    assert_eq!((origin(near).as_str(), origin(far).as_str()), ("MISS", "MISS"), "on disk it is forgotten too");
    for (path, status) in [("/cache/ships", 404), ("/cache/towers?bbox=1,2", 400), ("/cache/towers?minzoom=x", 400), ("/cache/towers?zoom=1", 400)] {
        assert_eq!(delete(path, &admin).status, status, "{path}");
    }
}
