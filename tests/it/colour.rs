//! Colours over a real socket: tiles against one big canvas, first answers that are replaced, and smaller images.

use crate::served::{Got, PROGRAM, RADIOS, Row, Sample, Served};
use pointillist::engine::{CountGrid, Distribution};
use pointillist::shade::{Category, CategoryKind, Shader, Style, halo, spread};
use pointillist::world::{TileId, Zoom};
use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

const OVER_2000: &str = "filter=range%20%3E%202000";

fn is_over_2000(row: &Row) -> bool {
    row.range > 2000
}

/// All points of the world as one grid with the pixels of a zoom, by brute force; the last plane is of those without a category.
fn canvas(sample: &Sample, zoom: u8, is_wanted: impl Fn(&Row) -> bool) -> CountGrid {
    let side = 256usize << zoom;
    let mut grid = CountGrid::zeros(4, side);
    for row in sample.rows.iter().filter(|row| is_wanted(row)) {
        let pixel = |world: u32| (world >> (24 - zoom)) as usize;
        grid.counts[(row.radio.unwrap_or(3) * side + pixel(row.at.y)) * side + pixel(row.at.x)] += 1;
    }
    grid
}

fn categories() -> Vec<Category> {
    let category = |value: Option<&str>, kind| {
        let label = value.unwrap_or("no value").to_owned();
        Category { value: value.map(str::to_owned), label, color: None, kind, count: 1 }
    };
    let values = RADIOS.iter().map(|&radio| category(Some(radio), CategoryKind::Value));
    values.chain([category(None, CategoryKind::Null)]).collect()
}

/// The canvas as one image; it goes round the world eastwards and ends at the poles.
fn drawn(canvas: &CountGrid, query: &str, radius: usize) -> Vec<[u8; 4]> {
    let style = Style::parse(query.split('&').filter_map(|pair| pair.split_once('='))).unwrap();
    let around = [[None; 3], [Some(canvas); 3], [None; 3]];
    let counts = spread(&halo(around, radius).unwrap(), radius);
    let shader = Shader::new(&style, &categories(), &Distribution::of_totals(counts.totals())).unwrap();
    shader.shade(&counts).as_chunks::<4>().0.to_vec()
}

/// All tiles of a zoom, side by side; and their pixels a side.
fn mosaic(served: &Served, zoom: u8, suffix: &str, query: &str) -> (Vec<[u8; 4]>, usize) {
    let tiles = 1usize << zoom;
    let mut whole = Vec::new();
    let mut side = 0;
    for (y, x) in (0..tiles).flat_map(|y| (0..tiles).map(move |x| (y, x))) {
        let got = served.get(&format!("/towers/{zoom}/{x}/{y}{suffix}.png?{query}"));
        assert_eq!((got.status, got.header("x-tile-quality")), (200, "exact"), "{}", String::from_utf8_lossy(&got.body));
        let (pixels, tile_side) = got.pixels();
        side = tile_side as usize;
        whole.resize(tiles * side * tiles * side, [0; 4]);
        for (row, line) in pixels.chunks_exact(side).enumerate() {
            whole[(y * side + row) * tiles * side + x * side..][..side].copy_from_slice(line);
        }
    }
    (whole, side)
}

/// Goal: no seams, in any style. Method: all tiles of a zoom are, pixel by pixel, the one image of a canvas that was counted by brute
/// force, spread as a whole and shaded as a whole.
#[test]
fn a_mosaic_of_tiles_is_one_big_canvas() {
    let sample = Sample::new(4000);
    let served = Served::start(&sample.dataset(), &[]);
    for (zoom, suffix, shape, filter, query) in [
        (1, "", "", "", "how=eq_hist"),
        (2, "", "", "", "how=log&spread=2"),
        (2, "", "", "", "how=eq_hist&spread=3"),
        (2, "", "", OVER_2000, "how=cbrt&min_alpha=90&hide=LTE"),
        (1, "", "", OVER_2000, "how=linear&span=1,20&spread=1&background=14181f"),
        (2, "", "", "", "how=log&cmap=viridis"),
        (2, "", "", OVER_2000, "spread=auto&colors=GSM:ff0000,null:00ff00"),
        (3, "", "", "", "how=eq_hist&spread=3"),
        (3, "", "", OVER_2000, "how=log&cmap=fire&spread=16"),
        (1, "@2x", "", "", "spread=3"),
        (1, "", "tilesize=512", OVER_2000, "how=linear"),
        (0, "@2x", "tilesize=512", "", "how=cbrt&spread=1"),
    ] {
        let (image, side) = mosaic(&served, zoom, suffix, &format!("{query}&{filter}&{shape}"));
        let pixel_zoom = zoom + (side / 256).ilog2() as u8;
        let is_wanted = |row: &Row| filter.is_empty() || is_over_2000(row);
        let legend = served.get(&format!("/towers/legend.json?zoom={pixel_zoom}&{query}&{filter}")).json();
        let radius = legend["spread_pixels"].as_u64().unwrap() as usize;
        let expected = drawn(&canvas(&sample, pixel_zoom, is_wanted), query, radius);
        let what = format!("zoom {zoom}{suffix} {query} {filter} {shape}");
        assert_eq!(image.len(), expected.len(), "{what}");
        let differing = image.iter().zip(&expected).filter(|(ours, theirs)| ours != theirs).count();
        assert_eq!(differing, 0, "pixels differ: {what}");
        assert!(image.iter().filter(|pixel| pixel[3] > 0).count() > 500, "something is drawn: {what}");
    }
}

/// Goal: one scale for spread counts at a deep zoom too, where it is a sample's, and tiles and the legend tell it, kept tiles as well. Method: a window of 2 by 2 tiles
/// around the most points is one image of points counted by brute force, spread, and shaded by the legend's own distribution.
#[test]
fn spread_tiles_of_a_deep_zoom_go_by_the_legends_distribution() {
    const ZOOM: u8 = 11;
    let sample = Sample::new(4000);
    let cache = tempfile::tempdir().unwrap();
    let serve = || Served::start(&sample.dataset(), &["--cache-dir", cache.path().to_str().unwrap()]);
    let mut served = serve();
    let densest = sample.rows.iter().map(|row| TileId::containing(row.at, Zoom::new(ZOOM).unwrap()));
    let mut points: HashMap<(u32, u32), usize> = HashMap::new();
    densest.for_each(|tile| *points.entry((tile.x(), tile.y())).or_default() += 1);
    assert!(points.len() > 1024, "{} tiles are too few for a sample", points.len());
    let (&(x, y), _) = points.iter().max_by_key(|&(tile, points)| (points, *tile)).unwrap();
    for query in ["how=eq_hist&spread=2", "how=cbrt&spread=5&cmap=fire", "spread=auto&min_alpha=90"] {
        let legend = served.get(&format!("/towers/legend.json?zoom={ZOOM}&{query}"));
        let quality = legend.header("x-tile-quality").to_owned();
        let legend = legend.json();
        let radius = legend["spread_pixels"].as_u64().unwrap() as usize;
        assert_eq!((quality.as_str(), &legend["quality"]), (if radius > 0 { "sample" } else { "exact" }, &quality.as_str().into()), "{query}");
        let path = format!("/towers/{ZOOM}/{x}/{y}.png?{query}");
        let first = served.get(&path);
        assert_eq!((first.header("x-cache"), first.header("x-tile-quality")), ("MISS", quality.as_str()));
        assert!(!first.header("etag").contains("preview") && first.header("cache-control").contains("stale-while-revalidate"));
        let again = served.get(&path);
        assert_eq!((again.header("x-cache"), again.header("x-tile-quality")), ("HIT", quality.as_str()));
        let numbers = |name: &str| legend["distribution"][name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>();
        let pixels_by_count = numbers("counts").into_iter().map(|count| count as u32).zip(numbers("pixels")).collect();
        // The window with a tile around it.
        let (mut window, side) = (CountGrid::zeros(4, 1024), 1024);
        for row in &sample.rows {
            let pixel = |world: u32, tile: u32| ((world >> (24 - ZOOM)) as usize).wrapping_sub((tile as usize - 1) * 256);
            let (column, line) = (pixel(row.at.x, x), pixel(row.at.y, y));
            if column < side && line < side {
                window.counts[(row.radio.unwrap_or(3) * side + line) * side + column] += 1;
            }
        }
        let counts = spread(&halo([[None; 3], [None, Some(&window), None], [None; 3]], radius).unwrap(), radius);
        let style = Style::parse(query.split('&').filter_map(|pair| pair.split_once('='))).unwrap();
        let shader = Shader::new(&style, &categories(), &Distribution { pixels_by_count }).unwrap();
        let image = shader.shade(&counts);
        let expected = image.as_chunks::<4>().0;
        let mut shown = 0;
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (tile, _) = served.get(&format!("/towers/{ZOOM}/{}/{}.png?{query}", x + dx, y + dy)).pixels();
            for (line, pixels) in tile.chunks_exact(256).enumerate() {
                let from = ((1 + dy as usize) * 256 + line) * side + (1 + dx as usize) * 256;
                assert_eq!(pixels, &expected[from..from + 256], "{query}, tile {dx},{dy}, row {line}");
                shown += pixels.iter().filter(|pixel| pixel[3] > 0).count();
            }
        }
        assert!(shown > 100, "{shown} pixels");
        drop(served);
        served = serve();
        let kept = served.get(&path);
        assert_eq!((kept.header("x-cache"), kept.header("x-tile-quality")), ("HIT", quality.as_str()), "on disk");
        assert!(kept.body == first.body);
    }
}

/// Goal: a colour means one thing on the whole map. Method: every mix of counts in any tile of a zoom has one colour.
#[test]
fn the_same_mix_has_the_same_colour_in_every_tile_of_a_zoom() {
    let sample = Sample::new(4000);
    let served = Served::start(&sample.dataset(), &[]);
    /// A colour, and the tile that it was first met in.
    type Met = ([u8; 4], (usize, usize));
    let mut colors: HashMap<[u32; 4], Met> = HashMap::new();
    let mut met_again = 0;
    for (x, y) in (0..4).flat_map(|y| (0..4).map(move |x| (x, y))) {
        let counts = served.get(&format!("/towers/2/{x}/{y}.npy")).counts();
        let (pixels, _) = served.get(&format!("/towers/2/{x}/{y}.png")).pixels();
        for (index, color) in pixels.into_iter().enumerate() {
            let mix = [0, 1, 2, 3].map(|plane| counts[plane * 65536 + index]);
            if mix == [0; 4] {
                assert_eq!(color, [0; 4]);
                continue;
            }
            let (first, tile) = *colors.entry(mix).or_insert((color, (x, y)));
            assert_eq!(color, first, "{mix:?} in tile {x},{y} and in {tile:?}");
            met_again += usize::from(tile != (x, y));
        }
    }
    assert!(colors.len() > 20 && met_again > 500, "{} mixes, met again in other tiles {met_again} times", colors.len());
}

/// Asks until the answer is exact.
pub fn when_exact(ask: impl Fn() -> Got) -> Got {
    let begun = Instant::now();
    loop {
        let got = ask();
        if got.header("x-tile-quality") == "exact" {
            return got;
        }
        assert_eq!(got.header("x-tile-quality"), "preview");
        assert!(begun.elapsed() < Duration::from_secs(30), "the exact tile does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_preview_is_marked_and_replaced_by_the_exact_tile() {
    let sample = Sample::new(4000);
    let exact_only = Served::start(&sample.dataset(), &[]);
    let served = Served::start(&sample.dataset(), &["--preview-budget", "0"]);
    let path = "/towers/3/1/5.png?how=log";
    let first = served.get(path);
    assert_eq!((first.status, first.header("x-tile-quality"), first.header("x-cache")), (200, "preview", "MISS"));
    assert_eq!(first.header("cache-control"), "public, max-age=2");
    assert!(first.header("etag").ends_with("-preview\""), "{}", first.header("etag"));
    assert!(served.metric("pointillist_tile_previews_total") >= 1.0);

    let known = first.header("etag");
    let exact = when_exact(|| {
        let got = served.get_with(path, &[("If-None-Match", known)]);
        // Known as long as it is the preview; then the exact tile, which is another one.
        if got.status == 304 { first.clone() } else { got }
    });
    let expected = exact_only.get(path);
    assert_eq!((expected.status, expected.header("x-tile-quality")), (200, "exact"));
    assert_eq!((&exact.body, exact.header("etag")), (&expected.body, expected.header("etag")));
    assert_eq!(exact.header("x-cache"), "MISS", "the preview was not kept for the exact tile");
    assert!(exact.header("cache-control").contains("stale-while-revalidate"));
    assert_eq!(served.get(path).header("x-cache"), "HIT");

    // The preview had the same points in the same pixels: only what an opacity stands for was estimated.
    let shown = |got: &Got| got.pixels().0.iter().map(|pixel| pixel[3] > 0).collect::<Vec<bool>>();
    assert!(shown(&first).contains(&true) && shown(&first) == shown(&exact));
    // Another style of the same zoom needs no new distribution; another filter does.
    assert_eq!(served.get("/towers/3/1/5.png?cmap=fire").header("x-tile-quality"), "exact");
    let legend = |query: &str| served.get(&format!("/towers/legend.json?zoom=3&{query}"));
    assert_eq!(legend("how=log").json(), exact_only.get("/towers/legend.json?zoom=3&how=log").json());
    let filtered = legend(OVER_2000);
    assert_eq!((filtered.header("x-tile-quality"), &filtered.json()["quality"]), ("preview", &"preview".into()));
    assert_eq!(filtered.header("cache-control"), "public, max-age=2");
    let filtered = when_exact(|| legend(OVER_2000));
    assert_eq!(filtered.json(), exact_only.get(&format!("/towers/legend.json?zoom=3&{OVER_2000}")).json());
    // What needs no distribution is exact at once.
    assert_eq!(served.get("/towers/4/2/10.png?normalize=tile").header("x-tile-quality"), "exact");
    assert_eq!(served.get("/towers/4/2/10.npy").header("x-tile-quality"), "exact");
    assert_eq!(served.get("/towers/4/2/10.png?how=log&span=1,100&spread=1").header("x-tile-quality"), "exact");
    // Spread points have a distribution of their own.
    let spread = "/towers/3/1/5.png?how=log&spread=2";
    assert_eq!(served.get(spread).header("x-tile-quality"), "preview");
    assert_eq!(when_exact(|| served.get(spread)).body, exact_only.get(spread).body);
}

#[test]
fn sizes_and_formats_are_said_in_tile_json_and_wrong_ones_refused() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &[]);
    let document = served.get("/towers.json?tilesize=512&format=png8&how=log").json();
    assert_eq!(document["tileSize"], 512);
    let address = document["tiles"][0].as_str().unwrap();
    assert!(address.contains("format=png8&tilesize=512&how=log&v="), "{address}");
    assert!(document["legend"].as_str().unwrap().contains("legend.json?tilesize=512&how=log"), "{document}");
    let path = address.strip_prefix(&served.base).unwrap().replace("{z}/{x}/{y}", "1/0/1");
    assert_eq!(served.get(&path).pixels().1, 512);
    assert_eq!(served.get("/towers/style.json?tilesize=512").json()["sources"]["points"]["tileSize"], 512);
    assert_eq!(served.get("/towers/1/0/1@2x.png?tilesize=512").pixels().1, 1024);
    let (of_1024, _) = served.get("/towers/22/5/9@2x.png?tilesize=512").pixels();
    assert_eq!(of_1024, vec![[0; 4]; 1024 * 1024], "an empty tile of the deepest zoom, as fine as can be");
    let counts = |path: &str| served.get(path).counts().iter().map(|&n| u64::from(n)).sum::<u64>();
    assert_eq!(counts("/towers/0/0/0.npy?tilesize=512"), 2000);

    let exact = served.get("/towers/1/0/1.png");
    let small = served.get("/towers/1/0/1.png?format=png8");
    assert_ne!(small.header("etag"), exact.header("etag"));
    let shown = |got: &Got| got.pixels().0.iter().map(|pixel| pixel[3] > 0).collect::<Vec<bool>>();
    assert_eq!(shown(&small), shown(&exact));
    for (wrong, allowed) in [("format=gif", "png or png8"), ("tilesize=300", "256 or 512"), ("tilesize=1024", "256 or 512")] {
        let got = served.get(&format!("/towers/1/0/1.png?{wrong}"));
        assert_eq!(got.status, 400);
        assert!(got.json()["detail"].as_str().unwrap().contains(allowed), "{}", got.text());
    }
}

/// Goal: a dataset has a style of its own, which requests change. Method: given at ingest, seen in the legend and in TileJSON.
#[test]
fn a_dataset_keeps_the_style_it_was_ingested_with() {
    let sample = Sample::new(500);
    let input = sample.folder.path().join("towers.csv");
    let ingested = |output: &str, style: &[&str]| {
        let arguments = style.iter().flat_map(|parameter| ["--style", parameter]);
        Command::new(PROGRAM).arg("ingest").arg(&input).arg("-o").arg(sample.folder.path().join(output)).args(arguments).output().unwrap()
    };
    for (style, said) in [("how=sqrt", "eq_hist, log, cbrt, linear"), ("hwo=log", "the parameters are"), ("log", "NAME=VALUE")] {
        let refused = ingested("never", &[style]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && message.contains(said), "{message}");
    }
    assert!(!sample.folder.path().join("never").exists());
    let made = ingested("styled", &["by=radio", "how=log", "cmap=fire", "spread=2"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let served = Served::start(&sample.folder.path().join("styled"), &[]);
    let legend = served.get("/styled/legend.json?zoom=1").json();
    assert_eq!((&legend["how"], &legend["spread_pixels"]), (&"log".into(), &2.into()));
    assert!(!legend["ramp"].as_array().unwrap().is_empty());
    let changed = served.get("/styled/legend.json?zoom=1&how=cbrt&cmap=none").json();
    assert_eq!((&changed["how"], changed["ramp"].as_array().unwrap().len()), (&"cbrt".into(), 0));
    assert_eq!(changed["categories"].as_array().unwrap().len(), 4, "{changed}");
    let address = served.get("/styled.json?how=cbrt").json()["tiles"][0].as_str().unwrap().to_owned();
    assert!(address.contains("?how=cbrt&v="), "{address}: the dataset's own style need not be said");
    let plain = Served::start(&sample.dataset(), &[]);
    let spelt_out = plain.get("/towers/1/0/1.png?by=radio&how=log&cmap=fire&spread=2").pixels();
    assert_eq!(served.get("/styled/1/0/1.png").pixels(), spelt_out);
}
