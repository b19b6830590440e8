//! Tiles: `/{dataset}/{z}/{x}/{y}[@2x].{png,npy}`, of 256 pixels a side or, with `tilesize=512`, of twice as many finer ones.

use super::query::{IMAGE, Known, NUMBERS, Query, excerpt, names_version, served_number};
use super::sent::body_of;
use super::{App, Problem, archives, caching};
use crate::encode::NpyDtype;
use crate::service::{
    Answer, Content, Origin, Priority, Scale, ServiceError, TileKey, TileQuality, TileRequest, View,
    ZOOM_MAX_SERVED,
};
use crate::world::TileId;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How much later than its deadline a request is given up here, if the thread that has it does not notice.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub const X_TILE_QUALITY: HeaderName = HeaderName::from_static("x-tile-quality");

/// Where a tile is, as written in a path.
pub struct Address {
    pub tile: TileId,
    /// Whether it ends in `@2x`: pixels as fine again.
    pub is_doubled: bool,
    pub is_image: bool,
}

/// How a tile is sent, whatever it shows: from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 256 pixels a side, or 512: without `@2x`.
    pub scale: Scale,
    pub content: Content,
}

pub async fn tile(
    State(app): State<Arc<App>>,
    Path((dataset, z, x, file)): Path<(String, String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(archive) = app.service.archive(&dataset) {
        return archives::tile(&app, archive, [&z, &x, &file], &uri, &headers).await;
    }
    let source = app.source(&dataset)?;
    let address = Address::parse(&z, &x, &file)?;
    let known = if address.is_image { IMAGE } else { NUMBERS };
    let view = app.view(&source, &uri, known)?;
    let Shape { scale, content } = if address.is_image { Shape::of_image(&uri)? } else { Shape::of_numbers(&uri, &view)? };
    let scale = if address.is_doubled { scale.doubled() } else { scale };
    let request = TileRequest { view, tile: address.tile, scale, content };
    let key = request.key();
    let etag = etag_of(&key);
    let cache_control = app.cache_control(names_version(&uri, source.data_version()));
    if caching::is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, cache_control)]).into_response());
    }
    let content_type = match request.content {
        Content::Png | Content::Png8 => "image/png",
        Content::Npy(_) => "application/octet-stream",
    };
    let answer = match app.service.finished(&key) {
        Some(tile) => Answer { tile, origin: Origin::Hit, queued: Duration::ZERO },
        None => match asked(&app, request.clone()).await {
            Err(problem) if problem.is_overload() && app.config().cache.stale => {
                let tile = app.service.former(&request).ok_or(problem)?;
                Answer { tile, origin: Origin::Stale, queued: Duration::ZERO }
            }
            other => other?,
        },
    };
    let origin = match answer.origin {
        Origin::Hit => "HIT",
        Origin::Miss => "MISS",
        Origin::Coalesced => "COALESCED",
        Origin::Stale => return Ok(stale(content_type, &answer)),
    };
    let quality = answer.tile.quality;
    let (etag, cache_control) = match quality {
        TileQuality::Exact | TileQuality::Sample => (etag, cache_control),
        TileQuality::Preview => (preview_etag(&etag), caching::SOON_REPLACED),
    };
    if quality == TileQuality::Preview && caching::is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, cache_control)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::ETAG, etag),
        (header::CACHE_CONTROL, cache_control),
        (X_CACHE, HeaderValue::from_static(origin)),
        (X_TILE_QUALITY, HeaderValue::from_static(quality.name())),
    ];
    let (pieces, body) = body_of(&answer.tile.body);
    let mut response = (headers, pieces, body).into_response();
    if answer.origin != Origin::Hit {
        response.headers_mut().insert(SERVER_TIMING, timing(&answer));
    }
    Ok(response)
}

/// A tile of a former version: without a tag, for it answers to no name of the present one, and asked for again soon.
fn stale(content_type: &'static str, answer: &Answer) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, caching::SOON_REPLACED),
        (X_CACHE, HeaderValue::from_static("STALE")),
        (X_TILE_QUALITY, HeaderValue::from_static("stale")),
    ];
    let (pieces, body) = body_of(&answer.tile.body);
    (headers, pieces, body).into_response()
}

/// Waits for a tile. If this future is dropped, because the client has left, so is the ticket, and the work with it.
async fn asked(app: &App, request: TileRequest) -> Result<Answer, Problem> {
    let (send, receive) = oneshot::channel();
    // The receiver is gone where the client has left; then nobody misses the answer.
    let _ticket = app.service.tile(request, Priority::Interactive, move |result| drop(send.send(result)));
    within_deadline(app, receive).await
}

/// The answer of a thread of the service.
pub async fn within_deadline<T>(
    app: &App,
    receive: oneshot::Receiver<Result<T, ServiceError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(app.service.limits().deadline + DEADLINE_GRACE, receive).await {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(_)) => Err(Problem::lost()),
        Err(_) => Err(ServiceError::DeadlinePassed.into()),
    }
}

impl Address {
    /// # Errors
    /// 400 for what is no number or lies outside the world, 404 for a zoom or a format that is not served.
    pub fn parse(z: &str, x: &str, file: &str) -> Result<Address, Problem> {
        let Some((stem, extension)) = file.rsplit_once('.') else {
            return Err(Problem::not_found("a tile ends in .png or .npy, as in /{dataset}/{z}/{x}/{y}.png"));
        };
        let is_image = match extension {
            "png" => true,
            "npy" => false,
            other => {
                let detail = format!("tiles are not served as .{}: ask for .png or .npy", excerpt(other));
                return Err(Problem::not_found(detail));
            }
        };
        let (y, is_doubled) = stem.strip_suffix("@2x").map_or((stem, false), |y| (y, true));
        let (z, x, y) = (served_number("z", z)?, served_number("x", x)?, served_number("y", y)?);
        if z > u32::from(ZOOM_MAX_SERVED) {
            let detail = format!("zoom {z} is not served: there are the zooms 0 to {ZOOM_MAX_SERVED}");
            return Err(Problem::not_found(detail).with("minzoom", 0).with("maxzoom", ZOOM_MAX_SERVED));
        }
        let tile = TileId::new(z as u8, x, y).map_err(|e| Problem::bad_request(e.to_string()))?;
        Ok(Address { tile, is_doubled, is_image })
    }
}

impl Shape {
    /// # Errors
    /// 400 for a size or a format that is not served.
    pub fn of_image(uri: &Uri) -> Result<Shape, Problem> {
        let query = Shape::query(uri, IMAGE)?;
        let content = match query.get("format") {
            None | Some("png") => Content::Png,
            Some("png8") => Content::Png8,
            Some(other) => return Err(Problem::bad_request(format!("format={} is not served: give png or png8", excerpt(other)))),
        };
        Ok(Shape { scale: tile_size(&query)?, content })
    }

    fn of_numbers(uri: &Uri, view: &View) -> Result<Shape, Problem> {
        let query = Query::parse(uri, NUMBERS)?;
        let dtype = match query.get("dtype") {
            Some(asked) if view.aggregate.is_some() => {
                let detail = format!("dtype={} is of counts: the values of an aggregate are f64, so leave it out", excerpt(asked));
                return Err(Problem::bad_request(detail));
            }
            None | Some("u32") => NpyDtype::U32,
            Some("auto") => NpyDtype::Auto,
            Some(other) => return Err(Problem::bad_request(format!("dtype={} is not served: give u32 or auto", excerpt(other)))),
        };
        Ok(Shape { scale: tile_size(&query)?, content: Content::Npy(dtype) })
    }

    /// The query, where it can say anything about the shape: most tiles' queries are spared the parsing.
    fn query(uri: &Uri, known: Known) -> Result<Query, Problem> {
        let says = |text: &str| text.contains("tilesize") || text.contains("format") || text.contains('%');
        if uri.query().is_some_and(says) { Query::parse(uri, known) } else { Ok(Query::default()) }
    }

    /// What of it stands in the URLs of tiles, each with an ampersand behind it.
    pub fn carried(self) -> String {
        let size = if self.scale == Scale::One { "" } else { "tilesize=512&" };
        let format = if self.content == Content::Png8 { "format=png8&" } else { "" };
        format!("{format}{size}")
    }
}

/// `tilesize=`: how many pixels a tile has a side, `@2x` aside. Twice as many are finer ones, not larger.
///
/// # Errors
/// 400 for a size that is not served.
pub fn tile_size(query: &Query) -> Result<Scale, Problem> {
    match query.get("tilesize") {
        None | Some("256") => Ok(Scale::One),
        Some("512") => Ok(Scale::Two),
        Some(other) => Err(Problem::bad_request(format!("tilesize={} is not served: give 256 or 512", excerpt(other)))),
    }
}

/// Names the inputs (program, data, filter, style, tile), so it is known before anything is rendered.
fn etag_of(key: &TileKey) -> HeaderValue {
    let content = match key.content {
        Content::Png => "p",
        Content::Png8 => "q",
        Content::Npy(NpyDtype::U32) => "n",
        Content::Npy(NpyDtype::Auto) => "a",
    };
    let scale = match key.scale {
        Scale::One => "",
        Scale::Two => "2",
        Scale::Four => "4",
    };
    let TileKey { digest, tile, .. } = key;
    let text = format!("\"{digest}-{}-{}-{}{content}{scale}\"", tile.z(), tile.x(), tile.y());
    HeaderValue::from_str(&text).expect("digits and ASCII letters are a header")
}

/// A preview has other bytes than the exact tile, so it has another tag.
fn preview_etag(exact: &HeaderValue) -> HeaderValue {
    let text = exact.to_str().unwrap_or_default().trim_end_matches('"');
    HeaderValue::from_str(&format!("{text}-preview\"")).expect("digits and ASCII letters are a header")
}

fn timing(answer: &Answer) -> HeaderValue {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let times = &answer.tile.times;
    let text = format!(
        "queue;dur={:.3}, count;dur={:.3}, shade;dur={:.3}, encode;dur={:.3}",
        ms(answer.queued),
        ms(times.count),
        ms(times.shade),
        ms(times.encode)
    );
    HeaderValue::from_str(&text).expect("digits and ASCII letters are a header")
}
