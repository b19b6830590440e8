//! Archives over HTTP: `/{archive}.json`, and `/{archive}/{z}/{x}/{y}.{png,jpg,webp,avif,pbf}` as it is stored.

use super::asker::Asker;
use super::query::{Query, STORED, excerpt, names_version, served_number};
use super::{App, Problem, caching};
use crate::archive::{Archive, StoredTile, TileFormat};
use crate::encode::empty_png;
use crate::world::TileId;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// A tile of an archive. Where there is none, an image is the empty one, and a vector tile is no content.
///
/// # Errors
/// 400 for what is no tile, 404 for another format or zoom than the archive has.
pub async fn tile(app: &App, archive: &Arc<Archive>, [z, x, file]: [&str; 3], uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
    Query::parse(uri, STORED)?;
    let tile = address(archive, z, x, file)?;
    let etag = format!("\"{}-{}-{}-{}\"", archive.version(), tile.z(), tile.x(), tile.y());
    let etag = HeaderValue::from_str(&etag).expect("hex digits and numbers are a header");
    let cache_control = app.cache_control(names_version(uri, archive.version()));
    if caching::is_known(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, cache_control)]).into_response());
    }
    let format = archive.described().format;
    let reading = archive.clone();
    let stored = tokio::task::spawn_blocking(move || reading.tile(tile)).await.map_err(|_| Problem::lost())?;
    let stored = stored.map_err(|error| {
        tracing::error!("{error}");
        Problem::lost()
    })?;
    let (status, media_type, tile) = match (stored, format) {
        (Some(tile), _) => (StatusCode::OK, format.media_type(), tile),
        (None, TileFormat::Mvt) => (StatusCode::NO_CONTENT, format.media_type(), StoredTile { bytes: Bytes::new(), is_gzipped: false }),
        (None, _) => {
            let empty = StoredTile { bytes: Bytes::from_static(empty_png(256)), is_gzipped: false };
            (StatusCode::OK, TileFormat::Png.media_type(), empty)
        }
    };
    let shared = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, cache_control),
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
    ];
    if !tile.is_gzipped {
        return Ok((status, shared, Body::from(tile.bytes)).into_response());
    }
    let vary = (header::VARY, HeaderValue::from_static("accept-encoding"));
    if accepts_gzip(headers) {
        let coding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return Ok((status, shared, [vary, coding], Body::from(tile.bytes)).into_response());
    }
    let plain = tile.unpacked().map_err(|error| {
        tracing::error!("a tile of {} cannot be unpacked: {error}", archive.name());
        Problem::lost()
    })?;
    Ok((status, shared, [vary], Body::from(plain)).into_response())
}

/// TileJSON 3.0.0 from what the archive says of itself.
///
/// # Errors
/// 400 for parameters that are none.
pub fn tile_json(app: &App, archive: &Archive, base: &str, asker: &Asker, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
    Query::parse(uri, STORED)?;
    let key = asker.carried_key().map_or_else(String::new, |key| format!("&{key}"));
    let described = archive.described();
    let (name, bounds, center) = (archive.name(), described.bounds, described.center);
    let mut body = described.metadata.clone();
    let extension = described.format.extension();
    let own = json!({
        "tilejson": "3.0.0",
        "scheme": "xyz",
        "tiles": [format!("{base}/{name}/{{z}}/{{x}}/{{y}}.{extension}?v={}{key}", archive.version())],
        "tileSize": if described.format == TileFormat::Mvt { 512 } else { 256 },
        "minzoom": described.zooms.start(),
        "maxzoom": described.zooms.end(),
        "bounds": [bounds.west, bounds.south, bounds.east, bounds.north],
        "center": [center.0, center.1, center.2],
        "format": extension,
        "data_version": archive.version(),
    });
    body.entry("name").or_insert_with(|| name.into());
    if let Value::Object(own) = own {
        body.extend(own);
    }
    let text = Value::Object(body).to_string();
    Ok(app.document(headers, "application/json", text, names_version(uri, archive.version())))
}

/// What the catalog says of an archive.
pub fn listed(archive: &Archive) -> Value {
    let described = archive.described();
    json!({
        "name": archive.name(), "title": described.metadata.get("name"), "format": described.format.extension(),
        "minzoom": described.zooms.start(), "maxzoom": described.zooms.end(), "data_version": archive.version(),
    })
}

fn address(archive: &Archive, z: &str, x: &str, file: &str) -> Result<TileId, Problem> {
    let described = archive.described();
    let (extension, zooms) = (described.format.extension(), &described.zooms);
    let Some(y) = file.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.')) else {
        let detail = format!("the tiles of {} end in .{extension}, not as '{}' does", archive.name(), excerpt(file));
        return Err(Problem::not_found(detail));
    };
    let (z, x, y) = (served_number("z", z)?, served_number("x", x)?, served_number("y", y)?);
    let zoom = u8::try_from(z).ok().filter(|zoom| zooms.contains(zoom)).ok_or_else(|| {
        let detail = format!("zoom {z} is not in {}: there are the zooms {} to {}", archive.name(), zooms.start(), zooms.end());
        Problem::not_found(detail).with("minzoom", *zooms.start()).with("maxzoom", *zooms.end())
    })?;
    TileId::new(zoom, x, y).map_err(|error| Problem::bad_request(error.to_string()))
}

/// Whether a client takes gzip: named, or by `*`, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    codings.map(|coding| coding.split(';').map(str::trim)).any(|mut coding| {
        let is_gzip = coding.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        is_gzip && !coding.any(|weight| weight.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_gzip() {
        for (asked, takes) in [
            ("gzip", true), ("br, GZIP;q=0.5", true), ("*", true), ("", false), ("br", false), ("gzip;q=0", false), ("gzip; q=0.0, br", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(asked).unwrap())]);
            assert_eq!(accepts_gzip(&headers), takes, "{asked}");
        }
    }
}
