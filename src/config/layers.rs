//! Where settings come from, and which of two wins: flags over environment over file over defaults.

use super::{Config, yaml};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What begins the names of environment variables that are settings.
const PREFIX: &str = "POINTILLIST_";

/// Names the configuration's file, and is none of its settings.
pub const CONFIG_VARIABLE: &str = "POINTILLIST_CONFIG";

/// A configuration is read whole: one of more bytes is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How alike a word must be to be taken for a misspelling, 1 being equal (Jaro-Winkler).
const ALIKE: f64 = 0.8;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{path} is not YAML: {message}", path = path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("{place}: there is no setting '{key}'{nearest}; `pointillist config schema` lists them")]
    Unknown { place: String, key: String, nearest: String },
    /// A value of a wrong type or form.
    #[error("{origin}: {message}")]
    Value { origin: String, message: String },
    /// Values that cannot be together.
    #[error("{0}")]
    Invalid(String),
}

/// The layers, lowest first. Each overrides single settings of those below it; lists and maps are replaced whole.
#[derive(Clone, Debug)]
pub struct Layers {
    merged: Value,
    /// What was laid last, for messages.
    origin: String,
    warnings: Vec<String>,
}

impl Layers {
    /// The defaults.
    pub fn new() -> Layers {
        Layers { merged: defaults(), origin: "the defaults".into(), warnings: Vec::new() }
    }

    /// A file over what there is.
    ///
    /// # Errors
    /// It cannot be read, is not YAML, or has a key that there is not.
    pub fn file(self, path: &Path) -> Result<Layers, ConfigError> {
        let read = |cause| ConfigError::Read { path: path.to_owned(), cause };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ConfigError::Invalid(format!("{} has {bytes} bytes: that is no configuration", path.display())));
        }
        self.yaml(&std::fs::read_to_string(path).map_err(read)?, path)
    }

    /// A file's text over what there is.
    ///
    /// # Errors
    /// As [`Layers::file`].
    pub fn yaml(self, text: &str, path: &Path) -> Result<Layers, ConfigError> {
        let parsed = yaml::value_of(text).map_err(|message| ConfigError::Syntax { path: path.to_owned(), message })?;
        let place = path.display().to_string();
        let layer = match parsed {
            Value::Null => Value::Object(Map::new()),
            Value::Object(layer) => Value::Object(layer),
            _ => {
                let message = "a configuration begins with settings, such as `listen: 127.0.0.1:8080`".into();
                return Err(ConfigError::Syntax { path: path.to_owned(), message });
            }
        };
        find_unknown(&layer, &defaults(), &place)?;
        self.laid(layer, place)
    }

    /// Environment variables over what there is. Lists are YAML, or words between commas.
    ///
    /// # Errors
    /// A value cannot be what it is for. A variable that is no setting but nearly so is only warned about: others may use the
    /// prefix.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Layers, ConfigError> {
        let settings = paths_of(&defaults());
        let names: Vec<String> = settings.iter().map(|path| variable_of(path)).collect();
        let mut wanted: Vec<(String, String)> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX) && name != CONFIG_VARIABLE)
            .collect();
        wanted.sort();
        for (name, text) in wanted {
            let Some(place) = names.iter().position(|known| *known == name) else {
                let bare = |name: &'_ str| name.trim_start_matches(PREFIX).to_owned();
                let known: Vec<String> = names.iter().map(|name| bare(name)).collect();
                if let Some(near) = nearest(&bare(&name), known.iter().map(String::as_str)) {
                    self.warnings.push(format!("the environment variable {name} is no setting: did you mean {PREFIX}{near}?"));
                }
                continue;
            };
            let path = &settings[place];
            let is_list = at(&defaults(), path).is_some_and(Value::is_array);
            let value = match is_list && !text.trim_start().starts_with(['[', '-']) {
                true => Value::Array(text.split(',').map(|word| Value::String(word.trim().into())).collect()),
                false => Layers::scalar(&text),
            };
            self = self.laid(nested(path, value), name)?;
        }
        Ok(self)
    }

    /// A value that stands by itself: as YAML reads it, or else the text.
    pub fn scalar(text: &str) -> Value {
        yaml::value_of(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    }

    /// Any setting by its path over what there is.
    ///
    /// # Errors
    /// There is no such setting, or the value cannot be what it is for.
    pub fn setting(self, path: &str, value: Value) -> Result<Layers, ConfigError> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let layer = nested(&path, value);
        find_unknown(&layer, &defaults(), "--set")?;
        self.laid(layer, format!("--set {}", path.join(".")))
    }

    /// A flag over what there is. `path` is the setting's, such as `cache.size`.
    ///
    /// # Errors
    /// The value cannot be what it is for.
    pub fn flag(self, flag: &str, path: &str, value: Value) -> Result<Layers, ConfigError> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        self.laid(nested(&path, value), flag.to_owned())
    }

    /// What looks like a mistake but need not be one, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The configuration that the layers make.
    ///
    /// # Errors
    /// Values that cannot be together.
    pub fn config(self) -> Result<Config, ConfigError> {
        let config: Config = typed(&self.merged, &self.origin)?;
        config.check()?;
        Ok(config)
    }

    fn laid(mut self, layer: Value, origin: String) -> Result<Layers, ConfigError> {
        lay(&mut self.merged, layer);
        // Read now, so that the message names the layer that brought what is wrong.
        typed(&self.merged, &origin)?;
        self.origin = origin;
        Ok(self)
    }
}

impl Default for Layers {
    fn default() -> Layers {
        Layers::new()
    }
}

fn typed(merged: &Value, origin: &str) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        ConfigError::Value { origin: origin.to_owned(), message: format!("{path}: {message}") }
    })
}

fn defaults() -> Value {
    serde_json::to_value(Config::default()).expect("a configuration is texts, numbers, lists and maps")
}

fn lay(below: &mut Value, above: Value) {
    match (below, above) {
        // Maps with keys of their users' choice begin empty, and are replaced.
        (Value::Object(below), Value::Object(above)) if !below.is_empty() => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(held) => lay(held, value),
                    None => drop(below.insert(key, value)),
                }
            }
        }
        (below, above) => *below = above,
    }
}

fn find_unknown(layer: &Value, known: &Value, place: &str) -> Result<(), ConfigError> {
    let (Value::Object(layer), Value::Object(known)) = (layer, known) else { return Ok(()) };
    if known.is_empty() {
        return Ok(());
    }
    for (key, value) in layer {
        let Some(inner) = known.get(key) else {
            let nearest = match nearest(key, known.keys().map(String::as_str)) {
                Some(near) => format!(": did you mean '{near}'?"),
                None => format!(": there are {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            return Err(ConfigError::Unknown { place: place.to_owned(), key: key.clone(), nearest });
        };
        find_unknown(value, inner, &format!("{place}: {key}"))?;
    }
    Ok(())
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|known| (strsim::jaro_winkler(word, known), known)).filter(|(alike, _)| *alike >= ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// The paths of all settings: what is no section.
fn paths_of(section: &Value) -> Vec<Vec<String>> {
    let Value::Object(members) = section else { return vec![Vec::new()] };
    if members.is_empty() {
        return vec![Vec::new()];
    }
    let inner = |(key, value): (&String, &Value)| {
        let key = key.clone();
        paths_of(value).into_iter().map(move |mut path| {
            path.insert(0, key.clone());
            path
        })
    };
    members.iter().flat_map(inner).collect()
}

fn variable_of(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("_").to_uppercase())
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, key| Value::Object(Map::from_iter([(key.clone(), value)])))
}

#[cfg(test)]
mod tests {
    use super::super::{Size, Span};
    use super::*;
    use std::time::Duration;

    fn file(text: &str) -> Result<Config, String> {
        let config = Layers::new().yaml(text, Path::new("p.yaml")).and_then(Layers::config);
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn each_layer_overrides_single_settings_of_those_below() {
        let variables = [("POINTILLIST_CACHE_SIZE", "2GB"), ("POINTILLIST_LIMITS_QUEUE", "7"), ("POINTILLIST_ALLOWED_HOSTS", "a.org, b.org")];
        let config = Layers::new()
            .yaml("listen: 0.0.0.0:80\ncache:\n  size: 1GB\n  dir: /var/tiles\nlimits: {queue: 5, deadline: 9}", Path::new("p.yaml"))
            .and_then(|layers| layers.environment(variables.map(|(name, value)| (name.into(), value.into()))))
            .and_then(|layers| layers.flag("--queue", "limits.queue", 8.into()))
            .and_then(Layers::config)
            .unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:80");
        assert_eq!((config.cache.size, config.cache.dir_size), (Size(2_000_000_000), Size(10_000_000_000)));
        assert_eq!(config.cache.dir.unwrap(), Path::new("/var/tiles"));
        assert_eq!((config.limits.queue, config.limits.deadline), (8, Span(Duration::from_secs(9))));
        assert_eq!(config.allowed_hosts, ["a.org", "b.org"]);
    }

    #[test]
    fn what_is_wrong_is_one_sentence_with_its_place() {
        for (text, said) in [
            ("lisen: 1", "p.yaml: there is no setting 'lisen': did you mean 'listen'?"),
            ("cache:\n  sise: 1", "p.yaml: cache: there is no setting 'sise': did you mean 'size'?"),
            ("cache:\n  zzz: 1", "there are size, dir, dir_size, shared"),
            ("cache:\n  size: many", "p.yaml: cache.size: 'many' is not a size"),
            ("limits: {queue: -1}", "limits.queue"),
            ("limits: {deadline: soon}", "p.yaml: limits.deadline: 'soon' is not a time"),
            ("backend: tpu", "auto"),
            ("access:\n  keys:\n  - {name: a, sha256: b}", "64 hex digits"),
            ("access:\n  keys:\n  - {name: a, key: b}", "unknown field `key`"),
            ("trusted_proxies: [here]", "10.0.0.0/8"),
            ("listen: [", "is not YAML"),
            ("a list", "begins with settings"),
            ("listen: 1.2.3.4:5\nlisten: 1.2.3.4:5", "is not YAML"),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        assert_eq!(file("").unwrap(), Config::default());
        assert_eq!(file("# only a comment\n").unwrap(), Config::default());
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let shown = Config::default().resolved().to_yaml();
        assert_eq!(file(&shown).unwrap().to_yaml(), shown);
        let shown = file("cache: {shared: 'redis://:pass@host:1/2'}").unwrap().resolved().to_yaml();
        assert!(shown.contains("redis://:***@host:1/2") && !shown.contains("pass@"), "{shown}");
    }

    #[test]
    fn every_setting_has_a_variable_of_its_own() {
        let mut names: Vec<String> = paths_of(&defaults()).iter().map(|path| variable_of(path)).collect();
        assert!(names.contains(&"POINTILLIST_CACHE_DIR_SIZE".to_owned()) && names.contains(&"POINTILLIST_DATASETS_PATHS".to_owned()));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
