//! What there is, as JSON: catalog, TileJSON, map style, statistics and legends.

use super::asker::{Asker, percent_encoded};
use super::query::{IMAGE, LEGEND, NOTHING, Query, STATS, has_parameter, names_version};
use super::tiles::{Shape, X_TILE_QUALITY, tile_size, within_deadline};
use super::{App, Problem, archives, caching};
use crate::dataset::Value as ColumnValue;
use crate::engine::Cancel;
use crate::service::{Content, Explained, Pipeline, Priority, ServiceError, Source, TileQuality, View, ZOOM_MAX_SERVED};
use crate::encode::png_of_width;
use crate::shade::{Legend, Style, legend_image};
use crate::world::{LonLatBox, Zoom};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

const JSON: &str = "application/json";

/// The datasets that the asker may see.
pub async fn catalog(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(&uri, NOTHING)?;
    let access = app.config().access.clone();
    let datasets: Vec<Value> = app
        .service
        .registry()
        .all()
        .values()
        .filter(|source| asker.caller.may_see(source.name(), &access))
        .map(|source| {
            let manifest = &source.dataset().manifest;
            json!({
                "name": source.name(), "title": manifest.title, "rows": manifest.rows,
                "bounds": corners(&manifest.bounds), "data_version": manifest.data_version, "revision": manifest.revision,
            })
        })
        .collect();
    let archives: Vec<Value> = app.service.archives().filter(|archive| asker.caller.may_see(archive.name(), &access)).map(archives::listed).collect();
    Ok(app.document(&headers, JSON, json!({ "datasets": datasets, "archives": archives }).to_string(), false))
}

/// `/{dataset}.json`: TileJSON 3.0.0. The request's style and filter are carried into the tiles' URLs.
pub async fn tile_json(
    State(app): State<Arc<App>>,
    Path(document): Path<String>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(name) = document.strip_suffix(".json") else {
        let detail = format!("there is nothing at /{}: a dataset's TileJSON is at /{{dataset}}.json", super::query::excerpt(&document));
        return Err(Problem::not_found(detail));
    };
    let base = asker.base_url(&app.config())?;
    if let Some(archive) = app.service.archive(name) {
        return archives::tile_json(&app, archive, &base, &asker, &uri, &headers);
    }
    let source = app.source(name)?;
    let view = app.view(&source, &uri, IMAGE)?;
    let shape = Shape::of_image(&uri)?;
    let manifest = &source.dataset().manifest;
    let center = manifest.bounds.center();
    let body = json!({
        "tilejson": "3.0.0",
        "name": source.name(),
        "description": manifest.title,
        "version": "1.0.0",
        "attribution": manifest.attribution,
        "scheme": "xyz",
        "tiles": [format!("{base}/{}/{{z}}/{{x}}/{{y}}.png?{}{}", source.name(), shape.carried(), carried(&view, &asker))],
        "tileSize": shape.scale.pixels(),
        "minzoom": 0,
        "maxzoom": ZOOM_MAX_SERVED,
        "bounds": corners(&manifest.bounds),
        "center": [center.0, center.1, 2],
        "legend": format!("{base}/{}/legend.json?{}{}", source.name(), Shape { content: Content::Png, ..shape }.carried(), carried(&view, &asker)),
        "data_version": manifest.data_version,
    });
    Ok(app.document(&headers, JSON, without_nulls(body).to_string(), names_version(&uri, source.data_version())))
}

/// `/{dataset}/style.json`: a MapLibre or Mapbox style with the tiles as its one layer.
pub async fn style_json(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let view = app.view(&source, &uri, IMAGE)?;
    let shape = Shape::of_image(&uri)?;
    let manifest = &source.dataset().manifest;
    let base = asker.base_url(&app.config())?;
    let center = manifest.bounds.center();
    let body = json!({
        "version": 8,
        "name": manifest.title,
        "center": [center.0, center.1],
        "zoom": 2,
        "sources": { "points": without_nulls(json!({
            "type": "raster",
            "tiles": [format!("{base}/{name}/{{z}}/{{x}}/{{y}}.png?{}{}", shape.carried(), carried(&view, &asker))],
            "tileSize": shape.scale.pixels(),
            "minzoom": 0,
            "maxzoom": ZOOM_MAX_SERVED,
            "bounds": corners(&manifest.bounds),
            "attribution": manifest.attribution,
        })) },
        "layers": [
            { "id": "background", "type": "background", "paint": { "background-color": "#101418" } },
            { "id": "points", "type": "raster", "source": "points",
              "paint": { "raster-resampling": "nearest", "raster-fade-duration": 0 } },
        ],
    });
    Ok(app.document(&headers, JSON, body.to_string(), names_version(&uri, source.data_version())))
}

pub async fn stats(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let view = app.view(&source, &uri, STATS)?;
    // Of everything too, if asked: it takes some passes over all points, and a dashboard that opens wants none.
    let is_all = view.filter.is_all();
    let is_summarised = has_parameter(&uri, "filter") || has_parameter(&uri, "bbox");
    let categories = asked(&app, source.clone(), {
        let view = view.clone();
        move |pipeline, cancel| {
            let categories = if view.filter.is_all() {
                // Nothing to select: the dataset knows.
                let groups = view.source.groups(view.by)?;
                let counts: Vec<u64> = groups.iter().map(|group| group.count).collect();
                view.source.categories(&groups, &counts)
            } else {
                pipeline.categories(&view, cancel)?
            };
            let rows = match view.filter.is_all() {
                true => view.source.dataset().rows(),
                false => pipeline.selection(&view, cancel)?.total(),
            };
            // With a colour for each, also where the dataset's own style colours by count.
            let style = Style { cmap: None, hide: Default::default(), ..view.style.clone() };
            let summaries = match is_summarised {
                true => view.source.crossfilter().summaries(&view.filter, None, cancel)?,
                false => Vec::new(),
            };
            Ok((rows, Legend::new(&style, &categories, &Default::default(), 0)?.categories, summaries))
        }
    });
    let (rows, categories, summaries) = categories.await?;
    let manifest = &source.dataset().manifest;
    let categories: Vec<Value> = categories
        .iter()
        .map(|c| json!({ "value": c.value, "label": c.label, "color": c.color, "count": c.count, "kind": c.kind }))
        .collect();
    let columns: Vec<Value> = manifest
        .columns
        .iter()
        .map(|column| {
            let mut described = json!({
                "name": column.name, "type": column.kind, "min": json_of(&column.min), "max": json_of(&column.max),
                "nulls": column.nulls, "distinct": column.distinct, "hot": true,
            });
            // Of a selection, what is true of it: how many distinct values it has is not known, nor anything of texts.
            if let Some(summary) = summaries.iter().find(|summary| summary.column == column.name) {
                let quantiles: Vec<Value> =
                    summary.quantiles.iter().map(|q| json!({ "share": q.share, "value": json_of(&q.value) })).collect();
                described["min"] = json_of(&summary.min);
                described["max"] = json_of(&summary.max);
                described["nulls"] = json!(summary.nulls);
                described["count"] = json!(summary.count);
                described["mean"] = json!(summary.mean);
                described["quantiles"] = json!(quantiles);
                if !is_all {
                    described["distinct"] = Value::Null;
                }
            } else if !is_all {
                ["min", "max", "nulls", "distinct"].into_iter().for_each(|of_all| described[of_all] = Value::Null);
            }
            described
        })
        .collect();
    let body = json!({
        "name": source.name(),
        "title": manifest.title,
        "rows": rows,
        "bounds": corners(&manifest.bounds),
        "zooms": { "min": 0, "max": ZOOM_MAX_SERVED },
        "data_version": manifest.data_version,
        "by": view.by.map(|column| &manifest.columns[column.0].name),
        "categories": categories,
        "columns": columns,
        "rejected": manifest.rejected,
        "attribution": manifest.attribution,
    });
    Ok(app.document(&headers, JSON, body.to_string(), names_version(&uri, source.data_version())))
}

/// `/{dataset}/legend.json`: what the colours of a zoom, filter and style mean.
pub async fn legend_json(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let view = app.view(&source, &uri, LEGEND)?;
    let zoom = legend_zoom(&uri)?;
    let pixel_zoom = zoom.pixels;
    let explained = asked(&app, source.clone(), {
        let view = view.clone();
        move |pipeline, cancel| pipeline.legend(&view, pixel_zoom, cancel)
    })
    .await?;
    let distribution = match &explained {
        Explained::Counts(_, distribution, _) => {
            let (counts, pixels): (Vec<u32>, Vec<u64>) = distribution.pixels_by_count.iter().copied().unzip();
            json!({ "counts": counts, "pixels": pixels })
        }
        Explained::Values(_, distribution, _) => {
            json!({ "lowest": distribution.lowest, "highest": distribution.highest(), "pixels": distribution.pixels() })
        }
    };
    let quality = explained.quality();
    let mut body = json!({ "zoom": zoom.tiles, "quality": quality.name() });
    if let (Value::Object(body), Ok(Value::Object(legend))) = (&mut body, serde_json::to_value(explained.legend())) {
        body.extend(legend);
        body.insert("distribution".into(), distribution);
    }
    let document = app.document(&headers, JSON, body.to_string(), names_version(&uri, source.data_version()));
    Ok(marked(&app, document, quality, &view, pixel_zoom))
}

/// `/{dataset}/legend.png`, and `legend@2x.png` for dense screens.
pub async fn legend_png(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = app.source(&name)?;
    let view = app.view(&source, &uri, LEGEND)?;
    let zoom = legend_zoom(&uri)?.pixels;
    let ratio = if uri.path().ends_with("@2x.png") { 2 } else { 1 };
    let (picture, quality) = asked(&app, source.clone(), {
        let view = view.clone();
        move |pipeline, cancel| {
            let explained = pipeline.legend(&view, zoom, cancel)?;
            let title = &view.source.dataset().manifest.title;
            let image = legend_image(explained.legend(), title, ratio);
            Ok((png_of_width(&image.rgba, image.width), explained.quality()))
        }
    })
    .await?;
    let document = app.document(&headers, "image/png", picture, names_version(&uri, source.data_version()));
    Ok(marked(&app, document, quality, &view, zoom))
}

/// Which zoom a legend is of.
struct LegendZoom {
    /// As in the address of a tile.
    tiles: u8,
    /// Of the 256-pixel tiles that have the same pixels.
    pixels: Zoom,
}

fn legend_zoom(uri: &Uri) -> Result<LegendZoom, Problem> {
    let query = Query::parse(uri, LEGEND)?;
    let tiles = served_zoom(query.parsed::<u8>("zoom", "a whole number")?.unwrap_or(0))?.get();
    let pixels = Zoom::new(tiles + tile_size(&query)?.zooms()).expect("zooms are served up to two above the deepest");
    Ok(LegendZoom { tiles, pixels })
}

/// Says how exact a legend is; one that is not is good for a moment, until the exact one has been worked out.
fn marked(app: &App, mut document: Response, quality: TileQuality, view: &Arc<View>, zoom: Zoom) -> Response {
    document.headers_mut().insert(X_TILE_QUALITY, HeaderValue::from_static(quality.name()));
    if quality == TileQuality::Preview {
        document.headers_mut().insert(header::CACHE_CONTROL, caching::SOON_REPLACED);
        app.service.refine(view, zoom);
    }
    document
}

/// Waits for what a thread of the service works out. As for tiles, a client that leaves cancels it.
pub async fn asked<T: Send + 'static>(
    app: &App,
    source: Arc<Source>,
    work: impl FnOnce(&Pipeline, &Cancel) -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, Problem> {
    let (send, receive) = oneshot::channel();
    let work = move |pipeline: &Pipeline, cancel: &Cancel| work(pipeline, cancel).and_then(|made| source.intact().map(|()| made));
    let _ticket = app.service.ask(Priority::Interactive, work, move |result| drop(send.send(result)));
    within_deadline(app, receive).await
}

/// # Errors
/// 404 outside the zooms that are served.
pub fn served_zoom(zoom: u8) -> Result<Zoom, Problem> {
    let outside = || Problem::not_found(format!("zoom {zoom} is not served: there are the zooms 0 to {ZOOM_MAX_SERVED}"));
    Zoom::new(zoom).ok().filter(|zoom| zoom.get() <= ZOOM_MAX_SERVED).ok_or_else(outside)
}

/// A value as JSON: timestamps in ISO 8601.
pub fn json_of(value: &ColumnValue) -> Value {
    match value {
        ColumnValue::Null => Value::Null,
        ColumnValue::Boolean(value) => json!(value),
        ColumnValue::Integer(value) => json!(value),
        ColumnValue::Float(value) => json!(value),
        ColumnValue::Text(value) => json!(value),
        ColumnValue::Timestamp { .. } => json!(value.to_string()),
    }
}

/// What of a request goes into the URLs of its tiles: style, filter and data version, and the key where it came in an address.
fn carried(view: &View, asker: &Asker) -> String {
    let mut pairs = Vec::new();
    if !view.filter.is_all() {
        pairs.push(format!("filter={}", percent_encoded(view.filter.canonical())));
    }
    let style = view.style.canonical_over(view.source.style());
    if !style.is_empty() {
        pairs.push(style);
    }
    pairs.push(format!("v={}", version(&view.source)));
    pairs.extend(asker.carried_key());
    pairs.join("&")
}

fn version(source: &Source) -> &str {
    source.data_version()
}

fn corners(bounds: &LonLatBox) -> [f64; 4] {
    [bounds.west, bounds.south, bounds.east, bounds.north]
}

/// TileJSON knows no null: what is not known is left out.
fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(object) = &mut value {
        object.retain(|_, member| !member.is_null());
    }
    value
}
