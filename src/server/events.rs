//! `/{dataset}/events`: which tiles have changed, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! An answer is what has happened since the event that the client names in `Last-Event-ID`, and ends; `retry` says when to ask
//! again, and a browser's `EventSource` does that by itself. So a map that listens holds no connection and no memory here, any
//! replica can answer, and a graceful stop waits for nobody. The id of an event is the data version.

use super::documents::{asked, served_zoom};
use super::query::{EVENTS, Query};
use super::{App, Problem};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// How long a client waits before it asks again. A map may be that much behind.
const RETRY_MS: u64 = 5000;

/// More tiles than this are not listed: a map then asks for all that it shows anyway.
const TILES_MAX: usize = 10_000;

/// The zoom of the tiles that are listed where none is asked for: some hundred kilometres a side.
const ZOOM_DEFAULT: u8 = 8;

/// `GET /{dataset}/events`.
pub async fn events(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let zoom = served_zoom(Query::parse(&uri, EVENTS)?.parsed("zoom", "a whole number")?.unwrap_or(ZOOM_DEFAULT))?;
    let version = source.data_version().to_owned();
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let event = match known {
        Some(known) if known == version => String::new(),
        None => event("version", &version, &json!({ "data_version": version })),
        Some(known) => {
            let listed = asked(&app, source.clone(), move |_, _| {
                let dataset = source.dataset();
                let since = dataset.manifest.revision_of_version(&known);
                Ok(since.and_then(|since| dataset.tiles_changed(since, zoom, TILES_MAX)))
            });
            let tiles = listed.await?.map(|tiles| {
                tiles.iter().map(|tile| format!("{}/{}/{}", tile.z(), tile.x(), tile.y())).collect::<Vec<_>>()
            });
            event("changed", &version, &json!({ "data_version": version, "zoom": zoom.get(), "tiles": tiles }))
        }
    };
    let answer = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((answer, format!("retry: {RETRY_MS}\n\n{event}")).into_response())
}

fn event(name: &str, id: &str, data: &serde_json::Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
