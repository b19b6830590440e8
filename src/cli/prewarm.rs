//! `pointillist prewarm`: makes tiles ahead of time.
//!
//! Arguments and printing; the work is [`crate::prewarm`]'s.

use super::engine::EngineArgs;
use super::progress::{Progress, Unit};
use super::serve::parse_bytes;
use crate::engine::Cancel;
use crate::filter::Filter;
use crate::prewarm::{self, Begin, Format, Job, Plan, Replace, Summary};
use crate::service::{CacheBudgets, Content, Metrics, Pipeline, Scale, TileRequest, View, ZOOM_MAX_SERVED};
use crate::world::LonLatBox;
use anyhow::ensure;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Make the tiles of a dataset ahead of time, into PMTiles, MBTiles or a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist prewarm towers --max-zoom 10 -o towers.pmtiles
  pointillist prewarm towers --min-zoom 4 --max-zoom 12 --bbox -10,35,5,60 --filter \"radio = 'LTE'\" -o lte.mbtiles
  pointillist prewarm towers --max-zoom 12 --dry-run
A run that was stopped goes on with --resume; its output is the same, byte for byte.")]
pub struct PrewarmArgs {
    /// The dataset's folder, or a raw file, which is ingested into a cache folder first
    pub path: PathBuf,

    #[arg(long, value_name = "Z", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=i64::from(ZOOM_MAX_SERVED)))]
    pub min_zoom: u8,

    #[arg(long, value_name = "Z", value_parser = clap::value_parser!(u8).range(0..=i64::from(ZOOM_MAX_SERVED)))]
    pub max_zoom: u8,

    /// Only tiles that touch this box, in degrees: west,south,east,north. May be given several times
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    pub bbox: Vec<LonLatBox>,

    /// Only points that pass this CQL2 text
    #[arg(long, value_name = "CQL2", default_value = "")]
    pub filter: String,

    /// A style parameter, as in a tile's URL. May be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub style: Vec<(String, String)>,

    /// What to write: X.pmtiles, X.mbtiles, or a folder of z/x/y.png
    #[arg(short, long, value_name = "OUTPUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,

    /// Say how many tiles there are, and about how long they take and how large they are; make none
    #[arg(long)]
    pub dry_run: bool,

    /// Keep what a run that was stopped has made
    #[arg(long)]
    pub resume: bool,

    /// Replace the output if it exists
    #[arg(long)]
    pub force: bool,

    /// Memory for counts and selections
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = parse_bytes)]
    pub cache_size: usize,

    #[command(flatten)]
    pub engine: EngineArgs,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Tiles that an estimate makes, spread over the plan.
const SAMPLE_TILES: usize = 200;

pub fn run(args: PrewarmArgs) -> anyhow::Result<()> {
    ensure!(
        args.min_zoom <= args.max_zoom,
        "--min-zoom {} is above --max-zoom {}: exchange them",
        args.min_zoom,
        args.max_zoom
    );
    let format = match &args.output {
        Some(output) => Format::of(output).map_err(|extension| {
            anyhow::anyhow!("'.{extension}' is no output: name it X.pmtiles, X.mbtiles, or a folder without an extension")
        })?,
        None => Format::Folder,
    };
    let source = Arc::new(super::serve::opened(&args.path, &args.engine)?);
    let filter = Filter::parse(&args.filter, source.dataset())?;
    let pairs = args.style.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let view = Arc::new(View::new(&source, filter, pairs)?);
    let pipeline = Pipeline::new(&CacheBudgets::of(args.cache_size), Arc::new(Metrics::new()));
    let selection = pipeline.selection(&view, &Cancel::never())?;
    let plan = Plan::of(&source, &selection, args.min_zoom, args.max_zoom, &args.bbox);
    if args.dry_run {
        return estimate(&plan, &view, &pipeline, args.json);
    }
    let job = Job {
        view,
        zoom_min: args.min_zoom,
        zoom_max: args.max_zoom,
        boxes: args.bbox,
        output: args.output.expect("clap asks for it unless --dry-run"),
        format,
        begin: if args.resume { Begin::Resume } else { Begin::Afresh },
        replace: if args.force { Replace::Always } else { Replace::Never },
    };
    let progress = Progress::start("prewarm", Unit::Tiles, Some(plan.tiles.len() as u64));
    let on_batch = |tiles: u64, bytes: u64| {
        progress.advance(tiles);
        progress.count_beside(bytes);
    };
    let summary = prewarm::run(&job, &plan, &pipeline, &on_batch)?;
    progress.finish();
    print(&summary, args.json)
}

fn print(summary: &Summary, json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(summary)?)?;
        return Ok(());
    }
    let Summary { tiles, made, tile_bytes, output_bytes, seconds, .. } = summary;
    let worked = summary.count_seconds + summary.shade_seconds + summary.encode_seconds;
    let share = |part: f64| if worked > 0.0 { part / worked * 100.0 } else { 0.0 };
    writeln!(
        stdout,
        "{tiles} tiles ({made} made now), {:.1} MB of images, {:.1} MB written, {seconds:.1} s, {:.0} tiles/s: {}",
        *tile_bytes as f64 / 1e6,
        *output_bytes as f64 / 1e6,
        *made as f64 / seconds.max(1e-9),
        summary.output.display()
    )?;
    writeln!(
        stdout,
        "of the threads' time: counting {:.0} %, shading {:.0} %, encoding {:.0} %",
        share(summary.count_seconds),
        share(summary.shade_seconds),
        share(summary.encode_seconds)
    )?;
    Ok(())
}

/// Exactly how many tiles, and about how many bytes and seconds, from a sample.
fn estimate(plan: &Plan, view: &Arc<View>, pipeline: &Pipeline, json: bool) -> anyhow::Result<()> {
    let step = plan.tiles.len().div_ceil(SAMPLE_TILES).max(1);
    let sample: Vec<_> = plan.tiles.iter().copied().step_by(step).collect();
    let never = Cancel::never();
    let request = |tile| TileRequest { view: view.clone(), tile, scale: Scale::One, content: Content::Png };
    // What a zoom's first tile prepares for the others is not the price of a tile.
    for tile in &sample {
        pipeline.tile(&request(*tile), &never)?;
    }
    let started = Instant::now();
    let mut bytes = 0;
    for tile in &sample {
        bytes += pipeline.tile(&request(*tile), &never)?.bytes.len();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let scale = plan.tiles.len() as f64 / sample.len().max(1) as f64;
    let seconds = started.elapsed().as_secs_f64() * scale / cores as f64;
    let megabytes = bytes as f64 * scale / 1e6;
    let mut stdout = std::io::stdout().lock();
    if json {
        let answer = serde_json::json!({
            "tiles": plan.tiles.len(), "exact": plan.is_exact, "zooms": plan.zooms(),
            "estimated_bytes": (megabytes * 1e6) as u64, "estimated_seconds": seconds,
        });
        writeln!(stdout, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(());
    }
    for zoom in plan.zooms() {
        writeln!(stdout, "zoom {:>2}  {:>12} tiles", zoom.zoom, zoom.tiles)?;
    }
    let exactly = if plan.is_exact { "exactly" } else { "at most" };
    writeln!(stdout, "{exactly} {} tiles, about {megabytes:.1} MB and {seconds:.0} s", plan.tiles.len())?;
    Ok(())
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!("'{text}' is no NAME=VALUE, such as how=log")),
    }
}
