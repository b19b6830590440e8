//! Aggregates over a real socket: what a column comes to per pixel, against the rows that went in.

use crate::colour::when_exact;
use crate::served::{Got, PROGRAM, Served};
use pointillist::world::{TileId, WorldPoint, Zoom, world_from_lonlat};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use tempfile::TempDir;

/// A ship's report. Speeds have one decimal, depths all that an f64 has; either may be missing.
struct Report {
    at: WorldPoint,
    speed: Option<f64>,
    depth: Option<f64>,
    seen: i64,
}

/// A dataset named `ships`.
fn ships() -> (TempDir, Vec<Report>) {
    let mut csv = String::from("name,lon,lat,speed,depth,seen,anchored\n");
    let mut reports = Vec::new();
    for i in 0..3000u32 {
        // Many share a pixel, some lie alone.
        let (lon, lat) = (f64::from(i % 13) * 11.0 - 60.0, f64::from(i * 7 % 71) / (1.0 + f64::from(i % 4) * 40.0));
        let speed = (i % 5 > 0).then(|| (f64::from(i * 37 % 409) - 50.0) / 10.0);
        let depth = (i % 7 > 1).then(|| f64::from(i).sqrt() * -std::f64::consts::E);
        let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let seen = format!("19{}-01-0{}T00:00:00.{:03}Z", 60 + i % 20, 1 + i % 9, i % 1000);
        writeln!(csv, "ship {},{lon},{lat},{},{},{seen},{}", i % 50, text(speed), text(depth), i % 3 == 0).unwrap();
        let seen = seen.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        reports.push(Report { at: world_from_lonlat(lon, lat).unwrap(), speed, depth, seen });
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("ships.csv");
    std::fs::write(&input, csv).unwrap();
    let output = Command::new(PROGRAM).arg("ingest").arg(&input).args(["--category", "name", "-o"]).arg(folder.path().join("ships")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, reports)
}

/// The values of an npy body of f64.
fn values(got: &Got) -> Vec<f64> {
    assert_eq!(got.status, 200, "{}", got.text());
    let header = 10 + usize::from(u16::from_le_bytes([got.body[8], got.body[9]]));
    let described = String::from_utf8_lossy(&got.body[10..header]).into_owned();
    assert!(described.contains("'<f8'") && described.contains("'shape': (1, "), "{described}");
    got.body[header..].chunks_exact(8).map(|n| f64::from_le_bytes(n.try_into().unwrap())).collect()
}

/// The values of a tile's points that have one, by pixel.
fn by_pixel(reports: &[Report], tile: TileId, value: impl Fn(&Report) -> Option<f64>) -> BTreeMap<usize, Vec<f64>> {
    let mut pixels: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let shift = 32 - tile.zoom().pixel_level();
    for report in reports.iter().filter(|report| TileId::containing(report.at, tile.zoom()) == tile) {
        let pixel = |v: u32| ((v >> shift) & 255) as usize;
        if let Some(value) = value(report) {
            pixels.entry(pixel(report.at.y) * 256 + pixel(report.at.x)).or_default().push(value);
        }
    }
    pixels
}

#[test]
fn values_equal_brute_force_and_a_pixel_without_any_is_empty() {
    let (folder, reports) = ships();
    let served = Served::start(&folder.path().join("ships"), &[]);
    let deep = TileId::containing(reports[5].at, Zoom::new(9).unwrap());
    let slow = |report: &Report| report.speed.filter(|&speed| speed < 20.0);
    type Measured = fn(&[f64]) -> f64;
    let measures: [(&str, Measured); 4] = [
        // Speeds are tenths: their sum is exact.
        ("sum", |v| v.iter().map(|v| (v * 10.0).round()).sum::<f64>() / 10.0),
        ("mean", |v| v.iter().map(|v| (v * 10.0).round()).sum::<f64>() / (10.0 * v.len() as f64)),
        ("min", |v| v.iter().copied().fold(f64::INFINITY, f64::min)),
        ("max", |v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
    ];
    for tile in [TileId::new(0, 0, 0).unwrap(), TileId::new(1, 1, 0).unwrap(), deep] {
        let address = format!("/ships/{}/{}/{}.npy", tile.z(), tile.x(), tile.y());
        for (agg, measure) in measures {
            let got = values(&served.get(&format!("{address}?agg={agg}&column=speed")));
            let expected = by_pixel(&reports, tile, |report| report.speed);
            assert!(!expected.is_empty());
            for (pixel, &value) in got.iter().enumerate() {
                match expected.get(&pixel) {
                    Some(values) => assert_eq!(value, measure(values), "{agg} of pixel {pixel} of {tile}"),
                    None => assert!(value.is_nan(), "{agg} of pixel {pixel} of {tile}, which has no speed, is {value}"),
                }
            }
            let got = values(&served.get(&format!("{address}?agg={agg}&column=speed&filter=speed%20%3C%2020")));
            for (pixel, values) in by_pixel(&reports, tile, slow) {
                assert_eq!(got[pixel], measure(&values));
            }
        }
        // Floats are added in the order of the file where points share a place; to within a rounding in any.
        let got = values(&served.get(&format!("{address}?agg=sum&column=depth")));
        for (pixel, depths) in by_pixel(&reports, tile, |report| report.depth) {
            let sum: f64 = depths.iter().sum();
            assert!((got[pixel] - sum).abs() <= 1e-12 * sum.abs(), "{} and {sum}", got[pixel]);
        }
        let got = values(&served.get(&format!("{address}?agg=min&column=seen")));
        for (pixel, times) in by_pixel(&reports, tile, |report| Some(report.seen as f64)) {
            assert_eq!(got[pixel], times.iter().copied().fold(f64::INFINITY, f64::min), "microseconds since 1970");
        }
        // Points with a value, as SQL's count(column).
        let got = served.get(&format!("{address}?agg=count&column=speed&by=none")).counts();
        let expected = by_pixel(&reports, tile, |report| report.speed);
        for (pixel, &count) in got.iter().enumerate() {
            assert_eq!(count as usize, expected.get(&pixel).map_or(0, Vec::len));
        }
    }
    assert_eq!(served.get("/ships/0/0/0.npy?agg=count").body, served.get("/ships/0/0/0.npy").body);
    let share = values(&served.get("/ships/0/0/0.npy?agg=mean&column=anchored"));
    assert!(share.iter().any(|&share| share > 0.0 && share < 1.0), "a mean of booleans is a share");
}

#[test]
fn an_image_has_the_legends_colours() {
    let (folder, reports) = ships();
    let served = Served::start(&folder.path().join("ships"), &[]);
    let query = "agg=max&column=speed&how=linear&cmap=gray";
    let (pixels, _) = served.get(&format!("/ships/1/1/0.png?{query}")).pixels();
    let zoom = Zoom::new(1).unwrap();
    let all: Vec<f64> = (0..2)
        .flat_map(|x| (0..2).map(move |y| TileId::new(1, x, y).unwrap()))
        .flat_map(|tile| by_pixel(&reports, tile, |report| report.speed).into_values())
        .map(|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        .collect();
    let (lo, hi) = (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let here = by_pixel(&reports, TileId::containing(world_from_lonlat(50.0, 1.0).unwrap(), zoom), |report| report.speed);
    assert!(here.len() > 20);
    for (pixel, color) in pixels.iter().enumerate() {
        match here.get(&pixel) {
            None => assert_eq!(*color, [0; 4]),
            Some(values) => {
                let value = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let level = ((value - lo) / (hi - lo) * 255.0) as u8;
                assert_eq!(*color, [level, level, level, 255], "{value} between {lo} and {hi}");
            }
        }
    }
    // The same zoom's tiles as one image of finer pixels.
    let (fine, side) = served.get(&format!("/ships/0/0/0@2x.png?{query}")).pixels();
    assert_eq!(side, 512);
    let quarter: Vec<[u8; 4]> = fine.chunks_exact(512).take(256).flat_map(|row| row[256..].to_vec()).collect();
    assert_eq!(quarter, pixels);

    let legend = served.get(&format!("/ships/legend.json?zoom=1&{query}")).json();
    assert_eq!(legend["aggregate"], serde_json::json!({ "agg": "max", "column": "speed" }));
    assert_eq!((&legend["distribution"]["lowest"], &legend["distribution"]["highest"]), (&lo.into(), &hi.into()));
    assert_eq!(legend["distribution"]["pixels"], all.len());
    let stops = legend["stops"].as_array().unwrap();
    assert_eq!((&stops[0]["value"], &stops[0]["color"]), (&lo.into(), &"#000000".into()));
    assert_eq!((&stops[5]["value"], &stops[5]["color"]), (&hi.into(), &"#ffffff".into()));
    assert_eq!(legend["ramp"].as_array().unwrap().len(), legend["ramp_values"].as_array().unwrap().len());
    assert!(served.get(&format!("/ships/legend.png?zoom=1&{query}")).pixels().1 > 100);
    let times = served.get("/ships/legend.json?agg=min&column=seen").json();
    assert_eq!(times["stops"][0]["label"], "1960-01-01");
}

#[test]
fn an_aggregate_has_addresses_and_caches_of_its_own() {
    let (folder, _) = ships();
    let served = Served::start(&folder.path().join("ships"), &[]);
    let queries = ["", "agg=mean&column=speed", "agg=max&column=speed", "agg=mean&column=depth", "agg=count&column=speed"];
    for extension in ["npy", "png"] {
        let got: Vec<Got> = queries.iter().map(|query| served.get(&format!("/ships/1/1/0.{extension}?{query}"))).collect();
        for (i, one) in got.iter().enumerate() {
            assert_eq!(one.status, 200, "{}", one.text());
            for other in &got[..i] {
                assert_ne!(one.header("etag"), other.header("etag"));
            }
        }
    }
    let first = served.get("/ships/1/1/0.png?column=speed&agg=mean");
    assert_eq!(first.header("x-cache"), "HIT", "in another order it is the same tile");
    let known = served.get_with("/ships/1/1/0.png?agg=mean&column=speed", &[("If-None-Match", first.header("etag"))]);
    assert_eq!(known.status, 304);
    // Another style of the same values reads no point.
    let read = || served.metric("pointillist_device_seconds_total{stage=\"aggregate\"}");
    let before = read();
    assert!(before > 0.0);
    assert_eq!(served.get("/ships/1/1/0.png?agg=mean&column=speed&how=log&cmap=fire").header("x-cache"), "MISS");
    assert_eq!(read(), before);

    // A scale that is given is not worked out.
    let worked_out = || served.metric("pointillist_device_seconds_total{stage=\"value_distribution\"}");
    let before = worked_out();
    assert_eq!(served.get("/ships/2/2/1.png?agg=mean&column=speed&how=linear&span=0,20").status, 200);
    assert_eq!(worked_out(), before);
    assert_eq!(served.get("/ships/2/2/1.png?agg=mean&column=speed&how=linear").status, 200);
    assert!(worked_out() > before);

    let template = served.get("/ships.json?agg=mean&column=speed&how=linear&span=0,20").json();
    let tiles = template["tiles"][0].as_str().unwrap();
    assert!(tiles.contains("agg=mean&column=speed&how=linear&span=0,20"), "{tiles}");
    let address = tiles.replace("{z}", "1").replace("{x}", "1").replace("{y}", "0");
    let carried = served.get(address.strip_prefix(&served.base).unwrap());
    let asked = served.get("/ships/1/1/0.png?agg=mean&column=speed&how=linear&span=0,20");
    assert_eq!((carried.status, carried.header("etag")), (200, asked.header("etag")));
}

#[test]
fn what_no_aggregate_can_be_is_said() {
    let (folder, _) = ships();
    let served = Served::start(&folder.path().join("ships"), &[]);
    for (query, said) in [
        ("agg=median&column=speed", "give one of count, sum, mean, min, max"),
        ("agg=mean", "agg=mean is of a column: add column=NAME"),
        ("agg=mean&column=velocity", "there is no column 'velocity': the columns are name, "),
        ("agg=mean&column=name", "column 'name' is text, of which there is no mean: the columns of numbers and times are speed, depth"),
        ("agg=sum&column=seen", "ask for its mean, min or max"),
        ("agg=mean&column=speed&by=name", "leave by out"),
    ] {
        for address in ["/ships/0/0/0.png", "/ships/0/0/0.npy", "/ships/legend.json", "/ships.json"] {
            let got = served.get(&format!("{address}?{query}"));
            assert_eq!(got.status, 400, "{address}?{query}: {}", got.text());
            assert!(got.json()["detail"].as_str().unwrap().contains(said), "{}", got.text());
        }
    }
    for (address, said) in [
        ("/ships/0/0/0.png?agg=mean&column=speed&spread=2", "leave spread out"),
        ("/ships/0/0/0.png?agg=mean&column=speed&hide=x", "leave hide out"),
        ("/ships/0/0/0.npy?agg=mean&column=speed&dtype=u32", "the values of an aggregate are f64"),
        ("/ships/0/0/0.png?agg=mean&column=speed&how=log&span=5,1", "give two numbers, the lower first"),
    ] {
        let got = served.get(address);
        assert_eq!(got.status, 400, "{address}: {}", got.text());
        assert!(got.json()["detail"].as_str().unwrap().contains(said), "{}", got.text());
    }
}

/// Goal: previews of values are as those of counts. Method: a server whose every scale takes too long, beside one whose none does.
#[test]
fn a_preview_of_values_is_marked_and_replaced() {
    let (folder, _) = ships();
    let exact_only = Served::start(&folder.path().join("ships"), &[]);
    let served = Served::start(&folder.path().join("ships"), &["--preview-budget", "0"]);
    let path = "/ships/3/4/3.png?agg=mean&column=speed";
    let first = served.get(path);
    assert_eq!((first.status, first.header("x-tile-quality")), (200, "preview"), "{}", String::from_utf8_lossy(&first.body));
    assert_eq!(first.header("cache-control"), "public, max-age=2");
    assert!(first.header("etag").ends_with("-preview\""), "{}", first.header("etag"));
    let exact = when_exact(|| served.get(path));
    let expected = exact_only.get(path);
    assert_eq!((&exact.body, exact.header("etag")), (&expected.body, expected.header("etag")));
    assert_eq!((exact.header("x-cache"), served.get(path).header("x-cache")), ("MISS", "HIT"), "the preview was not kept");
    let shown = |got: &Got| got.pixels().0.iter().map(|pixel| pixel[3] > 0).collect::<Vec<bool>>();
    assert!(shown(&first).contains(&true) && shown(&first) == shown(&exact));
    // Another style of the same values needs no new scale, another measure does.
    assert_eq!(served.get(&format!("{path}&cmap=fire&how=log")).header("x-tile-quality"), "exact");
    let legend = |served: &Served| served.get("/ships/legend.json?zoom=3&agg=max&column=speed");
    assert_eq!(legend(&served).json()["quality"], "preview");
    assert_eq!(when_exact(|| legend(&served)).json(), legend(&exact_only).json());
    // What needs no scale is exact at once.
    for path in ["/ships/4/8/7.png?agg=min&column=speed&how=linear&span=0,20", "/ships/4/8/7.png?agg=min&column=speed&normalize=tile", "/ships/4/8/7.npy?agg=min&column=speed"] {
        assert_eq!(served.get(path).header("x-tile-quality"), "exact", "{path}");
    }
}
