//! What one client may ask for at a time and over time, so that nobody takes the server for themselves.

use super::asker::{Asker, Caller};
use super::unread::{Reader, Unread};
use crate::config::Limits;
use lru::LruCache;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered; of more the ones that have asked for nothing for longest start anew. Some 200 bytes each.
const CLIENTS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("65536 is not 0");

/// The part of an IPv6 address that a provider gives to one customer, who has all the addresses behind it.
const V6_CUSTOMER_BITS: u32 = 64;

pub struct Clients {
    states: Mutex<LruCache<Client, Arc<State>>>,
    /// Of all clients.
    unread: Unread,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Key(String),
    V4(u32),
    /// The upper bits.
    V6(u64),
}

struct State {
    under_way: AtomicUsize,
    bucket: Mutex<Bucket>,
    unread: Unread,
}

/// Requests that may be made now: it fills at a rate, up to a burst.
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The right to be answered, given back on drop.
pub struct Pass {
    state: Arc<State>,
    reader: Reader,
}

/// Too much, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    TooManyAtOnce { requests_max: usize },
    TooFast { rate: f64, wait: Duration },
    /// The client has so many bytes to read before it is given more.
    ReadsTooLittle { bytes_max: usize },
    /// All clients together have so many bytes to read.
    AllReadTooLittle { bytes_max: usize },
}

impl Clients {
    pub fn new() -> Clients {
        Clients { states: Mutex::new(LruCache::new(CLIENTS_MAX)), unread: Unread::default() }
    }

    /// # Errors
    /// The client has as many requests under way as it may have, or asks faster than it may.
    pub fn enter(&self, asker: &Asker, limits: &Limits, now: Instant) -> Result<Pass, Refusal> {
        let client = Client::of(asker);
        let burst = limits.client_burst().unwrap_or(f64::MAX);
        let state = {
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || State { under_way: AtomicUsize::new(0), bucket: Mutex::new(Bucket { tokens: burst, at: now }), unread: Unread::default() };
            states.get_or_insert(client, || Arc::new(new())).clone()
        };
        if let Some(rate) = limits.client_rate {
            state.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(rate, burst, now)?;
        }
        let requests_max = limits.client_requests();
        let reader = Reader::new(&state.unread, &self.unread);
        let pass = Pass { state, reader };
        // The pass counts from here on, also where it is refused and dropped at once.
        if pass.state.under_way.fetch_add(1, Ordering::AcqRel) >= requests_max {
            return Err(Refusal::TooManyAtOnce { requests_max });
        }
        Ok(pass)
    }
}

impl Pass {
    /// Who will read the answer.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.state.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Client {
    fn of(asker: &Asker) -> Client {
        match (&asker.caller, asker.address) {
            (Caller::Known { name, .. }, _) => Client::Key(name.clone()),
            (_, IpAddr::V4(address)) => Client::V4(address.to_bits()),
            (_, IpAddr::V6(address)) => Client::V6((address.to_bits() >> V6_CUSTOMER_BITS) as u64),
        }
    }
}

impl Bucket {
    fn take(&mut self, rate: f64, burst: f64, now: Instant) -> Result<(), Refusal> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(burst);
        self.at = self.at.max(now);
        if self.tokens < 1.0 {
            return Err(Refusal::TooFast { rate, wait: Duration::from_secs_f64(((1.0 - self.tokens) / rate).min(3600.0)) });
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use axum::body::Body;
    use axum::extract::Request;

    fn asker(address: &str) -> Asker {
        let mut request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let address = std::net::SocketAddr::new(address.parse().unwrap(), 1);
        request.extensions_mut().insert(super::super::asker::Peer { address, scheme: "http" });
        Asker::of(&mut request, &Config::default())
    }

    #[test]
    fn a_client_has_so_many_at_once_and_another_client_has_its_own() {
        let clients = Clients::new();
        let limits = Limits { client_requests: Some(2), ..Limits::default() };
        let now = Instant::now();
        let passes: Vec<_> = (0..2).map(|_| clients.enter(&asker("192.0.2.1"), &limits, now).ok().unwrap()).collect();
        for _ in 0..3 {
            let refused = clients.enter(&asker("192.0.2.1"), &limits, now);
            assert_eq!(refused.err(), Some(Refusal::TooManyAtOnce { requests_max: 2 }));
        }
        assert!(clients.enter(&asker("192.0.2.2"), &limits, now).is_ok());
        drop(passes);
        assert!(clients.enter(&asker("192.0.2.1"), &limits, now).is_ok());
    }

    #[test]
    fn a_bucket_fills_at_its_rate() {
        let clients = Clients::new();
        let limits = Limits { client_rate: Some(10.0), client_burst: Some(3.0), ..Limits::default() };
        let start = Instant::now();
        let asked = |ms| clients.enter(&asker("2001:db8::1"), &limits, start + Duration::from_millis(ms)).map(drop);
        assert_eq!((0..4).map(|_| asked(0).is_ok()).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(asked(50), Err(Refusal::TooFast { rate: 10.0, wait: Duration::from_millis(50) }));
        assert_eq!((asked(100), asked(100).is_ok()), (Ok(()), false));
        assert_eq!((0..4).map(|_| asked(10_000).is_ok()).collect::<Vec<_>>(), [true, true, true, false], "never more than the burst");
        // Whoever has an IPv6 address has 2^64 of them.
        assert!(clients.enter(&asker("2001:db8::2"), &limits, start + Duration::from_millis(10_000)).is_err());
        assert!(clients.enter(&asker("2001:db8:0:1::1"), &limits, start + Duration::from_millis(10_000)).is_ok());
    }
}
