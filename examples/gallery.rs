//! Draws the pictures of docs/gallery.md from real data.
//!
//! ```text
//! cargo run --release --example gallery -- ../shared/data docs/gallery
//! ```
//!
//! The first folder holds the files named in `SOURCES`, the second takes the pictures. Each is a mosaic of tiles, shaded tile by tile with
//! the distribution of its whole zoom, with its legend laid over it.

use anyhow::{Context, bail};
use pointillist::dataset::write::Replace;
use pointillist::dataset::{Dataset, PART_POINTS_MAX};
use pointillist::encode::png_of_width;
use pointillist::engine::Cancel;
use pointillist::engine::cpu::CpuEngine;
use pointillist::filter::Filter;
use pointillist::ingest::{ColumnWishes, DialectWishes, IngestOptions, Unobserved, ingest};
use pointillist::service::{CacheBudgets, Content, Metrics, Pipeline, Scale, Source, TileRequest, View};
use pointillist::shade::legend_image;
use pointillist::world::{TileId, Zoom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name, files, and the column that colours where no preset knows it.
const SOURCES: [(&str, &[&str], Option<&str>); 3] = [
    ("towers", &["opencellid-234-gb.csv.gz", "opencellid-214-es.csv.gz", "opencellid-206-be.csv.gz"], None),
    ("ships", &["ais-us-2020-01-01.csv.gz"], None),
    ("fires", &["firms-modis-2023-08-01.csv.gz"], Some("daynight")),
];

/// A picture: file name, dataset, zoom, its north-western tile, and the style as a query.
struct Picture {
    file: &'static str,
    dataset: &'static str,
    corner: (u8, u32, u32),
    style: &'static [(&'static str, &'static str)],
}

/// Tiles side by side, and one above the other.
const COLUMNS: usize = 3;
const ROWS: usize = 2;
const TILE: usize = 256;

const DARK: (&str, &str) = ("background", "14181f");
const LIGHT: (&str, &str) = ("background", "f3f1ec");

/// North-western tiles.
const ENGLAND: (u8, u32, u32) = (7, 62, 41);
const LONDON: (u8, u32, u32) = (13, 4092, 2723);
const GULF: (u8, u32, u32) = (5, 7, 12);
const HOUSTON: (u8, u32, u32) = (9, 120, 211);
const AFRICA: (u8, u32, u32) = (5, 17, 16);

#[rustfmt::skip]
const PICTURES: [Picture; 16] = [
    Picture { file: "towers-eq_hist", dataset: "towers", corner: ENGLAND, style: &[LIGHT, ("min_alpha", "80")] },
    Picture { file: "towers-log", dataset: "towers", corner: ENGLAND, style: &[LIGHT, ("how", "log"), ("min_alpha", "80")] },
    Picture { file: "towers-cbrt", dataset: "towers", corner: ENGLAND, style: &[LIGHT, ("how", "cbrt"), ("min_alpha", "80")] },
    Picture { file: "towers-linear", dataset: "towers", corner: ENGLAND, style: &[LIGHT, ("how", "linear"), ("min_alpha", "80")] },
    Picture { file: "towers-spread", dataset: "towers", corner: LONDON, style: &[LIGHT, ("spread", "auto"), ("min_alpha", "120")] },
    Picture { file: "towers-lte-only", dataset: "towers", corner: ENGLAND, style: &[LIGHT, ("hide", "GSM,UMTS,NR"), ("min_alpha", "80")] },
    Picture { file: "ships-eq_hist", dataset: "ships", corner: GULF, style: &[DARK, ("min_alpha", "90")] },
    Picture { file: "ships-log", dataset: "ships", corner: GULF, style: &[DARK, ("how", "log"), ("min_alpha", "90")] },
    Picture { file: "ships-cbrt", dataset: "ships", corner: GULF, style: &[DARK, ("how", "cbrt"), ("min_alpha", "90")] },
    Picture { file: "ships-linear", dataset: "ships", corner: GULF, style: &[DARK, ("how", "linear"), ("span", "1,200"), ("min_alpha", "90")] },
    Picture { file: "ships-fire", dataset: "ships", corner: GULF, style: &[DARK, ("cmap", "fire")] },
    Picture { file: "ships-houston-viridis", dataset: "ships", corner: HOUSTON, style: &[DARK, ("cmap", "viridis")] },
    Picture { file: "fires-eq_hist", dataset: "fires", corner: AFRICA, style: &[DARK, ("cmap", "plasma"), ("spread", "1")] },
    Picture { file: "fires-log", dataset: "fires", corner: AFRICA, style: &[DARK, ("cmap", "plasma"), ("spread", "1"), ("how", "log")] },
    Picture { file: "fires-cbrt", dataset: "fires", corner: AFRICA, style: &[DARK, ("cmap", "plasma"), ("spread", "1"), ("how", "cbrt")] },
    Picture { file: "fires-linear", dataset: "fires", corner: AFRICA, style: &[DARK, ("cmap", "plasma"), ("spread", "1"), ("how", "linear"), ("span", "1,20")] },
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [data, out] = arguments.as_slice() else {
        bail!("usage: gallery DATA_FOLDER PICTURES_FOLDER");
    };
    let work = tempfile::tempdir()?;
    let pipeline = Pipeline::new(&CacheBudgets::of(256 << 20), Arc::new(Metrics::new()));
    for (name, files, category) in SOURCES {
        let folder = work.path().join(name);
        ingest_files(files.iter().map(|file| data.join(file)).collect(), &folder, category)?;
        let dataset = Arc::new(Dataset::open(&folder)?);
        let source = Arc::new(Source::new(dataset.clone(), Arc::new(CpuEngine::new(dataset)))?);
        for picture in PICTURES.iter().filter(|picture| picture.dataset == name) {
            draw(picture, &source, &pipeline, out).with_context(|| format!("cannot draw {}", picture.file))?;
        }
    }
    Ok(())
}

fn ingest_files(inputs: Vec<PathBuf>, output: &Path, category: Option<&str>) -> anyhow::Result<()> {
    let options = IngestOptions {
        inputs,
        output: output.to_owned(),
        preset: None,
        columns: ColumnWishes { category: category.map(str::to_owned), ..ColumnWishes::default() },
        dialect: DialectWishes::default(),
        wanted: None,
        rejects: None,
        name: None,
        style: Default::default(),
        replace: Replace::Never,
        memory_limit_bytes: 4_000_000_000,
        part_points_max: PART_POINTS_MAX,
    };
    let summary = ingest(&options, &Unobserved)?;
    println!("{}: {} rows in {:.1} s", output.display(), summary.manifest.rows, summary.seconds);
    Ok(())
}

fn draw(picture: &Picture, source: &Arc<Source>, pipeline: &Pipeline, out: &Path) -> anyhow::Result<()> {
    let never = Cancel::never();
    let (z, west, north) = picture.corner;
    let view = Arc::new(View::new(source, Filter::all(), picture.style.iter().copied())?);
    let mut rgba = vec![0u8; COLUMNS * TILE * ROWS * TILE * 4];
    let width = COLUMNS * TILE;
    for (row, column) in (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column))) {
        let tile = TileId::new(z, west + column as u32, north + row as u32)?;
        let request = TileRequest { view: view.clone(), tile, scale: Scale::One, content: Content::Png };
        let pixels = decoded(&pipeline.tile(&request, &never)?.body.bytes())?;
        for (y, line) in pixels.chunks_exact(TILE * 4).enumerate() {
            let at = ((row * TILE + y) * width + column * TILE) * 4;
            rgba[at..][..TILE * 4].copy_from_slice(line);
        }
    }
    let explained = pipeline.legend(&view, Zoom::new(z)?, &never)?;
    let legend = explained.legend();
    let by_category = source.dataset().manifest.category.as_deref().filter(|_| view.style.cmap.is_none());
    let plate = legend_image(legend, by_category.unwrap_or(picture.dataset), 1);
    lay_over(&mut rgba, width, &plate.rgba, plate.width, (12, ROWS * TILE - plate.height - 12));
    let png = png_of_width(&rgba, width);
    let path = out.join(format!("{}.png", picture.file));
    std::fs::write(&path, &png).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: {} kB, spread {}", path.display(), png.len() / 1000, legend.spread_pixels);
    Ok(())
}

/// The pixels of a tile, RGBA.
fn decoded(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::ALPHA);
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("a tile fits in memory")?];
    reader.next_frame(&mut pixels)?;
    Ok(pixels)
}

/// Lays a straight-alpha image over an opaque one, with its corner at `at`.
fn lay_over(rgba: &mut [u8], width: usize, over: &[u8], over_width: usize, at: (usize, usize)) {
    for (index, pixel) in over.chunks_exact(4).enumerate() {
        let (x, y) = (at.0 + index % over_width, at.1 + index / over_width);
        let alpha = u32::from(pixel[3]);
        for (below, &above) in rgba[(y * width + x) * 4..][..3].iter_mut().zip(pixel) {
            *below = ((u32::from(above) * alpha + u32::from(*below) * (255 - alpha) + 127) / 255) as u8;
        }
    }
}
