//! Who asks, and by what address: the client behind trusted proxies, the key that it shows, the URL that it knows the server by.

use super::Problem;
use crate::config::{Access, Config, KeyHash, Role};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use subtle::ConstantTimeEq;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The longest key that is looked at.
const KEY_BYTES_MAX: usize = 256;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub scheme: &'static str,
}

#[derive(Clone, Debug)]
pub struct Asker {
    /// Of the client, or of the first proxy that is not trusted.
    pub address: IpAddr,
    pub caller: Caller,
    /// As the client wrote it, with its port.
    pub host: String,
    scheme: String,
    prefix: String,
    /// The key, where it stood in the query: URLs that are given out carry it on.
    pub key_in_query: Option<Arc<str>>,
}

/// What a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// Shows a key that there is not.
    Unknown,
    Known { name: String, role: Role, datasets: Option<Vec<String>> },
}

impl Asker {
    /// Takes the key out of the request's address, so that nothing behind this sees it, logs it or caches by it.
    pub fn of(request: &mut Request, config: &Config) -> Asker {
        let key_in_query = take_key(request);
        let headers = request.headers();
        let key = key_in_header(headers).or(key_in_query.as_deref());
        let caller = key.map_or(Caller::Anonymous, |key| Caller::of(key, &config.access));
        let peer = request.extensions().get::<Peer>().copied();
        // Without a connection, in a test of the router alone, a request comes from here.
        let peer = peer.unwrap_or(Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), scheme: "http" });
        let is_trusted = |address: IpAddr| config.trusted_proxies.iter().any(|network| network.0.contains(&address));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(request.uri().authority().map(|at| at.as_str()));
        let mut asker = Asker {
            address: peer.address.ip().to_canonical(),
            caller,
            host: host.unwrap_or("localhost").to_owned(),
            scheme: peer.scheme.to_owned(),
            prefix: String::new(),
            key_in_query: key_in_query.map(Into::into),
        };
        if is_trusted(asker.address) {
            asker.believe(headers, &is_trusted);
        }
        asker
    }

    /// Whether the client speaks HTTPS, to this server or to a trusted proxy.
    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// The server's address as the client knows it, without a slash at the end.
    ///
    /// # Errors
    /// The Host header is none.
    pub fn base_url(&self, config: &Config) -> Result<String, Problem> {
        if let Some(url) = &config.public_url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        // It goes into answers that caches share: nothing but a name and a port.
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if self.host.is_empty() || !self.host.bytes().all(is_host) {
            return Err(Problem::bad_request("the Host header is not a host"));
        }
        Ok(format!("{}://{}{}", self.scheme, self.host, self.path(config)))
    }

    /// The path that the client's addresses begin with, without a slash at the end.
    pub fn path(&self, config: &Config) -> String {
        if let Some(url) = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok()) {
            return url.path().trim_end_matches('/').to_owned();
        }
        format!("{}{}", self.prefix, config.route_prefix.as_deref().unwrap_or_default())
    }

    /// Takes over what trusted proxies say: `Forwarded` (RFC 7239), or else the X-Forwarded headers.
    fn believe(&mut self, headers: &HeaderMap, is_trusted: &dyn Fn(IpAddr) -> bool) {
        let forwarded = Forwarded::read(headers);
        // Each proxy adds whom it heard from at the end: the client is the last one that no trusted proxy can vouch for.
        for address in forwarded.addresses.into_iter().rev() {
            self.address = address;
            if !is_trusted(address) {
                break;
            }
        }
        if let Some(scheme) = forwarded.scheme.filter(|scheme| scheme == "http" || scheme == "https") {
            self.scheme = scheme;
        }
        if let Some(host) = forwarded.host {
            self.host = host;
        }
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if let Some(prefix) = text_of(headers, &X_FORWARDED_PREFIX).filter(|prefix| prefix.starts_with('/') && prefix.bytes().all(is_path)) {
            self.prefix = prefix.trim_end_matches('/').to_owned();
        }
    }

    /// The key as a parameter, where it came as one.
    pub fn carried_key(&self) -> Option<String> {
        self.key_in_query.as_ref().map(|key| format!("key={}", percent_encoded(key)))
    }
}

impl Caller {
    fn of(key: &str, access: &Access) -> Caller {
        let shown = KeyHash::of(key);
        let mut found = Caller::Unknown;
        // All are compared, each in constant time: how long it takes says nothing about which came close.
        for known in &access.keys {
            if bool::from(shown.bytes().ct_eq(known.sha256.bytes())) {
                found = Caller::Known { name: known.name.clone(), role: known.role, datasets: known.datasets.clone() };
            }
        }
        found
    }

    pub fn is_admin(&self) -> bool {
        matches!(self, Caller::Known { role: Role::Admin, .. })
    }

    /// Whether the caller may see a dataset.
    pub fn may_see(&self, dataset: &str, access: &Access) -> bool {
        let is_its_own = match self {
            Caller::Anonymous | Caller::Unknown => false,
            Caller::Known { datasets: None, .. } => true,
            Caller::Known { datasets: Some(names), .. } => names.iter().any(|name| name == dataset),
        };
        is_its_own || access.is_public(dataset)
    }
}

/// Removes `key=` from the query.
fn take_key(request: &mut Request) -> Option<String> {
    let query = request.uri().query()?;
    let is_key = |pair: &&str| pair.starts_with("key=");
    let pair = query.split('&').find(is_key)?;
    let key = percent_decoded(&pair["key=".len()..]);
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    let path = request.uri().path();
    let without = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = request.uri().clone().into_parts();
    // A path and some of the pairs of a query that were read before are read again.
    parts.path_and_query = Some(without.parse::<PathAndQuery>().ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(key)
}

/// As a value in a query string.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let coded = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match coded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
fn key_in_header(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let key = bearer.or_else(|| headers.get(X_API_KEY).and_then(|value| value.to_str().ok()))?;
    // What is longer than any key is none; the empty text is as unknown as it.
    Some(if key.len() <= KEY_BYTES_MAX { key } else { "" })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[derive(Default)]
struct Forwarded {
    /// From the client to the proxy before last.
    addresses: Vec<IpAddr>,
    scheme: Option<String>,
    host: Option<String>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Forwarded {
        let mut read = Forwarded::default();
        let texts = |name: &HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect::<Vec<_>>();
        let standard = texts(&header::FORWARDED);
        if standard.is_empty() {
            for text in texts(&X_FORWARDED_FOR) {
                read.addresses.extend(text.split(',').filter_map(address_of));
            }
            // Several proxies each add theirs; the first is what the client saw.
            let first = |name: HeaderName| text_of(headers, &name).and_then(|text| text.split(',').next()).map(|text| text.trim().to_owned());
            read.scheme = first(X_FORWARDED_PROTO);
            read.host = first(X_FORWARDED_HOST);
            return read;
        }
        for element in standard.iter().flat_map(|text| text.split(',')) {
            for pair in element.split(';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => read.addresses.extend(address_of(value)),
                    "proto" => read.scheme = read.scheme.or_else(|| Some(value.to_ascii_lowercase())),
                    "host" => read.host = read.host.or_else(|| Some(value.to_owned())),
                    _ => {}
                }
            }
        }
        read
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bracketed = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    with_port().or_else(|_| bracketed()).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Key, Network};
    use axum::body::Body;

    fn config() -> Config {
        let mut config = Config { trusted_proxies: vec![Network::try_from("10.0.0.0/8".to_owned()).unwrap()], ..Config::default() };
        let key = |name: &str, role, datasets| Key { name: name.into(), sha256: KeyHash::of(name), role, datasets };
        config.access.keys = vec![
            key("all", Role::Read, None),
            key("one", Role::Read, Some(vec!["towers".into()])),
            key("admin", Role::Admin, None),
        ];
        config
    }

    fn asked(from: &str, uri: &str, headers: &[(&str, &str)]) -> (Asker, Uri) {
        let mut request = headers.iter().fold(Request::builder().uri(uri), |builder, (name, value)| builder.header(*name, *value)).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer { address: from.parse().unwrap(), scheme: "http" });
        let asker = Asker::of(&mut request, &config());
        (asker, request.uri().clone())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let both: &[(&str, &str)] = &[
            ("host", "inside:8080"),
            ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "tiles.example.org"),
            ("x-forwarded-prefix", "/maps/"),
        ];
        let (asker, _) = asked("10.2.3.4:5", "/", both);
        assert_eq!(asker.address.to_string(), "198.51.100.7", "what an untrusted one claims about others is not believed");
        assert_eq!(asker.base_url(&config()).unwrap(), "https://tiles.example.org/maps");
        let (asker, _) = asked("192.0.2.1:5", "/", both);
        assert_eq!((asker.address.to_string(), asker.base_url(&config()).unwrap()), ("192.0.2.1".into(), "http://inside:8080".into()));

        let standard = &[("host", "x"), ("forwarded", "for=\"[2001:db8::7]:80\";proto=https;host=a.org, for=10.9.9.9"), ("x-forwarded-for", "1.1.1.1")];
        let (asker, _) = asked("10.2.3.4:5", "/", standard);
        assert_eq!((asker.address.to_string(), asker.base_url(&config()).unwrap()), ("2001:db8::7".into(), "https://a.org".into()));
        for wrong in ["a.org/<script>", "a b", ""] {
            assert!(asked("10.2.3.4:5", "/", &[("x-forwarded-host", wrong)]).0.base_url(&config()).is_err(), "{wrong}");
        }
        assert_eq!(asked("10.2.3.4:5", "/", &[("host", "h"), ("x-forwarded-prefix", "/a\"b")]).0.base_url(&config()).unwrap(), "http://h");
    }

    #[test]
    fn a_key_is_taken_from_header_or_query_and_leaves_the_address() {
        for (uri, headers, name, left) in [
            ("/a?key=one&how=log", &[][..], Some("one"), "/a?how=log"),
            ("/a?how=log&key=o%6Ee", &[], Some("one"), "/a?how=log"),
            ("/a?key=all", &[], Some("all"), "/a"),
            ("/a", &[("authorization", "bearer all")], Some("all"), "/a"),
            ("/a", &[("x-api-key", "admin")], Some("admin"), "/a"),
            ("/a?monkey=all", &[], None, "/a?monkey=all"),
        ] {
            let (asker, uri) = asked("192.0.2.1:5", uri, headers);
            let found = match asker.caller {
                Caller::Known { name, .. } => Some(name),
                _ => None,
            };
            assert_eq!((found.as_deref(), uri.to_string().as_str()), (name, left));
        }
        assert_eq!(asked("192.0.2.1:5", "/?key=nobody", &[]).0.caller, Caller::Unknown);
        assert_eq!(asked("192.0.2.1:5", "/?key=", &[]).0.caller, Caller::Unknown);
        let shown = format!("{:?}", asked("192.0.2.1:5", "/", &[("x-api-key", "admin")]).0);
        assert!(!shown.contains("sha256"), "{shown}");
    }

    #[test]
    fn a_key_opens_what_it_is_for() {
        let access = config().access;
        let caller = |key| Caller::of(key, &access);
        for (key, towers, ships, admin) in [("all", true, true, false), ("one", true, false, false), ("admin", true, true, true), ("x", false, false, false)] {
            let caller = caller(key);
            assert_eq!((caller.may_see("towers", &access), caller.may_see("ships", &access), caller.is_admin()), (towers, ships, admin), "{key}");
        }
        assert!(Caller::Anonymous.may_see("towers", &Access::default()), "without keys everything is open");
    }
}
