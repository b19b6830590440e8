//! Several servers over one dataset: a shared cache in a real Redis, and NGINX in front of them.

use crate::served::{Sample, Served};
use pointillist::world::{TileId, Zoom};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Redis that keeps nothing on disk. Stopped when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// `None` where it is not installed.
    fn start(test: &str) -> Option<Redis> {
        // Freed for Redis, which cannot be told to take any.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let redis = Redis::start_at(port);
        if redis.is_none() {
            eprintln!("SKIPPED: {test}: redis-server is not installed");
        }
        redis
    }

    fn start_at(port: u16) -> Option<Redis> {
        let program = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].into_iter().find(|path| Path::new(path).exists())?;
        let arguments = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap();
        let redis = Redis { child, port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "redis does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(redis)
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
    let redis = Redis::start_at(port).unwrap();
    let started = Instant::now();
    let mut fresh = paths(&sample, 6).into_iter();
    while redis.keys() == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "nobody notices that redis is back");
        assert_eq!(one.get(&fresh.next().expect("there are tiles for all that time")).status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
}
