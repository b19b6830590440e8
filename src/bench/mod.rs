//! `pointillist bench`: how fast an engine is on a dataset at hand, against what the machine can do.
//!
//! It measures and prints; it asserts nothing. Every figure is a median and a 95th percentile over repeated runs in one
//! process, and throughput is set against the device's copy bandwidth measured in the same run.

mod answers;
mod linked;
mod measure;
mod report;
mod workload;

pub use report::{BackendReport, Measurement, Report};

use crate::dataset::{Dataset, DatasetError};
use crate::engine::{Cancel, Engine, EngineError, Groups, Selection};
use crate::filter::Filter;
use crate::shade::{Category, CategoryKind, Shader, Style};
use crate::world::{TileId, Zoom};
use crate::{encode, shade};
use measure::{Timer, copy_bandwidth};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use workload::Workload;

/// The zooms whose tiles are counted: past 18 a tile of real data has few points.
const ZOOMS: std::ops::RangeInclusive<u8> = 0..=18;

/// Tiles of a batch, as issue and practice ask: one, a small view, a large one.
const BATCHES: [usize; 3] = [1, 8, 64];

#[derive(Debug, Error)]
pub enum BenchError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0} and {1} give different answers: one of them is wrong, and so may be its speed")]
    Differ(&'static str, &'static str),
    #[error("cannot measure: {0}")]
    Workload(String),
}

/// Opens an engine over a dataset; what `--backend` names is the caller's subject.
pub type OpenEngine<'a> = &'a dyn Fn(Arc<Dataset>) -> Result<Arc<dyn Engine>, EngineError>;

/// Measures one backend on the dataset in `folder`. `filter` is parsed once the dataset is open; the default is a range over
/// two columns that lets about a quarter of the points pass.
///
/// # Errors
/// The dataset or the engine cannot be opened, or an answer failed.
pub fn backend(
    folder: &Path,
    open: OpenEngine<'_>,
    filter: Option<Arc<Filter>>,
    step: &dyn Fn(&str),
) -> Result<BackendReport, BenchError> {
    let never = Cancel::never();
    let started = Instant::now();
    let dataset = Arc::new(Dataset::open(folder)?);
    let engine = open(dataset.clone())?;
    let groups = Arc::new(main_groups(&dataset)?);
    let all = engine.select(&Arc::new(Filter::all()), &groups, &never)?;
    let first_tile = TileId::new(0, 0, 0).expect("there is a tile 0/0/0");
    engine.count(&all, &[first_tile], &never)?;
    let mut report = BackendReport::new(engine.info(), started.elapsed());

    step("copy bandwidth");
    // Of the memory that the engine reads: a device's own, else the host's.
    report.copy_bytes_per_sec = engine.copy_bandwidth()?.unwrap_or_else(copy_bandwidth);
    let workload = Workload::of(&dataset);

    step("select");
    let filter = match filter {
        Some(filter) => filter,
        None => Arc::new(workload.filter(&dataset).map_err(BenchError::Workload)?),
    };
    select(&mut report, &*engine, &dataset, &filter, &Arc::new(Groups::none(&dataset)))?;
    let selected = select(&mut report, &*engine, &dataset, &filter, &groups)?;

    step("count");
    count(&mut report, &*engine, &workload, "unfiltered", &all)?;
    count(&mut report, &*engine, &workload, "filtered", &selected)?;
    batches(&mut report, &*engine, &workload, "by category", &all)?;
    let ungrouped = Arc::new(Groups::none(&dataset));
    let all_ungrouped = engine.select(&Arc::new(Filter::all()), &ungrouped, &never)?;
    batches(&mut report, &*engine, &workload, "not by category", &all_ungrouped)?;

    step("histogram and distribution");
    for (label, selection) in [("unfiltered", &all), ("filtered", &selected)] {
        for (name, request) in workload.histograms(&dataset) {
            let mut timer = Timer::new(5, 30);
            while timer.again() {
                timer.run(|| engine.histograms(selection, std::slice::from_ref(&request), None, &never))?;
            }
            report.push(timer.into_measurement("histogram", format!("{label}, {name}, {} bins", request.bins.len())));
        }
        for z in [0, 4, 8, 12] {
            let zoom = Zoom::new(z).expect("these zooms exist");
            let mut timer = Timer::new(3, 10);
            while timer.again() {
                timer.run(|| engine.distribution(selection, zoom, &never))?;
            }
            report.push(timer.into_measurement("distribution", format!("{label}, zoom {z}")));
        }
    }

    step("brushes and rows");
    linked::crossfilter(&mut report, &dataset, &engine)?;
    linked::rows(&mut report, &dataset, &workload)?;

    step("shade and encode");
    shade_and_encode(&mut report, &*engine, &dataset, &workload, &all)?;
    step("answers");
    report.answers = answers::digest(&*engine, &dataset, &workload, &[&all, &selected])?;
    report.info = engine.info();
    Ok(report)
}

/// By the dataset's main category, or by nothing.
fn main_groups(dataset: &Dataset) -> Result<Groups, BenchError> {
    match dataset.manifest.category.as_deref().and_then(|name| dataset.column_id(name)) {
        Some(column) => Groups::by_column(dataset, column, &[]).map_err(|e| BenchError::Workload(e.to_string())),
        None => Ok(Groups::none(dataset)),
    }
}

fn select(
    report: &mut BackendReport,
    engine: &dyn Engine,
    dataset: &Dataset,
    filter: &Arc<Filter>,
    groups: &Arc<Groups>,
) -> Result<Arc<Selection>, BenchError> {
    let mut timer = Timer::new(5, 30);
    let mut selection = None;
    while timer.again() {
        selection = Some(timer.run(|| engine.select(filter, groups, &Cancel::never()))?);
    }
    let columns = filter.predicate().columns();
    // The columns that are read; what is written and ranked (1/8 byte a point and plane) is left out.
    let read: Vec<_> = columns.into_iter().chain(groups.column()).map(|id| dataset.column(id)).collect();
    let bytes_per_point: usize = read.iter().map(|column| column.width.bytes()).sum();
    let names: Vec<&str> = read.iter().map(|column| column.name.as_str()).collect();
    let selection = selection.expect("a timer runs at least once");
    let share = selection.total() as f64 / dataset.rows().max(1) as f64;
    let by = if groups.column().is_some() { ", by category" } else { "" };
    let detail = format!("{} ({bytes_per_point} B/point){by}, {:.0} % pass", names.join(", "), share * 100.0);
    let measured = timer.into_measurement("select", detail);
    let per_sec = dataset.rows() as f64 / (measured.median_ms / 1e3);
    report.push(measured.with_throughput(per_sec, per_sec * bytes_per_point as f64));
    Ok(selection)
}

/// Single tiles of every zoom: the one with the most points, and tiles of points picked at random.
fn count(
    report: &mut BackendReport,
    engine: &dyn Engine,
    workload: &Workload,
    label: &str,
    selection: &Selection,
) -> Result<(), BenchError> {
    for z in ZOOMS {
        for (kind, tiles) in [("densest", workload.densest(z)), ("typical", workload.typical(z))] {
            let mut timer = Timer::new(5, 40);
            while timer.again() {
                for tile in &tiles {
                    timer.run(|| engine.count(selection, std::slice::from_ref(tile), &Cancel::never()))?;
                }
            }
            report.push(timer.into_measurement("count", format!("{label}, {kind}, zoom {z}")));
        }
    }
    Ok(())
}

fn batches(
    report: &mut BackendReport,
    engine: &dyn Engine,
    workload: &Workload,
    label: &str,
    selection: &Selection,
) -> Result<(), BenchError> {
    for z in [6, 10, 14] {
        for batch in BATCHES {
            let tiles: Vec<TileId> = workload.typical(z).into_iter().cycle().take(batch).collect();
            let mut timer = Timer::new(5, 20);
            while timer.again() {
                timer.run(|| engine.count(selection, &tiles, &Cancel::never()))?;
            }
            let measured = timer.into_measurement("count batch", String::new());
            let each_us = measured.median_ms * 1e3 / batch as f64;
            let detail = format!("{batch} tiles of zoom {z}, {label}, {each_us:.0} us a tile");
            report.push(Measurement { detail, ..measured });
        }
    }
    Ok(())
}

fn shade_and_encode(
    report: &mut BackendReport,
    engine: &dyn Engine,
    dataset: &Dataset,
    workload: &Workload,
    selection: &Selection,
) -> Result<(), BenchError> {
    let categories: Vec<Category> = selection
        .groups
        .iter()
        .filter(|_| selection.groups.column().is_some())
        .enumerate()
        .map(|(i, group)| Category {
            value: Some(i.to_string()),
            label: i.to_string(),
            color: None,
            kind: CategoryKind::Value,
            count: group.count,
        })
        .collect();
    let _ = dataset;
    for z in [0, 6, 10] {
        let tiles = workload.densest(z);
        let zoom = Zoom::new(z).expect("these zooms exist");
        let never = Cancel::never();
        let distribution = engine.distribution(selection, zoom, &never)?;
        let grid = engine.count(selection, &tiles[..1], &never)?.remove(0);
        let shader = Shader::new(&Style::default(), &categories, &distribution)
            .map_err(|e: shade::StyleError| BenchError::Workload(e.to_string()))?;
        let mut shading = Timer::new(5, 40);
        let mut encoding = Timer::new(5, 40);
        let mut bytes = 0;
        while shading.again() && encoding.again() {
            let rgba = shading.run(|| Ok::<_, BenchError>(shader.shade(&grid)))?;
            bytes = encoding.run(|| Ok::<_, BenchError>(encode::png(&rgba, grid.size, encode::Quality::Exact)))?.len();
        }
        report.push(shading.into_measurement("shade", format!("densest, zoom {z}")));
        report.push(encoding.into_measurement("encode", format!("densest, zoom {z}, {bytes} bytes")));
    }
    Ok(())
}
