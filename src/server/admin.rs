//! `/admin`: changing what is served while it is served. On a listener of its own, and for an admin's key only.
//!
//! ```text
//! GET    /admin/datasets             what is served, and from where
//! POST   /admin/datasets             {"name": "ships", "folder": "ships-2026"}: publish a dataset of the datasets' folder
//! DELETE /admin/datasets/{dataset}   serve it no longer
//! POST   /admin/datasets/{dataset}/restart   open it once more, where something of it is stuck
//! POST   /admin/reload               read the configuration again: datasets, keys, certificates
//! ```

use super::publishing::PublishError;
use super::{App, Problem};
use crate::service::Changes;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    name: String,
    /// By default a folder of the same name.
    #[serde(default)]
    folder: Option<String>,
}

pub async fn datasets(State(app): State<Arc<App>>) -> Response {
    let sources = app.service.registry().all();
    let described = sources.values().map(|source| {
        json!({
            "name": source.name(), "rows": source.dataset().rows(), "data_version": source.data_version(),
            "folder": source.dataset().folder().display().to_string(),
            "idle_seconds": source.idle_for().map(|idle| idle.as_secs()),
        })
    });
    answered(StatusCode::OK, &json!({ "datasets": described.collect::<Vec<_>>() }))
}

pub async fn publish(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Problem> {
    let Publication { name, folder } = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the body is not {{\"name\": ..., \"folder\": ...}}: {error}"))
    })?;
    let changes = changed(app, move |app, config| {
        app.publisher.publish(config, app.service.registry(), &name, folder.as_deref().unwrap_or(&name))
    });
    Ok(answered(StatusCode::CREATED, &changes.await?))
}

pub async fn remove(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let changes = changed(app, move |app, config| app.publisher.remove(config, app.service.registry(), &name));
    Ok(answered(StatusCode::OK, &changes.await?))
}

pub async fn restart(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let changes = changed(app, move |app, config| app.restart(config, &name));
    Ok(answered(StatusCode::OK, &changes.await?))
}

pub async fn reload(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let reloaded = tokio::task::spawn_blocking(move || app.reload()).await.map_err(|_| Problem::lost())?;
    Ok(answered(StatusCode::OK, &reloaded?))
}

/// Opening datasets blocks, so a thread of its own does it.
async fn changed(
    app: Arc<App>,
    change: impl FnOnce(&App, &crate::config::Config) -> Result<Changes, PublishError> + Send + 'static,
) -> Result<Changes, Problem> {
    let change = move || {
        let changes = change(&app, &app.config())?;
        app.has_changed();
        tracing::info!(?changes, "the datasets have changed");
        Ok(changes)
    };
    tokio::task::spawn_blocking(change).await.map_err(|_| Problem::lost())?
}

fn answered(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, serde_json::to_string(body).expect("texts and numbers can be written")).into_response()
}

impl From<PublishError> for Problem {
    /// An admin may see what is wrong with files and folders.
    fn from(error: PublishError) -> Problem {
        let status = match &error {
            PublishError::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PublishError::Unknown(_) => StatusCode::NOT_FOUND,
            PublishError::Conflict(_) => StatusCode::CONFLICT,
        };
        Problem::new(status, error.to_string())
    }
}
