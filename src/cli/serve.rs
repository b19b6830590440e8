//! `pointillist serve`: datasets as tiles, over HTTP.
//!
//! Arguments, and opening what they name; the work is [`crate::service`]'s and [`crate::server`]'s.

use super::engine::EngineArgs;
use crate::archive::Archive;
use crate::dataset::Dataset;
use crate::server::{self, App, Basemap, Options};
use crate::service::disk::DiskCache;
use crate::service::{Limits, Service, Source};
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Serve datasets as map tiles, histograms and a page, over HTTP
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist serve towers
  pointillist serve cells.csv.gz
  pointillist serve towers.pmtiles
  pointillist serve towers ships --listen 0.0.0.0:8080 --cache-size 2GB
Tiles are at /{dataset}/{z}/{x}/{y}.png, the page at /.")]
pub struct ServeArgs {
    /// Datasets: folders that `pointillist ingest` has made, or raw files, which are ingested into a cache folder first; or archives,
    /// X.pmtiles and X.mbtiles, which are served as they are
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub options: ServeOptions,
}

/// How to serve, whatever is served.
#[derive(clap::Args, Debug)]
pub struct ServeOptions {
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "POINTILLIST_LISTEN")]
    pub listen: SocketAddr,

    /// Memory for finished tiles, counts and selections, such as 512MB or 2GB
    #[arg(long, value_name = "SIZE", default_value = "512MB", env = "POINTILLIST_CACHE_SIZE", value_parser = parse_bytes)]
    pub cache_size: usize,

    /// Folder in which finished tiles survive a restart; several servers may share it
    #[arg(long, value_name = "DIR", env = "POINTILLIST_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Disk space for --cache-dir; beyond it the tiles go that were not used for longest
    #[arg(long, value_name = "SIZE", default_value = "10GB", env = "POINTILLIST_CACHE_DIR_SIZE", value_parser = parse_bytes)]
    pub cache_dir_size: usize,

    /// Seconds that a cache may use a tile whose URL does not name the data version
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().max_age_secs)]
    pub max_age: u32,

    /// Seconds after which a request is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Milliseconds that the exact colours of a zoom may be expected to take; beyond, a tile is first coloured by an estimate, marked
    /// `X-Tile-Quality: preview`, and replaced
    #[arg(long, value_name = "MS", default_value_t = Limits::default().preview_budget.as_millis() as u64)]
    pub preview_budget: u64,

    /// Requests that may wait for a thread; more are refused with 503
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue_jobs_max)]
    pub queue: usize,

    /// The server's address as clients see it, such as https://tiles.example.org; by default what they ask for
    #[arg(long, value_name = "URL", env = "POINTILLIST_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Style of the page's basemap (MapLibre's format), instead of the offline one: https://host/path, or /path here
    #[arg(long, value_name = "URL", env = "POINTILLIST_BASEMAP")]
    pub basemap: Option<String>,

    /// The same for the dark theme
    #[arg(long, value_name = "URL", requires = "basemap", env = "POINTILLIST_BASEMAP_DARK")]
    pub basemap_dark: Option<String>,

    /// A further server that the basemap's style takes tiles, letters or symbols from; may be repeated
    #[arg(long, value_name = "URL", requires = "basemap")]
    pub basemap_server: Vec<String>,
}

/// Names that no dataset may take: they are other addresses.
const RESERVED_NAMES: [&str; 18] = [
    "catalog", "config", "docs", "font", "health", "help", "index", "manifest", "metrics", "openapi", "openapi.json", "ready",
    "refresh", "reload", "sprite", "status", "tiles", "ui",
];

pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    serve(&args.paths, args.options)
}

/// Serves until the process is told to stop.
///
/// # Errors
/// The port is taken, or a path is no dataset and cannot be made into one.
pub fn serve(paths: &[PathBuf], args: ServeOptions) -> anyhow::Result<()> {
    // Before anything that takes time: a port in use and a wrong address are known at once.
    let basemap = args.basemap.as_deref().map(|light| Basemap::new(light, args.basemap_dark.as_deref(), &args.basemap_server));
    let basemap = basemap.transpose().context("the page's basemap")?;
    let listener = bound(args.listen)?;
    let mut sources = Vec::new();
    let mut paths_by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    let (archives, paths): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(|path| Archive::is_named(path));
    let archives = archives.into_iter().map(|path| Archive::open(path)).collect::<Result<Vec<_>, _>>()?;
    for path in paths {
        let source = opened(path, &args.engine)?;
        let name = source.name().to_owned();
        ensure!(
            !RESERVED_NAMES.contains(&name.as_str()) && !name.starts_with('_'),
            "the dataset in {} is named '{name}', which is an address of the server: ingest it with another --name",
            path.display()
        );
        if let Some(other) = paths_by_name.insert(name.clone(), path.clone()) {
            bail!(
                "{} and {} are both named '{name}': ingest one of them with another --name",
                other.display(),
                path.display()
            );
        }
        sources.push(source);
    }
    let limits = Limits {
        cache_bytes: args.cache_size,
        queue_jobs_max: args.queue,
        deadline: Duration::from_secs(args.timeout),
        preview_budget: Duration::from_millis(args.preview_budget),
        ..Limits::default()
    };
    let address = listener.local_addr().context("the socket has no address")?;
    for archive in &archives {
        let name = archive.name();
        ensure!(
            !RESERVED_NAMES.contains(&name) && !name.starts_with('_') && !paths_by_name.contains_key(name),
            "an archive is named '{name}', which is an address of the server or a dataset's: rename the file"
        );
    }
    let mut service = Service::new(sources, limits).with_archives(archives);
    if let Some(folder) = &args.cache_dir {
        service = service.with_disk(DiskCache::open(folder, args.cache_dir_size as u64)?);
    }
    let app = App::new(service, Options { public_url: args.public_url, max_age_secs: args.max_age, basemap });
    let mut said = Ok(());
    server::serve(listener, app, || {
        let mut stdout = std::io::stdout().lock();
        said = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
    })?;
    said.context("cannot say where the server listens")
}

/// Opens what a path means: a dataset, or a raw file, which is ingested the first time.
pub fn opened(path: &Path, engine: &EngineArgs) -> anyhow::Result<Source> {
    ensure!(path.exists(), "{} does not exist: give a folder that `pointillist ingest` has made, or a raw file", path.display());
    let folder = super::ingest::dataset_folder(path, &super::ingest::InputArgs::default())?;
    let dataset = Arc::new(Dataset::open(&folder)?);
    let engine = engine.open(dataset.clone())?;
    Source::new(dataset, engine).with_context(|| format!("the default style in {} is wrong", path.display()))
}

fn bound(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use std::io::ErrorKind;
    TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "cannot listen on {address}: the port is in use; stop the other program or choose another with --listen"
        ),
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "cannot listen on {address}: ports below 1024 need a privilege; choose another with --listen"
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another address with --listen"),
    })
}

/// Bytes as people write them: `512MB`, `2 GB`, `1GiB`, `1000000`.
///
/// # Errors
/// Anything else.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("'{text}' is not a size: write it as 512MB or 2GiB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is not a size: write it as 512MB or 2GiB"))?;
    Ok((number * factor as f64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("512MB"), Ok(512_000_000));
        assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("1000"), Ok(1000));
        for wrong in ["", "MB", "12 parsecs", "-1MB", "1..2MB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_in_use_is_one_clear_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let message = bound(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(message.contains("the port is in use") && message.contains("--listen"), "{message}");
    }
}
