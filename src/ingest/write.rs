//! Writing the sorted rows: chunk by chunk into parts, and what is known of the columns into the manifest.

use super::encode::EncodedColumn;
use super::error::IngestError;
use super::plan::{Crs, Plan};
use super::preset::Preset;
use super::store::{CHUNK_ROWS, Store};
use super::values::{Chunk, Values};
use super::{IngestOptions, Observer, Step, name_from_path};
use crate::dataset::manifest::Coordinates;
use crate::dataset::write::{DatasetWriter, Description, HotColumn};
use crate::dataset::{Column, Manifest};
use crate::world::lonlat_from_web_mercator;
use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the writer needs to know besides the rows.
pub struct Job<'a> {
    pub options: &'a IngestOptions,
    pub plan: &'a Plan,
    pub preset: Option<&'static Preset>,
    pub rejected: BTreeMap<String, u64>,
}

/// Sorts the store and writes it.
///
/// # Errors
/// A file cannot be written.
pub fn write(mut writer: DatasetWriter, store: Store, job: Job, observer: &dyn Observer) -> Result<Manifest, IngestError> {
    let step = observer.start(Step::Write, Some(store.rows()));
    let (described, mut sorted) = store.into_sorted()?;
    let plan = job.plan;
    let columns: Vec<EncodedColumn> = described
        .into_par_iter()
        .zip(&plan.columns)
        .map(|((stats, texts), planned)| {
            let is_category = plan.category.as_ref() == Some(&planned.name);
            EncodedColumn::new(planned, &stats, texts, job.preset, is_category)
        })
        .collect();
    let hot = HotColumns::of(&columns, plan);
    let part_points = part_points_max(job.options, &hot);
    let schema = schema(&columns);
    let mut done = false;
    while !done {
        let mut keys: Vec<u64> = Vec::new();
        let mut keys_of_columns: Vec<HotColumn> = hot.places.iter().map(|&place| HotColumn::new(columns[place].column.width)).collect();
        let mut rows = None;
        while keys.len() < part_points {
            let wanted = CHUNK_ROWS.min(part_points - keys.len());
            let Some(chunk) = sorted.next_chunk(wanted)? else {
                done = true;
                break;
            };
            let rows = match &mut rows {
                Some(rows) => rows,
                none => none.insert(writer.rows(&schema)?),
            };
            keys.extend_from_slice(&chunk.keys);
            hot.places.par_iter().zip(&mut keys_of_columns).for_each(|(&place, keys)| {
                columns[place].append_keys(&chunk.columns[place], keys);
            });
            let (lon, lat) = lonlat(&chunk, plan);
            rows.write(&record_batch(&chunk, &columns, &schema), &lon, &lat)?;
            step.advance(chunk.keys.len() as u64, 0);
        }
        if let Some(rows) = rows {
            let before = writer.bytes_written();
            writer.part(&keys, &hot.columns, keys_of_columns, rows)?;
            step.advance(0, writer.bytes_written() - before);
        }
    }
    step.finish();
    Ok(writer.finish(description(columns, hot, job))?)
}

/// The share of the memory limit that the keys and hot columns of a part may take while it is written.
const PART_SHARE: f64 = 0.3;

/// Parts smaller than this would cost more files than they save memory.
const PART_POINTS_MIN: usize = 1 << 16;

fn part_points_max(options: &IngestOptions, hot: &HotColumns) -> usize {
    // A point: its key, the key's lower half, its hot columns, and as much again while they are written.
    let point_bytes = 12 + 2 * hot.columns.iter().map(|column| column.width.bytes()).sum::<usize>();
    let fitting = (options.memory_limit_bytes as f64 * PART_SHARE) as usize / point_bytes;
    fitting.max(PART_POINTS_MIN).min(options.part_points_max)
}

/// The columns that can be filtered: all but the coordinates, which the keys hold already.
struct HotColumns {
    places: Vec<usize>,
    columns: Vec<Column>,
}

impl HotColumns {
    fn of(columns: &[EncodedColumn], plan: &Plan) -> HotColumns {
        let places: Vec<usize> = (0..columns.len()).filter(|&place| place != plan.x && place != plan.y).collect();
        let columns = places.iter().map(|&place| columns[place].column.clone()).collect();
        HotColumns { places, columns }
    }
}

fn schema(columns: &[EncodedColumn]) -> SchemaRef {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.column.name, column.data_type(), true)).collect();
    Arc::new(Schema::new(fields))
}

fn record_batch(chunk: &Chunk, columns: &[EncodedColumn], schema: &SchemaRef) -> RecordBatch {
    let arrays: Vec<ArrayRef> =
        columns.par_iter().zip(&chunk.columns).map(|(column, values)| column.array(values)).collect();
    RecordBatch::try_new(schema.clone(), arrays).expect("arrays are made by the schema's columns, all of a chunk's length")
}

/// Longitudes and latitudes of a chunk, in degrees.
fn lonlat(chunk: &Chunk, plan: &Plan) -> (Float64Array, Float64Array) {
    let (Values::Float(x), Values::Float(y)) = (&chunk.columns[plan.x], &chunk.columns[plan.y]) else {
        unreachable!("coordinates are planned as floats");
    };
    match plan.crs {
        Crs::LonLat => (Float64Array::from(x.clone()), Float64Array::from(y.clone())),
        Crs::WebMercator => {
            let (lon, lat): (Vec<f64>, Vec<f64>) = x.iter().zip(y).map(|(&x, &y)| lonlat_from_web_mercator(x, y)).unzip();
            (Float64Array::from(lon), Float64Array::from(lat))
        }
    }
}

fn description(columns: Vec<EncodedColumn>, hot: HotColumns, job: Job) -> Description {
    let plan = job.plan;
    let coordinates = Coordinates {
        x: plan.columns[plan.x].name.clone(),
        y: plan.columns[plan.y].name.clone(),
        crs: plan.crs.name().to_owned(),
    };
    let name = job.options.name.clone().unwrap_or_else(|| name_from_path(&job.options.output));
    let columns = columns
        .into_iter()
        .enumerate()
        .filter(|(place, _)| hot.places.contains(place))
        .map(|(_, encoded)| (encoded.column, encoded.dictionary))
        .collect();
    Description {
        title: name.clone(),
        name,
        attribution: job.preset.map(|preset| preset.attribution.to_owned()),
        rejected: job.rejected,
        coordinates,
        category: plan.category.clone(),
        style: job.options.style.clone(),
        columns,
    }
}
