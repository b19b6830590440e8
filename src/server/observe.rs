//! One look at every request: who asks, its number, its metrics, and its line in the log where it was slow.

use super::asker::{Asker, Caller};
use super::prefix::Outside;
use super::{App, Problem, caching, trace};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::Instrument;

/// From 0.1 ms, where a cached tile lies, to 30 s.
const BUCKETS_SECS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest number of a request that is taken over from a proxy.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Where the page came from is nobody else's business: its address may hold a key.
const REFERRER_POLICY: HeaderValue = HeaderValue::from_static("same-origin");

pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Clients that listen for events.
    pub subscribers: IntGauge,
    /// Numbers requests, from one that another start of the program did not begin with.
    numbers: AtomicU64,
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
        let subscribers = IntGauge::new("event_subscribers", "Clients that listen for events").expect(VALID);
        registry.register(Box::new(subscribers.clone())).expect(VALID);
        registry.register(Box::new(requests.clone())).expect(VALID);
        registry.register(Box::new(durations.clone())).expect(VALID);
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        HttpMetrics { requests, durations, subscribers, numbers: AtomicU64::new(start) }
    }

    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(&X_REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
        });
        given.cloned().unwrap_or_else(|| {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            HeaderValue::from_str(&format!("{number:016x}")).expect("hex digits are a header")
        })
    }
}

/// The outermost layer of all routes.
pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let config = app.config();
    // From here on no address has a key in it: neither the log nor a cache ever sees one.
    let asker = Asker::of(&mut request, &config);
    let id = app.http.request_id(request.headers());
    // The route's pattern, not the path: a label for every tile would be a metric for every tile.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = matched.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let uri_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let uri_bytes_max = config.limits.uri.bytes();
    let uri = request.uri().clone();
    request.extensions_mut().insert(asker.clone());
    let span = trace::span_of(&request, endpoint, id.to_str().unwrap_or_default());
    let mut response = if uri_bytes > uri_bytes_max {
        let detail = format!("the address has {uri_bytes} bytes and may have {uri_bytes_max}: shorten the filter");
        Problem::new(StatusCode::URI_TOO_LONG, detail).into_response()
    } else if let Some(outside) = request.extensions().get::<Outside>() {
        outside.answer(uri.path())
    } else {
        next.run(request).instrument(span.clone()).await
    };
    let status = response.status();
    trace::answered(&span, status);
    let headers = response.headers_mut();
    caching::tag_coding(headers);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, REFERRER_POLICY);
    headers.insert(X_REQUEST_ID, id.clone());
    if asker.is_encrypted() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    let elapsed = started.elapsed();
    app.http.requests.with_label_values(&[endpoint, method_label(method.as_str()), status.as_str()]).inc();
    app.http.durations.with_label_values(&[endpoint]).observe(elapsed.as_secs_f64());
    let id = id.to_str().unwrap_or_default();
    let (seconds, status) = (elapsed.as_secs_f64(), status.as_u16());
    if elapsed > config.log.slow.0 {
        let key = match &asker.caller {
            Caller::Known { name, .. } => name.as_str(),
            Caller::Anonymous | Caller::Unknown => "",
        };
        let timing = response.headers().get("server-timing").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let uri: String = uri.path_and_query().map_or("", |path| path.as_str()).chars().take(URI_CHARS_LOGGED).collect();
        tracing::warn!(request_id = id, %method, uri, status, seconds, timing, client = %asker.address, key, "slow request");
    } else {
        tracing::debug!(request_id = id, %method, endpoint, status, seconds);
    }
    response
}

/// The start of an address is enough to know it by.
const URI_CHARS_LOGGED: usize = 1000;

/// Clients may invent methods, and each would be a metric.
fn method_label(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => method,
        _ => "other",
    }
}
