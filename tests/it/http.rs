//! Tiles and documents over a real socket.

use crate::served::{PROGRAM, RADIOS, Row, Sample, Served};
use pointillist::world::TileId;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

fn tile(z: u8, x: u32, y: u32) -> TileId {
    TileId::new(z, x, y).unwrap()
}

#[test]
fn counts_equal_brute_force_and_every_zoom_sums_to_all_points() {
    let sample = Sample::new(4000);
    let served = Served::start(&sample.dataset(), &[]);
    for zoom in 0..3 {
        let mut sum = 0u64;
        for x in 0..1 << zoom {
            for y in 0..1 << zoom {
                let got = served.get(&format!("/towers/{zoom}/{x}/{y}.npy"));
                assert_eq!(got.status, 200, "{}", got.text());
                let counts = got.counts();
                assert_eq!(counts, sample.counted(tile(zoom, x, y), |_| true), "{zoom}/{x}/{y}");
                sum += counts.iter().map(|&n| u64::from(n)).sum::<u64>();
            }
        }
        assert_eq!(sum, 4000);
    }
    let deep = TileId::containing(sample.rows[0].at, pointillist::world::Zoom::new(15).unwrap());
    let got = served.get(&format!("/towers/15/{}/{}.npy", deep.x(), deep.y()));
    assert_eq!(got.counts(), sample.counted(deep, |_| true));
}

#[test]
fn a_filter_selects_the_rows_that_it_says() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    let got = served.get("/towers/0/0/0.npy?filter=range%20%3E%202000%20AND%20radio%20%3D%20%27LTE%27");
    let wanted = |row: &Row| row.range > 2000 && row.radio == Some(1);
    assert_eq!(got.counts(), sample.counted(tile(0, 0, 0), wanted));
    let stats = served.get("/towers/stats?filter=range%20%3E%202000%20AND%20radio%20%3D%20%27LTE%27").json();
    assert_eq!(stats["rows"], sample.rows.iter().filter(|row| wanted(row)).count());

    let wrong = served.get("/towers/0/0/0.png?filter=rnage%20%3E%202000");
    assert_eq!((wrong.status, wrong.header("content-type")), (400, "application/problem+json"));
    let problem = wrong.json();
    assert_eq!(problem["position"], 1);
    assert!(problem["detail"].as_str().unwrap().contains("did you mean 'range'"), "{problem}");
}

#[test]
fn an_image_has_points_where_the_counts_have() {
    let sample = Sample::new(4000);
    let served = Served::start(&sample.dataset(), &[]);
    let counts = sample.counted(tile(1, 1, 0), |_| true);
    let (pixels, side) = served.get("/towers/1/1/0.png").pixels();
    assert_eq!(side, 256);
    assert!(counts.iter().sum::<u32>() > 1000, "the sample has points here");
    for (pixel, color) in pixels.iter().enumerate() {
        let total: u32 = (0..4).map(|plane| counts[plane * 65536 + pixel]).sum();
        assert_eq!(total > 0, color[3] >= 40, "pixel {pixel}");
        assert!(total > 0 || *color == [0; 4]);
    }
    // Finer pixels, not larger ones: the tile at twice the scale is the four tiles of the next zoom.
    let (fine, side) = served.get("/towers/0/0/0@2x.png").pixels();
    assert_eq!(side, 512);
    let quarter: Vec<[u8; 4]> = fine.chunks_exact(512).take(256).flat_map(|row| row[256..].to_vec()).collect();
    assert_eq!(quarter, pixels);
}

#[test]
fn spread_points_cross_the_border_of_a_tile() {
    let sample = Sample::new(300);
    let served = Served::start(&sample.dataset(), &[]);
    let (whole, _) = served.get("/towers/0/0/0@2x.png?spread=3&how=log").pixels();
    for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let (part, _) = served.get(&format!("/towers/1/{x}/{y}.png?spread=3&how=log")).pixels();
        for (row, pixels) in part.chunks_exact(256).enumerate() {
            let from = (y * 256 + row) * 512 + x * 256;
            assert_eq!(pixels, &whole[from..from + 256], "tile {x},{y} row {row}");
        }
    }
}

#[test]
fn a_known_tile_is_not_sent_again() {
    let sample = Sample::new(500);
    let served = Served::start(&sample.dataset(), &[]);
    let first = served.get("/towers/0/0/0.png");
    assert_eq!((first.status, first.header("x-cache")), (200, "MISS"));
    for stage in ["queue;dur=", "count;dur=", "shade;dur=", "encode;dur="] {
        assert!(first.header("server-timing").contains(stage), "{}", first.header("server-timing"));
    }
    assert!(first.header("cache-control").contains("stale-while-revalidate"));
    assert_eq!(first.header("access-control-allow-origin"), "*");
    assert!(first.header("access-control-expose-headers").to_lowercase().contains("x-cache"));

    let second = served.get("/towers/0/0/0.png?how=eq_hist");
    assert_eq!(second.header("x-cache"), "HIT", "the default spelt out is the same tile");
    assert_eq!(second.header("etag"), first.header("etag"));
    assert_eq!(second.body, first.body);
    let known = served.get_with("/towers/0/0/0.png", &[("If-None-Match", first.header("etag"))]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), first.header("etag"));
    let head = served.head("/towers/0/0/0.png");
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, first.header("etag")));

    let other = served.get("/towers/0/0/0.png?how=log&min_alpha=90");
    assert_ne!(other.header("etag"), first.header("etag"));
    let other_order = served.get("/towers/0/0/0.png?min_alpha=90&how=log");
    assert_eq!((other_order.header("x-cache"), other_order.header("etag")), ("HIT", other.header("etag")));

    let version = served.get("/towers/stats").json()["data_version"].as_str().unwrap().to_owned();
    assert!(served.get(&format!("/towers/0/0/0.png?v={version}")).header("cache-control").contains("immutable"));
    assert!(!served.get("/towers/0/0/0.png?v=0123").header("cache-control").contains("immutable"));
}

#[test]
fn a_restyle_of_what_was_seen_counts_nothing() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &[]);
    let filter = "filter=range%20%3E%201000";
    served.get(&format!("/towers/1/1/0.png?{filter}"));
    let counted = || {
        (
            served.metric("pointillist_points_scanned_total"),
            ["select", "count", "distribution"]
                .map(|stage| served.metric(&format!("pointillist_device_seconds_total{{stage=\"{stage}\"}}"))),
            served.metric("pointillist_tile_cache_requests_total{cache=\"grid\",result=\"miss\"}"),
        )
    };
    let before = counted();
    assert!(before.0 >= 2000.0 && before.1.iter().all(|&seconds| seconds > 0.0) && before.2 == 1.0, "{before:?}");
    for style in ["how=log", "cmap=viridis", "hide=LTE", "colors=LTE:ff0000", "min_alpha=100&how=cbrt"] {
        let got = served.get(&format!("/towers/1/1/0.png?{filter}&{style}"));
        assert_eq!((got.status, got.header("x-cache")), (200, "MISS"), "{style}: {}", String::from_utf8_lossy(&got.body));
    }
    assert_eq!(counted(), before);

    // Spread points come from the tiles around, too: counted once.
    served.get(&format!("/towers/1/1/0.png?{filter}&spread=2"));
    let before = counted();
    for style in ["how=log", "cmap=viridis", "hide=LTE"] {
        let got = served.get(&format!("/towers/1/1/0.png?{filter}&spread=2&{style}"));
        assert_eq!((got.status, got.header("x-cache")), (200, "MISS"), "{style}");
    }
    assert_eq!(counted(), before);
}

#[test]
fn a_hundred_equal_requests_make_one_tile() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &[]);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..100).map(|_| scope.spawn(|| served.get("/towers/2/2/1.png?how=log"))).collect();
        let bodies: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(bodies.iter().all(|got| got.status == 200 && got.body == bodies[0].body));
        assert_eq!(bodies.iter().filter(|got| got.header("x-cache") == "MISS").count(), 1);
    });
    assert_eq!(served.metric("pointillist_tile_cache_requests_total{cache=\"grid\",result=\"miss\"}"), 1.0);
}

#[test]
fn what_is_wrong_is_said_with_the_right_status() {
    let sample = Sample::new(300);
    let served = Served::start(&sample.dataset(), &[]);
    for (path, status, said) in [
        ("/towers/0/1/0.png", 400, "x and y run from 0 to 0"),
        ("/towers/3/99999999999999999999/0.png", 400, "x=99999999999999999999 is larger than any number of a tile"),
        ("/towers/a/0/0.png", 400, "z=a is not a whole number"),
        ("/towers/0/-1/0.png", 400, "x=-1"),
        ("/towers/0/0/0x.png", 400, "y=0x"),
        ("/towers/23/0/0.png", 404, "zooms 0 to 22"),
        ("/towers/300/0/0.png", 404, "zooms 0 to 22"),
        ("/towers/0/0/0.webp", 404, ".png or .npy"),
        ("/towers/0/0/0", 404, ".png or .npy"),
        ("/ships/0/0/0.png", 404, "there are towers"),
        ("/ships.json", 404, "there are towers"),
        ("/towers/0/0/0.png?colour=red", 400, "'colour' here: the known ones are agg, background, by, cmap"),
        ("/towers/0/0/0.npy?how=log", 400, "'how' here: the known ones are agg, by, column, dtype, filter"),
        ("/towers/0/0/0.png?how=sqrt", 400, "eq_hist, log, cbrt, linear"),
        ("/towers/0/0/0.png?how=log&how=log", 400, "given twice"),
        ("/towers/0/0/0.png?hide=5G", 400, "GSM"),
        ("/towers/0/0/0.png?by=colour", 400, "radio"),
        ("/towers/0/0/0.png?filter=range%20%3E%20%27a%27", 400, "range"),
        ("/towers/0/0/0.png?filter=range&filter-lang=cql2-json", 400, "cql2-text"),
        ("/towers/legend.json?zoom=40", 404, "zooms 0 to 22"),
        ("/towers/legend.json?zoom=x", 400, "zoom=x"),
        ("/towers/stats?bbox=1,2,3", 400, "west,south,east,north"),
        ("/nothing/here", 404, "/catalog"),
        ("/ui/../Cargo.toml", 404, ""),
        ("/ui/%2e%2e/%2e%2e/Cargo.toml", 404, ""),
    ] {
        let got = served.get(path);
        assert_eq!(got.status, status, "{path}: {}", got.text());
        assert_eq!(got.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(got.header("cache-control"), "no-store", "{path}");
        let problem = got.json();
        assert_eq!(problem["status"], status);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{path}: {detail}");
        assert!(problem["type"].is_string() && problem["title"].is_string());
    }
    let long = format!("/towers/0/0/0.png?filter={}", "x".repeat(20_000));
    assert_eq!(served.get(&long).status, 414);
}

#[test]
fn documents_describe_what_is_served() {
    let sample = Sample::new(1000);
    let served = Served::start(&sample.dataset(), &[]);
    let catalog = served.get("/catalog").json();
    assert_eq!(catalog["datasets"][0]["name"], "towers");
    assert_eq!(catalog["datasets"][0]["rows"], 1000);

    let stats = served.get("/towers/stats").json();
    let labels: Vec<_> = stats["categories"].as_array().unwrap().iter().map(|c| c["value"].as_str()).collect();
    assert_eq!(labels, [Some(RADIOS[0]), Some(RADIOS[1]), Some(RADIOS[2]), None]);
    for (plane, category) in stats["categories"].as_array().unwrap().iter().enumerate() {
        let expected = sample.rows.iter().filter(|row| row.radio.unwrap_or(3) == plane).count();
        assert_eq!(category["count"], expected);
        assert!(category["color"].as_str().unwrap().starts_with('#'));
    }
    assert_eq!(stats["by"], "radio");
    assert_eq!(stats["categories"][3]["kind"], "null");
    assert!(stats["columns"].as_array().unwrap().iter().any(|column| column["name"] == "range" && column["type"] == "integer"));

    let tile_json = served.get("/towers.json?how=log&filter=range%20%3E%201000").json();
    assert_eq!(tile_json["tilejson"], "3.0.0");
    let template = tile_json["tiles"][0].as_str().unwrap();
    assert!(template.starts_with(&served.base) && template.contains("how=log") && template.contains("&v="), "{template}");
    let url = template.replace("{z}", "0").replace("{x}", "0").replace("{y}", "0");
    let got = served.get(url.strip_prefix(&served.base).unwrap());
    assert_eq!((got.status, got.header("content-type")), (200, "image/png"));
    assert!(got.header("cache-control").contains("immutable"));
    assert_eq!(served.get("/towers/0/0/0.png?filter=range%20%3E%201000&how=log").header("etag"), got.header("etag"));

    let style = served.get("/towers/style.json").json();
    assert_eq!(style["version"], 8);
    assert!(style["sources"]["points"]["tiles"][0].as_str().unwrap().contains("/towers/{z}/{x}/{y}.png"));

    let legend = served.get("/towers/legend.json?zoom=2&filter=range%20%3E%201000").json();
    let counts = legend["distribution"]["counts"].as_array().unwrap();
    let pixels = legend["distribution"]["pixels"].as_array().unwrap();
    let points: u64 = counts.iter().zip(pixels).map(|(n, p)| n.as_u64().unwrap() * p.as_u64().unwrap()).sum();
    assert_eq!(points, sample.rows.iter().filter(|row| row.range > 1000).count() as u64);
    assert!(!legend["stops"].as_array().unwrap().is_empty());
    assert!(served.get("/towers/legend.png?zoom=2").pixels().1 > 100);

    assert_eq!(served.get("/health").json()["datasets"][0]["engine"]["backend"].as_str().map(str::is_empty), Some(false));
    assert_eq!(served.get("/ready").status, 200);
    let page = served.get("/");
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains("/ui/"));
    assert!(served.metric("pointillist_http_requests_total{endpoint=\"/catalog\",method=\"GET\",status=\"200\"}") >= 1.0);
}

#[test]
fn the_api_document_lists_addresses_that_answer() {
    let sample = Sample::new(100);
    let served = Served::start(&sample.dataset(), &["--set", "limits.subscribers=0"]);
    let document = served.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15);
    for (path, operations) in paths {
        let address = path.replace("{dataset}", "towers").replace("{z}", "0").replace("{x}", "0").replace("{y}", "0");
        let (method, operation) = operations.as_object().unwrap().iter().next().unwrap();
        let got = match (method.as_str(), address.as_str()) {
            ("post", _) => served.post(&address, "{}"),
            (_, "/towers/histogram") => served.get("/towers/histogram?column=range"),
            _ => served.get(&address),
        };
        assert_eq!(got.status, 200, "{path}: {}", String::from_utf8_lossy(&got.body));
        let media_type = operation["responses"]["200"]["content"].as_object().unwrap().keys().next().unwrap();
        assert!(got.header("content-type").starts_with(media_type.as_str()), "{path}: {}", got.header("content-type"));
        let wrong = served.get(&format!("{address}?nothing_like_it=1")).status;
        assert!(wrong == 200 || operation["responses"].get(wrong.to_string()).is_some() || method == "post", "{path}: {wrong}");
    }
}

#[test]
fn counts_travel_compressed_where_the_client_can_read_it() {
    let sample = Sample::new(1000);
    let served = Served::start(&sample.dataset(), &[]);
    let plain = served.get_with("/towers/0/0/0.npy", &[("Accept-Encoding", "identity")]);
    assert_eq!(plain.header("content-encoding"), "");
    let zstd = served.get_with("/towers/0/0/0.npy", &[("Accept-Encoding", "zstd")]);
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert!(zstd.header("vary").to_lowercase().contains("accept-encoding"));
    assert!(zstd.body.len() * 10 < plain.body.len());
    assert_eq!(zstd::decode_all(&zstd.body[..]).unwrap(), plain.body);
    assert_ne!(zstd.header("etag"), plain.header("etag"), "other bytes have another strong ETag");
    let gzip = served.get_with("/towers/0/0/0.npy", &[("Accept-Encoding", "gzip")]);
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!((gzip.header("content-encoding"), &unzipped), ("gzip", &plain.body));
    let br = served.get_with("/towers/0/0/0.npy", &[("Accept-Encoding", "br")]);
    assert_eq!(br.header("content-encoding"), "br");
    assert!(br.body.len() * 10 < plain.body.len());
    let auto = served.get_with("/towers/0/0/0.npy?dtype=auto", &[("Accept-Encoding", "identity")]);
    assert!(auto.body[..128].windows(5).any(|text| text == b"'<u2'"), "no count is over 65,535");
    assert_eq!(auto.body.len() - 128, (plain.body.len() - 128) / 2);
    for etag in [zstd.header("etag"), plain.header("etag")] {
        assert_eq!(served.get_with("/towers/0/0/0.npy", &[("If-None-Match", etag), ("Accept-Encoding", "zstd")]).status, 304);
    }
    let image = served.get_with("/towers/0/0/0.png", &[("Accept-Encoding", "zstd, gzip, br")]);
    assert_eq!(image.header("content-encoding"), "");
}

#[test]
#[cfg(unix)]
fn finished_tiles_survive_a_kill() {
    let sample = Sample::new(2000);
    let cache = sample.folder.path().join("tiles");
    let arguments = ["--cache-dir", cache.to_str().unwrap()];
    let served = Served::start(&sample.dataset(), &arguments);
    let made = served.get("/towers/1/1/0.png?how=log");
    assert_eq!(made.header("x-cache"), "MISS");
    // Written behind the answer's back: wait until it is there, then kill -9.
    let kept = || {
        let output = Command::new(PROGRAM).args(["cache", "stats", "--json"]).arg(&cache).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["tiles"].as_u64()
    };
    let started = std::time::Instant::now();
    while kept() != Some(1) {
        assert!(started.elapsed() < Duration::from_secs(60), "the tile is not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(served);

    let served = Served::start(&sample.dataset(), &arguments);
    let found = served.get("/towers/1/1/0.png?how=log");
    assert_eq!((found.header("x-cache"), &found.body), ("HIT", &made.body));
    assert_eq!(served.get("/towers/1/1/0.png?how=cbrt").header("x-cache"), "MISS");
    drop(served);
    std::fs::write(cache.join("tiles.sqlite"), "not a database").unwrap();
    let served = Served::start(&sample.dataset(), &arguments);
    assert_eq!(served.get("/towers/1/1/0.png?how=log").body, made.body, "a damaged cache costs a count, not an answer");
}

#[test]
#[cfg(unix)]
fn a_stopping_server_says_so_and_answers_what_it_took() {
    let sample = Sample::new(1000);
    let mut served = Served::start(&sample.dataset(), &[]);
    let stopped = std::thread::scope(|scope| {
        let under_load = scope.spawn(|| {
            // Until the socket closes every answer is whole, and at some time the server says that it is stopping.
            let mut has_said = false;
            for y in 0..100_000 {
                let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
                let Ok(tile) = agent.get(format!("{}/towers/9/7/{}.png", served.base, y % 512)).call() else { break };
                assert_eq!(tile.status(), 200);
                let Ok(ready) = agent.get(format!("{}/ready", served.base)).call() else { break };
                has_said |= ready.status() == 503;
            }
            has_said
        });
        std::thread::sleep(Duration::from_millis(100));
        let told = Command::new("kill").args(["-TERM", &served.process_id().to_string()]).status().unwrap();
        assert!(told.success());
        under_load.join().unwrap()
    });
    assert!(stopped, "/ready never turned 503");
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn the_page_speaks_to_this_server_only_until_it_is_given_another_basemap() {
    let sample = Sample::new(50);
    let bare = Served::start(&sample.dataset(), &[]).get("/");
    let policy = bare.header("content-security-policy");
    assert!(policy.contains("connect-src 'self' ;") && !policy.contains("http"), "{policy}");
    assert!(bare.text().contains(r#"name="basemap-light" content="""#), "{}", bare.text());

    let given = ["--basemap", "https://maps.example.org/light.json?key=1", "--basemap-server", "https://fonts.example.org/"];
    let other = Served::start(&sample.dataset(), &given).get("/");
    let policy = other.header("content-security-policy");
    assert!(policy.contains("connect-src 'self' https://fonts.example.org https://maps.example.org;"), "{policy}");
    assert!(policy.contains("default-src 'self';"), "{policy}");
    for name in ["basemap-light", "basemap-dark"] {
        let told = format!(r#"name="{name}" content="https://maps.example.org/light.json?key=1""#);
        assert!(other.text().contains(&told), "{}", other.text());
    }
    assert_ne!(bare.header("etag"), other.header("etag"));

    let wrong = crate::command::pointillist(["serve", sample.dataset().to_str().unwrap(), "--basemap", "maps.json"]);
    assert!(wrong.error().contains("'maps.json' is not an address that a page can load"), "{}", wrong.error());
}
