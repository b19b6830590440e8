//! Questions about values and rows: histograms, linked histograms and points.

use super::documents::asked;
use super::export;
use super::query::{HISTOGRAM, POINTS, Query, excerpt, names_version, served_number};
use super::tiles::within_deadline;
use super::{App, Problem};
use crate::crossfilter::{CrossfilterAnswer, CrossfilterQuestion, CrossfilterRequest};
use crate::dataset::RowFormat;
use crate::engine::Groups;
use crate::histogram::{ColumnQuestion, FullQuestion, Scale};
use crate::points::{Place, PointsQuestion};
use crate::service::{Priority, ServiceError, Source, column_named};
use crate::world::TileId;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

const JSON: &str = "application/json";

/// Rows of an answer in JSON unless the client says otherwise.
const ROWS_DEFAULT: u64 = 100;

/// The most rows that are put together in memory; larger answers are streamed.
pub const ROWS_BUFFERED_MAX: u64 = 10_000;

/// The longest name of a client.
const CLIENT_BYTES_MAX: usize = 128;

/// `GET /{dataset}/histogram`.
pub async fn histogram(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let query = Query::parse(&uri, HISTOGRAM)?;
    let column = query.get("column").ok_or_else(|| Problem::bad_request("say which column=NAME the histogram is of"))?;
    let question = ColumnQuestion::Full(Box::new(FullQuestion {
        column: column.to_owned(),
        bins: query.parsed("bins", "a whole number")?,
        scale: match query.get("scale") {
            None | Some("linear") => Scale::Linear,
            Some("log10") => Scale::Log10,
            Some(other) => return Err(Problem::bad_request(format!("scale={} is not linear or log10", excerpt(other)))),
        },
        min: query.parsed("min", "a number")?,
        max: query.parsed("max", "a number")?,
        search: query.get("search").map(str::to_owned),
        limit: query.parsed("limit", "a whole number")?,
    }));
    let (filter, area) = (Arc::new(query.filter_alone(&source)?), query.area()?);
    let by = query.get("by").map(str::to_owned);
    let version = source.data_version().to_owned();
    let answer = asked(&app, source.clone(), move |_, cancel| {
        let groups = groups_of(&source, by.as_deref())?;
        Ok(source.crossfilter().histogram(&question, &filter, groups.as_ref(), area, cancel)?)
    });
    let body = serde_json::to_vec(&answer.await?).map_err(|_| Problem::lost())?;
    Ok(app.document(&headers, JSON, body, names_version(&uri, &version)))
}

/// `POST /{dataset}/crossfilter`. A newer question of the same `client` makes an older one stop. The thread that has answered a
/// question with an `active` brush goes on to build what answers the steps of its drag.
pub async fn crossfilter(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {}: ask for less", app.config().limits.body)),
        status => Problem::new(status, "the body cannot be read"),
    })?;
    let request: CrossfilterRequest = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not a crossfilter question: {error}")))?;
    let cancel = app.service.new_cancel();
    if let Some(client) = &request.client {
        if client.len() > CLIENT_BYTES_MAX {
            return Err(Problem::bad_request(format!("client may have {CLIENT_BYTES_MAX} bytes")));
        }
        let mut clients = app.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = clients.put((name, client.clone()), cancel.clone()) {
            older.cancel();
        }
    }
    let (send, receive) = oneshot::channel();
    let asked = source.clone();
    let work = move |_: &crate::service::Pipeline, cancel: &crate::engine::Cancel| {
        let question = asked.crossfilter().question(&request, groups_of(&asked, request.by.as_deref())?.as_ref())?;
        let answer = asked.crossfilter().answer_to(&question, cancel)?;
        asked.intact().map(|()| (answer, question))
    };
    let reply = move |result: Result<(CrossfilterAnswer, CrossfilterQuestion), _>| {
        let (answer, question) = result.map_or_else(|error| (Err(error), None), |(answer, question)| (Ok(answer), Some(question)));
        drop(send.send(answer));
        if let Some(question) = question.filter(CrossfilterQuestion::has_active)
            && let Err(error) = source.crossfilter().prepare(&question)
        {
            tracing::debug!("the first step of a drag will take longer: {error}");
        }
    };
    let _ticket = app.service.ask_with(cancel, Priority::Interactive, work, reply);
    let answer = within_deadline(&app, receive).await?;
    let body = serde_json::to_vec(&answer).map_err(|_| Problem::lost())?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(JSON)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// `GET /{dataset}/points`: rows, put together where they are few, streamed where they are many.
pub async fn points(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let query = Query::parse(&uri, POINTS)?;
    let format_name = query.get("format").unwrap_or("json");
    let format = RowFormat::named(format_name).ok_or_else(|| {
        let detail = format!("format={} is not served: give json, geojson, csv, arrow or parquet", excerpt(format_name));
        Problem::bad_request(detail)
    })?;
    let is_export = !matches!(format, RowFormat::Json | RowFormat::GeoJson);
    let limit = query.parsed("limit", "a whole number")?.or((!is_export).then_some(ROWS_DEFAULT));
    let question = PointsQuestion {
        place: place(&query)?,
        filter: Arc::new(query.filter_alone(&source)?),
        offset: query.parsed("offset", "a whole number")?.unwrap_or(0),
        limit,
        columns: query.get("columns").map(|names| names.split(',').map(str::to_owned).collect()),
        format,
    };
    // A name that is repeated a thousand times would make rows a thousand times as wide.
    if let Some(names) = &question.columns
        && let Some(twice) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name))
    {
        return Err(Problem::bad_request(format!("columns names '{}' twice: name each once", excerpt(twice))));
    }
    let is_immutable = names_version(&uri, source.data_version());
    let file_name = (is_export || query.get("limit").is_none() && format == RowFormat::GeoJson)
        .then(|| format!("attachment; filename=\"{}.{}\"", source.name(), extension(format)));
    let mut response = if limit.is_some_and(|limit| limit <= ROWS_BUFFERED_MAX) {
        let rows = asked(&app, source.clone(), move |_, cancel| source.rows(&question, cancel));
        app.document(&headers, format.media_type(), rows.await?, is_immutable)
    } else {
        export::streamed(&app, source, question)?
    };
    if let Some(Ok(value)) = file_name.map(|text| HeaderValue::from_str(&text)) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

fn extension(format: RowFormat) -> &'static str {
    match format {
        RowFormat::Json => "json",
        RowFormat::GeoJson => "geojson",
        RowFormat::Csv => "csv",
        RowFormat::Arrow => "arrows",
        RowFormat::Parquet => "parquet",
    }
}

fn groups_of(source: &Source, by: Option<&str>) -> Result<Option<Arc<Groups>>, ServiceError> {
    match by {
        None | Some("none") => Ok(None),
        Some(name) => source.groups(Some(column_named(source, name)?)).map(Some),
    }
}

/// `tile=z/x/y`, with `pixel=i,j` or without; or `bbox=`; or everywhere.
fn place(query: &Query) -> Result<Place, Problem> {
    let area = query.area()?;
    let Some(text) = query.get("tile") else {
        if query.get("pixel").is_some() {
            return Err(Problem::bad_request("pixel=i,j is a pixel of a tile: say which tile=z/x/y"));
        }
        return Ok(area.map_or(Place::Everywhere, Place::Area));
    };
    if area.is_some() {
        return Err(Problem::bad_request("give a tile or a bbox, not both"));
    }
    let wrong = || Problem::bad_request(format!("tile={} is not a tile: write it as z/x/y", excerpt(text)));
    let [z, x, y] = text.split('/').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let (z, x, y) = (served_number("z", z)?, served_number("x", x)?, served_number("y", y)?);
    let tile = TileId::new(u8::try_from(z).map_err(|_| wrong())?, x, y).map_err(|e| Problem::bad_request(e.to_string()))?;
    let Some(pixel) = query.get("pixel") else { return Ok(Place::Tile(tile)) };
    let wrong = || Problem::bad_request(format!("pixel={} is not a pixel: write it as column,row from 0 to 255", excerpt(pixel)));
    let (column, row) = pixel.split_once(',').ok_or_else(wrong)?;
    let (column, row) = (column.parse().map_err(|_| wrong())?, row.parse().map_err(|_| wrong())?);
    if column > 255 || row > 255 {
        return Err(wrong());
    }
    Ok(Place::Pixel(tile, column, row))
}

#[cfg(test)]
mod leaver_tests;
#[cfg(test)]
mod tests;
