//! Places in stores, wherever a command takes a path: datasets, inputs and outputs.

use super::engine::EngineArgs;
use super::progress::{Progress, Unit};
use crate::config::Size;
use crate::dataset::stored::{self, BlockCache, Upload};
use crate::dataset::write::Replace;
use crate::dataset::{Dataset, Manifest};
use crate::engine::{Cancel, write_overview};
use crate::ingest::{cache, is_data_file};
use crate::store::Store;
use anyhow::{Context, anyhow, ensure};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Disk space for what is read of datasets in stores, unless it is said.
pub const CACHE_SIZE_DEFAULT: Size = Size(10_000_000_000);

/// The local copies of a process: the first to ask says where, and under which budget.
///
/// # Errors
/// The folder cannot be written.
pub fn block_cache(folder: Option<&Path>, size: Size) -> anyhow::Result<Arc<BlockCache>> {
    static CACHE: Mutex<Option<Arc<BlockCache>>> = Mutex::new(None);
    let mut made = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cache) = &*made {
        return Ok(cache.clone());
    }
    let folder = folder.map_or_else(|| Ok(cache::default_root()?.join("stores")), |folder| anyhow::Ok(folder.to_owned()))?;
    let cache = BlockCache::open(&folder, size.0).with_context(|| format!("the cache of what is read of stores, {}", folder.display()))?;
    *made = Some(cache.clone());
    Ok(cache)
}

/// Opens the dataset in a folder or at a URL.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn dataset_at(path: &Path) -> anyhow::Result<Dataset> {
    if Store::is_url(path) {
        return Ok(Dataset::open_stored(path, &block_cache(None, CACHE_SIZE_DEFAULT)?)?);
    }
    Ok(Dataset::open(path)?)
}

/// The manifest of the dataset in a folder or at a URL.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn manifest_at(path: &Path) -> anyhow::Result<Manifest> {
    Ok(if Store::is_url(path) { stored::manifest_at(path)? } else { Manifest::read(path)? })
}

/// Whether a URL names a raw file and not a dataset.
pub fn is_raw_file(url: &Path) -> bool {
    Store::is_url(url) && is_data_file(url)
}

/// The file at a URL, downloaded into the cache folder the first time.
///
/// # Errors
/// There is none, or the folder cannot be written.
pub fn downloaded_once(url: &Path) -> anyhow::Result<PathBuf> {
    let (folder, name) = split(url)?;
    let store = Store::open(&folder)?;
    let tag = store.version(&name)?;
    let kept = cache::default_root()?.join("downloads").join(format!("{:016x}", xxh3_64(format!("{} {tag}", url.display()).as_bytes())));
    let file = kept.join(&name);
    if !file.exists() {
        std::fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
        let part = kept.join(format!(".{name}.{}", std::process::id()));
        download(&store, &name, &part)?;
        std::fs::rename(&part, &file).with_context(|| format!("cannot rename to {}", file.display()))?;
    }
    Ok(file)
}

/// Inputs, those in stores downloaded into a folder that goes with this.
pub struct Fetched {
    pub inputs: Vec<PathBuf>,
    _folder: Option<TempDir>,
}

/// Downloads the inputs that lie in stores: files, all data files under a prefix, and patterns.
///
/// # Errors
/// There is nothing at a URL, or the store does not answer.
pub fn fetched(inputs: Vec<PathBuf>) -> anyhow::Result<Fetched> {
    if !inputs.iter().any(|input| Store::is_url(input)) {
        return Ok(Fetched { inputs, _folder: None });
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder for what is downloaded")?;
    let mut found = Vec::new();
    for (place, input) in inputs.into_iter().enumerate() {
        if !Store::is_url(&input) {
            found.push(input);
            continue;
        }
        let (store, names) = objects_of(&input)?;
        for name in names {
            // Two inputs may have files of one name.
            let file = folder.path().join(place.to_string()).join(&name);
            let parent = file.parent().expect("a file lies in a folder");
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
            download(&store, &name, &file)?;
            found.push(file);
        }
    }
    Ok(Fetched { inputs: found, _folder: Some(folder) })
}

/// The objects that an input names, under a place in a store.
fn objects_of(input: &Path) -> anyhow::Result<(Store, Vec<String>)> {
    let text = input.to_string_lossy().into_owned();
    if is_raw_file(input) && !text.contains('*') {
        let (folder, name) = split(input)?;
        return Ok((Store::open(&folder)?, vec![name]));
    }
    let (prefix, pattern) = match text.find('*') {
        None => (text.as_str(), None),
        Some(star) => {
            let slash = text[..star].rfind('/').ok_or_else(|| anyhow!("'{text}' has a pattern for a host"))?;
            (&text[..slash], Some(glob::Pattern::new(&text[slash + 1..]).with_context(|| format!("'{text}' is not a pattern"))?))
        }
    };
    let store = Store::open(Path::new(prefix))?;
    let is_wanted = |name: &str| pattern.as_ref().map_or_else(|| is_data_file(Path::new(name)), |pattern| pattern.matches(name));
    let names: Vec<String> = store.list()?.into_iter().map(|object| object.name).filter(|name| is_wanted(name)).collect();
    ensure!(!names.is_empty(), "there is nothing to read at {text}: name a file, a prefix with data files, or a pattern");
    Ok((store, names))
}

fn download(store: &Store, name: &str, file: &Path) -> anyhow::Result<()> {
    let progress = Progress::start("download", Unit::Bytes, Some(store.size(name)?));
    store.download(name, file, &|bytes| progress.advance(bytes))?;
    progress.finish();
    Ok(())
}

/// A URL's last name, and what stands before it.
fn split(url: &Path) -> anyhow::Result<(PathBuf, String)> {
    let text = url.to_string_lossy();
    let (folder, name) = text.trim_end_matches('/').rsplit_once('/').ok_or_else(|| anyhow!("{text} names nothing"))?;
    Ok((PathBuf::from(folder), name.to_owned()))
}

/// The name of a dataset at a URL, unless another is given.
///
/// # Errors
/// The URL ends with none.
pub fn name_at(url: &Path) -> anyhow::Result<String> {
    let (folder, name) = split(url)?;
    ensure!(!folder.to_string_lossy().ends_with("/"), "{} names a bucket: say where in it, as in {}/towers", url.display(), url.display());
    Ok(name)
}

/// Uploads a local dataset, with what a server needs to open it there.
///
/// # Errors
/// There is one already that is not to be replaced, or the store does not take it.
pub fn upload(folder: &Path, url: &Path, replace: Replace) -> anyhow::Result<Manifest> {
    let dataset = Arc::new(Dataset::open(folder)?);
    let overview = tempfile::tempdir().context("cannot make a temporary folder for the overview")?;
    write_overview(&dataset, overview.path(), &Cancel::never())?;
    let upload = Upload::begin(&dataset, overview.path())?;
    stored::find_free(url, replace)?;
    let progress = Progress::start("upload", Unit::Bytes, Some(upload.bytes()?));
    upload.send(&Store::open(url)?, &|bytes| progress.advance(bytes))?;
    progress.finish();
    Ok(dataset.manifest.clone())
}

/// Opens what a path of a dataset means with its engine.
///
/// # Errors
/// It cannot be opened, or no engine takes it.
pub fn source_at(folder: &Path, engine: &EngineArgs) -> anyhow::Result<crate::service::Source> {
    let dataset = Arc::new(dataset_at(folder)?);
    let engine = engine.open(dataset.clone())?;
    crate::service::Source::new(dataset, engine).with_context(|| format!("the default style in {} is wrong", folder.display()))
}
