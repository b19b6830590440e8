//! `DELETE /cache/{dataset}`: forgets finished tiles and counts of a dataset, in memory, on disk and where other servers find them. For an admin's key only.
//!
//! Takes `bbox`, `minzoom` and `maxzoom`: what touches the box, at these zooms. Answers `{"tiles": n}`.

use super::query::{PURGE, Query};
use super::{App, Problem};
use crate::service::{Purge, ZOOM_MAX_SERVED};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// # Errors
/// 400 for a wrong parameter, 404 for no dataset, 500 where the disk or the shared cache fails: in memory the tiles are forgotten all the same.
pub async fn purge(State(app): State<Arc<App>>, Path(dataset): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(&uri, PURGE)?;
    let source = app.source(&dataset)?;
    let mut purge = Purge::all();
    let zoom = |name: &str| query.parsed::<u8>(name, "a zoom, a whole number");
    let (min, max) = (zoom("minzoom")?, zoom("maxzoom")?);
    if min.is_some() || max.is_some() {
        purge = purge.zooms(min.unwrap_or(0)..=max.unwrap_or(ZOOM_MAX_SERVED));
    }
    if let Some(bbox) = query.bbox()? {
        purge = purge.touching(&bbox);
    }
    // It waits for the disk and the shared cache.
    let purged = tokio::task::spawn_blocking(move || app.service.purge(&source, &purge)).await.map_err(|_| Problem::lost())?;
    let tiles = purged.map_err(|error| {
        tracing::error!("{error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the cache on disk cannot be written, or the shared one does not answer; in memory the tiles are forgotten")
    })?;
    tracing::info!(dataset, tiles, "cached tiles are forgotten");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, json!({ "tiles": tiles }).to_string()).into_response())
}
