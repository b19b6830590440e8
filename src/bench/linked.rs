//! How fast brushes are answered, and how fast the rows under a pixel are found: what a dashboard feels like.

use super::measure::Timer;
use super::workload::{Workload, range_columns};
use super::{BackendReport, BenchError, main_groups};
use crate::crossfilter::{Crossfilter, CrossfilterRequest};
use crate::dataset::{Dataset, RowFormat, write_rows};
use crate::engine::{Cancel, Engine};
use crate::filter::Filter;
use crate::points::{Place, PointFinder, PointsQuestion};
use serde_json::{Value, json};
use std::sync::Arc;

/// Three histograms (the main category, and two numbers or times) under brushes on the latter two.
pub(super) fn crossfilter(
    report: &mut BackendReport,
    dataset: &Arc<Dataset>,
    engine: &Arc<dyn Engine>,
) -> Result<(), BenchError> {
    let failed = |error: crate::crossfilter::CrossfilterError| BenchError::Workload(error.to_string());
    let ranges: Vec<String> = range_columns(dataset).iter().take(2).map(|(_, column)| column.name.clone()).collect();
    let [still, moved] = &ranges[..] else { return Ok(()) };
    let groups = Arc::new(main_groups(dataset)?);
    let columns: Vec<&String> = ranges.iter().chain(&dataset.manifest.category).collect();
    let never = Cancel::never();
    for (label, groups) in [("", None), (", by category", Some(&groups))] {
        let crossfilter = Crossfilter::new(dataset.clone(), engine.clone());
        let ask = |brushes: Value| {
            let request = json!({ "columns": columns, "brushes": brushes });
            let request: CrossfilterRequest = serde_json::from_value(request).expect("the request is well formed");
            crossfilter.answer(&request, groups, &never)
        };
        let plain = ask(json!({})).map_err(failed)?;
        let edges = |column: &String| -> Vec<Value> {
            let bins = plain.histograms[column]["bins"].as_array().cloned().unwrap_or_default();
            bins.iter().map(|bin| bin["lo"].clone()).collect()
        };
        let (a, b) = (edges(still), edges(moved));
        if a.len() < 8 || b.len() < 8 {
            return Ok(());
        }
        // Both brushes change every time, so that nothing is known of the question before.
        let mut first = Timer::new(3, 10);
        let mut i = 0;
        while first.again() && i < (a.len() / 4).min(b.len() / 4) {
            let brushes = json!({ still: [a[i], a[a.len() / 2 + i]], moved: [b[i], b[b.len() / 2 + i]] });
            first.run(|| ask(brushes)).map_err(failed)?;
            i += 1;
        }
        let detail = |what: &str| format!("{} histograms, 2 brushes{label}, {what}", columns.len());
        report.push(first.into_measurement("crossfilter", detail("first answer")));

        let mut build = Timer::new(1, 1);
        while build.again() {
            let brushes = json!({ still: [a[0], a[a.len() / 2]], moved: [b[1], b[b.len() - 1]] });
            build.run(|| ask(brushes)).map_err(failed)?;
        }
        report.push(build.into_measurement("crossfilter", detail("first step of a drag")));
        let mut drag = Timer::new(20, 100);
        let mut step = 0;
        while drag.again() {
            let from = step % (b.len() / 2);
            let brushes = json!({ still: [a[0], a[a.len() / 2]], moved: [b[from], b[from + b.len() / 2]] });
            drag.run(|| ask(brushes)).map_err(failed)?;
            step += 1;
        }
        report.push(drag.into_measurement("crossfilter", detail("later steps")));
    }
    Ok(())
}

/// All columns of the rows under one pixel of a tile, as JSON.
pub(super) fn rows(report: &mut BackendReport, dataset: &Arc<Dataset>, workload: &Workload) -> Result<(), BenchError> {
    let failed = |error: &dyn std::fmt::Display| BenchError::Workload(error.to_string());
    let finder = PointFinder::new(dataset.clone());
    for z in [10, 14] {
        let mut timer = Timer::new(4, 24);
        while timer.again() {
            for &tile in &workload.typical(z) {
                // The first point of the tile lies under this pixel.
                let (first, last) = tile.keys();
                let Some(key) = dataset.parts.iter().find_map(|part| {
                    let slice = part.index().slice(first, last);
                    (!slice.is_empty()).then(|| part.key(slice.start))
                }) else {
                    continue;
                };
                let shift = 32 - tile.zoom().pixel_level();
                let (column, row) = (key.world().x >> shift & 255, key.world().y >> shift & 255);
                let question = PointsQuestion {
                    place: Place::Pixel(tile, column, row),
                    filter: Arc::new(Filter::all()),
                    offset: 0,
                    limit: Some(100),
                    columns: None,
                    format: RowFormat::Json,
                };
                timer.run(|| {
                    let found = finder.find(&question, &Cancel::never()).map_err(|e| failed(&e))?;
                    write_rows(RowFormat::Json, found.rows, found.total, std::io::sink()).map_err(|e| failed(&e))
                })?;
            }
        }
        report.push(timer.into_measurement("rows", format!("under a pixel, zoom {z}, at most 100")));
    }
    Ok(())
}
