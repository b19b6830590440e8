//! What shading and encoding a tile costs, in milliseconds and bytes.
//!
//! ```text
//! cargo bench --bench encode                                          synthetic tiles
//! POINTILLIST_DATASETS=towers:ships cargo bench --bench encode        and tiles of these ingested datasets
//! POINTILLIST_PICTURES=DIR cargo bench --bench encode                 and our files there
//! ```
//!
//! First a table of bytes and of milliseconds of processor time (median, 95th percentile and maximum over the tiles, each the
//! best of five runs) against the png crate; then criterion's figures for single tiles. `benches/peers/encoding.py` adds what oxipng
//! still makes of our files.

use cpu_time::ThreadTime;
use criterion::Criterion;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use libdeflater::{CompressionLvl, Compressor};
use pointillist::dataset::Dataset;
use pointillist::encode::{self, Quality};
use pointillist::engine::cpu::CpuEngine;
use pointillist::engine::{Cancel, CountGrid, Distribution, Engine, Groups};
use pointillist::filter::Filter;
use pointillist::shade::{Category, CategoryKind, Shader, Style};
use pointillist::world::{TileId, Zoom};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A tile's counts with the distribution that its zoom has.
struct Sample {
    name: String,
    grid: CountGrid,
    distribution: Arc<Distribution>,
}

/// The styles that every tile is drawn in: opacities over mixed colours, and two ramps.
const STYLES: [&[(&str, &str)]; 4] =
    [&[], &[("how", "log")], &[("cmap", "fire")], &[("background", "14181f"), ("min_alpha", "90")]];

fn main() {
    let mut samples = synthetic();
    match std::env::var("POINTILLIST_DATASETS") {
        Ok(folders) => folders.split(':').for_each(|folder| samples.extend(of_dataset(Path::new(folder)))),
        Err(_) => {
            eprintln!("SKIPPED real data: set POINTILLIST_DATASETS to the folders of ingested datasets, joined by ':'")
        }
    }
    let (synthetic, real): (Vec<&Sample>, Vec<&Sample>) = samples.iter().partition(|sample| sample.is_synthetic());
    println!("| tiles | step | median ms | p95 ms | max ms | mean bytes |\n|---|---|---|---|---|---|");
    for (name, samples) in [("real", &real), ("synthetic", &synthetic)] {
        if !samples.is_empty() {
            table(name, samples);
        }
    }
    let mut criterion = Criterion::default().configure_from_args();
    for sample in synthetic.iter().filter(|sample| sample.name.ends_with(" 0")) {
        let shader = shader_of(sample, &Style::default());
        let rgba = shader.shade(&sample.grid);
        criterion
            .bench_function(&format!("shade/{}", sample.name), |b| b.iter(|| shader.shade(black_box(&sample.grid))));
        criterion.bench_function(&format!("png/{}", sample.name), |b| {
            b.iter(|| encode::png(black_box(&rgba), sample.grid.size, Quality::Exact));
        });
    }
    criterion.final_summary();
}

impl Sample {
    fn is_synthetic(&self) -> bool {
        self.name.starts_with("synthetic")
    }
}

/// Synthetic tiles of each kind.
const SYNTHETIC_EACH: usize = 6;

/// Clusters of points, from a few to many more than pixels, by a congruential generator: the same on every machine.
fn synthetic() -> Vec<Sample> {
    let mut state = 1u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let kinds = [("sparse", 1_500), ("towers", 20_000), ("dense", 300_000), ("solid", 3_000_000)];
    kinds
        .into_iter()
        .flat_map(|kind| (0..SYNTHETIC_EACH).map(move |number| (kind, number)))
        .map(|((name, points), number)| {
            let centres: Vec<[f64; 3]> =
                (0..60).map(|_| [uniform() * 256.0, uniform() * 256.0, 4.0 + 60.0 * uniform().powi(3)]).collect();
            let mut grid = CountGrid::zeros(5, 256);
            for _ in 0..points {
                let [x, y, radius] = centres[(uniform().powi(2) * 60.0) as usize];
                // The sum of four uniform numbers is close to a normal one.
                let mut offset = || (uniform() + uniform() + uniform() + uniform() - 2.0) * radius;
                let (column, row) = ((x + offset()) as usize, (y + offset()) as usize);
                let category = (uniform().powi(3) * 5.0) as usize;
                if column < 256 && row < 256 {
                    grid.counts[(category * 256 + row) * 256 + column] += 1;
                }
            }
            let distribution = Arc::new(Distribution::of_totals(grid.totals()));
            Sample { name: format!("synthetic {name} {number}"), grid, distribution }
        })
        .collect()
}

/// Of every second zoom the tile with the most points, two between, and the one with the fewest of those beside it.
fn of_dataset(folder: &Path) -> Vec<Sample> {
    let never = Cancel::never();
    let dataset = Arc::new(Dataset::open(folder).expect("POINTILLIST_DATASETS names datasets"));
    let groups = match dataset.manifest.category.as_deref().and_then(|name| dataset.column_id(name)) {
        Some(column) => Groups::by_column(&dataset, column, &[]).expect("the main column is categorical"),
        None => Groups::none(&dataset),
    };
    let engine = CpuEngine::new(dataset.clone());
    let selection = engine.select(&Arc::new(Filter::all()), &Arc::new(groups), &never).expect("everything is selected");
    let count = |tile: TileId| engine.count(&selection, &[tile], &never).expect("a tile is counted").remove(0);
    let mut samples = Vec::new();
    let mut densest = TileId::new(0, 0, 0).expect("there is a tile 0/0/0");
    while densest.z() <= 14 {
        let grid = count(densest);
        // The tiles two zooms deeper, by the sums of their 64 by 64 pixels here.
        let mut below = [0u64; 16];
        for (index, total) in grid.totals().into_iter().enumerate() {
            below[index / 256 / 64 * 4 + index % 256 / 64] += u64::from(total);
        }
        let mut ranked: Vec<usize> = (0..16).filter(|&i| below[i] > 0).collect();
        ranked.sort_by_key(|&i| std::cmp::Reverse(below[i]));
        let z = densest.z() + 2;
        let tile_at = |i: usize| TileId::new(z, densest.x() * 4 + i as u32 % 4, densest.y() * 4 + i as u32 / 4);
        let zoom = Zoom::new(z).expect("zoom 16 is the deepest here");
        let distribution = Arc::new(engine.distribution(&selection, zoom, &never).expect("a zoom has a distribution"));
        let mut picks = [0, ranked.len() / 4, ranked.len() / 2, ranked.len() - 1].map(|place| ranked[place]).to_vec();
        picks.dedup();
        for pick in picks {
            let tile = tile_at(pick).expect("a tile below a tile exists");
            let name = format!("{} {}/{}/{}", dataset.manifest.name, tile.z(), tile.x(), tile.y());
            samples.push(Sample { name, grid: count(tile), distribution: distribution.clone() });
        }
        densest = tile_at(ranked[0]).expect("a tile below a tile exists");
    }
    samples
}

fn shader_of(sample: &Sample, style: &Style) -> Shader {
    let category = |i: usize| Category {
        value: Some(i.to_string()),
        label: i.to_string(),
        color: None,
        kind: CategoryKind::Value,
        count: 1,
    };
    let categories: Vec<Category> = (0..sample.grid.categories).map(category).collect();
    Shader::new(style, &categories, &sample.distribution).expect("a style that names no categories fits all")
}

/// Bytes and milliseconds of each step over the samples in every style.
fn table(of: &str, samples: &[&Sample]) {
    let pictures = std::env::var_os("POINTILLIST_PICTURES").map(PathBuf::from);
    let mut rows: Vec<(&str, Vec<f64>, Vec<usize>)> = Vec::new();
    let mut add = |name: &'static str, (ms, bytes): (f64, usize)| match rows.iter_mut().find(|row| row.0 == name) {
        Some(row) => {
            row.1.push(ms);
            row.2.push(bytes);
        }
        None => rows.push((name, vec![ms], vec![bytes])),
    };
    for (sample, (number, pairs)) in samples.iter().flat_map(|sample| STYLES.iter().enumerate().map(move |style| (sample, style))) {
        let shader = shader_of(sample, &Style::parse(pairs.iter().copied()).expect("the styles here are styles"));
        let rgba = shader.shade(&sample.grid);
        add("shade", best(|| shader.shade(&sample.grid)));
        let exact = best(|| encode::png(&rgba, 256, Quality::Exact));
        add("**png, ours**", exact);
        let picture = encode::png(&rgba, 256, Quality::Exact);
        add("png, ours until 2026-11-23", before(&rgba, &picture, exact));
        add("png crate, default (balanced)", best(|| png_crate(&rgba, png::Compression::Balanced)));
        add("png crate, fast", best(|| png_crate(&rgba, png::Compression::Fast)));
        add("png crate, high", best(|| png_crate(&rgba, png::Compression::High)));
        let small = best(|| encode::png(&rgba, 256, Quality::Palette));
        if small.1 != exact.1 {
            add("png, ours, where there are more than 256 colours", exact);
            add("**png8, ours**, there", small);
        }
        if let Some(folder) = &pictures {
            let name = format!("{of}-{}-{number}.png", sample.name.replace([' ', '/'], "-"));
            std::fs::write(folder.join(name), picture).expect("POINTILLIST_PICTURES is a folder");
        }
    }
    for (name, mut ms, bytes) in rows {
        ms.sort_by(f64::total_cmp);
        let mean = bytes.iter().sum::<usize>() / bytes.len();
        let (median, p95, max) = (ms[ms.len() / 2], ms[ms.len() * 95 / 100], ms[ms.len() - 1]);
        println!("| {of}, {} | {name} | {median:.2} | {p95:.2} | {max:.2} | {mean} |", ms.len());
    }
}

/// The best of five runs in milliseconds of processor time, and the bytes that came out.
fn best(run: impl Fn() -> Vec<u8>) -> (f64, usize) {
    let once = || {
        let started = ThreadTime::now();
        let bytes = black_box(run()).len();
        (started.elapsed().as_secs_f64() * 1e3, bytes)
    };
    (0..5).map(|_| once()).min_by(|a, b| a.0.total_cmp(&b.0)).expect("five runs")
}

/// What the encoder took until 2026-11-23, which deflated the same scanlines by zlib-rs: time and bytes of now, with the one deflate in
/// place of the other, both timed here.
fn before(rgba: &[u8], picture: &[u8], (ms, bytes): (f64, usize)) -> (f64, usize) {
    let deflated = chunk(picture, b"IDAT");
    let mut scanlines = Vec::new();
    ZlibDecoder::new(deflated).read_to_end(&mut scanlines).expect("our own file is whole");
    // As it was: the level went by the share of pixels that differ from the one before.
    let (pixels, _) = rgba.as_chunks::<4>();
    let changes = pixels.windows(2).filter(|two| two[0] != two[1]).count() as f64 / pixels.len() as f64;
    const INDEXED: u8 = 3;
    let level = match (chunk(picture, b"IHDR")[9] == INDEXED, changes) {
        (true, few) => if few > 0.32 { 5 } else { 6 },
        (false, few) if few < 0.14 => 6,
        (false, few) if few < 0.32 => 5,
        (false, few) if few < 0.45 => 4,
        (false, _) => 2,
    };
    let former = best(|| {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&scanlines).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
    });
    // Libdeflate's level is not in the file: the one that made these bytes is found again.
    let at_level = |level: i32| {
        let mut compressor = Compressor::new(CompressionLvl::new(level).expect("libdeflate has the levels 0 to 12"));
        let mut bytes = vec![0; compressor.zlib_compress_bound(scanlines.len())];
        let written = compressor.zlib_compress(&scanlines, &mut bytes).expect("there is room for the bound");
        bytes.truncate(written);
        bytes
    };
    let level = (1..=9).find(|&level| at_level(level) == deflated).expect("one of libdeflate's levels made our file");
    let now = best(|| at_level(level));
    (ms - now.0 + former.0, bytes - now.1 + former.1)
}

/// The content of a PNG's only chunk of a kind.
fn chunk<'a>(picture: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    let mut rest = &picture[8..];
    loop {
        let bytes = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        if &rest[4..8] == kind {
            return &rest[8..8 + bytes];
        }
        rest = &rest[12 + bytes..];
    }
}

fn png_crate(rgba: &[u8], compression: png::Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 256, 256);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(compression);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(rgba));
    written.expect("writing to memory does not fail");
    bytes
}
