//! The HTTP server: what the service answers, as URLs, status codes and headers. Only this module knows axum.
//!
//! ```text
//! /                                 the map and dashboard             [page]
//! /catalog /{dataset}.json /stats   what there is                     [documents]
//! /histogram /crossfilter /points   questions about values and rows  [questions, export]
//! /{dataset}/{z}/{x}/{y}.png|npy    tiles                             [tiles]
//! /health /ready /metrics           for operators                     [operating]
//! ```

mod basemap;
mod archives;
mod caching;
mod documents;
mod export;
mod observe;
mod openapi;
mod operating;
mod page;
mod problem;
mod query;
mod questions;
mod run;
mod tiles;

pub use basemap::{Basemap, NoAddress};
pub use run::{ServeError, serve};

use crate::engine::Cancel;
use crate::service::{Service, View};
use axum::Router;
use axum::http::{HeaderName, header};
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use lru::LruCache;
use problem::Problem;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

/// Query strings whose views are remembered. A view is some hundred bytes, its query string at most [`URI_BYTES_MAX`].
const VIEWS_MAX: NonZeroUsize = NonZeroUsize::new(2048).expect("2048 is not 0");

/// Clients whose last question is remembered.
const CLIENTS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not 0");

/// The largest body: thirty brushes of a thousand values are smaller.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The longest path and query that is looked at: room for a filter of the length limit, percent-encoded.
const URI_BYTES_MAX: usize = 16 << 10;

/// What the outside knows of the server, and how long answers stay fresh.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host/prefix` as clients see it; by default what their `Host` header says.
    pub public_url: Option<String>,
    /// How long a cache may use a tile whose URL does not name the data version.
    pub max_age_secs: u32,
    /// The page's basemap; by default its own.
    pub basemap: Option<Basemap>,
}

impl Default for Options {
    fn default() -> Options {
        // A minute: long enough to pan back and forth, short enough that a replaced dataset shows soon.
        Options { public_url: None, max_age_secs: 60, basemap: None }
    }
}

/// What every handler has.
pub struct App {
    service: Service,
    options: Options,
    is_ready: AtomicBool,
    started: Instant,
    /// Views by dataset and raw query string, so that a map's tiles parse their query once.
    views: Mutex<LruCache<(String, String), Arc<View>>>,
    /// What each client last asked of a dataset's crossfilter, to be stopped by its next question.
    clients: Mutex<LruCache<(String, String), Cancel>>,
    http: observe::HttpMetrics,
}

impl App {
    pub fn new(service: Service, options: Options) -> Arc<App> {
        let http = observe::HttpMetrics::registered(service.metrics().registry());
        Arc::new(App {
            service,
            options,
            is_ready: AtomicBool::new(true),
            started: Instant::now(),
            views: Mutex::new(LruCache::new(VIEWS_MAX)),
            clients: Mutex::new(LruCache::new(CLIENTS_MAX)),
            http,
        })
    }

    /// Says in `/ready` that no new requests should come.
    pub fn stop_being_ready(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}

/// All routes. The same for the server and for tests.
pub fn router(app: Arc<App>) -> Router {
    let exposed = [
        header::ETAG,
        header::RETRY_AFTER,
        HeaderName::from_static("server-timing"),
        HeaderName::from_static("x-cache"),
        HeaderName::from_static("x-tile-quality"),
    ];
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).expose_headers(exposed);
    Router::new()
        .route("/", get(page::index))
        .route("/ui/{*path}", get(page::file))
        .route("/catalog", get(documents::catalog))
        .route("/openapi.json", get(openapi::openapi))
        .route("/health", get(operating::health))
        .route("/ready", get(operating::ready))
        .route("/metrics", get(operating::metrics))
        .route("/{document}", get(documents::tile_json))
        .route("/{dataset}/stats", get(documents::stats))
        .route("/{dataset}/style.json", get(documents::style_json))
        .route("/{dataset}/legend.json", get(documents::legend_json))
        .route("/{dataset}/legend.png", get(documents::legend_png))
        .route("/{dataset}/legend@2x.png", get(documents::legend_png))
        .route("/{dataset}/histogram", get(questions::histogram))
        .route("/{dataset}/crossfilter", post(questions::crossfilter))
        .route("/{dataset}/points", get(questions::points))
        .route("/{dataset}/{z}/{x}/{file}", get(tiles::tile))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CompressionLayer::new())
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::observe))
        .layer(cors)
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this address: GET /catalog lists the datasets, and /openapi.json what can be asked of them")
}

async fn method_not_allowed() -> Problem {
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method; most take GET and HEAD")
}
