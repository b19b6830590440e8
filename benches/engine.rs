//! The engines' kernels, each by itself: rank, select, count, histogram, distribution; on the CPU, and on a GPU where there is one.
//!
//! ```text
//! cargo bench --bench engine                                          a million generated towers
//! POINTILLIST_DATASETS=towers:ships cargo bench --bench engine        these ingested datasets
//! cargo bench --bench engine -- cpu/histogram                         some of them
//! ```
//!
//! An adapter that software emulates is measured too; its name says so.

use criterion::Criterion;
use pointillist::dataset::{ColumnId, ColumnKind, Dataset};
use pointillist::engine::bitmap::Bitmap;
use pointillist::engine::{
    Aggregate, Backend, Bins, Cancel, Engine, EngineOptions, Groups, HistogramRequest, Measure, Selection, open,
};
use pointillist::filter::{Filter, Predicate};
use pointillist::service::TileNumbers;
use pointillist::world::{TileId, Zoom};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const ROWS: &str = "1000000";
const BINS: u64 = 40;

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    rank(&mut criterion);
    let generated = tempfile::tempdir().expect("there is a folder for temporary files");
    let folders: Vec<PathBuf> = match std::env::var("POINTILLIST_DATASETS") {
        Ok(folders) => folders.split(':').map(PathBuf::from).collect(),
        Err(_) => vec![towers(generated.path())],
    };
    for folder in folders {
        let dataset = Arc::new(Dataset::open(&folder).expect("POINTILLIST_DATASETS names datasets"));
        for (name, backend) in [("cpu", Backend::Cpu), ("gpu", Backend::Gpu)] {
            match open(dataset.clone(), backend, &EngineOptions::default()) {
                Ok(engine) => kernels(&mut criterion, name, &dataset, &*engine),
                Err(why) => eprintln!("SKIPPED {name}: {why}"),
            }
        }
    }
    criterion.final_summary();
}

/// A generated sample, ingested as a user would.
fn towers(folder: &Path) -> PathBuf {
    let (file, dataset) = (folder.join("towers.parquet"), folder.join("towers"));
    let run = |arguments: &[&str], output: &Path| {
        let status = Command::new(env!("CARGO_BIN_EXE_pointillist")).args(arguments).arg("-o").arg(output).status();
        assert!(status.is_ok_and(|status| status.success()), "pointillist {arguments:?} failed");
    };
    run(&["generate", "towers", "--rows", ROWS], &file);
    run(&["ingest", file.to_str().expect("temporary folders have plain names")], &dataset);
    dataset
}

/// Words to ranks, and a rank: of a part's worth of points, every third selected.
fn rank(criterion: &mut Criterion) {
    let words: Vec<u64> = (0..1u64 << 17).map(|i| 0x9249_2492_4924_9249u64.rotate_left(i as u32 % 3)).collect();
    criterion.bench_function("rank/of 8 Mi points", |b| b.iter(|| Bitmap::from_words(black_box(words.clone()))));
    let bitmap = Bitmap::from_words(words);
    criterion.bench_function("rank/asked 65,536 times", |b| {
        b.iter(|| (0..1u32 << 16).map(|i| bitmap.rank(black_box(i * 127))).fold(0u32, u32::wrapping_add));
    });
}

fn kernels(criterion: &mut Criterion, backend: &str, dataset: &Arc<Dataset>, engine: &dyn Engine) {
    let never = Cancel::never();
    let groups = Arc::new(match dataset.manifest.category.as_deref().and_then(|name| dataset.column_id(name)) {
        Some(column) => Groups::by_column(dataset, column, &[]).expect("the main column is categorical"),
        None => Groups::none(dataset),
    });
    let columns: Vec<ColumnId> = (0..dataset.columns().len())
        .map(ColumnId)
        .filter(|&id| dataset.column(id).key_max >= 100 && dataset.column(id).kind != ColumnKind::Text)
        .take(2)
        .collect();
    let half = |&column: &ColumnId| {
        let key_max = dataset.column(column).key_max;
        Predicate::Keys { column, ranges: vec![(key_max / 4, key_max / 4 * 3)] }
    };
    let filter = Arc::new(Filter::new(Predicate::And(columns.iter().map(half).collect()), "benchmark".to_owned()));
    let select = |filter: &Arc<Filter>| engine.select(filter, &groups, &never).expect("a filter is evaluated");
    let (all, filtered) = (select(&Arc::new(Filter::all())), select(&filter));
    let name = |what: &str| format!("{backend}/{what}, {} of {}", dataset.manifest.name, dataset.rows());

    criterion.bench_function(&name("select by two columns"), |b| b.iter(|| select(black_box(&filter))));
    for (label, selection) in [("unfiltered", &all), ("filtered", &filtered)] {
        parents(criterion, &|what| name(&format!("{what}, {label}")), dataset, engine, selection, columns[0]);
        let mut tile = TileId::new(0, 0, 0).expect("there is a tile 0/0/0");
        while tile.z() <= 12 {
            if tile.z().is_multiple_of(4) {
                let what = name(&format!("count {label}, densest of zoom {}", tile.z()));
                criterion.bench_function(&what, |b| b.iter(|| engine.count(selection, &[black_box(tile)], &never).expect("it is counted")));
            }
            tile = densest_child(dataset, tile);
        }
        for &column in &columns {
            let step = (dataset.column(column).key_max / BINS).max(1);
            let bins = Bins::Edges((0..=BINS).map(|i| 1 + i * step).collect());
            let request = [HistogramRequest { column, bins }];
            let what = name(&format!("histogram {label} of {}", dataset.column(column).name));
            criterion.bench_function(&what, |b| b.iter(|| engine.histograms(selection, black_box(&request), None, &never).expect("it is counted")));
        }
        for z in [4, 12, 20] {
            let zoom = Zoom::new(z).expect("these zooms exist");
            let what = name(&format!("distribution {label} of zoom {z}"));
            criterion.bench_function(&what, |b| b.iter(|| engine.distribution(selection, black_box(zoom), &never).expect("it is counted")));
        }
    }
}

/// A tile counted, and the same summed from the four tiles inside of it, as a prewarm does that has just made those: counts, and means of a
/// column. What the four cost is in neither.
fn parents(
    criterion: &mut Criterion,
    name: &dyn Fn(&str) -> String,
    dataset: &Arc<Dataset>,
    engine: &dyn Engine,
    selection: &Selection,
    column: ColumnId,
) {
    let never = Cancel::never();
    let aggregate = Aggregate { measure: Measure::Mean, column };
    let count = |tile: TileId| TileNumbers::Counts(engine.count(selection, &[tile], &never).expect("it is counted").remove(0));
    let add = |tile: TileId| TileNumbers::Partials(engine.partials(selection, aggregate, &[tile], &never).expect("it is added up").remove(0));
    let mut parent = TileId::new(0, 0, 0).expect("there is a tile 0/0/0");
    while parent.z() <= 16 {
        if parent.z().is_multiple_of(4) {
            for (what, of_tile) in [("parent", &count as &dyn Fn(TileId) -> TileNumbers), ("parent's values", &add)] {
                let children = parent.children().expect("zooms end at 24").map(of_tile);
                let summed = || {
                    let quarters = children.each_ref().map(TileNumbers::halved);
                    TileNumbers::of_quarters(quarters.each_ref().map(Some))
                };
                assert!(summed() == Some(of_tile(parent)), "what children come to sums to their parent's");
                let z = parent.z();
                criterion.bench_function(&name(&format!("{what} counted, densest of zoom {z}")), |b| b.iter(|| of_tile(black_box(parent))));
                criterion.bench_function(&name(&format!("{what} summed, densest of zoom {z}")), |b| b.iter(|| black_box(summed())));
            }
        }
        parent = densest_child(dataset, parent);
    }
}

fn densest_child(dataset: &Dataset, tile: TileId) -> TileId {
    let points = |tile: TileId| -> u64 {
        let (first, last) = tile.keys();
        dataset.parts.iter().map(|part| part.index().slice(first, last).len() as u64).sum()
    };
    let children = tile.children().expect("zooms end at 24");
    children.into_iter().max_by_key(|&child| points(child)).expect("a tile has four children")
}
