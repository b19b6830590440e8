//! `deploy/nginx.conf` in a real nginx, in front of the real server.

use crate::served::{Got, Sample, Served, on_a_free_port};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// nginx with a deployed configuration. Stopped when dropped.
pub struct Nginx {
    child: Child,
    pub base: String,
    agent: ureq::Agent,
}

impl Nginx {
    /// With `deploy/nginx.conf`; `None` where nginx is not installed.
    fn before(served: &Served, folder: &Path) -> Option<Nginx> {
        let address = served.base.strip_prefix("http://").unwrap();
        Nginx::with("deploy/nginx.conf", &[("server 127.0.0.1:8080;", &format!("server {address};"))], folder)
    }

    /// With a file of `deploy/`, in which texts are replaced; `None` where nginx is not installed.
    pub fn with(file: &str, texts: &[(&str, &str)], folder: &Path) -> Option<Nginx> {
        let program = ["/usr/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"].into_iter().find(|path| Path::new(path).exists())?;
        let cache = folder.join("cache");
        let site = std::fs::read_to_string(file).unwrap();
        let replaced = |text: String, (from, to): (&str, &str)| {
            assert!(text.contains(from), "{file} no longer has '{from}'");
            text.replace(from, to)
        };
        let site = texts.iter().copied().chain([("/var/cache/nginx/pointillist", cache.to_str().unwrap())]).fold(site, replaced);
        let own = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {own}/{name};")).concat();
        // The workers run as another user where root starts them, and everything lies in a folder of root's.
        let user = if folder.metadata().is_ok_and(|m| is_roots(&m)) { "user root;" } else { "" };
        let main = format!(
            "{user} worker_processes 1; daemon off; pid {own}/pid; error_log stderr warn; events {{}} http {{ access_log off; {temporary} include {own}/site.conf; }}"
        );
        std::fs::write(folder.join("nginx.conf"), main).unwrap();
        let start = |port: u16| {
            let site = replaced(site.clone(), ("listen 80;", &format!("listen 127.0.0.1:{port};")));
            std::fs::write(folder.join("site.conf"), site).unwrap();
            Command::new(program).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]).spawn().unwrap()
        };
        // It writes its number down once it listens.
        let is_up = |port: u16, child: &Child| {
            let number = std::fs::read_to_string(folder.join("pid")).unwrap_or_default();
            number.trim() == child.id().to_string() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        };
        let (child, port) = on_a_free_port(start, is_up);
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build();
        Some(Nginx { child, base: format!("http://127.0.0.1:{port}"), agent: config.into() })
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Got::from(request.call().unwrap())
    }
}

#[cfg(unix)]
fn is_roots(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(metadata) == 0
}

#[cfg(not(unix))]
fn is_roots(_: &std::fs::Metadata) -> bool {
    false
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, its workers would live on.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Requests for tiles that have reached the server.
fn asked(served: &Served) -> f64 {
    let of = |status: u16| {
        let endpoint = "/{dataset}/{z}/{x}/{file}";
        served.metric(&format!("pointillist_http_requests_total{{endpoint=\"{endpoint}\",method=\"GET\",status=\"{status}\"}}"))
    };
    of(200) + of(304) + of(400) + of(404)
}

#[test]
fn nginx_keeps_what_may_be_kept_and_nothing_else() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &["--max-age", "1"]);
    let folder = sample.folder.path().join("nginx");
    std::fs::create_dir(&folder).unwrap();
    let Some(nginx) = Nginx::before(&served, &folder) else {
        crate::skipped::skipped("nginx_keeps_what_may_be_kept_and_nothing_else", "nginx is not installed");
        return;
    };
    let proxied = |got: &Got| got.header("x-proxy-cache").to_owned();
    let version = served.get("/towers/stats").json()["data_version"].as_str().unwrap().to_owned();
    let direct = served.get("/towers/1/1/0.png");

    // A version in the address makes a tile immutable: asked for once, whatever the age.
    let lasting = format!("/towers/1/1/0.png?v={version}");
    let first = nginx.get(&lasting, &[]);
    assert_eq!((first.status, proxied(&first), &first.body), (200, "MISS".into(), &direct.body));
    assert!(first.header("cache-control").contains("immutable") && first.header("etag") == direct.header("etag"));
    let before = asked(&served);
    let second = nginx.get(&lasting, &[]);
    assert_eq!((second.status, proxied(&second), &second.body), (200, "HIT".into(), &direct.body));
    let known = nginx.get(&lasting, &[("If-None-Match", direct.header("etag"))]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = Got::from(nginx.agent.head(format!("{}{lasting}", nginx.base)).call().unwrap());
    assert_eq!((head.status, proxied(&head), head.header("etag")), (200, "HIT".into(), direct.header("etag")));
    assert_eq!(asked(&served), before, "what nginx has does not reach the server");

    // Errors and answers for operators are not kept.
    for path in ["/towers/1/9/9.png", "/towers/1/1/0.png?how=sqrt"] {
        assert_eq!(nginx.get(path, &[]).status, 400, "{path}");
        assert_eq!((nginx.get(path, &[]).status, asked(&served)), (400, asked(&served)));
    }
    assert_eq!(asked(&served), before + 4.0, "each error is asked for");
    assert_eq!((nginx.get("/metrics", &[]).status, nginx.get("/cache/towers", &[]).status), (404, 404));

    // What differs by coding is kept apart, and links lead back to where they were asked for.
    let plain = nginx.get("/towers/0/0/0.npy", &[("Accept-Encoding", "identity")]);
    let packed = nginx.get("/towers/0/0/0.npy", &[("Accept-Encoding", "zstd")]);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "zstd"));
    assert_eq!(zstd::decode_all(&packed.body[..]).unwrap(), plain.body);
    assert_ne!(plain.header("etag"), packed.header("etag"));
    let template = nginx.get("/towers.json", &[]).json()["tiles"][0].as_str().unwrap().to_owned();
    assert!(template.starts_with(&nginx.base), "{template}");

    // An answer that has aged is served at once, and asked for again by its ETag.
    let aging = "/towers/1/1/0.png?how=log";
    let fresh = nginx.get(aging, &[]);
    assert!(fresh.header("cache-control").contains("max-age=1, stale-while-revalidate="), "{}", fresh.header("cache-control"));
    std::thread::sleep(Duration::from_millis(2200));
    let made = served.metric("pointillist_tile_cache_requests_total{cache=\"tile\",result=\"miss\"}");
    let stale = nginx.get(aging, &[]);
    assert_eq!((stale.status, proxied(&stale), &stale.body), (200, "STALE".into(), &fresh.body));
    let started = Instant::now();
    while proxied(&nginx.get(aging, &[])) != "HIT" {
        assert!(started.elapsed() < Duration::from_secs(30), "it is never revalidated");
        std::thread::sleep(Duration::from_millis(50));
    }
    let revalidated = "pointillist_http_requests_total{endpoint=\"/{dataset}/{z}/{x}/{file}\",method=\"GET\",status=\"304\"}";
    assert!(served.metric(revalidated) >= 1.0, "it was fetched again, not revalidated");
    assert_eq!(served.metric("pointillist_tile_cache_requests_total{cache=\"tile\",result=\"miss\"}"), made, "a revalidation makes no tile");

    // The server gone, what nginx has is still there.
    drop(served);
    std::thread::sleep(Duration::from_millis(1200));
    let orphan = nginx.get(aging, &[]);
    assert_eq!((orphan.status, &orphan.body), (200, &fresh.body));
    assert_eq!(nginx.get("/towers/3/1/1.png", &[]).status, 502);
}
