//! What one request, one client and all together may cost: every bound, its default, and where that comes from.

use super::units::{Size, Span};
use super::{machine, secs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The counts of a tile of four categories and 1,024 pixels a side have 16 MiB: four of them.
const UNREAD_BYTES_MIN: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads that count, shade and encode; by default twice the cores
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Requests that may wait for a thread; more are refused with 503
    #[schemars(range(min = 1))]
    pub queue: usize,
    /// How long a request may take before it is given up with 504
    pub deadline: Span,
    /// How long the exact colours of a zoom may be expected to take; beyond, tiles are first coloured by an estimate
    pub preview_budget: Span,
    /// The longest path and query; more is refused with 414
    pub uri: Size,
    /// The largest request head: request line and headers
    pub head: Size,
    /// The largest request body; more is refused with 413
    pub body: Size,
    /// Open connections; by default as many as the system lets the program have files, less 64 for itself
    #[schemars(range(min = 1))]
    pub connections: Option<usize>,
    /// How long a connection may take to send a request's head, also while it is idle between two
    pub head_timeout: Span,
    /// How long a client may take to send a request's body
    pub body_timeout: Span,
    /// How long a client may read nothing of an answer before it is cut off
    pub stall_timeout: Span,
    /// Bytes of answers that are made and not yet sent, because their clients read slowly; by default half of `cache.size`, and 64 MiB at
    /// least. Beyond, larger answers are refused with 503, and with 429 to a client that a quarter of it is for
    pub unread: Option<Size>,
    /// Requests of one client under way; by default half the queue. More are refused with 429
    #[schemars(range(min = 1))]
    pub client_requests: Option<usize>,
    /// Requests a second of one client, over time; by default any number. More are refused with 429
    pub client_rate: Option<f64>,
    /// Requests that one client may save up for a burst; by default two seconds' worth of `client_rate`
    pub client_burst: Option<f64>,
    /// Exports of rows under way; more are refused with 503
    pub exports: usize,
    /// Clients that may listen for events, each with a connection of its own; more are told what has changed whenever they ask again
    pub subscribers: usize,
    /// How long the server goes on accepting after it was told to stop, so that balancers see /ready turn 503 first
    pub drain_notice: Span,
    /// How long answers under way may take after that
    pub drain_timeout: Span,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            threads: None,
            // At 5 ms a tile and two threads, 512 wait for little over a second.
            queue: 512,
            deadline: secs(30),
            // What does not yet break people's thought is 1 s (Nielsen 1993).
            preview_budget: Span(Duration::from_millis(500)),
            // Room for a filter of the length limit, percent-encoded.
            uri: Size(16 << 10),
            // The address, and as much again for cookies and what proxies add.
            head: Size(64 << 10),
            // Thirty brushes of a thousand values are smaller.
            body: Size(64 << 10),
            connections: None,
            // A head is one packet or two. Browsers keep connections open for longer than this, and open another when they must.
            head_timeout: secs(30),
            body_timeout: secs(15),
            stall_timeout: secs(30),
            unread: None,
            client_requests: None,
            client_rate: None,
            client_burst: None,
            // Each has a thread, which sleeps where its client is slow.
            exports: 8,
            // Some 20 kB each.
            subscribers: 1000,
            drain_notice: Span(Duration::from_millis(500)),
            drain_timeout: secs(10),
        }
    }
}

impl Limits {
    /// Threads that work; twice the cores where nothing is said, for a thread that waits for a selection which another one makes
    /// must not idle a core.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(2, usize::from))
    }

    pub fn connections(&self) -> usize {
        self.connections.unwrap_or_else(machine::connections_max)
    }

    /// Half of what the operator lets finished tiles and counts take, and enough for some large answers where that is next to nothing.
    pub fn unread(&self, cache: Size) -> Size {
        self.unread.unwrap_or(Size((cache.0 / 2).max(UNREAD_BYTES_MIN)))
    }

    pub fn client_requests(&self) -> usize {
        self.client_requests.unwrap_or((self.queue / 2).max(1))
    }

    pub fn client_burst(&self) -> Option<f64> {
        self.client_burst.or(self.client_rate.map(|rate| (2.0 * rate).max(1.0)))
    }
}
