//! The page at `/`.

use super::{App, Problem};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use std::sync::Arc;

const INDEX: &str = include_str!("page.html");

pub async fn index(State(app): State<Arc<App>>, headers: HeaderMap, _uri: Uri) -> Response {
    app.document(&headers, "text/html; charset=utf-8", INDEX, false)
}

pub async fn file(Path(path): Path<String>) -> Problem {
    Problem::not_found(format!("there is no file '{}' here", super::query::excerpt(&path)))
}
