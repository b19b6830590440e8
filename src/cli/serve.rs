//! `pointillist serve`: datasets as tiles, over HTTP.
//!
//! Arguments, and opening what they name; the work is [`crate::service`]'s and [`crate::server`]'s.

use super::engine::EngineArgs;
use super::telemetry::Telemetry;
use super::{logging, stores};
use crate::archive::Archive;
use crate::config::{Backend, CONFIG_VARIABLE, Config, LogFormat, Layers, OnDeviceLoss, Size, Span, raise_files_max};
use crate::dataset::Manifest;
use crate::server::{self, App, Basemap, Failure, Listeners, Opener};
use crate::service::disk::DiskCache;
use crate::service::{Limits, Service, SharedCache, Source};
use crate::store::Store;
use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Serve datasets as map tiles, histograms and a page, over HTTP
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist serve towers
  pointillist serve cells.csv.gz
  pointillist serve towers.pmtiles
  pointillist serve s3://maps/towers --store-cache /var/cache/pointillist
  pointillist serve towers ships --listen 0.0.0.0:8080 --cache-size 2GB
  pointillist serve --config /etc/pointillist.yaml \\
      --set limits.connections=2000
Tiles are at /{dataset}/{z}/{x}/{y}.png, the page at /. Every setting can stand in the file, in the environment
(POINTILLIST_CACHE_SIZE=2GB) or in a flag, the later before the earlier: `pointillist config show` prints them all.")]
pub struct ServeArgs {
    /// Datasets: folders that `pointillist ingest` has made, or raw files, which are ingested into a cache folder first; or archives,
    /// X.pmtiles and X.mbtiles, which are served as they are. Datasets and raw files may lie in a store: s3://BUCKET/towers
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub options: ServeOptions,
}

/// How to serve, whatever is served. What is not said here is what the file, the environment or the defaults say.
#[derive(clap::Args, Clone, Debug)]
pub struct ServeOptions {
    /// Settings, as YAML
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub config: Option<PathBuf>,

    /// Any setting by its path, such as limits.queue=100. May be given several times
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    pub set: Vec<(String, Value)>,

    /// Address and port; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Address and port for /admin and /metrics, not to be reached from outside [default: no /admin]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// What counts: auto takes a real GPU where there is one, else the CPU [default: auto]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    /// GPU memory to use, such as 6GB; what does not fit is paged in when it is needed, so 200MB is the least that large
    /// datasets work with [default: as much as there is]
    #[arg(long, value_name = "SIZE")]
    pub device_memory: Option<Size>,

    /// What to do when the GPU is lost twice: count on the CPU, or answer with errors [default: cpu]
    #[arg(long, value_enum)]
    pub on_device_loss: Option<OnDeviceLoss>,

    /// Memory for finished tiles, counts and selections, such as 512MB or 2GB [default: 512MB]
    #[arg(long, value_name = "SIZE")]
    pub cache_size: Option<Size>,

    /// Folder in which finished tiles survive a restart; several servers may share it
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Disk space for --cache-dir; beyond it the tiles go that were not used for longest [default: 10GB]
    #[arg(long, value_name = "SIZE")]
    pub cache_dir_size: Option<Size>,

    /// Finished tiles that several servers share, as redis://HOST:PORT/DB; while it is away each makes its own [default: none]
    #[arg(long, value_name = "URL")]
    pub shared_cache: Option<String>,

    /// Folder for what is read of datasets in stores; each server on a machine takes a part of it for itself [default: under
    /// ~/.cache/pointillist]
    #[arg(long, value_name = "DIR")]
    pub store_cache: Option<PathBuf>,

    /// Disk space for --store-cache; beyond it the blocks go that were not used for longest [default: 10GB]
    #[arg(long, value_name = "SIZE")]
    pub store_cache_size: Option<Size>,

    /// How long a cache may use a tile whose URL does not name the data version, in seconds or as 5m [default: 60]
    #[arg(long, value_name = "TIME")]
    pub max_age: Option<Span>,

    /// How long a request may take before it is given up, in seconds or as 500ms [default: 30]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,

    /// How long the exact colours of a zoom may be expected to take; beyond, a tile is first coloured by an estimate, marked
    /// `X-Tile-Quality: preview`, and replaced [default: 500ms]
    #[arg(long, value_name = "TIME")]
    pub preview_budget: Option<Span>,

    /// Requests that may wait for a thread; more are refused with 503 [default: 512]
    #[arg(long, value_name = "N")]
    pub queue: Option<usize>,

    /// The server's address as clients see it, such as https://tiles.example.org; by default what they ask for
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// A path that all addresses begin with, such as /tiles, behind a proxy that passes it on [default: none]
    #[arg(long, value_name = "PATH")]
    pub route_prefix: Option<String>,

    /// Style of the page's basemap (MapLibre's format), instead of the offline one: https://host/path, or /path here
    #[arg(long, value_name = "URL")]
    pub basemap: Option<String>,

    /// The same for the dark theme
    #[arg(long, value_name = "URL", requires = "basemap")]
    pub basemap_dark: Option<String>,

    /// A further server that the basemap's style takes tiles, letters or symbols from; may be repeated
    #[arg(long, value_name = "URL", requires = "basemap")]
    pub basemap_server: Vec<String>,

    /// How logs look: text for people, json for programs [default: text]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    serve(&args.paths, args.options)
}

/// Serves until the process is told to stop.
///
/// # Errors
/// A wrong configuration, a port that is taken, or a path that is no dataset and cannot be made into one.
pub fn serve(paths: &[PathBuf], options: ServeOptions) -> anyhow::Result<()> {
    let config = options.configured(paths)?;
    let telemetry = Telemetry::of(&config.telemetry)?;
    match &telemetry {
        Some(telemetry) => logging::start_traced(config.log.format, telemetry.tracer()),
        None => logging::start(config.log.format),
    }
    serve_logged(paths, options)
}

/// The same, for a caller who has begun to log.
///
/// # Errors
/// As [`serve`].
pub fn serve_logged(paths: &[PathBuf], options: ServeOptions) -> anyhow::Result<()> {
    let config = options.configured(paths)?;
    let datasets = &config.datasets;
    ensure!(
        !(datasets.paths.is_empty() && datasets.sources.is_empty() && datasets.folder.is_none()),
        "there is nothing to serve: name a dataset, as in `pointillist serve towers`, or give a --config with datasets"
    );
    raise_files_max();
    // Before anything that takes time: a port in use and a wrong address are known at once.
    let basemap = Basemap::of(&config.basemap).context("the page's basemap")?;
    let listeners = Listeners { public: bound(config.listen)?, admin: config.admin_listen.map(bound).transpose()? };
    let address = listeners.public.local_addr().context("the socket has no address")?;
    let admin = listeners.admin.as_ref().map(|listener| listener.local_addr().context("the socket has no address")).transpose()?;
    let limits = Limits {
        cache_bytes: config.cache.size.bytes(),
        threads: config.limits.threads(),
        queue_jobs_max: config.limits.queue,
        deadline: config.limits.deadline.0,
        preview_budget: config.limits.preview_budget.0,
    };
    let archives = config.datasets.paths.iter().filter(|path| Archive::is_named(path));
    let archives = archives.map(|path| Archive::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut service = Service::new(Vec::new(), limits).with_archives(archives);
    if let Some(folder) = &config.cache.dir {
        service = service.with_disk(DiskCache::open(folder, config.cache.dir_size.0)?);
    }
    if let Some(url) = &config.cache.shared {
        service = service.with_shared(SharedCache::open(url)?);
    }
    let is_encrypted = config.tls.certificate.is_some();
    let opener = Box::new(Flags { paths: paths.to_vec(), options });
    let app = App::open(service, config, basemap, opener).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut said = Ok(());
    let scheme = if is_encrypted { "https" } else { "http" };
    server::serve(listeners, app, || {
        let mut stdout = std::io::stdout().lock();
        said = writeln!(stdout, "listening on {scheme}://{address}")
            .and_then(|()| admin.map_or(Ok(()), |admin| writeln!(stdout, "admin on http://{admin}")))
            .and_then(|()| stdout.flush());
    })?;
    said.context("cannot say where the server listens")
}

/// What a reload starts from: the command line stays as it was given.
struct Flags {
    paths: Vec<PathBuf>,
    options: ServeOptions,
}

impl Opener for Flags {
    fn config(&self) -> Result<Config, Failure> {
        Ok(self.options.configured(&self.paths)?)
    }

    fn folder(&self, path: &Path) -> Result<PathBuf, Failure> {
        Ok(folder_of(path)?)
    }

    fn source(&self, config: &Config, folder: &Path) -> Result<Source, Failure> {
        if Store::is_url(folder) {
            // Made by the first dataset that needs it, and by then under the configuration's budget.
            stores::block_cache(config.store.cache.as_deref(), config.store.cache_size)?;
        }
        Ok(stores::source_at(folder, &EngineArgs::from(config))?)
    }

    fn manifest(&self, folder: &Path) -> Result<Manifest, Failure> {
        Ok(stores::manifest_at(folder)?)
    }
}

impl ServeOptions {
    /// The settings that these flags, the environment and the file make.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn configured(&self, paths: &[PathBuf]) -> anyhow::Result<Config> {
        let mut layers = Layers::new();
        if let Some(file) = &self.config {
            layers = layers.file(file)?;
        }
        layers = layers.environment(variables())?;
        for warning in layers.warnings() {
            tracing::warn!("{warning}");
        }
        if !paths.is_empty() {
            layers = layers.flag("PATH", "datasets.paths", serde_json::to_value(paths).context("a path is not UTF-8")?)?;
        }
        let text = |value: &dyn ToString| Value::String(value.to_string());
        let path = |path: &PathBuf| Value::String(path.display().to_string());
        let servers = (!self.basemap_server.is_empty()).then(|| self.basemap_server.iter().map(|url| text(url)).collect());
        let flags: [(&str, &str, Option<Value>); 21] = [
            ("--listen", "listen", self.listen.as_ref().map(|value| text(value))),
            ("--admin-listen", "admin_listen", self.admin_listen.as_ref().map(|value| text(value))),
            ("--backend", "backend", self.backend.and_then(named)),
            ("--device-memory", "device_memory", self.device_memory.as_ref().map(|value| text(value))),
            ("--on-device-loss", "on_device_loss", self.on_device_loss.and_then(named)),
            ("--cache-size", "cache.size", self.cache_size.as_ref().map(|value| text(value))),
            ("--cache-dir", "cache.dir", self.cache_dir.as_ref().map(path)),
            ("--cache-dir-size", "cache.dir_size", self.cache_dir_size.as_ref().map(|value| text(value))),
            ("--shared-cache", "cache.shared", self.shared_cache.clone().map(Value::String)),
            ("--store-cache", "store.cache", self.store_cache.as_ref().map(path)),
            ("--store-cache-size", "store.cache_size", self.store_cache_size.as_ref().map(|value| text(value))),
            ("--max-age", "max_age", self.max_age.as_ref().map(|value| text(value))),
            ("--timeout", "limits.deadline", self.timeout.as_ref().map(|value| text(value))),
            ("--preview-budget", "limits.preview_budget", self.preview_budget.as_ref().map(|value| text(value))),
            ("--queue", "limits.queue", self.queue.map(Value::from)),
            ("--public-url", "public_url", self.public_url.clone().map(Value::String)),
            ("--route-prefix", "route_prefix", self.route_prefix.clone().map(Value::String)),
            ("--basemap", "basemap.light", self.basemap.clone().map(Value::String)),
            ("--basemap-dark", "basemap.dark", self.basemap_dark.clone().map(Value::String)),
            ("--basemap-server", "basemap.servers", servers),
            ("--log-format", "log.format", self.log_format.and_then(named)),
        ];
        for (flag, path, value) in flags {
            if let Some(value) = value {
                layers = layers.flag(flag, path, value)?;
            }
        }
        for (path, value) in &self.set {
            layers = layers.setting(path, value.clone())?;
        }
        Ok(layers.config()?)
    }
}

/// The name of a choice, as files write it.
fn named(choice: impl ValueEnum) -> Option<Value> {
    choice.to_possible_value().map(|value| Value::String(value.get_name().to_owned()))
}

/// `limits.queue=100`: a path, and a value as YAML writes it.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (path, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is no PATH=VALUE, such as limits.queue=100"))?;
    Ok((path.to_owned(), Layers::scalar(value)))
}

/// The environment, as far as it is text.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Opens what a path means: a dataset, or a raw file, which is ingested the first time.
///
/// # Errors
/// There is nothing, or nothing that can be read.
pub fn opened(path: &Path, engine: &EngineArgs) -> anyhow::Result<Source> {
    stores::source_at(&folder_of(path)?, engine)
}

/// The dataset's folder that a path means.
fn folder_of(path: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        Store::is_url(path) || path.exists(),
        "{} does not exist: give a folder that `pointillist ingest` has made, a raw file, or a place in a store", path.display()
    );
    super::ingest::dataset_folder(path, &super::ingest::InputArgs::default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_one_clear_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let message = bound(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(message.contains("the port is in use") && message.contains("--listen"), "{message}");
    }
}
