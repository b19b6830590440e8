//! Settings that cannot be together, found before anything is opened.

use super::{Config, ConfigError, Key, Role};
use std::collections::BTreeSet;
use std::time::Duration;

/// hyper reads a request's head into one buffer, which must be at least this long.
const HEAD_BYTES_MIN: u64 = 8 << 10;

impl Config {
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults = [self.fault_of_limits(), self.fault_of_access(), self.fault_of_addresses()];
        match faults.into_iter().flatten().next() {
            Some(fault) => Err(ConfigError::Invalid(fault)),
            None => Ok(()),
        }
    }

    fn fault_of_limits(&self) -> Option<String> {
        let limits = &self.limits;
        let positive = [
            ("limits.queue", limits.queue as f64),
            ("limits.threads", limits.threads() as f64),
            ("limits.connections", limits.connections() as f64),
            ("limits.unread", limits.unread(self.cache.size).0 as f64),
            ("limits.client_requests", limits.client_requests() as f64),
            ("limits.client_rate", limits.client_rate.unwrap_or(1.0)),
        ];
        let spans = [
            ("limits.deadline", limits.deadline),
            ("limits.head_timeout", limits.head_timeout),
            ("limits.body_timeout", limits.body_timeout),
            ("limits.stall_timeout", limits.stall_timeout),
        ];
        let is_wrong = |value: f64| !(value > 0.0 && value.is_finite());
        if let Some((name, value)) = positive.into_iter().find(|(_, value)| is_wrong(*value)) {
            return Some(format!("{name} is {value}: it must be above 0"));
        }
        if let Some((name, _)) = spans.into_iter().find(|(_, span)| span.0 == Duration::ZERO) {
            return Some(format!("{name} is 0: nothing could be answered"));
        }
        if limits.client_burst().is_some_and(|burst| !(burst >= 1.0 && burst.is_finite())) {
            return Some("limits.client_burst must be at least 1: below that no request is ever allowed".into());
        }
        if limits.head.0 < HEAD_BYTES_MIN.max(limits.uri.0) {
            let least = HEAD_BYTES_MIN.max(limits.uri.0);
            return Some(format!("limits.head is {}: the address is part of it, so it must be {least} bytes at least", limits.head));
        }
        None
    }

    fn fault_of_access(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        for Key { name, sha256, .. } in &self.access.keys {
            if !names.insert(name) || !hashes.insert(sha256.bytes()) {
                return Some(format!("access.keys has '{name}' twice, or its key under two names: give every key once"));
            }
        }
        let has_admin = self.access.keys.iter().any(|key| key.role == Role::Admin);
        if self.admin_listen.is_some() && !has_admin {
            return Some("admin_listen needs a key with `role: admin` in access.keys: make one with `pointillist config key`".into());
        }
        if let Some(key) = self.access.keys.iter().find(|key| key.role == Role::Admin && key.datasets.is_some()) {
            return Some(format!("the admin key '{}' cannot be bound to datasets: give it the role read, or no datasets", key.name));
        }
        None
    }

    fn fault_of_addresses(&self) -> Option<String> {
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Some("tls needs both a certificate and a key".into());
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Some(format!("public_url is {url}: it begins with http:// or https://"));
        }
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let is_prefix = |text: &str| text.starts_with('/') && !text.ends_with('/') && !text.contains("//") && text.bytes().all(is_path);
        if let Some(prefix) = self.route_prefix.as_ref().filter(|prefix| !is_prefix(prefix)) {
            return Some(format!("route_prefix is '{prefix}': it is a path such as /tiles, without a slash at its end"));
        }
        if let Some(url) = self.telemetry.otlp_endpoint.as_ref().filter(|url| !url.starts_with("http://")) {
            return Some(format!("telemetry.otlp_endpoint is {url}: it begins with http://, for a collector on this machine or network"));
        }
        if self.basemap.light.is_none() && (self.basemap.dark.is_some() || !self.basemap.servers.is_empty()) {
            return Some("basemap needs a light style: the others stand beside it".into());
        }
        if self.admin_listen == Some(self.listen) && self.listen.port() != 0 {
            return Some("admin_listen is the same as listen: give it another port".into());
        }
        let is_origin = |origin: &String| origin == "*" || origin.starts_with("http://") || origin.starts_with("https://");
        if let Some(origin) = self.cors.origins.iter().find(|origin| !is_origin(origin)) {
            return Some(format!("cors.origins has '{origin}': an origin is https://host, or '*' for all"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, KeyHash};
    use std::path::Path;

    #[test]
    fn settings_that_cannot_be_together_are_refused() {
        let key = |role: &str, more: &str| format!("access: {{keys: [{{name: a, role: {role}, sha256: {}{more}}}]}}", KeyHash::of("k"));
        for (text, said) in [
            ("limits: {queue: 0}".to_owned(), "limits.queue is 0"),
            ("limits: {client_rate: 0}".to_owned(), "limits.client_rate is 0"),
            ("limits: {client_rate: 5, client_burst: 0.5}".to_owned(), "client_burst"),
            ("limits: {deadline: 0}".to_owned(), "limits.deadline"),
            ("limits: {uri: 1MB}".to_owned(), "limits.head"),
            ("admin_listen: 127.0.0.1:9".to_owned(), "role: admin"),
            (format!("admin_listen: 127.0.0.1:9\n{}", key("read", "")), "role: admin"),
            (key("admin", ", datasets: [x]"), "cannot be bound"),
            ("tls: {key: k.pem}".to_owned(), "both a certificate and a key"),
            ("public_url: tiles.example.org".to_owned(), "https://"),
            ("cors: {origins: [example.org]}".to_owned(), "https://host"),
            ("telemetry: {otlp_endpoint: 'https://collector'}".to_owned(), "begins with http://"),
            ("route_prefix: tiles".to_owned(), "such as /tiles"),
            ("route_prefix: /tiles/".to_owned(), "such as /tiles"),
            ("route_prefix: '/a?b'".to_owned(), "such as /tiles"),
            (format!("listen: 127.0.0.1:9\nadmin_listen: 127.0.0.1:9\n{}", key("admin", "")), "another port"),
        ] {
            let error = Layers::new().yaml(&text, Path::new("p.yaml")).and_then(Layers::config).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let whole = format!("admin_listen: 127.0.0.1:9\n{}", key("admin", ""));
        let config = Layers::new().yaml(&whole, Path::new("p.yaml")).and_then(Layers::config).unwrap();
        assert!(config.access.is_public("towers"), "an admin key alone closes nothing");
    }
}
