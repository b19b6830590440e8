//! The page at `/` and its files under `/ui/`: the built client, embedded in the program.

use super::asker::Asker;
use super::{App, Problem};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use rust_embed::RustEmbed;
use std::sync::Arc;

/// `tiles-client/dist`, as built by its own tools and committed.
#[derive(RustEmbed)]
#[folder = "tiles-client/dist/"]
struct Files;

/// Scripts come from this server only, and so do pictures and answers but those of the operator's own basemap; charts set styles, and
/// pictures are made in the page.
fn policy(others: &str) -> String {
    format!(
        "default-src 'self'; connect-src 'self' {others}; img-src 'self' data: blob: {others}; style-src 'self' 'unsafe-inline'; \
         worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
    )
}

pub async fn index(State(app): State<Arc<App>>, Extension(asker): Extension<Asker>, headers: HeaderMap) -> Result<Response, Problem> {
    embedded(&app, &asker, &headers, "index.html")
}

/// `/ui/...`. A path is a name in a table that the compiler made, never one on a disk.
pub async fn file(
    State(app): State<Arc<App>>,
    Path(path): Path<String>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    embedded(&app, &asker, &headers, &path)
}

fn embedded(app: &App, asker: &Asker, headers: &HeaderMap, path: &str) -> Result<Response, Problem> {
    let file = Files::get(path).ok_or_else(|| {
        Problem::not_found(format!("there is no file '{}' here: the page is at /", super::query::excerpt(path)))
    })?;
    if !path.ends_with(".html") {
        return Ok(app.document(headers, content_type(path), file.data.into_owned(), false));
    }
    // Its files lie where the server is.
    let mut page = String::from_utf8_lossy(&file.data).replace("=\"/ui/", &format!("=\"{}/ui/", asker.path(&app.config())));
    let mut others = String::new();
    if let Some(basemap) = &app.basemap {
        page = basemap.told_to(&page);
        others = basemap.origins();
    }
    let mut response = app.document(headers, content_type(path), page, false);
    let policy = HeaderValue::from_str(&policy(&others)).expect("origins are letters of host names");
    response.headers_mut().insert(HeaderName::from_static("content-security-policy"), policy);
    Ok(response)
}

/// Of the files that a client build makes.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
