//! `pointillist prewarm`: makes tiles ahead of time.
//!
//! Arguments and printing; the work is [`crate::prewarm`]'s.

use super::engine::EngineArgs;
use super::progress::{Progress, Unit};
use super::style::style_parameter;
use super::{Partial, WrongUsage, stop};
use crate::config::Size;
use crate::engine::Cancel;
use crate::filter::Filter;
use crate::ingest::cache::default_root;
use crate::prewarm::{self, Area, Begin, Format, Job, Outcome, Place, Plan, Replace, Stop, Summary, Target};
use crate::service::{CacheBudgets, Content, Metrics, Pipeline, Scale, Source, TileRequest, View, ZOOM_MAX_SERVED};
use crate::store::Store;
use crate::world::{LonLatBox, TileId};
use anyhow::{Context, ensure};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Make the tiles of a dataset ahead of time, into a server's cache, PMTiles, MBTiles or a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist prewarm towers --max-zoom 10 -o towers.pmtiles
  pointillist prewarm towers --min-zoom 4 --max-zoom 12 \\
      --bbox -10,35,5,60 --filter \"radio = 'LTE'\" -o lte.mbtiles
  pointillist prewarm towers --max-zoom 12 --region spain.geojson \\
      --cache-dir /var/cache/pointillist \\
      --filter \"\" --filter \"radio = 'LTE'\" \\
      --variant how=log --variant 'how=log&cmap=viridis'
  pointillist prewarm towers --max-zoom 8 -o s3://maps/towers.pmtiles
  pointillist prewarm towers --max-zoom 12 --dry-run
A run that was stopped goes on with --resume; its output is the same, byte for byte.
Exit codes: 0 all tiles are there, 1 failed, 2 wrong usage, 3 partial: stopped by Ctrl-C (within 10 seconds) or with tiles that
could not be made; what was made is kept, and --resume makes the rest.")]
pub struct PrewarmArgs {
    /// The dataset's folder, or a raw file, which is ingested into a cache folder first
    pub path: PathBuf,

    #[arg(long, value_name = "Z", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=i64::from(ZOOM_MAX_SERVED)))]
    pub min_zoom: u8,

    #[arg(long, value_name = "Z", required_unless_present = "tile_list", value_parser = clap::value_parser!(u8).range(0..=i64::from(ZOOM_MAX_SERVED)))]
    pub max_zoom: Option<u8>,

    /// Only tiles that touch this box, in degrees: west,south,east,north. May be given several times
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    pub bbox: Vec<LonLatBox>,

    /// Only tiles that touch the polygons of this GeoJSON file (or a --bbox). May be given several times
    #[arg(long, value_name = "FILE")]
    pub region: Vec<PathBuf>,

    /// Only the tiles of this file, one z/x/y a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bbox", "region"])]
    pub tile_list: Option<PathBuf>,

    /// Only points that pass this CQL2 text. Given several times, with --cache-dir, tiles are made for each
    #[arg(long, value_name = "CQL2")]
    pub filter: Vec<String>,

    /// A style parameter, as in a tile's URL. May be given several times: together they are one style
    #[arg(long, value_name = "NAME=VALUE", value_parser = style_parameter)]
    pub style: Vec<(String, String)>,

    /// A style of its own on top of --style, as the query of a tile's URL, such as how=log&cmap=viridis. Given several times, with
    /// --cache-dir, tiles are made in each
    #[arg(long, value_name = "QUERY", value_parser = names_and_values)]
    pub variant: Vec<Pairs>,

    /// What to write: X.pmtiles, X.mbtiles, or a folder of z/x/y.png; here, or in a store of objects, such as s3://bucket/x.pmtiles.
    /// What goes to a store lies in the user's cache folder until it is there
    #[arg(short, long, value_name = "OUTPUT", required_unless_present_any = ["dry_run", "cache_dir"], conflicts_with = "cache_dir")]
    pub output: Option<PathBuf>,

    /// The folder of `serve --cache-dir`: its server finds the tiles there. Those that it has are not made again
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Disk space for --cache-dir; beyond it the tiles go that were not used for longest
    #[arg(long, value_name = "SIZE", default_value_t = Size(10_000_000_000))]
    pub cache_dir_size: Size,

    /// Say how many tiles there are, and about how long they take and how large they are; make none
    #[arg(long)]
    pub dry_run: bool,

    /// Keep what a run that was stopped has made
    #[arg(long)]
    pub resume: bool,

    /// Replace the output if it exists, and tiles that a cache has
    #[arg(long)]
    pub force: bool,

    /// Wait while the machine's load of the last minute is above this, so that live traffic goes first. A prewarm itself is a load of
    /// as many as it has threads
    #[arg(long, value_name = "LOAD", value_parser = load)]
    pub max_load: Option<f64>,

    /// Wait while the server at this address makes tiles or anything else for anybody, so that live traffic goes first, such as
    /// http://127.0.0.1:8080. Where that wants keys or speaks TLS, give its --admin-listen, or append ?key=KEY of an admin
    #[arg(long, value_name = "URL", value_parser = server_address)]
    pub yield_to: Option<String>,

    /// Threads that make tiles; by default as many as there are cores
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Tiles that may fail before the run does
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_errors: u64,

    /// Memory for counts and selections
    #[arg(long, value_name = "SIZE", default_value_t = Size(512_000_000))]
    pub cache_size: Size,

    #[command(flatten)]
    pub engine: EngineArgs,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Names and values of a query.
pub type Pairs = Arc<[(String, String)]>;

/// Tiles that an estimate makes, spread over the plan.
const SAMPLE_TILES: usize = 200;

/// Styles and filters together: each has a selection, and a scale for every zoom.
const VIEWS_MAX: usize = 256;

pub fn run(args: PrewarmArgs) -> anyhow::Result<()> {
    let area = area(&args)?;
    let zooms = zooms(&args, &area)?;
    let target = target(&args)?;
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global().context("cannot start the threads")?;
    }
    let source = Arc::new(super::serve::opened(&args.path, &args.engine)?);
    let pipeline = Pipeline::new(&CacheBudgets::of(args.cache_size.bytes()), Arc::new(Metrics::new()));
    let views = views(&args, &source)?;
    let planned = planned(&views, &pipeline, &zooms, &area)?;
    let Some(target) = target.filter(|_| !args.dry_run) else {
        return estimate(&planned, &pipeline, args.json);
    };
    let job = Job {
        views: planned,
        zooms,
        area,
        target,
        begin: if args.resume { Begin::Resume } else { Begin::Afresh },
        replace: if args.force { Replace::Always } else { Replace::Never },
        load_max: args.max_load,
        yield_to: args.yield_to,
        errors_max: args.max_errors,
    };
    let stop = Arc::new(Stop::new());
    let (asked, overdue) = (stop.clone(), stop.clone());
    let on_stop = move || {
        eprintln!("stopping: the tiles under way are finished and kept");
        asked.ask();
    };
    stop::at_signal(on_stop, move || overdue.give_up()).context("cannot wait for Ctrl-C")?;
    let tiles = job.views.iter().map(|(_, plan)| plan.tiles.len() as u64).sum();
    let progress = Progress::start("prewarm", Unit::Tiles, Some(tiles));
    let on_batch = |tiles: u64, bytes: u64| {
        progress.advance(tiles);
        progress.count_beside(bytes);
    };
    let summary = prewarm::run(&job, &pipeline, &stop, &on_batch)?;
    progress.finish();
    print(&summary, args.json)?;
    match summary.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Stopped | Outcome::Partial => {
            let lacking = summary.tiles - summary.made - summary.found;
            Err(Partial(format!("{lacking} of {} tiles are not made: run it again with --resume", summary.tiles)).into())
        }
    }
}

fn area(args: &PrewarmArgs) -> anyhow::Result<Area> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    if let Some(path) = &args.tile_list {
        return Area::listed(&read(path)?).with_context(|| format!("{} is no list of tiles", path.display()));
    }
    let boxes = args.bbox.iter().fold(Area::world(), |area, bbox| area.with_box(*bbox));
    args.region.iter().try_fold(boxes, |area, path| {
        area.with_geojson(&read(path)?).with_context(|| format!("{} is no region", path.display()))
    })
}

fn load(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|load: &f64| load.is_finite()).ok_or_else(|| "a load is a number such as 1.5".to_owned())
}

/// As the flags say; of a list without them, from its smallest to its largest.
fn zooms(args: &PrewarmArgs, area: &Area) -> anyhow::Result<RangeInclusive<u8>> {
    let listed = area.tiles().unwrap_or_default();
    let deepest = listed.iter().map(|tile| tile.z()).max().unwrap_or(0);
    ensure!(deepest <= ZOOM_MAX_SERVED, "the list has tiles of zoom {deepest}, and zooms end at {ZOOM_MAX_SERVED}");
    let max = args.max_zoom.unwrap_or(deepest);
    let min = listed.iter().map(|tile| tile.z()).min().unwrap_or(0).max(args.min_zoom).min(max);
    if args.min_zoom > max {
        return Err(WrongUsage(format!("--min-zoom {} is above --max-zoom {max}: exchange them", args.min_zoom)).into());
    }
    Ok(min..=max)
}

fn target(args: &PrewarmArgs) -> anyhow::Result<Option<Target>> {
    if let Some(folder) = &args.cache_dir {
        return Ok(Some(Target::Cache { folder: folder.clone(), budget_bytes: args.cache_dir_size.0 }));
    }
    let Some(path) = &args.output else { return Ok(None) };
    let format = Format::of(path).map_err(|extension| {
        WrongUsage(format!("'.{extension}' is no output: name it X.pmtiles, X.mbtiles, or a folder without an extension"))
    })?;
    let place = Place::of(path, &work_folder(path)?)?;
    Ok(Some(Target::Output { place, format }))
}

/// Where tiles lie that go to a store: in the user's cache folder, for there may be nowhere else.
fn work_folder(output: &Path) -> anyhow::Result<PathBuf> {
    if !Store::is_url(output) {
        return Ok(PathBuf::new());
    }
    let folder = default_root()?.join("prewarm");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Every filter in every style, each once.
fn views(args: &PrewarmArgs, source: &Arc<Source>) -> anyhow::Result<Vec<Arc<View>>> {
    let everything = [String::new()];
    let filters = if args.filter.is_empty() { &everything[..] } else { &args.filter };
    let plain = [Pairs::from([])];
    let variants = if args.variant.is_empty() { &plain[..] } else { &args.variant };
    ensure!(filters.len() * variants.len() <= VIEWS_MAX, "{} filters in {} styles are more than {VIEWS_MAX}", filters.len(), variants.len());
    let mut views: Vec<Arc<View>> = Vec::new();
    for text in filters {
        for variant in variants {
            let filter = Filter::parse(text, source.dataset()).with_context(|| format!("the filter \"{text}\" is wrong"))?;
            let is_changed = |name: &str| variant.iter().any(|(changed, _)| changed == name);
            let base = args.style.iter().filter(|(name, _)| !is_changed(name));
            let pairs = base.chain(variant.iter()).map(|(name, value)| (name.as_str(), value.as_str()));
            let view = View::new(source, filter, pairs)?;
            if views.iter().all(|known| known.image != view.image) {
                views.push(Arc::new(view));
            }
        }
    }
    Ok(views)
}

type Planned = Vec<(Arc<View>, Arc<Plan>)>;

/// Views that show the same points, spread alike, have one plan.
fn planned(
    views: &[Arc<View>],
    pipeline: &Pipeline,
    zooms: &RangeInclusive<u8>,
    area: &Area,
) -> anyhow::Result<Planned> {
    let mut plans = HashMap::new();
    let mut planned = Vec::new();
    for view in views {
        let shown = (view.numbers, view.style.spread);
        let plan = match plans.get(&shown) {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(Plan::of(view, pipeline, zooms, area)?),
        };
        plans.insert(shown, plan.clone());
        planned.push((view.clone(), plan));
    }
    Ok(planned)
}

fn print(summary: &Summary, json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(summary)?)?;
        return Ok(());
    }
    let Summary { tiles, made, found, tile_bytes, output_bytes, seconds, .. } = summary;
    let worked = summary.count_seconds + summary.shade_seconds + summary.encode_seconds;
    let share = |part: f64| if worked > 0.0 { part / worked * 100.0 } else { 0.0 };
    writeln!(
        stdout,
        "{tiles} tiles ({made} made now, {found} before), {:.1} MB of images, {:.1} MB written, {seconds:.1} s, {:.0} tiles/s: {}",
        *tile_bytes as f64 / 1e6,
        *output_bytes as f64 / 1e6,
        *made as f64 / seconds.max(1e-9),
        summary.output.display()
    )?;
    writeln!(
        stdout,
        "of the threads' time: counting {:.0} % ({} tiles were summed from those inside), shading {:.0} %, encoding {:.0} %; {:.1} s for the output, {:.1} s waited for others",
        share(summary.count_seconds),
        summary.summed,
        share(summary.shade_seconds),
        share(summary.encode_seconds),
        summary.write_seconds,
        summary.waited_seconds,
    )?;
    if summary.failed > 0 {
        let first = summary.first_failure.as_ref().map_or_else(String::new, |first| format!("; the first, {}: {}", first.tile, first.why));
        writeln!(stdout, "{} tiles could not be made{first}", summary.failed)?;
    }
    if summary.evicted > 0 {
        writeln!(stdout, "{} tiles had to go for room: give more with --cache-dir-size", summary.evicted)?;
    }
    Ok(())
}

/// Exactly how many tiles, and about how many bytes and seconds, from a sample.
fn estimate(planned: &Planned, pipeline: &Pipeline, json: bool) -> anyhow::Result<()> {
    let all: Vec<(&Arc<View>, TileId)> =
        planned.iter().flat_map(|(view, plan)| plan.tiles.iter().map(move |&tile| (view, tile))).collect();
    let step = all.len().div_ceil(SAMPLE_TILES).max(1);
    let sample: Vec<_> = all.iter().step_by(step).collect();
    // What a zoom's first tile prepares for the others is the same however many there are.
    let started = Instant::now();
    for (view, plan) in planned {
        prewarm::prepare(view, &plan.tiles, pipeline, &Stop::new())?;
    }
    let prepared = started.elapsed().as_secs_f64();
    let made = |(view, tile): &&(&Arc<View>, TileId)| {
        let request = TileRequest { view: Arc::clone(view), tile: *tile, scale: Scale::One, content: Content::Png };
        pipeline.tile(&request, &Cancel::never()).map(|tile| tile.body.len())
    };
    let started = Instant::now();
    let bytes: usize = sample.par_iter().map(made).sum::<Result<usize, _>>()?;
    let scale = all.len() as f64 / sample.len().max(1) as f64;
    let seconds = prepared + started.elapsed().as_secs_f64() * scale;
    let megabytes = bytes as f64 * scale / 1e6;
    let mut zooms: Vec<prewarm::ZoomCount> = Vec::new();
    for more in planned.iter().flat_map(|(_, plan)| plan.zooms()) {
        match zooms.iter_mut().find(|zoom| zoom.zoom == more.zoom) {
            Some(zoom) => zoom.tiles += more.tiles,
            None => zooms.push(more),
        }
    }
    zooms.sort_by_key(|zoom| zoom.zoom);
    let mut stdout = std::io::stdout().lock();
    if json {
        let answer = serde_json::json!({
            "tiles": all.len(), "views": planned.len(), "zooms": zooms,
            "estimated_bytes": (megabytes * 1e6) as u64, "estimated_seconds": seconds,
        });
        writeln!(stdout, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(());
    }
    for zoom in &zooms {
        writeln!(stdout, "zoom {:>2}  {:>12} tiles", zoom.zoom, zoom.tiles)?;
    }
    writeln!(stdout, "exactly {} tiles, about {megabytes:.1} MB and {seconds:.0} s", all.len())?;
    Ok(())
}

/// The address of a server, without TLS: what brings that along is more than a look at its metrics is worth.
fn server_address(text: &str) -> Result<String, String> {
    if text.starts_with("http://") { Ok(text.to_owned()) } else { Err(format!("'{text}' is no address such as http://127.0.0.1:8080")) }
}

fn names_and_values(text: &str) -> Result<Pairs, String> {
    text.split('&').filter(|pair| !pair.is_empty()).map(style_parameter).collect()
}
