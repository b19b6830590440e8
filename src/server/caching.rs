//! What caches between the server and the screen are told: ETags of inputs, and how long an answer is good.

use super::App;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// A year, as RFC 9111 advises for what never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Of an answer that will be replaced as soon as the exact one has been worked out. Clients that look at the age ask again after it, as
/// MapLibre does with the tiles that it shows.
pub const SOON_REPLACED: HeaderValue = HeaderValue::from_static("public, max-age=2");

/// How much longer than its age an answer may be shown while it is asked for again.
const STALE_FACTOR: u64 = 10;

impl App {
    /// For an answer whose URL names the data version, or does not.
    pub fn cache_control(&self, names_version: bool) -> HeaderValue {
        if names_version {
            return IMMUTABLE;
        }
        let age = self.config().max_age.0.as_secs();
        let text = format!("public, max-age={age}, stale-while-revalidate={}", age.saturating_mul(STALE_FACTOR));
        HeaderValue::from_str(&text).expect("digits and ASCII letters are a header")
    }

    /// A small answer whose ETag is a hash of its bytes.
    pub fn document(&self, request: &HeaderMap, content_type: &'static str, body: impl Into<Bytes>, names_version: bool) -> Response {
        let body = body.into();
        let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&body));
        let etag = HeaderValue::from_str(&etag).expect("hex digits are a header");
        let headers = [
            (header::ETAG, etag.clone()),
            (header::CACHE_CONTROL, self.cache_control(names_version)),
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        ];
        if is_known(request, &etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, Body::from(body)).into_response()
    }
}

/// Content codings that an answer may be sent in.
const CODINGS: [&str; 3] = ["br", "gzip", "zstd"];

/// Gives an answer that has been compressed a strong ETag of its own, `"...-zstd"`: other bytes, another tag.
pub fn tag_coding(headers: &mut HeaderMap) {
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
    if let (Some(coding), Some(bare)) = (coding, etag.and_then(|etag| etag.strip_suffix('"')))
        && CODINGS.contains(&coding)
        && let Ok(tagged) = HeaderValue::from_str(&format!("{bare}-{coding}\""))
    {
        headers.insert(header::ETAG, tagged);
    }
}

/// Whether the client has what the ETag names, in whatever coding: RFC 9110, If-None-Match, by the weak comparison.
pub fn is_known(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|known| {
            let known = known.strip_prefix("W/").unwrap_or(known);
            let is_coded = |coding: &&str| {
                let bare = known.strip_suffix('"').and_then(|known| known.strip_suffix(*coding)?.strip_suffix('-'));
                bare.is_some() && bare == etag.strip_suffix('"')
            };
            known == "*" || known == etag || CODINGS.iter().any(is_coded)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_in_every_coding() {
        let etag = HeaderValue::from_static("\"abc-0-0-0n\"");
        let asked = |value: &'static str| HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))]);
        for known in ["\"abc-0-0-0n\"", "W/\"abc-0-0-0n\"", "\"x\", \"abc-0-0-0n-zstd\"", "*"] {
            assert!(is_known(&asked(known), &etag), "{known}");
        }
        for other in ["\"abc-0-0-0n2\"", "\"abc-0-0-0n-lzma\"", "abc-0-0-0n", "", "\"-zstd\""] {
            assert!(!is_known(&asked(other), &etag), "{other}");
        }
        let mut sent = HeaderMap::from_iter([(header::ETAG, etag), (header::CONTENT_ENCODING, HeaderValue::from_static("br"))]);
        tag_coding(&mut sent);
        assert_eq!(sent[header::ETAG], "\"abc-0-0-0n-br\"");
    }
}
