//! What a server can be told: every setting with its meaning, its default and its limits, and the layers it comes from.
//!
//! ```text
//! defaults < file (YAML) < environment (POINTILLIST_...) < flags          [layers]
//! ```
//!
//! This is data. What the settings do is somebody else's subject, and nothing here knows of datasets, engines or HTTP.

mod check;
mod keys;
mod layers;
mod limits;
mod machine;
mod units;
mod yaml;

pub use keys::{Key, KeyHash, Role, new_key};
pub use layers::{CONFIG_VARIABLE, ConfigError, Layers};
pub use limits::Limits;
pub use machine::raise_files_max;
pub use units::{Size, Span};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A pointillist server's configuration
///
/// Every setting is also an environment variable, its path in capitals: `cache.size` is `POINTILLIST_CACHE_SIZE`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to serve at; port 0 takes a free one
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Address and port for /admin and /metrics, which must not be reachable from outside; without it there is no /admin
    #[schemars(with = "Option<String>")]
    pub admin_listen: Option<SocketAddr>,
    /// The server's address as clients see it, such as https://tiles.example.org/maps; by default what they ask for
    pub public_url: Option<String>,
    /// A path that all addresses begin with, such as /tiles, behind a proxy that passes it on; /health and /ready are also without it
    pub route_prefix: Option<String>,
    /// How long a cache may use a tile whose URL does not name the data version
    pub max_age: Span,
    /// What counts
    pub backend: Backend,
    /// GPU memory to use; by default as much as there is
    pub device_memory: Option<Size>,
    /// What to do when the GPU is lost twice
    pub on_device_loss: OnDeviceLoss,
    /// What is served
    pub datasets: Datasets,
    /// What is kept of finished work
    pub cache: Cache,
    /// What is kept here of datasets in stores
    pub store: Store,
    /// What one request, one client and all together may cost
    pub limits: Limits,
    /// Who may see what
    pub access: Access,
    /// HTTPS without a proxy
    pub tls: Tls,
    /// Proxies whose Forwarded and X-Forwarded-... headers are believed, as addresses or networks such as 10.0.0.0/8
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
    /// Host names that requests may ask for; all where none is named
    pub allowed_hosts: Vec<String>,
    /// Which pages of other sites may use the server
    pub cors: Cors,
    /// What lies under the points on the page
    pub basemap: Basemap,
    /// What is written to standard error
    pub log: Log,
    /// Where traces go
    pub telemetry: Telemetry,
}

/// What counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A real GPU where there is one, else the CPU
    #[default]
    Auto,
    /// A GPU, or software that emulates one
    Gpu,
    /// The CPU
    Cpu,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnDeviceLoss {
    /// Count on the CPU
    #[default]
    Cpu,
    /// Answer with errors
    Fail,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Datasets {
    /// Datasets, or raw files, which are ingested into a cache folder first; each is served by its own name
    pub paths: Vec<PathBuf>,
    /// Datasets by the name to serve them by
    pub sources: BTreeMap<String, PathBuf>,
    /// A folder of datasets that POST /admin/datasets may publish, or a place in a store
    pub folder: Option<PathBuf>,
    /// How long nobody has to ask for a dataset until what was made of it, in memory and on a device, is let go; the next request makes it
    /// again. By default never
    pub idle: Option<Span>,
    /// How often to look whether datasets have new versions, such as after an append; 0 for at a reload only
    pub watch: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for finished tiles, counts and selections
    pub size: Size,
    /// Folder in which finished tiles survive a restart; several servers may share it
    pub dir: Option<PathBuf>,
    /// Disk space for `dir`; beyond it the tiles go that were not used for longest
    pub dir_size: Size,
    /// Finished tiles that several servers share: redis://HOST:PORT/DB. How much it keeps, and for how long, is that server's to say
    pub shared: Option<String>,
    /// Under overload answer with an image of a former data version, where there is one in memory, in place of 503 and 504
    pub stale: bool,
}

/// What is read of datasets in stores (s3://, gs://, az://, http://)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Folder for it; each server on a machine takes a part of it for itself. By default under ~/.cache/pointillist
    pub cache: Option<PathBuf>,
    /// Disk space for it; beyond it the blocks go that were not used for longest
    pub cache_size: Size,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The datasets that need no key: all, none, or a list of names; by default all, or none where there is a key for reading
    pub anonymous: Option<Anonymous>,
    /// Keys for those who may see more
    pub keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Anonymous {
    Every(Every),
    Named(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    All,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate chain, PEM; read again at a reload
    pub certificate: Option<PathBuf>,
    /// Private key, PEM
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins such as https://maps.example.org, or '*' for all
    pub origins: Vec<String>,
    /// How long browsers may remember what is allowed
    pub max_age: Span,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Basemap {
    /// A style in MapLibre's format, https://host/path or /path here; by default the page's own, which needs no other server
    pub light: Option<String>,
    /// The same for the dark theme; by default `light`
    pub dark: Option<String>,
    /// Further servers that the styles take tiles, letters or symbols from
    pub servers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// A request that takes longer has a line that says where the time went
    pub slow: Span,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as http://127.0.0.1:4318; by default what OTEL_EXPORTER_OTLP_ENDPOINT names
    pub otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// A network such as 10.0.0.0/8, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        let network = text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)));
        network.map(Network).map_err(|_: std::net::AddrParseError| format!("'{text}' is neither an address nor a network such as 10.0.0.0/8"))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.0.to_string()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            public_url: None,
            route_prefix: None,
            // Long enough to pan back and forth, short enough that a replaced dataset shows soon.
            max_age: secs(60),
            backend: Backend::default(),
            device_memory: None,
            on_device_loss: OnDeviceLoss::default(),
            datasets: Datasets::default(),
            cache: Cache::default(),
            store: Store::default(),
            limits: Limits::default(),
            access: Access::default(),
            tls: Tls::default(),
            trusted_proxies: Vec::new(),
            allowed_hosts: Vec::new(),
            cors: Cors::default(),
            basemap: Basemap::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Datasets {
    fn default() -> Datasets {
        // A look reads a manifest of some kilobytes.
        Datasets { paths: Vec::new(), sources: BTreeMap::new(), folder: None, idle: None, watch: secs(5) }
    }
}

impl Default for Cache {
    fn default() -> Cache {
        Cache { size: Size(512_000_000), dir: None, dir_size: Size(10_000_000_000), shared: None, stale: false }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store { cache: None, cache_size: Size(10_000_000_000) }
    }
}

impl Default for Cors {
    fn default() -> Cors {
        Cors { origins: vec!["*".into()], max_age: secs(3600) }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::default(), slow: secs(1) }
    }
}

/// Settings that a reload does not change.
const READ_AT_START: [&str; 26] = [
    "listen",
    "admin_listen",
    "route_prefix",
    "backend",
    "device_memory",
    "on_device_loss",
    "datasets.watch",
    "cache.size",
    "cache.dir",
    "cache.dir_size",
    "cache.shared",
    "store",
    "limits.threads",
    "limits.queue",
    "limits.deadline",
    "limits.head",
    "limits.preview_budget",
    "limits.connections",
    "limits.head_timeout",
    "limits.stall_timeout",
    "limits.drain_notice",
    "limits.drain_timeout",
    "cors",
    "basemap",
    "log.format",
    "telemetry",
];

const fn secs(secs: u64) -> Span {
    Span(Duration::from_secs(secs))
}

impl Access {
    /// Whether a dataset may be seen without a key.
    pub fn is_public(&self, dataset: &str) -> bool {
        match &self.anonymous {
            Some(Anonymous::Every(Every::All)) => true,
            Some(Anonymous::Every(Every::None)) => false,
            Some(Anonymous::Named(names)) => names.iter().any(|name| name == dataset),
            None => !self.keys.iter().any(|key| key.role == Role::Read),
        }
    }
}

impl Config {
    /// With every derived default filled in, and without passwords: what `pointillist config show` prints.
    pub fn resolved(mut self) -> Config {
        if let Some(Ok(mut url)) = self.cache.shared.as_deref().map(Url::parse)
            && url.password().is_some()
        {
            // Only a URL that can have no password refuses one.
            let _ = url.set_password(Some("***"));
            self.cache.shared = Some(url.into());
        }
        let limits = &mut self.limits;
        limits.threads = Some(limits.threads());
        limits.connections = Some(limits.connections());
        limits.unread = Some(limits.unread(self.cache.size));
        limits.client_requests = Some(limits.client_requests());
        limits.client_burst = limits.client_burst();
        let is_open = self.access.is_public("");
        self.access.anonymous.get_or_insert(Anonymous::Every(if is_open { Every::All } else { Every::None }));
        self
    }

    /// The settings that differ from `running` and are only looked at when the program starts.
    pub fn differences_that_need_a_restart(&self, running: &Config) -> Vec<String> {
        let texts = |config: &Config| serde_json::to_value(config).expect("a configuration is texts, numbers, lists and maps");
        let (new, old) = (texts(self), texts(running));
        let differs = |path: &str| {
            let pointer = format!("/{}", path.replace('.', "/"));
            new.pointer(&pointer) != old.pointer(&pointer)
        };
        READ_AT_START.into_iter().filter(|path| differs(path)).map(str::to_owned).collect()
    }

    /// As YAML.
    ///
    /// # Panics
    /// Never: a configuration is texts, numbers, lists and maps.
    pub fn to_yaml(&self) -> String {
        yaml::text_of(&serde_json::to_value(self).expect("a configuration is texts, numbers, lists and maps"))
    }

    /// The JSON Schema of a configuration file.
    pub fn schema() -> Value {
        schemars::schema_for!(Config).to_value()
    }
}
