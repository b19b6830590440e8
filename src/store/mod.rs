//! Stores of objects, for callers that block: S3, Google Cloud Storage, Azure, and what speaks plain HTTP.
//!
//! ```text
//! s3://BUCKET/PREFIX   gs://BUCKET/PREFIX   az://CONTAINER/PREFIX   http(s)://HOST/PATH
//! ```
//!
//! Credentials, regions and endpoints are what the environment says, in each store's usual variables: `AWS_ACCESS_KEY_ID`,
//! `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME` and so on. Requests are retried with
//! back-off, on two threads of their own: whoever asks waits on a channel and never meets a runtime. TLS is reqwest's with the ring
//! provider, which it names itself, so that no provider of the process is needed. This module knows nothing of datasets.

mod error;
mod transfer;

pub use error::StoreError;

use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig};
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

/// Requests under way at a time for one caller. A tile takes up to a dozen ranges; beyond some dozens, connections cost more than
/// they win.
const REQUESTS_MAX: usize = 32;

/// A request that takes longer is tried again: at 1 MB/s, a part of an upload takes 16 s.
const REQUEST_TIME_MAX: &str = "20 seconds";
const CONNECT_TIME_MAX: &str = "2 seconds";

/// Somebody is waiting: a store that is away is to be known before a browser gives up.
const RETRIES_MAX: usize = 4;
const RETRY_TIME_MAX: Duration = Duration::from_secs(8);
const BACKOFF: BackoffConfig = BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(1), base: 2.0 };

/// A prefix in a store, under which objects are named by relative paths. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    url: Arc<str>,
    /// Whether large objects can be uploaded in parts: plain HTTP has no way to.
    takes_parts: bool,
}

/// An object under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Relative to the prefix.
    pub name: String,
    pub bytes: u64,
}

impl Store {
    /// Whether a path of a command line or a configuration names a place in a store.
    pub fn is_url(path: &Path) -> bool {
        const SCHEMES: [&str; 6] = ["s3://", "s3a://", "gs://", "az://", "http://", "https://"];
        path.to_str().is_some_and(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme)))
    }

    /// The place that a URL names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`StoreError::Wrong`]: the URL is none, or the environment's settings do not make a store.
    pub fn open(url: &Path) -> Result<Store, StoreError> {
        let text = url.to_string_lossy().trim_end_matches('/').to_owned();
        let wrong = |what: &dyn std::fmt::Display| StoreError::Wrong(format!("{text} names no place in a store: {what}"));
        let parsed = Url::parse(&text).map_err(|error| wrong(&error))?;
        if parsed.query().is_some() || parsed.fragment().is_some() || !parsed.username().is_empty() {
            return Err(wrong(&"it may have no user, '?' and '#'; credentials stand in environment variables"));
        }
        let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|error| wrong(&error))?;
        let built = built(&scheme, &parsed).map_err(|error| wrong(&error))?;
        let takes_parts = scheme != ObjectStoreScheme::Http;
        Ok(Store { objects: built, prefix, url: text.into(), takes_parts })
    }

    /// The URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The place `name` under this one.
    pub fn under(&self, name: &str) -> Store {
        Store { prefix: self.path(name), url: self.url_of(name).into(), ..self.clone() }
    }

    /// The whole object.
    ///
    /// # Errors
    /// As [`StoreError`] says; so for all methods.
    pub fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        self.wait(name, async move { objects.get(&path).await?.bytes().await })
    }

    /// Bytes of an object.
    pub fn size(&self, name: &str) -> Result<u64, StoreError> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        self.wait(name, async move { Ok(objects.head(&path).await?.size) })
    }

    /// Ranges of objects, asked for at once; in the order of `wanted`. The first failure ends it.
    pub fn ranges(&self, wanted: &[(&str, Range<u64>)]) -> Result<Vec<Bytes>, StoreError> {
        let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut requests = JoinSet::new();
        for (place, (name, range)) in wanted.iter().enumerate() {
            let (objects, path, range, turns) = (self.objects.clone(), self.path(name), range.clone(), turns.clone());
            let request = async move {
                let _turn = turns.acquire().await;
                (place, objects.get_range(&path, range).await)
            };
            requests.spawn_on(request, runtime()?.handle());
        }
        let names: Vec<String> = wanted.iter().map(|(name, _)| (*name).to_owned()).collect();
        let store = self.clone();
        let all = async move {
            let mut found = vec![Bytes::new(); names.len()];
            while let Some(done) = requests.join_next().await {
                let Ok((place, result)) = done else { return Err(store.lost()) };
                found[place] = result.map_err(|error| store.failed(&names[place], error))?;
            }
            Ok(found)
        };
        self.wait_for(all)?
    }

    /// All objects under the prefix, by name.
    pub fn list(&self) -> Result<Vec<Object>, StoreError> {
        let (objects, prefix) = (self.objects.clone(), self.prefix.clone());
        let mut found = self.wait("", async move {
            let (mut found, mut folders) = (Vec::new(), vec![prefix.clone()]);
            while let Some(folder) = folders.pop() {
                let listed = objects.list_with_delimiter(Some(&folder)).await?;
                folders.extend(listed.common_prefixes);
                for object in listed.objects {
                    let name: Vec<String> = object.location.prefix_match(&prefix).into_iter().flatten().map(|part| part.as_ref().to_owned()).collect();
                    found.push(Object { name: name.join("/"), bytes: object.size });
                }
            }
            Ok(found)
        })?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Writes a small object, in the place of one that is there.
    pub fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        self.wait(name, async move { objects.put(&path, bytes.into()).await.map(drop) })
    }

    /// Writes small objects, many at once. The first failure ends it; of the others some may be there.
    pub fn put_all(&self, objects: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut requests = JoinSet::new();
        for (name, bytes) in objects {
            let (objects, path, turns) = (self.objects.clone(), self.path(&name), turns.clone());
            let request = async move {
                let _turn = turns.acquire().await;
                let put = objects.put(&path, bytes.into()).await;
                (name, put)
            };
            requests.spawn_on(request, runtime()?.handle());
        }
        let store = self.clone();
        let all = async move {
            while let Some(done) = requests.join_next().await {
                let Ok((name, result)) = done else { return Err(store.lost()) };
                result.map_err(|error| store.failed(&name, error))?;
            }
            Ok(())
        };
        self.wait_for(all)?
    }

    /// Another text for other bytes: the object's entity tag, or where the store has none, its size and time.
    pub fn version(&self, name: &str) -> Result<String, StoreError> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        let described = self.wait(name, async move { objects.head(&path).await })?;
        Ok(described.e_tag.unwrap_or_else(|| format!("{} {}", described.size, described.last_modified)))
    }

    /// Removes an object; one that is not there is no error.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        match self.wait(name, async move { objects.delete(&path).await }) {
            Err(StoreError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    fn path(&self, name: &str) -> ObjectPath {
        let parts = name.split('/').filter(|part| !part.is_empty());
        self.prefix.parts().chain(parts.map(Into::into)).collect()
    }

    fn url_of(&self, name: &str) -> String {
        if name.is_empty() { self.url.to_string() } else { format!("{}/{name}", self.url) }
    }

    fn failed(&self, name: &str, error: object_store::Error) -> StoreError {
        StoreError::of(self.url_of(name), error)
    }

    fn lost(&self) -> StoreError {
        StoreError::Away { url: self.url.to_string(), cause: "the thread that asked it is gone".into() }
    }

    /// Has the future done on the runtime's threads, and blocks until it is.
    fn wait<T: Send + 'static>(
        &self,
        name: &str,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.wait_for(work)?.map_err(|error| self.failed(name, error))
    }

    fn wait_for<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, StoreError> {
        let (send, receive) = sync_channel(1);
        runtime()?.spawn(async move {
            // Who asked is waiting below.
            let _ = send.send(work.await);
        });
        receive.recv().map_err(|_| self.lost())
    }
}

/// One for the process: connections are kept between requests.
fn runtime() -> Result<&'static Runtime, StoreError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("store").enable_all().build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| StoreError::Wrong(format!("cannot start the threads that ask stores: {error}")))
}

fn built(scheme: &ObjectStoreScheme, url: &Url) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { backoff: BACKOFF, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME_MAX };
    let times = [(ClientConfigKey::Timeout, REQUEST_TIME_MAX), (ClientConfigKey::ConnectTimeout, CONNECT_TIME_MAX)];
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
            let set = |builder: AmazonS3Builder, (key, value)| builder.with_config(AmazonS3ConfigKey::Client(key), value);
            Arc::new(times.into_iter().fold(builder, set).build()?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            let set = |builder: GoogleCloudStorageBuilder, (key, value)| builder.with_config(GoogleConfigKey::Client(key), value);
            Arc::new(times.into_iter().fold(builder, set).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            let set = |builder: MicrosoftAzureBuilder, (key, value)| builder.with_config(AzureConfigKey::Client(key), value);
            Arc::new(times.into_iter().fold(builder, set).build()?)
        }
        _ => {
            // Whoever writes http:// has allowed it.
            let allowed = (ClientConfigKey::AllowHttp, "true");
            let builder = HttpBuilder::new().with_url(&url[..url::Position::BeforePath]).with_retry(retry);
            let set = |builder: HttpBuilder, (key, value)| builder.with_config(key, value);
            Arc::new(times.into_iter().chain([allowed]).fold(builder, set).build()?)
        }
    })
}

#[cfg(test)]
impl Store {
    /// One that lives as long as its clones.
    pub(crate) fn in_memory() -> Store {
        let objects = Arc::new(object_store::memory::InMemory::new());
        Store { objects, prefix: ObjectPath::from("a/b"), url: "s3://bucket/a/b".into(), takes_parts: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_under_the_prefix() {
        let store = Store::in_memory();
        store.put("x/1", Bytes::from_static(b"0123456789")).unwrap();
        store.under("x").put("2", Bytes::from_static(b"two")).unwrap();
        assert_eq!(store.get("x/2").unwrap(), "two");
        assert_eq!(store.size("x/1").unwrap(), 10);
        assert_eq!(store.ranges(&[("x/1", 2..5), ("x/2", 0..1), ("x/1", 9..10)]).unwrap(), ["234", "t", "9"]);
        let names: Vec<String> = store.list().unwrap().into_iter().map(|object| object.name).collect();
        assert_eq!(names, ["x/1", "x/2"]);
        let before = store.version("x/1").unwrap();
        store.put_all((1..100).map(|i| (format!("x/{i}"), Bytes::from(format!("{i}")))).collect()).unwrap();
        assert_eq!((store.list().unwrap().len(), store.get("x/77").unwrap()), (99, Bytes::from_static(b"77")));
        assert_ne!(store.version("x/1").unwrap(), before);
        store.remove("x/1").unwrap();
        store.remove("x/1").unwrap();
        let missing = store.get("x/1").unwrap_err();
        assert_eq!(missing, StoreError::NotFound("s3://bucket/a/b/x/1".into()));
    }

    #[test]
    fn a_file_comes_back_as_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..transfer::PART_BYTES * 2 + 77).map(|i| (i * 31 % 251) as u8).collect();
        std::fs::write(folder.path().join("out"), &bytes).unwrap();
        for store in [Store::in_memory(), Store { takes_parts: false, ..Store::in_memory() }] {
            let told = std::sync::atomic::AtomicU64::new(0);
            let tell = |n| {
                told.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            };
            store.upload("big", &folder.path().join("out"), &tell).unwrap();
            store.download("big", &folder.path().join("in"), &tell).unwrap();
            assert!(std::fs::read(folder.path().join("in")).unwrap() == bytes);
            assert_eq!(told.into_inner(), 2 * bytes.len() as u64);
        }
    }

    #[test]
    fn urls_are_told_from_paths_and_wrong_ones_refused() {
        for url in ["s3://b/x", "gs://b", "az://c/x", "http://h/x", "https://h/x"] {
            assert!(Store::is_url(Path::new(url)), "{url}");
        }
        for path in ["towers", "/data/s3/x", "./http:/x", "C:/x"] {
            assert!(!Store::is_url(Path::new(path)), "{path}");
        }
        for wrong in ["s3://", "http://h/x?sig=1", "https://me@h/x"] {
            let refused = Store::open(Path::new(wrong)).unwrap_err();
            assert!(matches!(&refused, StoreError::Wrong(what) if what.contains(wrong.trim_end_matches('/'))), "{refused}");
        }
    }

    #[test]
    fn a_store_that_is_away_is_known_as_such() {
        // Port 1 of this machine: nobody listens there.
        let store = Store::open(Path::new("http://127.0.0.1:1/x")).unwrap();
        assert!(matches!(store.get("y"), Err(StoreError::Away { url, .. }) if url == "http://127.0.0.1:1/x/y"));
    }
}
