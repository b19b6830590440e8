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
use pointillist::engine::cpu::CpuEngine;
use pointillist::engine::{Cancel, CountGrid, Engine, GroupKind, Groups, Selection};
use pointillist::filter::Filter;
use pointillist::ingest::{ColumnWishes, DialectWishes, IngestOptions, Unobserved, ingest};
use pointillist::shade::{
    Category, CategoryKind, Legend, Rgb, Shader, Spread, Style, auto_spread, halo, legend_image, spread,
};
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
    Picture { file: "fires-linear", dataset: "fires", corner: AFRICA, style: &[DARK, ("cmap", "plasma"), ("spread", "1"), ("how", "linear")] },
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [data, out] = arguments.as_slice() else {
        bail!("usage: gallery DATA_FOLDER PICTURES_FOLDER");
    };
    let work = tempfile::tempdir()?;
    for (name, files, category) in SOURCES {
        let folder = work.path().join(name);
        ingest_files(files.iter().map(|file| data.join(file)).collect(), &folder, category)?;
        let dataset = Arc::new(Dataset::open(&folder)?);
        let engine = CpuEngine::new(dataset.clone());
        for picture in PICTURES.iter().filter(|picture| picture.dataset == name) {
            draw(picture, &dataset, &engine, out).with_context(|| format!("cannot draw {}", picture.file))?;
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

fn draw(picture: &Picture, dataset: &Dataset, engine: &dyn Engine, out: &Path) -> anyhow::Result<()> {
    let never = Cancel::never();
    let (z, west, north) = picture.corner;
    let zoom = Zoom::new(z)?;
    let groups = Arc::new(match dataset.manifest.category.as_deref().and_then(|name| dataset.column_id(name)) {
        Some(column) => Groups::by_column(dataset, column, &[])?,
        None => Groups::none(dataset),
    });
    let selection = engine.select(&Arc::new(Filter::all()), &groups, &never)?;
    let categories = categories(dataset, &selection);
    let style = Style::parse(picture.style.iter().copied())?;
    let radius = match style.spread {
        Spread::Pixels(pixels) => pixels,
        Spread::Auto => auto_spread(zoom, |tiles| engine.count(&selection, tiles, &never))?,
    };
    let distribution = engine.distribution(&selection, zoom, &never)?;
    let shader = Shader::new(&style, &categories, &distribution)?;

    let mut rgba = vec![0u8; COLUMNS * TILE * ROWS * TILE * 4];
    let width = COLUMNS * TILE;
    for (row, column) in (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column))) {
        let tile = TileId::new(z, west + column as u32, north + row as u32)?;
        let grid = spread_grid(engine, &selection, tile, radius)?;
        for (y, line) in shader.shade(&grid).chunks_exact(TILE * 4).enumerate() {
            let at = ((row * TILE + y) * width + column * TILE) * 4;
            rgba[at..][..TILE * 4].copy_from_slice(line);
        }
    }
    let by_category = dataset.manifest.category.as_deref().filter(|_| style.cmap.is_none());
    let title = by_category.unwrap_or(picture.dataset);
    let legend = Legend::new(&style, &categories, &distribution, radius)?;
    let plate = legend_image(&legend, title, 1);
    lay_over(&mut rgba, width, &plate.rgba, plate.width, (12, ROWS * TILE - plate.height - 12));
    let png = png_of_width(&rgba, width);
    let path = out.join(format!("{}.png", picture.file));
    std::fs::write(&path, &png).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: {} kB, spread {radius}", path.display(), png.len() / 1000);
    Ok(())
}

/// The counts of a tile, spread with what its neighbours have near the border.
fn spread_grid(engine: &dyn Engine, selection: &Selection, tile: TileId, radius: usize) -> anyhow::Result<CountGrid> {
    let around: Vec<Option<TileId>> =
        [-1, 0, 1].into_iter().flat_map(|dy| [-1, 0, 1].map(|dx| tile.neighbour(dx, dy))).collect();
    let known: Vec<TileId> = around.iter().copied().flatten().collect();
    let mut grids = engine.count(selection, &known, &Cancel::never())?.into_iter();
    let grids: Vec<Option<CountGrid>> = around.iter().map(|tile| tile.and_then(|_| grids.next())).collect();
    let neighbours = [0, 1, 2].map(|row| [0, 1, 2].map(|column| grids[row * 3 + column].as_ref()));
    Ok(spread(&halo(neighbours, radius).context("the tile itself is there")?, radius))
}

fn categories(dataset: &Dataset, selection: &Selection) -> Vec<Category> {
    let Some(column) = selection.groups.column() else { return Vec::new() };
    let styles = &dataset.column(column).styles;
    let category = |(group, &count): (&pointillist::engine::Group, &u64)| {
        let (value, kind) = match &group.kind {
            GroupKind::Value { value, .. } => (Some(value.to_string()), CategoryKind::Value),
            GroupKind::Null => (None, CategoryKind::Null),
            GroupKind::Other { .. } | GroupKind::Everything => (None, CategoryKind::Other),
        };
        let style = value.as_ref().and_then(|value| styles.get(value));
        let name = value.clone().unwrap_or_else(|| if kind == CategoryKind::Null { "unknown" } else { "other" }.into());
        Category {
            label: style.and_then(|style| style.label.clone()).unwrap_or(name),
            color: style.and_then(|style| Rgb::parse(style.color.as_deref()?)).map(|color| color.0),
            value,
            kind,
            count,
        }
    };
    selection.groups.iter().zip(&selection.counts).map(category).collect()
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
