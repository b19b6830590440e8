//! Counters of the service, in Prometheus' terms. Names are those that operators' dashboards rely on.

use super::cache::CacheStats;
use super::pipeline::seconds;
use super::pool::{PoolStats, PriorityStats};
use super::tile::{StageTimes, TileRequest};
use crate::dataset::stored::BlockStats;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use prometheus::{CounterVec, GaugeVec, TextEncoder};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// From 0.1 ms, where a cached count and a small tile lie, to 5 s.
const STAGE_BUCKETS_SECS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

pub struct Metrics {
    registry: Registry,
    cache_requests: IntCounterVec,
    cache_evictions: IntCounterVec,
    cache_bytes: IntGaugeVec,
    cache_entries: IntGaugeVec,
    /// What was last reported of each cache, for its counters only grow by differences.
    cache_seen: Mutex<HashMap<&'static str, CacheStats>>,
    render: HistogramVec,
    queue_depth: IntGaugeVec,
    jobs: IntCounterVec,
    jobs_running: IntGauge,
    shed: IntCounterVec,
    coalesced: IntCounter,
    previews: IntCounter,
    device_seconds: CounterVec,
    points_scanned: IntCounter,
    device_memory: Gauge,
    shared_errors: IntCounter,
    store_requests: IntCounterVec,
    store_bytes: IntCounter,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new_custom(Some("pointillist".into()), None).expect("the prefix is a valid name");
        let metrics = Metrics {
            cache_requests: counters("tile_cache_requests_total", "Look-ups in a cache", &["cache", "result"]),
            cache_evictions: counters("tile_cache_evictions_total", "Entries dropped for room", &["cache"]),
            cache_bytes: gauges("tile_cache_bytes", "Bytes held by a cache", &["cache"]),
            cache_entries: gauges("tile_cache_entries", "Entries held by a cache", &["cache"]),
            cache_seen: Mutex::default(),
            render: HistogramVec::new(
                HistogramOpts::new("tile_render_duration_seconds", "Time of a stage of making a tile")
                    .buckets(STAGE_BUCKETS_SECS.to_vec()),
                &["dataset", "zoom", "stage"],
            )
            .expect("the name is valid"),
            queue_depth: gauges("queue_depth", "Requests that wait for a thread", &["priority"]),
            jobs: counters("jobs_total", "Requests that a thread has begun", &["priority"]),
            jobs_running: IntGauge::new("jobs_running", "Requests that a thread is at").expect("the name is valid"),
            shed: counters("shed_total", "Requests refused", &["reason"]),
            coalesced: IntCounter::new("coalesced_total", "Requests that joined an equal one under way")
                .expect("the name is valid"),
            previews: IntCounter::new("tile_previews_total", "Tiles coloured by an estimate, for the exact colours took long")
                .expect("the name is valid"),
            device_seconds: CounterVec::new(Opts::new("device_seconds_total", "Time spent in the engine"), &["stage"])
                .expect("the name is valid"),
            points_scanned: IntCounter::new("points_scanned_total", "Points that filters were asked about")
                .expect("the name is valid"),
            device_memory: Gauge::new("device_memory_bytes", "Device memory in use").expect("the name is valid"),
            shared_errors: IntCounter::new("shared_cache_errors_total", "Look-ups and writes that the shared cache did not answer")
                .expect("the name is valid"),
            store_requests: counters("store_requests_total", "Requests to stores for parts of datasets", &["result"]),
            store_bytes: IntCounter::new("store_bytes_total", "Bytes that stores gave").expect("the name is valid"),
            registry,
        };
        let build = GaugeVec::new(Opts::new("build_info", "The program"), &["version"]).expect("the name is valid");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let collectors: Vec<Box<dyn prometheus::core::Collector>> = vec![
            Box::new(metrics.cache_requests.clone()),
            Box::new(metrics.cache_evictions.clone()),
            Box::new(metrics.cache_bytes.clone()),
            Box::new(metrics.cache_entries.clone()),
            Box::new(metrics.render.clone()),
            Box::new(metrics.queue_depth.clone()),
            Box::new(metrics.jobs.clone()),
            Box::new(metrics.jobs_running.clone()),
            Box::new(metrics.shed.clone()),
            Box::new(metrics.coalesced.clone()),
            Box::new(metrics.previews.clone()),
            Box::new(metrics.device_seconds.clone()),
            Box::new(metrics.points_scanned.clone()),
            Box::new(metrics.device_memory.clone()),
            Box::new(metrics.shared_errors.clone()),
            Box::new(metrics.store_requests.clone()),
            Box::new(metrics.store_bytes.clone()),
            Box::new(build),
        ];
        for collector in collectors {
            metrics.registry.register(collector).expect("every name is registered once");
        }
        metrics
    }

    /// Where others register what they count.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All that is registered, in Prometheus' text format.
    pub fn text(&self) -> String {
        // The encoder fails only on metrics without a name, which cannot be registered.
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("registered metrics can be written")
    }

    pub(super) fn preview(&self) {
        self.previews.inc();
    }

    pub fn device_memory(&self, bytes: u64) {
        self.device_memory.set(bytes as f64);
    }

    pub(super) fn observe_cache(&self, cache: &'static str, stats: &CacheStats) {
        let seen = super::lock(&self.cache_seen).insert(cache, *stats).unwrap_or_default();
        // Two scrapes at once may report out of order: then the difference is left to the next.
        let grow = |counter: IntCounter, now: u64, before: u64| counter.inc_by(now.saturating_sub(before));
        grow(self.cache_requests.with_label_values(&[cache, "hit"]), stats.hits, seen.hits);
        grow(self.cache_requests.with_label_values(&[cache, "miss"]), stats.misses, seen.misses);
        grow(self.cache_evictions.with_label_values(&[cache]), stats.evictions, seen.evictions);
        self.cache_bytes.with_label_values(&[cache]).set(stats.bytes as i64);
        self.cache_entries.with_label_values(&[cache]).set(stats.entries as i64);
    }

    pub(super) fn observe_shared_errors(&self, errors: u64) {
        grow_to(&self.shared_errors, errors);
    }

    /// What is kept here of datasets in stores, and what was asked of those.
    pub(super) fn observe_blocks(&self, stats: &BlockStats) {
        let BlockStats { hits, misses, evictions, bytes, requests, failures, fetched_bytes } = *stats;
        self.observe_cache("store", &CacheStats { hits, misses, evictions, bytes, entries: 0 });
        grow_to(&self.store_requests.with_label_values(&["done"]), requests.saturating_sub(failures));
        grow_to(&self.store_requests.with_label_values(&["failed"]), failures);
        grow_to(&self.store_bytes, fetched_bytes);
    }

    pub(super) fn observe_pool(&self, stats: &PoolStats) {
        self.jobs_running.set(stats.running as i64);
        for PriorityStats { priority, waiting, begun } in stats.by_priority {
            self.queue_depth.with_label_values(&[priority]).set(waiting as i64);
            let counter = self.jobs.with_label_values(&[priority]);
            grow_to(&counter, begun);
        }
    }

    pub(super) fn observe_stages(&self, request: &TileRequest, times: &StageTimes) {
        let zoom = request.tile.z().to_string();
        let dataset = request.view.source.name();
        for (stage, time) in [("count", times.count), ("shade", times.shade), ("encode", times.encode)] {
            self.render.with_label_values(&[dataset, &zoom, stage]).observe(seconds(time));
        }
    }

    pub(super) fn device_time(&self, stage: &str, time: Duration) {
        self.device_seconds.with_label_values(&[stage]).inc_by(seconds(time));
    }

    pub(super) fn points_scanned(&self, points: u64) {
        self.points_scanned.inc_by(points);
    }

    /// Counts a request that was refused.
    pub fn shed(&self, reason: &str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    pub(super) fn coalesced(&self) {
        self.coalesced.inc();
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// Of two scrapes at once the later one may come first: then there is nothing to add.
fn grow_to(counter: &IntCounter, now: u64) {
    counter.inc_by(now.saturating_sub(counter.get()));
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are constants, and valid")
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are constants, and valid")
}
