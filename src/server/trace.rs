//! A span for every request, where a collector wants traces: it continues the trace that the client began (W3C `traceparent`).
//!
//! Without a collector nothing subscribes to these spans: then they are disabled, and cost a comparison.

use crate::service::TRACE;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of a request to `endpoint`, the route's pattern. The address holds no key any more.
pub fn span_of(request: &Request, endpoint: &str, request_id: &str) -> Span {
    let span = tracing::info_span!(
        target: TRACE,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %request.method(),
        http.route = endpoint,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        request_id,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{} {endpoint}", request.method()));
        let begun = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Refused only where the span has been exported already.
        let _ = span.set_parent(begun);
    }
    span
}

/// Says how the request was answered.
pub fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
