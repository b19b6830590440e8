//! One look at every request: its metrics, its span, and the bounds that hold for all.

use super::{App, Problem, URI_BYTES_MAX, caching};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use std::sync::Arc;
use std::time::Instant;

/// From 0.1 ms, where a cached tile lies, to 10 s.
const BUCKETS_SECS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// A request that takes longer is worth a line in the log.
const SLOW_SECS: f64 = 1.0;

pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpMetrics {
    pub fn registered(registry: &Registry) -> HttpMetrics {
        const VALID: &str = "the name is valid and registered once";
        let labels = ["endpoint", "method", "status"];
        let requests = IntCounterVec::new(Opts::new("http_requests_total", "Requests answered"), &labels).expect(VALID);
        let durations = HistogramVec::new(
            HistogramOpts::new("http_request_duration_seconds", "Time to answer").buckets(BUCKETS_SECS.to_vec()),
            &["endpoint"],
        )
        .expect(VALID);
        registry.register(Box::new(requests.clone())).expect(VALID);
        registry.register(Box::new(durations.clone())).expect(VALID);
        HttpMetrics { requests, durations }
    }
}

pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    // The route's pattern, not the path: a label for every tile would be a metric for every tile.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = matched.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let uri_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let described = (uri_bytes <= URI_BYTES_MAX).then(|| request.uri().clone());
    let mut response = if uri_bytes > URI_BYTES_MAX {
        let detail = format!("the address has {uri_bytes} bytes and may have {URI_BYTES_MAX}: shorten the filter");
        Problem::new(StatusCode::URI_TOO_LONG, detail).into_response()
    } else {
        next.run(request).await
    };
    caching::tag_coding(response.headers_mut());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let seconds = started.elapsed().as_secs_f64();
    app.http.requests.with_label_values(&[endpoint, method.as_str(), response.status().as_str()]).inc();
    app.http.durations.with_label_values(&[endpoint]).observe(seconds);
    if let (Some(uri), true) = (described, seconds > SLOW_SECS) {
        tracing::warn!(%method, %uri, status = response.status().as_u16(), seconds, "slow request");
    } else {
        tracing::debug!(%method, endpoint, status = response.status().as_u16(), seconds);
    }
    response
}
