//! `/openapi.json`: what can be asked, from the very lists of parameters that requests are checked against; and the same for
//! people at `/docs`, without a script or another server.

use super::query::{EVENTS, HISTOGRAM, IMAGE, Known, LEGEND, NOTHING, NUMBERS, POINTS, STATS};
use super::asker::Asker;
use super::{App, Problem, query::Query};
use crate::service::ZOOM_MAX_SERVED;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

struct Endpoint {
    path: &'static str,
    method: &'static str,
    summary: &'static str,
    /// Which parameters its query takes; `None` where the query is not looked at.
    known: Option<Known>,
    media_type: &'static str,
    /// Beside 200: what else may be answered.
    statuses: &'static [u16],
}

const TILE_STATUSES: &[u16] = &[304, 400, 401, 403, 404, 414, 421, 429, 499, 500, 503, 504];
/// Of events, which are never cached.
const EVENT_STATUSES: &[u16] = &[400, 401, 403, 404, 414, 421, 429, 500, 503, 504];
/// Of addresses that name no dataset.
const OPEN_STATUSES: &[u16] = &[304, 400, 401, 414, 421, 429, 500];
/// Of those for machines, which are asked without a host name.
const MACHINE_STATUSES: &[u16] = &[401, 414, 429];
const JSON: &str = "application/json";

const ENDPOINTS: &[Endpoint] = &[
    get("/", "The map and dashboard", None, "text/html", OPEN_STATUSES),
    get("/catalog", "The datasets that are served", Some(NOTHING), JSON, OPEN_STATUSES),
    get("/{dataset}.json", "TileJSON 3.0.0, with the request's style and filter in its tiles", Some(IMAGE), JSON, TILE_STATUSES),
    get("/{dataset}/style.json", "A MapLibre or Mapbox style", Some(IMAGE), JSON, TILE_STATUSES),
    get("/{dataset}/stats", "Rows, bounds, zooms, categories and columns; of a selection where there is a filter or bbox", Some(STATS), JSON, TILE_STATUSES),
    get("/{dataset}/legend.json", "Which colour stands for what, and how many", Some(LEGEND), JSON, TILE_STATUSES),
    get("/{dataset}/legend.png", "The legend as a picture", Some(LEGEND), "image/png", TILE_STATUSES),
    get("/{dataset}/{z}/{x}/{y}.png", "A tile as an image of 256 pixels a side", Some(IMAGE), "image/png", TILE_STATUSES),
    get("/{dataset}/{z}/{x}/{y}@2x.png", "A tile as an image of 512 finer pixels a side", Some(IMAGE), "image/png", TILE_STATUSES),
    get("/{dataset}/{z}/{x}/{y}.npy", "A tile's counts, [category][row][column], row 0 north; of an aggregate its values", Some(NUMBERS), "application/octet-stream", TILE_STATUSES),
    get("/{dataset}/histogram", "Counts by value of a column", Some(HISTOGRAM), JSON, TILE_STATUSES),
    get("/{dataset}/points", "Rows, in five formats", Some(POINTS), JSON, TILE_STATUSES),
    get("/{dataset}/events", "Server-sent events: the data version, and since the one in Last-Event-ID which tiles have changed (null: all)", Some(EVENTS), "text/event-stream", EVENT_STATUSES),
    Endpoint {
        path: "/{dataset}/crossfilter",
        method: "post",
        summary: "Histograms of several columns, each under all brushes but its own",
        known: None,
        media_type: JSON,
        statuses: &[400, 401, 403, 404, 408, 413, 414, 421, 429, 499, 500, 503, 504],
    },
    get("/health", "The program, its datasets and their engines", None, JSON, MACHINE_STATUSES),
    get("/ready", "Whether new requests are welcome", None, JSON, &[401, 414, 429, 503]),
    get("/metrics", "Counters in Prometheus' text format", None, "text/plain", &[401, 403, 414, 421, 429]),
    get("/openapi.json", "This document", Some(NOTHING), JSON, OPEN_STATUSES),
    get("/docs", "This document, to be read", Some(NOTHING), "text/html", OPEN_STATUSES),
];

const fn get(
    path: &'static str,
    summary: &'static str,
    known: Option<Known>,
    media_type: &'static str,
    statuses: &'static [u16],
) -> Endpoint {
    Endpoint { path, method: "get", summary, known, media_type, statuses }
}

pub async fn openapi(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(&uri, NOTHING)?;
    Ok(app.document(&headers, JSON, document(&seen(&app, &asker)).to_string(), false))
}

/// Nothing but this text and its look: no script, no picture, no other server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
);

pub async fn docs(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(&uri, NOTHING)?;
    let mut response = app.document(&headers, "text/html; charset=utf-8", page(&seen(&app, &asker)), false);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    Ok(response)
}

/// The names of the datasets that the asker may see.
fn seen(app: &App, asker: &Asker) -> Vec<String> {
    let access = &app.config().access;
    app.service.registry().all().keys().filter(|name| asker.caller.may_see(name, access)).cloned().collect()
}

fn page(datasets: &[String]) -> String {
    let mut page = String::from(PAGE_HEAD);
    let dataset = datasets.first().map_or("towers", String::as_str);
    for endpoint in ENDPOINTS {
        let method = endpoint.method.to_uppercase();
        page += &format!("<section><h2><b>{method}</b> <code>{}</code></h2><p>{}</p>", escaped(endpoint.path), escaped(endpoint.summary));
        if endpoint.method == "get" {
            let example = endpoint.path.replace("{dataset}", dataset).replace("{z}", "0").replace("{x}", "0").replace("{y}", "0");
            let example = if example.ends_with("/histogram") { example + "?column=..." } else { example };
            // Relative, so that it leads there behind a proxy's prefix too.
            let link = format!(".{}", escaped(&example));
            page += &format!("<p>Such as <a href=\"{link}\">{}</a>: <code>{}</code></p>", escaped(&example), endpoint.media_type);
        }
        let names = endpoint.known.iter().flat_map(|known| known.names());
        let rows: String = names.map(|name| format!("<tr><td><code>{name}</code><td>{}", escaped(described(name)))).collect();
        if !rows.is_empty() {
            page += &format!("<table><tr><th>Parameter<th>Meaning{rows}</table>");
        }
        let statuses: String = endpoint.statuses.iter().map(|&status| format!("<li>{status}: {}", escaped(meaning(status)))).collect();
        page += &format!("<details><summary>Other answers than 200</summary><ul>{statuses}</ul></details></section>\n");
    }
    page + "</main></html>\n"
}

const PAGE_HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>pointillist: what can be asked</title><style>\
body{font:16px/1.5 system-ui,sans-serif;margin:0;color-scheme:light dark}main{max-width:60rem;margin:auto;padding:1rem}\
h2{font-size:1.1rem;margin:2rem 0 .3rem}p{margin:.3rem 0}table{border-collapse:collapse;margin:.5rem 0}\
td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}\
</style><main><h1>pointillist</h1><p>What can be asked of this server; for programs at <a href=\"openapi.json\">openapi.json</a>. \
A key, where one is needed, is shown as <code>Authorization: Bearer KEY</code>, <code>X-API-Key: KEY</code> or <code>?key=KEY</code>. \
Errors are <code>application/problem+json</code>, and their detail says what would be right.</p>\n";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn document(datasets: &[String]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        paths.insert(endpoint.path.to_owned(), json!({ endpoint.method: operation(endpoint, datasets) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pointillist",
            "summary": "Maps of point data that is too big to draw",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        // Nothing, where nothing needs a key; or the key in one of three places.
        "security": [{}, { "bearer": [] }, { "header": [] }, { "query": [] }],
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "header": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "query": { "type": "apiKey", "in": "query", "name": "key" },
            },
            "schemas": { "Problem": {
                "type": "object",
                "description": "RFC 9457",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": { "type": "string" }, "title": { "type": "string" },
                    "status": { "type": "integer" }, "detail": { "type": "string" },
                    "position": { "type": "integer", "description": "of the fault in a filter, in characters from 1" },
                },
            } },
        },
    })
}

fn operation(endpoint: &Endpoint, datasets: &[String]) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    for name in ["dataset", "z", "x", "y"].into_iter().filter(|name| endpoint.path.contains(&format!("{{{name}}}"))) {
        let schema = match name {
            "dataset" if !datasets.is_empty() => json!({ "type": "string", "enum": datasets }),
            "dataset" => json!({ "type": "string" }),
            "z" => json!({ "type": "integer", "minimum": 0, "maximum": ZOOM_MAX_SERVED }),
            _ => json!({ "type": "integer", "minimum": 0 }),
        };
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for name in endpoint.known.iter().flat_map(|known| known.names()) {
        let is_required = name == "column" && endpoint.path.ends_with("/histogram");
        parameters.push(json!({
            "name": name, "in": "query", "required": is_required, "schema": { "type": "string" },
            "description": described(name),
        }));
    }
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let mut responses = Map::new();
    let mut answer = json!({ "description": "The answer", "content": { endpoint.media_type: {} } });
    if endpoint.media_type == "image/png" || endpoint.path.ends_with("/legend.json") {
        answer["headers"] = json!({ "X-Tile-Quality": {
            "description": "By which scale it is coloured: exact; a sample of the zoom's tiles, for good (spread points); a preview, soon replaced; \
                or stale, of former data, where the server has no time",
            "schema": { "type": "string", "enum": ["exact", "sample", "preview", "stale"] },
        } });
    }
    responses.insert("200".into(), answer);
    for status in endpoint.statuses {
        let answer = match status {
            304 => json!({ "description": "The client has it already" }),
            _ => json!({ "description": meaning(*status), "content": problem }),
        };
        responses.insert(status.to_string(), answer);
    }
    let mut operation = json!({ "summary": endpoint.summary, "parameters": parameters, "responses": responses });
    if endpoint.method == "post" {
        operation["requestBody"] = json!({ "required": true, "content": { JSON: { "schema": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "bbox": { "type": ["array", "null"], "items": { "type": "number" }, "minItems": 4, "maxItems": 4 },
                "zoom": { "type": ["number", "null"] },
                "brushes": { "type": "object", "additionalProperties": { "type": "array" } },
                "columns": { "type": "array" },
                "filter": { "type": "string" },
                "by": { "type": ["string", "null"] },
                "client": { "type": ["string", "null"] },
            },
        } } } });
    }
    operation
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A parameter is wrong: the detail says which values are right",
        404 => "There is no such dataset, zoom or format: the detail says which there are",
        401 => "A key is needed, or the one that is shown is none",
        403 => "The key does not open this",
        408 => "The body came too slowly",
        421 => "The server does not answer to this host name",
        429 => "This client asks for too much: Retry-After says when to come back",
        413 => "The body is too large",
        414 => "The address is too long",
        499 => "A newer question of the same client has taken the place of this one",
        503 => "Too many requests wait, or the server is stopping: Retry-After says when to come back",
        504 => "The answer would have taken too long",
        _ => "A fault of the server; its log says which",
    }
}

fn described(parameter: &str) -> &'static str {
    match parameter {
        "filter" => "CQL2 text, such as radio = 'LTE' AND range > 1000",
        "filter-lang" => "cql2-text",
        "v" => "The data version, which makes the answer immutable",
        "agg" => "What a pixel shows: count (points, or points with a value in column), or the sum, mean, min or max of column",
        "by" => "The column whose values are the categories, or none",
        "how" => "The scale from count to intensity: eq_hist, log, cbrt or linear",
        "min_alpha" => "Opacity of the lowest count, 1 to 255",
        "span" => "Lowest and highest count of the scale: lo,hi, or none",
        "colors" => "Colours of categories: VALUE:rrggbb,...",
        "hide" => "Categories that are not drawn: VALUE,...",
        "cmap" => "A colour map for the total: viridis, magma, inferno, plasma, cividis, turbo, fire, gray, or none",
        "spread" => "How many pixels around itself a point colours, or auto",
        "background" => "rrggbb behind the points, or none",
        "normalize" => "zoom (all tiles of a zoom share a scale) or tile",
        "dtype" => "u32, or auto: u16 where every count fits",
        "zoom" => "The zoom that the legend is of, or of the tiles that are listed",
        "bbox" => "west,south,east,north in degrees",
        "column" => "The column of the histogram, or of agg",
        "bins" => "How many bins",
        "scale" => "linear or log10",
        "min" | "max" => "The ends of the axis",
        "search" => "Only values that contain this text",
        "limit" => "At most so many",
        "offset" => "Rows to pass over",
        "columns" => "Columns wanted: a,b,c",
        "format" => "Of rows json, geojson, csv, arrow or parquet; of an image png, or png8: at most 256 colours, dithered, about half the bytes",
        "tilesize" => "Pixels a side of a tile, finer where there are more: 256 or 512; @2x doubles it",
        "tile" => "z/x/y",
        "pixel" => "Column and row of a tile's pixel, from its north-west corner: i,j",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_address_and_cannot_be_written_into() {
        let page = page(&["<b>\"towers".into()]);
        for endpoint in ENDPOINTS {
            assert!(page.contains(&escaped(endpoint.path)), "{}", endpoint.path);
        }
        assert!(!page.contains("<b>\"towers") && !page.contains("<script"));
    }

    #[test]
    fn every_parameter_and_status_is_described() {
        for endpoint in ENDPOINTS {
            for name in endpoint.known.iter().flat_map(|known| known.names()) {
                assert!(!described(name).is_empty(), "{name} of {}", endpoint.path);
            }
        }
        let document = document(&[]);
        assert_eq!(document["paths"].as_object().unwrap().len(), ENDPOINTS.len(), "every path is listed once");
    }
}
