//! Several servers over one dataset: a shared cache in a real Redis, and NGINX in front of them.

use crate::nginx::Nginx;
use crate::served::{PROGRAM, Sample, Served, on_a_free_port, rows};
use pointillist::config::KeyHash;
use pointillist::world::{TileId, Zoom};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A Redis that keeps nothing on disk. Stopped when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// `None` where it is not installed.
    fn start(test: &str) -> Option<Redis> {
        let Some(program) = Redis::program() else {
            crate::skipped::skipped(test, "redis-server is not installed");
            return None;
        };
        let (child, port) = on_a_free_port(|port| Redis::spawned(program, port), Redis::is_up);
        Some(Redis { child, port })
    }

    /// Where a former one was.
    fn start_again(port: u16) -> Redis {
        let child = Redis::spawned(Redis::program().unwrap(), port);
        let redis = Redis { child, port };
        let started = Instant::now();
        while !Redis::is_up(port, &redis.child) {
            assert!(started.elapsed() < Duration::from_secs(30), "redis does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn program() -> Option<&'static Path> {
        ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].into_iter().map(Path::new).find(|path| path.exists())
    }

    fn spawned(program: &Path, port: u16) -> Child {
        let arguments = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Whether it is this child that answers there.
    fn is_up(port: u16, child: &Child) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let mut said = String::new();
        let is_told = connection.write_all(b"INFO server\r\nQUIT\r\n").and_then(|()| connection.read_to_string(&mut said)).is_ok();
        is_told && said.lines().any(|line| line == format!("process_id:{}", child.id()))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn keys(&self) -> usize {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.write_all(b"DBSIZE\r\nQUIT\r\n").unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).unwrap();
        said.lines().next().unwrap().trim_start_matches(':').parse().unwrap()
    }

    fn until_it_has(&self, keys: usize) {
        let started = Instant::now();
        while self.keys() < keys {
            assert!(started.elapsed() < Duration::from_secs(30), "redis has {} of {keys} tiles", self.keys());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn paths(sample: &Sample, zoom: u8) -> Vec<String> {
    let mut tiles: Vec<TileId> = sample.rows.iter().map(|row| TileId::containing(row.at, Zoom::new(zoom).unwrap())).collect();
    tiles.sort_unstable();
    tiles.dedup();
    tiles.iter().map(|tile| format!("/towers/{}/{}/{}.png", tile.z(), tile.x(), tile.y())).collect()
}

fn shared(served: &Served, result: &str) -> f64 {
    served.metric(&format!("pointillist_tile_cache_requests_total{{cache=\"shared\",result=\"{result}\"}}"))
}

fn errors(served: &Served) -> f64 {
    served.metric("pointillist_shared_cache_errors_total")
}

#[test]
fn what_one_replica_has_made_the_others_need_not_make() {
    let Some(redis) = Redis::start("what_one_replica_has_made_the_others_need_not_make") else { return };
    let sample = Sample::new(2000);
    let (url, port) = (redis.url(), redis.port);
    let [one, other] = [(); 2].map(|()| Served::start(&sample.dataset(), &["--shared-cache", &url]));
    let wanted = paths(&sample, 3);
    let made: Vec<_> = wanted.iter().map(|path| one.get(path)).collect();
    assert!(made.iter().all(|got| (got.status, got.header("x-cache")) == (200, "MISS")));
    redis.until_it_has(wanted.len());
    for (path, made) in wanted.iter().zip(&made) {
        let got = other.get(path);
        assert_eq!((got.header("x-cache"), got.header("etag"), &got.body), ("HIT", made.header("etag"), &made.body), "{path}");
    }
    let hits = wanted.len() as f64;
    assert_eq!((shared(&other, "hit"), shared(&other, "miss"), errors(&other)), (hits, 0.0, 0.0));

    // Without Redis, each makes its own.
    drop(redis);
    let later = paths(&sample, 4);
    let made: Vec<_> = later.iter().map(|path| one.get(path)).collect();
    assert!(made.iter().all(|got| got.status == 200));
    assert!(later.iter().zip(&made).all(|(path, made)| other.get(path).body == made.body));
    assert!(errors(&one) > 0.0 && errors(&other) > 0.0);

    // When it is back, it is used again.
    let redis = Redis::start_again(port);
    let started = Instant::now();
    let mut fresh = paths(&sample, 6).into_iter();
    while redis.keys() == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "nobody notices that redis is back");
        assert_eq!(one.get(&fresh.next().expect("there are tiles for all that time")).status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
}

const ADMIN: &str = "pk_admin";

/// Three replicas of what lies at `towers`, with an admin's key each, and nginx in front of them as it is deployed.
fn replicated(folder: &Path, towers: &Path, redis: &str) -> Option<(Vec<Served>, Nginx)> {
    let config = folder.join("replica.yaml");
    let text = format!(
        "datasets: {{sources: {{towers: {}}}}}\ncache: {{shared: '{redis}'}}\nmax_age: 0\naccess: {{keys: [{{name: boss, role: admin, sha256: {}}}]}}\n",
        towers.display(),
        KeyHash::of(ADMIN)
    );
    std::fs::write(&config, text).unwrap();
    let command: [&OsStr; 5] = ["serve".as_ref(), "--config".as_ref(), config.as_os_str(), "--admin-listen".as_ref(), "127.0.0.1:0".as_ref()];
    let replicas: Vec<Served> = (0..3).map(|_| Served::start_command(&command)).collect();
    let addresses: Vec<&str> = replicas.iter().map(|replica| replica.base.strip_prefix("http://").unwrap()).collect();
    let own = folder.join("nginx");
    std::fs::create_dir_all(&own).unwrap();
    let names = [("replica-1:8080", addresses[0]), ("replica-2:8080", addresses[1]), ("replica-3:8080", addresses[2])];
    let nginx = Nginx::with("deploy/nginx-replicas.conf", &names, &own)?;
    Some((replicas, nginx))
}

#[test]
fn a_killed_replica_costs_no_request() {
    let test = "a_killed_replica_costs_no_request";
    let Some(redis) = Redis::start(test) else { return };
    let sample = Sample::new(3000);
    let Some((mut replicas, nginx)) = replicated(sample.folder.path(), &sample.dataset(), &redis.url()) else {
        crate::skipped::skipped(test, "nginx is not installed");
        return;
    };
    let wanted: Vec<String> = (3..=6).flat_map(|zoom| paths(&sample, zoom)).collect();
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (is_over, is_killed) = (AtomicBool::new(false), AtomicBool::new(false));
    let after_kill = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..4usize {
            let (nginx, wanted) = (&nginx, &wanted);
            let (answered, refused, is_over, is_killed, after_kill) = (&answered, &refused, &is_over, &is_killed, &after_kill);
            scope.spawn(move || {
                // Each request is another one, so that nothing is answered by nginx alone.
                for turn in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let path = &wanted[(turn * 7 + client) % wanted.len()];
                    let got = nginx.get(&format!("{path}?min_alpha={}", 1 + client * 50_000 % 251 + turn % 4), &[]);
                    let counter = if got.status == 200 { answered } else { refused };
                    counter.fetch_add(1, Ordering::Relaxed);
                    after_kill.fetch_add(usize::from(is_killed.load(Ordering::Relaxed)), Ordering::Relaxed);
                }
            });
        }
        let until = |enough: &dyn Fn() -> bool| {
            let started = Instant::now();
            while !enough() {
                assert!(started.elapsed() < Duration::from_secs(60), "nothing is answered any more");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        until(&|| answered.load(Ordering::Relaxed) > 60);
        // With SIGKILL, in the middle of what it is doing.
        drop(replicas.remove(1));
        is_killed.store(true, Ordering::Relaxed);
        until(&|| after_kill.load(Ordering::Relaxed) > 200);
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(refused.into_inner(), 0, "of {} requests", answered.into_inner());
    let asked = |replica: &Served| replica.metric("pointillist_http_requests_total{endpoint=\"/{dataset}/{z}/{x}/{file}\",method=\"GET\",status=\"200\"}");
    assert!(replicas.iter().all(|replica| asked(replica) > 0.0), "both of those that are left answer");
}

#[test]
fn a_new_version_comes_replica_by_replica_and_no_tile_is_mixed() {
    let test = "a_new_version_comes_replica_by_replica_and_no_tile_is_mixed";
    let Some(redis) = Redis::start(test) else { return };
    let sample = Sample::new(2000);
    let folder = sample.folder.path();
    // Other points, under the same name.
    std::fs::write(folder.join("next.csv"), rows(2600).0).unwrap();
    let next = folder.join("next");
    let ingested = Command::new(PROGRAM)
        .args(["ingest", folder.join("next.csv").to_str().unwrap(), "--category", "radio", "--name", "towers", "-o", next.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(ingested.status.success(), "{}", String::from_utf8_lossy(&ingested.stderr));
    let current = folder.join("current");
    std::os::unix::fs::symlink(sample.dataset(), &current).unwrap();
    let Some((replicas, nginx)) = replicated(folder, &current, &redis.url()) else {
        crate::skipped::skipped(test, "nginx is not installed");
        return;
    };
    let wanted = paths(&sample, 3);
    let alone = Served::start(&next, &[]);
    let of = |served: &Served| -> BTreeMap<String, (String, Vec<u8>)> {
        wanted.iter().map(|path| (path.clone(), served.get(path))).map(|(path, got)| (path, (got.header("etag").to_owned(), got.body))).collect()
    };
    let (before, after) = (of(&replicas[0]), of(&alone));
    assert!(before.iter().all(|(path, tile)| *tile != after[path]), "the versions differ in every tile");
    let seen = |path: &String| {
        let got = nginx.get(path, &[]);
        assert_eq!(got.status, 200, "{path}: {}", got.text());
        let tile = (got.header("etag").to_owned(), got.body);
        assert!(tile == before[path] || tile == after[path], "{path} is of neither version");
        tile == after[path]
    };
    assert!(wanted.iter().all(|path| !seen(path)));
    let beside = folder.join("current.next");
    std::os::unix::fs::symlink(&next, &beside).unwrap();
    std::fs::rename(&beside, &current).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| while !is_over.load(Ordering::Relaxed) { wanted.iter().for_each(|path| { seen(path); }) }))
            .collect();
        for replica in &replicas {
            let reloaded = replica.administer("POST", "/admin/reload", ADMIN, "");
            assert_eq!(reloaded.json()["datasets"]["replaced"][0], "towers", "{}", reloaded.text());
            std::thread::sleep(Duration::from_millis(300));
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    // What nginx still has of the former version it serves once more while it asks again.
    let started = Instant::now();
    while !wanted.iter().all(seen) {
        assert!(started.elapsed() < Duration::from_secs(30), "tiles of the former version are still served");
        std::thread::sleep(Duration::from_millis(100));
    }
}
