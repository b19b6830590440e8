//! Serving under a path, `route_prefix`: behind a proxy that passes addresses on as they are. It is taken off before routing, so that
//! nothing behind this knows of it but what gives out addresses.

use super::Problem;
use super::guard::FOR_MACHINES;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// `/tiles`, without a slash at the end; or nothing.
#[derive(Clone, Debug)]
pub struct Prefix(Arc<str>);

/// Marks a request whose address does not lie under the prefix.
#[derive(Clone, Debug)]
pub struct Outside(Prefix);

impl Prefix {
    pub fn new(route_prefix: Option<&str>) -> Prefix {
        Prefix(route_prefix.unwrap_or_default().into())
    }

    /// Takes the prefix off an address; marks the request where that is not possible.
    pub fn take_off<B>(&self, request: &mut Request<B>) {
        let path = request.uri().path();
        if self.0.is_empty() || FOR_MACHINES.contains(&path) {
            return;
        }
        let is_inside = path.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'));
        let inside = request.uri().path_and_query().filter(|_| is_inside).and_then(|whole| whole.as_str()[self.0.len()..].parse::<PathAndQuery>().ok());
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = inside;
        // Without a path there is no address: the one that came stays.
        match parts.path_and_query.is_some().then(|| Uri::from_parts(parts)) {
            Some(Ok(uri)) => *request.uri_mut() = uri,
            _ => {
                request.extensions_mut().insert(Outside(self.clone()));
            }
        }
    }
}

impl Outside {
    /// What is said there: where the page is, to those who forgot its slash, else that there is nothing.
    pub fn answer(&self, path: &str) -> Response {
        let prefix = &self.0.0;
        if path == &**prefix
            && let Ok(page) = HeaderValue::from_str(&format!("{prefix}/"))
        {
            return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, page)]).into_response();
        }
        Problem::not_found(format!("there is nothing at this address: those of this server begin with {prefix}/")).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_what_lies_under_it() {
        let taken = |prefix: Option<&str>, uri: &str| {
            let mut request = Request::builder().uri(uri).body(()).unwrap();
            Prefix::new(prefix).take_off(&mut request);
            request.extensions().get::<Outside>().is_none().then(|| request.uri().to_string())
        };
        for (uri, inside) in [
            ("/tiles/towers/0/0/0.png?how=log", Some("/towers/0/0/0.png?how=log")),
            ("/tiles/", Some("/")),
            ("/tiles/?key=a", Some("/?key=a")),
            ("http://host/tiles/catalog", Some("http://host/catalog")),
            ("/tiles/tiles/x", Some("/tiles/x")),
            ("/health", Some("/health")),
            ("/tiles", None),
            ("/tilesets/x", None),
            ("/catalog", None),
            ("/", None),
        ] {
            assert_eq!(taken(Some("/tiles"), uri).as_deref(), inside, "{uri}");
            assert_eq!(taken(None, uri).as_deref(), Some(uri));
        }
        assert_eq!(Outside(Prefix::new(Some("/tiles"))).answer("/tiles").headers()[header::LOCATION], "/tiles/");
        assert_eq!(Outside(Prefix::new(Some("/tiles"))).answer("/").status(), StatusCode::NOT_FOUND);
    }
}
