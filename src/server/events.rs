//! `/{dataset}/events`: which tiles have changed, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! ```text
//! retry: 5000
//!
//! id: VERSION
//! event: version                 first, to a client that names no version in Last-Event-ID
//! data: {"data_version": VERSION}
//!
//! id: VERSION
//! event: changed                 whenever another version of the dataset is served, and first to a client that names an older one
//! data: {"data_version": VERSION, "zoom": Z, "tiles": ["Z/X/Y", ...]}       null: too many, or nobody knows
//!
//! :                              a comment, so that nobody on the way takes the connection for a dead one
//! ```
//! The tiles are those whose points have changed, at the zoom of `?zoom=` (8); deeper ones lie inside of them. The answer goes on until the
//! client leaves, the dataset is removed or the server stops; then, and beyond `limits.subscribers` at once, it ends, and an `EventSource`
//! asks again by itself, at any replica, with the version that it has.

use super::documents::{asked, served_zoom};
use super::export::Received;
use super::query::{EVENTS, Query};
use super::{App, Problem};
use crate::world::Zoom;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use lru::LruCache;
use prometheus::IntGauge;
use serde_json::json;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, watch};

/// How long a client whose answer has ended waits before it asks again. A map may be that much behind.
const RETRY_MS: u64 = 5000;

/// More tiles than this are not listed: a map then asks for all that it shows anyway.
const TILES_MAX: usize = 10_000;

/// The zoom of the tiles that are listed where none is asked for: some hundred kilometres a side.
const ZOOM_DEFAULT: u8 = 8;

/// How long nothing may come. Proxies close what has been silent for a minute.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// Lists of changed tiles that are remembered, each up to 150 kB: all who listen ask for the same one at once.
const LISTS_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// What a client that does not read keeps waiting: its next event is of the version that is served then.
const WAITING_MAX: usize = 1;

/// nginx: pass on what comes, as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The version before, the version now and the zoom.
type Change = (String, String, u8);

/// That something has changed in what is served, for all who listen.
pub struct News {
    /// Sent after every change.
    changes: watch::Sender<()>,
    /// Data of events.
    lists: Mutex<LruCache<Change, Arc<OnceCell<String>>>>,
}

impl News {
    pub fn new() -> News {
        News { changes: watch::Sender::new(()), lists: Mutex::new(LruCache::new(LISTS_MAX)) }
    }

    /// Wakes everybody who listens.
    pub fn tell(&self) {
        self.changes.send_replace(());
    }
}

/// `GET /{dataset}/events`.
pub async fn events(
    State(app): State<Arc<App>>,
    Path(dataset): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let zoom = served_zoom(Query::parse(&uri, EVENTS)?.parsed("zoom", "a whole number")?.unwrap_or(ZOOM_DEFAULT))?;
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    // Before the first look: what changes after it is heard.
    let changes = app.news.changes.subscribe();
    let mut listener = Listener { app, dataset, zoom, known };
    let first = format!("retry: {RETRY_MS}\n\n{}", listener.event().await?);
    let body = match Place::taken(&listener.app) {
        Some(place) => listener.followed(first, place, changes),
        None => Body::from(first),
    };
    let answer = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((answer, body).into_response())
}

/// A client and what it has been told.
struct Listener {
    app: Arc<App>,
    dataset: String,
    zoom: Zoom,
    /// The version that it has.
    known: Option<String>,
}

impl Listener {
    /// What the client does not know yet: an event, or nothing.
    ///
    /// # Errors
    /// The dataset is no longer there, or the server has no time to list tiles.
    async fn event(&mut self) -> Result<String, Problem> {
        let source = self.app.served(&self.dataset)?;
        let version = source.data_version().to_owned();
        let event = match self.known.replace(version.clone()) {
            Some(known) if known == version => String::new(),
            None => event("version", &version, &json!({ "data_version": version }).to_string()),
            Some(known) => {
                let zoom = self.zoom;
                let list = {
                    let mut lists = self.app.news.lists.lock().unwrap_or_else(PoisonError::into_inner);
                    lists.get_or_insert((known.clone(), version.clone(), zoom.get()), Arc::default).clone()
                };
                let listed = list.get_or_try_init(|| async {
                    let tiles = asked(&self.app, source.clone(), move |_, _| {
                        let dataset = source.dataset();
                        let since = dataset.manifest.revision_of_version(&known);
                        Ok(since.and_then(|since| dataset.tiles_changed(since, zoom, TILES_MAX)))
                    });
                    let tiles = tiles.await?.map(|tiles| {
                        tiles.iter().map(|tile| format!("{}/{}/{}", tile.z(), tile.x(), tile.y())).collect::<Vec<_>>()
                    });
                    Ok::<_, Problem>(json!({ "data_version": version, "zoom": zoom.get(), "tiles": tiles }).to_string())
                });
                event("changed", &version, listed.await?)
            }
        };
        Ok(event)
    }

    /// `first`, and then whatever happens.
    fn followed(self, first: String, place: Place, changes: watch::Receiver<()>) -> Body {
        let (send, receive) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let _place = place;
            if send.send(Ok(first.into())).await.is_ok() {
                self.follow(send, changes).await;
            }
        });
        Body::new(Received(receive))
    }

    async fn follow(mut self, send: mpsc::Sender<io::Result<Bytes>>, mut changes: watch::Receiver<()>) {
        let config = self.app.config();
        loop {
            let is_news = tokio::select! {
                _ = changes.changed() => true,
                () = tokio::time::sleep(COMMENT_INTERVAL) => false,
                () = send.closed() => return,
            };
            let now = self.app.config();
            // The key that opened the dataset may be gone: whoever has another one shows it.
            let is_closed = !Arc::ptr_eq(&config, &now) && !now.access.is_public(&self.dataset);
            if is_closed || !self.app.is_ready() {
                return;
            }
            let text = if is_news { self.event().await } else { Ok(":\n\n".to_owned()) };
            // Without an event the answer ends, and the client asks again.
            let Ok(text) = text else { return };
            if !text.is_empty() && send.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
    }
}

/// One of those who may listen.
struct Place(IntGauge);

impl Place {
    fn taken(app: &App) -> Option<Place> {
        let place = Place(app.http.subscribers.clone());
        // It counts from here on, also where it is one too many and dropped at once.
        place.0.inc();
        let places_max = i64::try_from(app.config().limits.subscribers).unwrap_or(i64::MAX);
        (place.0.get() <= places_max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn event(name: &str, id: &str, data: &str) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
