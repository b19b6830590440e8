//! For those who run the server: `/health`, `/ready`, `/metrics`.

use super::asker::Asker;
use super::{App, Problem};
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// `degraded` while an engine reports trouble (it answers, but not as it was asked to), or a dataset's files were changed under the
/// server (it answers nothing about that one).
pub async fn health(State(app): State<Arc<App>>, Extension(asker): Extension<Asker>) -> Response {
    let access = app.config().access.clone();
    health_of(&app, |dataset| asker.caller.may_see(dataset, &access))
}

/// The same for the admin's listener, where every dataset may be seen.
pub async fn health_in_full(State(app): State<Arc<App>>) -> Response {
    health_of(&app, |_| true)
}

fn health_of(app: &App, may_see: impl Fn(&str) -> bool) -> Response {
    let mut status = "ok";
    let datasets: Vec<_> = app
        .service
        .registry()
        .all()
        .values()
        .filter_map(|source| {
            let engine = source.engine().info();
            if engine.trouble.is_some() || source.intact().is_err() {
                status = "degraded";
            }
            may_see(source.name()).then(|| json!({
                "name": source.name(), "rows": source.dataset().rows(), "data_version": source.data_version(), "engine": engine,
            }))
        })
        .collect();
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "datasets": datasets,
    });
    never_cached("application/json", body.to_string())
}

/// # Errors
/// 503 while the server drains.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if app.is_ready() {
        Ok(never_cached("application/json", json!({ "status": "ready" }).to_string()))
    } else {
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping and takes no new work"))
    }
}

pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let metrics = app.service.metrics();
    // Datasets on one device report the same memory each: the largest is the device's.
    let device = app.service.registry().all().values().map(|source| source.engine().info().device_memory_bytes).max();
    metrics.device_memory(device.unwrap_or(0));
    never_cached("text/plain; version=0.0.4", metrics.text())
}

fn never_cached(content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}
