//! What stands before every handler: host names, keys, bounds for clients and bodies. Whoever is turned away costs nothing.

use super::asker::{Asker, Caller};
use super::clients::{Pass, Refusal};
use super::{App, Problem};
use crate::config::Config;
use axum::body::{Body, HttpBody};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;

/// Addresses that show nothing of a dataset that its viewer may not see; what is not listed here and names no dataset needs an
/// admin's key as soon as anything needs a key.
const OPEN: [&str; 7] = ["/", "/ui/{*path}", "/docs", "/openapi.json", "/health", "/ready", "/catalog"];

/// Asked by machines that know the server by its address only.
pub const FOR_MACHINES: [&str; 2] = ["/health", "/ready"];

/// The layer before the public routes.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let config = app.config();
    match admitted(&app, &config, request).await {
        Ok((request, pass, audience)) => {
            let mut response = next.run(request).await;
            drop(pass);
            tell_caches(&mut response, audience);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// The layer before the routes of `/admin`.
pub async fn require_admin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let config = app.config();
    let asker = asker_of(&request);
    if !asker.caller.is_admin() {
        return denied(&asker.caller, "this needs an admin's key").into_response();
    }
    match with_body_read(&config, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// For whom an answer is, as caches must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Everybody,
    /// Those who show no key; with one the answer may be another.
    Keyless,
    /// Only whoever showed this key.
    KeyHolder,
}

/// Who asks, as found by the outermost layer.
pub fn asker_of(request: &Request) -> Asker {
    request.extensions().get::<Asker>().expect("the outermost layer puts it into every request").clone()
}

async fn admitted(app: &App, config: &Config, request: Request) -> Result<(Request, Pass, Audience), Problem> {
    let asker = asker_of(&request);
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref().unwrap_or_default();
    if !FOR_MACHINES.contains(&route) {
        check_host(&asker, config)?;
    }
    if asker.caller == Caller::Unknown {
        return Err(denied(&asker.caller, "there is no such key"));
    }
    let audience = match dataset_of(&mut parts).await? {
        Some(dataset) => {
            if !asker.caller.may_see(&dataset, &config.access) {
                return Err(denied(&asker.caller, "this dataset is not for everybody"));
            }
            if config.access.is_public(&dataset) { Audience::Everybody } else { Audience::KeyHolder }
        }
        None => {
            // An address that is none is told so without a key.
            let is_open = route.is_empty() || OPEN.contains(&route) || config.access.is_public("");
            if !is_open && !asker.caller.is_admin() {
                return Err(denied(&asker.caller, "this needs an admin's key"));
            }
            match asker.caller {
                _ if config.access.keys.is_empty() => Audience::Everybody,
                Caller::Anonymous => Audience::Keyless,
                _ => Audience::KeyHolder,
            }
        }
    };
    let pass = app.limits.enter(&asker, &config.limits, Instant::now()).map_err(|refusal| {
        app.service.metrics().shed("client");
        Problem::from(refusal)
    })?;
    let mut request = with_body_read(config, Request::from_parts(parts, body)).await?;
    request.extensions_mut().insert(pass.reader());
    Ok((request, pass, audience))
}

/// The dataset that an address names, whether there is such a one or not.
///
/// # Errors
/// 400 for an address that is not UTF-8.
async fn dataset_of(parts: &mut axum::http::request::Parts) -> Result<Option<String>, Problem> {
    let parameters = match RawPathParams::from_request_parts(parts, &()).await {
        Ok(parameters) => parameters,
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            return Err(Problem::bad_request("the address cannot be read: percent-encode it as UTF-8"));
        }
        // An address that is none has none.
        Err(_) => return Ok(None),
    };
    Ok(parameters.iter().find_map(|(name, value)| match name {
        "dataset" => Some(value.to_owned()),
        "document" => Some(value.strip_suffix(".json").unwrap_or(value).to_owned()),
        _ => None,
    }))
}

fn check_host(asker: &Asker, config: &Config) -> Result<(), Problem> {
    if config.allowed_hosts.is_empty() {
        return Ok(());
    }
    let name = match asker.host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => asker.host.as_str(),
    };
    let is_allowed = config.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    is_allowed.then_some(()).ok_or_else(|| Problem::new(StatusCode::MISDIRECTED_REQUEST, "this server does not answer to that host name"))
}

/// Bodies are small, and read whole before anything is made of them: a client that sends one slowly holds up only itself.
async fn with_body_read(config: &Config, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, body));
    }
    let limit = config.limits.body;
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit}: ask for less"));
    if body.size_hint().lower() > limit.0 {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(body, limit.bytes());
    match tokio::time::timeout(config.limits.body_timeout.0, read).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        // It is too large, or its client has left and reads no answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {}", config.limits.body_timeout))),
    }
}

/// What a key was needed for is kept by nobody but its client.
fn tell_caches(response: &mut Response, audience: Audience) {
    if audience == Audience::Everybody {
        return;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("authorization, x-api-key"));
    let held = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let private = held.filter(|_| audience == Audience::KeyHolder).map(|held| held.replace("public", "private"));
    if let Some(Ok(private)) = private.map(|text| HeaderValue::from_str(&text)) {
        response.headers_mut().insert(header::CACHE_CONTROL, private);
    }
}

/// 401 for whoever shows no key that there is, 403 for a key that does not open this.
fn denied(caller: &Caller, why: &str) -> Problem {
    match caller {
        Caller::Known { .. } => Problem::new(StatusCode::FORBIDDEN, format!("{why}, and the key that is shown does not open it")),
        Caller::Anonymous | Caller::Unknown => {
            let how = "show a key as `Authorization: Bearer KEY`, `X-API-Key: KEY` or ?key=KEY";
            Problem::new(StatusCode::UNAUTHORIZED, format!("{why}: {how}"))
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::TooManyAtOnce { requests_max } => {
                let detail = format!("{requests_max} requests of this client are under way, and there may be no more: wait for their answers");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            }
            Refusal::TooFast { rate, wait } => {
                let detail = format!("this client asks faster than {rate} times a second: wait a little");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait)
            }
            Refusal::ReadsTooLittle { bytes_max } => {
                let detail = format!("this client has not read {bytes_max} bytes of former answers: read them, or close their connections");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            }
            Refusal::AllReadTooLittle { bytes_max } => {
                let detail = format!("the server is busy: {bytes_max} bytes of answers wait for slow clients already; try again in a few seconds");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}
