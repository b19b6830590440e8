//! Finished tiles that several servers share, in Redis: what one has made, the others need not make.
//!
//! ```text
//! pointillist/DIGEST/Z/X/Y@SCALE.CONTENT    XXH3-64 of the tile, 8 bytes, and the tile
//! ```
//!
//! A digest names data version, filter and style, and begins with the data version's bits. How much is kept, and for how long, is Redis' to
//! say: `maxmemory` with `allkeys-lru`. No failure reaches a request: what does not answer at once is not asked again for a second, and
//! the tile is made here.

use super::cache::CacheStats;
use super::disk::shows_nothing;
use super::purge::Purge;
use super::tile::{Content, Scale, TileKey};
use super::{Digest, lock};
use crate::encode::NpyDtype;
use crate::world::TileId;
use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, FromRedisValue, RedisError};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64;

/// Longer than this a tile takes to be made anew.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(100);
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// For how long a cache that failed is not asked.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// Tiles on their way: at 20 KB some 5 MB. More are not kept.
const WRITES_MAX: usize = 256;

/// Keys of one step of a purge.
const SCAN_KEYS: usize = 1000;

/// A purge goes through all keys; in a large cache that takes a while.
const PURGE_TIME_MAX: Duration = Duration::from_secs(60);

const PREFIX: &str = "pointillist";

#[derive(Debug, Error)]
#[error("the shared cache {url}: {cause}")]
pub struct SharedError {
    url: String,
    cause: String,
}

pub struct SharedCache {
    url: String,
    manager: ConnectionManager,
    /// There until this is dropped.
    runtime: Option<Runtime>,
    writes: Arc<Semaphore>,
    health: Arc<Health>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Whether the cache answers.
#[derive(Default)]
struct Health {
    errors: AtomicU64,
    away_until: Mutex<Option<Instant>>,
}

impl SharedCache {
    /// A cache that need not be there yet.
    ///
    /// # Errors
    /// The URL is none of Redis'.
    pub fn open(url: &str) -> Result<SharedCache, SharedError> {
        let failed = |cause: &dyn std::fmt::Display| SharedError {
            url: without_password(url),
            cause: format!("{cause}; give it as redis://HOST:PORT/DB"),
        };
        let client = redis::Client::open(url).map_err(|error| failed(&error))?;
        let builder = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("shared-cache").enable_all().build();
        let runtime = builder().map_err(|error| failed(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_TIME_MAX))
            .set_response_timeout(Some(ANSWER_TIME_MAX));
        let manager = {
            let _entered = runtime.enter();
            ConnectionManager::new_lazy_with_config(client, config).map_err(|error| failed(&error))?
        };
        Ok(SharedCache {
            url: without_password(url),
            manager,
            runtime: Some(runtime),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            health: Arc::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// A tile, if it is there, whole, and comes in time.
    pub fn get(&self, key: &TileKey) -> Option<Bytes> {
        if self.health.is_away() {
            return None;
        }
        let mut command = redis::cmd("GET");
        command.arg(name_of(key));
        let kept: Result<Option<Vec<u8>>, RedisError> = self.answer(command, ANSWER_TIME_MAX)?;
        let found = self.health.noted(kept, &self.url)?.and_then(|kept| tile_of(&kept));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a tile, soon; not at all where the cache does not keep up.
    pub fn insert(&self, key: &TileKey, tile: &Bytes) {
        if self.health.is_away() || shows_nothing(tile) {
            return;
        }
        let Ok(turn) = self.writes.clone().try_acquire_owned() else { return };
        let mut command = redis::cmd("SET");
        command.arg(name_of(key)).arg([&xxh3_64(tile).to_le_bytes()[..], tile].concat());
        let (mut manager, health, url) = (self.manager.clone(), self.health.clone(), self.url.clone());
        self.runtime().spawn(async move {
            let _turn = turn;
            let written: Result<(), RedisError> = command.query_async(&mut manager).await;
            health.noted(written, &url)
        });
    }

    /// Forgets tiles of a data version; gives their number. Waits for the cache.
    ///
    /// # Errors
    /// The cache does not answer.
    pub fn purge(&self, data_version: &str, purge: &Purge) -> Result<u64, SharedError> {
        let failed = |cause: String| SharedError { url: self.url.clone(), cause };
        let digest = Digest(0).of_data(data_version).to_string();
        let pattern = format!("{PREFIX}/{}*", &digest[..8]);
        let purge = purge.clone();
        let mut manager = self.manager.clone();
        let all = async move {
            let (mut cursor, mut forgotten) = (0u64, 0u64);
            loop {
                let scan: (u64, Vec<String>) =
                    redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_KEYS).query_async(&mut manager).await?;
                let names: Vec<String> = scan.1.into_iter().filter(|name| tile_named(name).is_some_and(|tile| purge.takes(tile))).collect();
                if !names.is_empty() {
                    forgotten += redis::cmd("UNLINK").arg(&names).query_async::<u64>(&mut manager).await?;
                }
                cursor = scan.0;
                if cursor == 0 {
                    return Ok::<u64, RedisError>(forgotten);
                }
            }
        };
        match self.wait(all, PURGE_TIME_MAX) {
            Some(forgotten) => forgotten.map_err(|error| failed(error.to_string())),
            None => Err(failed("it does not answer".into())),
        }
    }

    /// Look-ups that were answered.
    pub fn stats(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats { hits: read(&self.hits), misses: read(&self.misses), ..CacheStats::default() }
    }

    /// Look-ups and writes that failed.
    pub fn errors(&self) -> u64 {
        self.health.errors.load(Ordering::Relaxed)
    }

    fn answer<T: FromRedisValue + Send + 'static>(&self, command: Cmd, within: Duration) -> Option<Result<T, RedisError>> {
        let mut manager = self.manager.clone();
        let answer = self.wait(async move { command.query_async(&mut manager).await }, within);
        if answer.is_none() {
            self.health.fail("it does not answer in time", &self.url);
        }
        answer
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken when this is dropped")
    }

    /// Has the future done on the runtime's thread; `None` where that takes too long.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static, within: Duration) -> Option<T> {
        let (send, receive) = sync_channel(1);
        self.runtime().spawn(async move {
            // Who asked may have given up.
            let _ = send.send(work.await);
        });
        receive.recv_timeout(within).ok()
    }
}

impl Drop for SharedCache {
    /// Without waiting, which the threads of another runtime may not.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Health {
    fn is_away(&self) -> bool {
        lock(&self.away_until).is_some_and(|until| Instant::now() < until)
    }

    /// Takes note of an answer, or of why there is none.
    fn noted<T>(&self, answer: Result<T, RedisError>, url: &str) -> Option<T> {
        match answer {
            Ok(answer) => {
                if lock(&self.away_until).take().is_some() {
                    tracing::info!("the shared cache {url} answers again");
                }
                Some(answer)
            }
            Err(error) => {
                self.fail(&error, url);
                None
            }
        }
    }

    fn fail(&self, cause: impl std::fmt::Display, url: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        // One line for an outage, however long it is.
        if lock(&self.away_until).replace(Instant::now() + AWAY_FOR).is_none() {
            tracing::warn!("the shared cache {url} does not answer: {cause}; tiles are made here");
        }
    }
}

fn name_of(key: &TileKey) -> String {
    let scale = match key.scale {
        Scale::One => 1,
        Scale::Two => 2,
        Scale::Four => 4,
    };
    let content = match key.content {
        Content::Png => "png",
        Content::Png8 => "png8",
        Content::Npy(NpyDtype::U32) => "u32.npy",
        Content::Npy(NpyDtype::Auto) => "auto.npy",
    };
    let TileKey { digest, tile, .. } = key;
    format!("{PREFIX}/{digest}/{}/{}/{}@{scale}.{content}", tile.z(), tile.x(), tile.y())
}

/// The tile that a name is of.
fn tile_named(name: &str) -> Option<TileId> {
    let mut words = name.split('/').skip(2);
    let (z, x, y) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.split('@').next()?.parse().ok()?);
    TileId::new(z, x, y).ok()
}

/// The tile that was kept, if it is as it was written.
fn tile_of(kept: &[u8]) -> Option<Bytes> {
    let (checksum, tile) = kept.split_first_chunk::<8>()?;
    (xxh3_64(tile) == u64::from_le_bytes(*checksum)).then(|| Bytes::copy_from_slice(tile))
}

/// A URL as it may be logged.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_tiles_and_kept_tiles_are_whole() {
        let key = TileKey {
            digest: Digest(7).of_data("v1"), tile: TileId::new(5, 3, 30).unwrap(), scale: Scale::Two, content: Content::Npy(NpyDtype::U32),
        };
        let name = name_of(&key);
        assert_eq!(tile_named(&name), Some(key.tile), "{name}");
        assert!(name.starts_with(&format!("{PREFIX}/{}", &Digest(0).of_data("v1").to_string()[..8])));
        let kept = [&xxh3_64(b"tile").to_le_bytes()[..], b"tile"].concat();
        assert_eq!(tile_of(&kept).unwrap(), "tile");
        assert_eq!((tile_of(&kept[..11]), tile_of(&kept[..5])), (None, None));
        assert_eq!(without_password("redis://:secret@host:1/2"), "redis://host:1/2");
    }

    #[test]
    fn a_cache_that_is_not_there_costs_one_attempt() {
        // Port 1 of this machine: nobody listens there.
        let cache = SharedCache::open("redis://127.0.0.1:1/0").unwrap();
        let key = TileKey { digest: Digest(7), tile: TileId::new(0, 0, 0).unwrap(), scale: Scale::One, content: Content::Png };
        assert_eq!((cache.get(&key), cache.get(&key), cache.errors()), (None, None, 1));
        assert!(SharedCache::open("http://127.0.0.1:1/0").is_err_and(|error| error.to_string().contains("redis://")));
    }
}
