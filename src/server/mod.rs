//! The HTTP server: what the service answers, as URLs, status codes and headers. Only this module knows axum.
//!
//! ```text
//! /                                 the map and dashboard             [page]
//! /catalog /{dataset}.json /stats   what there is                     [documents]
//! /histogram /crossfilter /points   questions about values and rows  [questions, export]
//! /{dataset}/{z}/{x}/{y}.png|npy    tiles                             [tiles]
//! /{dataset}/events                 which tiles have changed          [events]
//! /health /ready /metrics           for operators                     [operating]
//! /admin                            changes, on its own listener      [admin, publishing]
//! ```
//!
//! A request passes: who asks and how long it took [observe, asker], whether it may [guard, clients], and then its handler;
//! what that answers is counted until its client has read it [unread].

mod admin;
mod asker;
mod basemap;
mod archives;
mod caching;
mod clients;
mod documents;
mod events;
mod export;
mod files;
mod guard;
mod observe;
mod openapi;
mod operating;
mod page;
mod prefix;
mod problem;
mod publishing;
mod purging;
mod query;
mod questions;
mod run;
mod sent;
mod stall;
mod tiles;
mod tls;
mod trace;
mod unread;

pub use basemap::{Basemap, NoAddress};
pub use publishing::{Failure, Opener, PublishError};
pub use run::{Listeners, ServeError, serve};

use crate::config::{Config, Span};
use crate::engine::Cancel;
use crate::service::{Changes, Service, View};
use axum::Router;
use axum::http::{HeaderName, header};
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use lru::LruCache;
use clients::Clients;
use events::News;
use problem::Problem;
use publishing::Publisher;
use tls::{Certificate, TlsError};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// Query strings whose views are remembered. A view is some hundred bytes, its query string bounded by `limits.uri`.
const VIEWS_MAX: NonZeroUsize = NonZeroUsize::new(2048).expect("2048 is not 0");

/// Clients whose last question is remembered.
const CLIENTS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not 0");

/// What every handler has.
pub struct App {
    service: Service,
    config: RwLock<Arc<Config>>,
    limits: Clients,
    /// The page's basemap; by default its own.
    basemap: Option<Basemap>,
    publisher: Publisher,
    /// What HTTPS shows; without it the server speaks HTTP.
    certificate: Option<Arc<Certificate>>,
    is_ready: AtomicBool,
    news: News,
    started: Instant,
    /// Views by dataset and raw query string, so that a map's tiles parse their query once.
    views: Mutex<LruCache<(String, String), Arc<View>>>,
    /// What each client last asked of a dataset's crossfilter, to be stopped by its next question.
    clients: Mutex<LruCache<(String, String), Cancel>>,
    http: observe::HttpMetrics,
}

impl App {
    /// Opens the datasets that the configuration names.
    ///
    /// # Errors
    /// One of them cannot be opened, or the certificate cannot.
    pub fn open(service: Service, config: Config, basemap: Option<Basemap>, opener: Box<dyn Opener>) -> Result<Arc<App>, PublishError> {
        let certificate = Certificate::open(&config.tls)?;
        let archives = service.archives().map(|archive| archive.name().to_owned()).collect();
        let publisher = Publisher::new(opener, archives)?;
        publisher.load(&config, service.registry())?;
        Ok(App::new(service, config, basemap, certificate, publisher))
    }

    /// Serves what the service has.
    fn new(
        service: Service,
        config: Config,
        basemap: Option<Basemap>,
        certificate: Option<Arc<Certificate>>,
        publisher: Publisher,
    ) -> Arc<App> {
        let http = observe::HttpMetrics::registered(service.metrics().registry());
        Arc::new(App {
            service,
            config: RwLock::new(Arc::new(config)),
            limits: Clients::new(),
            basemap,
            publisher,
            certificate,
            is_ready: AtomicBool::new(true),
            news: News::new(),
            started: Instant::now(),
            views: Mutex::new(LruCache::new(VIEWS_MAX)),
            clients: Mutex::new(LruCache::new(CLIENTS_MAX)),
            http,
        })
    }

    /// The configuration as it is now.
    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the configuration again: datasets, keys, and whatever is looked up for every request. Blocks.
    ///
    /// # Errors
    /// Something of it is wrong; then everything stays as it was.
    fn reload(&self) -> Result<Reloaded, PublishError> {
        let reloaded = self.publisher.config().and_then(|config| {
            // Datasets last: nothing fails after them.
            if let Some(certificate) = &self.certificate {
                certificate.reload(&config.tls)?;
            }
            let changes = self.publisher.load(&config, self.service.registry())?;
            let needs_restart = config.differences_that_need_a_restart(&self.config());
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
            self.has_changed();
            Ok(Reloaded { datasets: changes, needs_restart })
        });
        match &reloaded {
            Ok(reloaded) => tracing::info!(?reloaded, "the configuration has been read again"),
            Err(error) => tracing::error!("the configuration cannot be read again, and stays as it was: {error}"),
        }
        reloaded
    }

    /// Opens a dataset once more. Blocks.
    ///
    /// # Errors
    /// There is none of the name, or it can no longer be opened.
    fn restart(&self, config: &Config, name: &str) -> Result<Changes, PublishError> {
        let former = self.service.registry().get(name);
        let changes = self.publisher.restart(config, self.service.registry(), name)?;
        if let Some(former) = former {
            self.service.forget_selections(&former);
        }
        Ok(changes)
    }

    /// Lets go of what was made of datasets that nobody has asked for so long; the next request makes it again. Blocks.
    fn rest(&self, idle: Duration) {
        for (name, source) in self.service.registry().all().iter() {
            if source.idle_for().is_none_or(|since| since < idle) {
                continue;
            }
            match self.restart(&self.config(), name) {
                Ok(_) => tracing::info!("nobody has asked for {name} in {}: what was made of it is let go", Span(idle)),
                Err(error) => tracing::warn!("nobody has asked for {name}, but it cannot be opened once more: {error}"),
            }
            self.forget_views();
            // What lies there may be newer than what was served.
            if self.service.registry().get(name).is_some_and(|now| now.data_version() != source.data_version()) {
                self.news.tell();
            }
        }
    }

    /// Takes up new versions of the datasets that are served, such as rows that were appended. Blocks.
    ///
    /// # Errors
    /// One of them cannot be opened; then everything stays as it was.
    fn refresh(&self) -> Result<(), PublishError> {
        if self.publisher.is_outdated(self.service.registry()) {
            let changes = self.publisher.load(&self.config(), self.service.registry())?;
            self.has_changed();
            tracing::info!(?changes, "datasets have new versions");
        }
        Ok(())
    }

    /// Views hold their dataset: without this a dataset that was replaced would stay open until its views are pushed out.
    fn forget_views(&self) {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// After every change of what is served.
    fn has_changed(&self) {
        self.forget_views();
        self.news.tell();
    }

    /// Says in `/ready` that no new requests should come, and ends what would never end.
    pub fn stop_being_ready(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
        self.news.tell();
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}

impl From<TlsError> for PublishError {
    fn from(error: TlsError) -> PublishError {
        PublishError::Wrong(error.to_string())
    }
}

/// What a reload came to.
#[derive(Debug, serde::Serialize)]
struct Reloaded {
    datasets: Changes,
    /// Settings that have another value now, and keep the old one until the program is started again.
    needs_restart: Vec<String>,
}

/// All public routes. The same for the server and for tests.
pub fn router(app: Arc<App>) -> Router {
    let exposed = [
        header::ETAG,
        header::RETRY_AFTER,
        HeaderName::from_static("server-timing"),
        HeaderName::from_static("x-cache"),
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-tile-quality"),
    ];
    let config = app.config();
    let cors = CorsLayer::new()
        .allow_origin(allowed_origins(&config.cors.origins))
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers(exposed)
        .max_age(config.cors.max_age.0);
    Router::new()
        .route("/", get(page::index))
        .route("/ui/{*path}", get(page::file))
        .route("/catalog", get(documents::catalog))
        .route("/openapi.json", get(openapi::openapi))
        .route("/docs", get(openapi::docs))
        .route("/health", get(operating::health))
        .route("/ready", get(operating::ready))
        .route("/metrics", get(operating::metrics))
        .route("/cache/{dataset}", delete(purging::purge).route_layer(axum::middleware::from_fn_with_state(app.clone(), guard::require_admin)))
        .route("/{document}", get(documents::tile_json))
        .route("/{dataset}/stats", get(documents::stats))
        .route("/{dataset}/style.json", get(documents::style_json))
        .route("/{dataset}/legend.json", get(documents::legend_json))
        .route("/{dataset}/legend.png", get(documents::legend_png))
        .route("/{dataset}/legend@2x.png", get(documents::legend_png))
        .route("/{dataset}/histogram", get(questions::histogram))
        .route("/{dataset}/crossfilter", post(questions::crossfilter))
        .route("/{dataset}/points", get(questions::points))
        .route("/{dataset}/events", get(events::events))
        .route("/{dataset}/{z}/{x}/{file}", get(tiles::tile))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // The guard has read the body, and has said no to one that is too long.
        .layer(DefaultBodyLimit::disable())
        // Before anything is compressed: of what is, nobody knows the length.
        .layer(axum::middleware::from_fn_with_state(app.clone(), unread::bound))
        .layer(CompressionLayer::new())
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::guard))
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::observe))
        .layer(cors)
        .with_state(app)
}

/// The routes of the admin's listener.
pub fn admin_router(app: Arc<App>) -> Router {
    let admin = Router::new()
        .route("/admin/datasets", get(admin::datasets).post(admin::publish))
        .route("/admin/datasets/{dataset}", delete(admin::remove))
        .route("/admin/datasets/{dataset}/restart", post(admin::restart))
        .route("/admin/reload", post(admin::reload))
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::require_admin));
    Router::new()
        .merge(admin)
        .route("/health", get(operating::health_in_full))
        .route("/ready", get(operating::ready))
        .route("/metrics", get(operating::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

fn allowed_origins(origins: &[String]) -> AllowOrigin {
    match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok())),
    }
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this address: GET /catalog lists the datasets, and /openapi.json what can be asked of them")
}

async fn method_not_allowed() -> Problem {
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method; most take GET and HEAD")
}
