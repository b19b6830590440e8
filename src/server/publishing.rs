//! Which datasets are served: those of the configuration, and those that were published since. Changed as a whole, at the start,
//! at a reload, and when one is published or removed; requests under way keep what they began with.
//!
//! What was published is remembered in `published.json` in the datasets' folder, or in the store that this is, so that a restart finds it.

use crate::archive::Archive;
use crate::config::Config;
use crate::dataset::manifest::Manifest;
use crate::dataset::verify::verify;
use crate::service::{Changes, Registry, Source, Sources};
use crate::store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// What went wrong in the program around the server.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the server asks of the program around it, which knows flags, files and engines.
pub trait Opener: Send + Sync {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// It is wrong.
    fn config(&self) -> Result<Config, Failure>;

    /// The dataset's folder that a path means.
    ///
    /// # Errors
    /// There is nothing, or nothing that can be read.
    fn folder(&self, path: &Path) -> Result<PathBuf, Failure>;

    /// The manifest of the dataset in a folder.
    ///
    /// # Errors
    /// It is none.
    fn manifest(&self, folder: &Path) -> Result<Manifest, Failure>;

    /// The dataset in a folder, opened.
    ///
    /// # Errors
    /// It is none, or no engine takes it.
    fn source(&self, config: &Config, folder: &Path) -> Result<Source, Failure>;
}

#[derive(Debug, Error)]
pub enum PublishError {
    /// Nothing has changed: the operator's files or request are wrong.
    #[error("{0}")]
    Wrong(String),
    #[error("there is no published dataset '{0}'")]
    Unknown(String),
    /// What is asked for contradicts the configuration.
    #[error("{0}")]
    Conflict(String),
}

/// Names that no dataset may take: they are other addresses.
const RESERVED_NAMES: [&str; 22] = [
    "admin", "cache", "catalog", "config", "docs", "events", "font", "health", "help", "index", "manifest", "metrics", "openapi",
    "openapi.json", "ready", "refresh", "reload", "sprite", "status", "tiles", "ui", "version",
];

/// The longest name of a dataset: that of a file.
const NAME_BYTES_MAX: usize = 255;

const PUBLISHED_FILE: &str = "published.json";

pub struct Publisher {
    opener: Box<dyn Opener>,
    /// Names that are taken by archives.
    archives: Vec<String>,
    /// One change at a time.
    state: Mutex<State>,
}

struct State {
    /// Names that the configuration gives: they are removed there, and not by a request.
    configured: Vec<String>,
    /// Folders of what is served, by name, to know what is unchanged.
    folders: BTreeMap<String, PathBuf>,
}

/// What `published.json` holds: folders inside of the datasets' folder, by name.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    datasets: BTreeMap<String, String>,
}

impl Publisher {
    /// # Errors
    /// An archive has a name that none may have.
    pub fn new(opener: Box<dyn Opener>, archives: Vec<String>) -> Result<Publisher, PublishError> {
        archives.iter().try_for_each(|name| find_reserved(name, "an archive"))?;
        let publisher = Publisher { opener, archives, state: Mutex::new(State { configured: Vec::new(), folders: BTreeMap::new() }) };
        Ok(publisher)
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// It is wrong.
    pub fn config(&self) -> Result<Config, PublishError> {
        self.opener.config().map_err(wrong)
    }

    /// Serves exactly what the configuration and `published.json` name. Datasets that have not changed stay open.
    ///
    /// # Errors
    /// One of them cannot be opened; then everything stays as it was.
    pub fn load(&self, config: &Config, registry: &Registry) -> Result<Changes, PublishError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = Wanted { sources: Sources::new(), folders: BTreeMap::new() };
        // Archives are opened at the start, and are not exchanged.
        for path in config.datasets.paths.iter().filter(|path| !Archive::is_named(path)) {
            self.want(&mut wanted, config, &state, registry, None, path)?;
        }
        for (name, path) in &config.datasets.sources {
            self.want(&mut wanted, config, &state, registry, Some(name), path)?;
        }
        let configured = wanted.sources.keys().cloned().collect();
        if let Some(root) = &config.datasets.folder {
            for (name, folder) in &Published::read(root)?.datasets {
                self.want(&mut wanted, config, &state, registry, Some(name), &root.join(checked(folder)?))?;
            }
        }
        *state = State { configured, folders: wanted.folders };
        Ok(registry.replace(wanted.sources))
    }

    /// Whether a dataset has another version now than the one that is served. One that cannot be read has none: what is open stays open.
    pub fn is_outdated(&self, registry: &Registry) -> bool {
        let folders = self.state.lock().unwrap_or_else(PoisonError::into_inner).folders.clone();
        folders.iter().any(|(name, folder)| {
            let served = registry.get(name);
            served.is_some_and(|served| self.opener.manifest(folder).is_ok_and(|manifest| manifest != served.dataset().manifest))
        })
    }

    /// Serves the dataset `folder` of the datasets' folder as `name`, in the place of what had the name.
    ///
    /// # Errors
    /// There is no datasets' folder, no such dataset in it, or the name is not to be had.
    pub fn publish(&self, config: &Config, registry: &Registry, name: &str, folder: &str) -> Result<Changes, PublishError> {
        let root = root(config)?;
        let path = root.join(checked(folder)?);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.configured.iter().any(|configured| configured == name) {
            return Err(conflict(name));
        }
        let mut wanted = Wanted { sources: (*registry.all()).clone(), folders: state.folders.clone() };
        wanted.sources.remove(name);
        wanted.folders.remove(name);
        self.want(&mut wanted, config, &state, registry, Some(name), &path)?;
        let mut published = Published::read(root)?;
        published.datasets.insert(name.to_owned(), folder.to_owned());
        published.write(root)?;
        state.folders = wanted.folders;
        Ok(registry.replace(wanted.sources))
    }

    /// Serves a published dataset no longer. Its files stay.
    ///
    /// # Errors
    /// It was not published, or `published.json` cannot be written.
    pub fn remove(&self, config: &Config, registry: &Registry, name: &str) -> Result<Changes, PublishError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.configured.iter().any(|configured| configured == name) {
            return Err(conflict(name));
        }
        let mut sources = (*registry.all()).clone();
        let root = root(config).ok().filter(|_| sources.contains_key(name));
        let root = root.ok_or_else(|| PublishError::Unknown(super::query::excerpt(name)))?;
        let mut published = Published::read(root)?;
        published.datasets.remove(name);
        published.write(root)?;
        sources.remove(name);
        state.folders.remove(name);
        Ok(registry.replace(sources))
    }

    /// Opens a dataset once more: what was made of its data in memory, and on a device, goes, and with it whatever is stuck.
    ///
    /// # Errors
    /// There is none of the name, or it can no longer be opened; then it stays as it was.
    pub fn restart(&self, config: &Config, registry: &Registry, name: &str) -> Result<Changes, PublishError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = state.folders.get(name).ok_or_else(|| PublishError::Unknown(super::query::excerpt(name)))?;
        verified_if_damaged(registry.get(name).as_deref(), folder)?;
        let opened = self.opener.source(config, folder).map_err(wrong)?.named(name);
        let mut sources = (*registry.all()).clone();
        sources.insert(name.to_owned(), Arc::new(opened));
        Ok(registry.replace(sources))
    }

    /// Adds what `path` means to what is wanted: as it is served already where nothing has changed, else opened.
    fn want(
        &self,
        wanted: &mut Wanted,
        config: &Config,
        state: &State,
        registry: &Registry,
        name: Option<&str>,
        path: &Path,
    ) -> Result<(), PublishError> {
        let folder = self.opener.folder(path).map_err(wrong)?;
        let manifest = self.opener.manifest(&folder).map_err(wrong)?;
        let name = name.unwrap_or(&manifest.name).to_owned();
        find_reserved(&name, &format!("the dataset in {}", folder.display()))?;
        if self.archives.contains(&name) {
            return Err(PublishError::Wrong(format!("an archive and a dataset are both named '{name}': rename the archive's file")));
        }
        if let Some(other) = wanted.folders.get(&name) {
            let (other, folder) = (other.display(), folder.display());
            return Err(PublishError::Wrong(format!(
                "{other} and {folder} are both named '{name}': give one of them another name in datasets.sources, or ingest it with another --name"
            )));
        }
        let served = registry.get(&name).filter(|_| state.folders.get(&name) == Some(&folder));
        let served = served.filter(|source| source.dataset().manifest == manifest);
        verified_if_damaged(served.as_deref(), &folder)?;
        let source = match served.filter(|source| source.intact().is_ok()) {
            Some(source) => source,
            None => Arc::new(self.opener.source(config, &folder).map_err(wrong)?.named(name.clone())),
        };
        wanted.sources.insert(name.clone(), source);
        wanted.folders.insert(name, folder);
        Ok(())
    }
}

/// Of files that were changed once it is not enough that they look right when they are opened again.
fn verified_if_damaged(served: Option<&Source>, folder: &Path) -> Result<(), PublishError> {
    let is_damaged = served.is_some_and(|source| source.intact().is_err());
    if is_damaged && folder.is_dir() {
        verify(folder, &|_| {}).map_err(|error| wrong(error.into()))?;
    }
    Ok(())
}

struct Wanted {
    sources: Sources,
    folders: BTreeMap<String, PathBuf>,
}

impl Published {
    /// # Errors
    /// It is there and cannot be read.
    fn read(root: &Path) -> Result<Published, PublishError> {
        let path = root.join(PUBLISHED_FILE);
        if Store::is_url(root) {
            return match Store::open(root).and_then(|store| store.get(PUBLISHED_FILE)) {
                Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error)),
                Err(StoreError::NotFound(_)) => Ok(Published::default()),
                Err(error) => Err(unreadable(&path, &error)),
            };
        }
        let damaged = |error: &dyn std::fmt::Display| unreadable(&path, error);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Published::default()),
            Err(error) => Err(damaged(&error)),
        }
    }

    /// Written beside and renamed, so that there is never half of it.
    fn write(&self, root: &Path) -> Result<(), PublishError> {
        let path = root.join(PUBLISHED_FILE);
        let text = serde_json::to_string_pretty(self).expect("texts can be written");
        if Store::is_url(root) {
            let written = Store::open(root).and_then(|store| store.put(PUBLISHED_FILE, text.into()));
            return written.map_err(|error| PublishError::Wrong(format!("cannot write {}: {error}", path.display())));
        }
        let written = tempfile::NamedTempFile::new_in(root).and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        });
        written.map(drop).map_err(|error| PublishError::Wrong(format!("cannot write {}: {error}", path.display())))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> PublishError {
    PublishError::Wrong(format!("cannot read {}: {error}", path.display()))
}

fn root(config: &Config) -> Result<&PathBuf, PublishError> {
    config.datasets.folder.as_ref().ok_or_else(|| {
        PublishError::Wrong("nothing can be published: the configuration names no datasets.folder".into())
    })
}

/// # Errors
/// A name that is an address of the server, or could not stand in one.
fn find_reserved(name: &str, what: &str) -> Result<(), PublishError> {
    let name = checked(name)?;
    if RESERVED_NAMES.contains(&name) || name.starts_with('_') {
        return Err(PublishError::Wrong(format!(
            "{what} is named '{name}', which is an address of the server: give it another name in datasets.sources, or ingest it with another --name"
        )));
    }
    Ok(())
}

/// A name as datasets have them, which is never a path.
fn checked(name: &str) -> Result<&str, PublishError> {
    let is_valid = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let wrong = || {
        let name = super::query::excerpt(name);
        PublishError::Wrong(format!("'{name}' is no name: one has letters, digits, '-', '_' and '.' only, and does not begin with '.'"))
    };
    is_valid.then_some(name).ok_or_else(wrong)
}

fn conflict(name: &str) -> PublishError {
    PublishError::Conflict(format!("'{name}' stands in the configuration: change it there, and reload"))
}

fn wrong(failure: Failure) -> PublishError {
    PublishError::Wrong(failure.to_string())
}
