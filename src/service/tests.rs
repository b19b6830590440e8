//! Requests against the caches: what is joined, kept, dropped and counted.

use super::*;
use crate::dataset::testing::{TestColumn, dataset};
use crate::engine::cpu::CpuEngine;
use crate::filter::Filter;
use crate::world::{TileId, WorldPoint};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A service with one thread over a few points in the north-west, and its folder.
fn service(cache_bytes: usize) -> (tempfile::TempDir, Service, Arc<Source>) {
    let points: Vec<WorldPoint> = (0..400u32).map(|i| WorldPoint { x: i * 0x0010_0001, y: i * 0x000F_1234 }).collect();
    let radios = (0..400).map(|i| Some(if i % 3 == 0 { "GSM" } else { "LTE" }.to_owned())).collect();
    let (folder, dataset) = dataset(&points, &[("radio", TestColumn::Text(radios))], 150);
    let dataset = Arc::new(dataset);
    let engine = Arc::new(CpuEngine::new(dataset.clone()));
    let limits = Limits { cache_bytes, threads: 1, ..Limits::default() };
    let service = Service::new(vec![Source::new(dataset.clone(), engine.clone()).unwrap()], limits);
    (folder, service, Arc::new(Source::new(dataset, engine).unwrap()))
}

fn request(source: &Arc<Source>, tile: TileId, pairs: &[(&str, &str)]) -> TileRequest {
    let view = Arc::new(View::new(source, Filter::all(), pairs.iter().copied()).unwrap());
    TileRequest { view, tile, scale: Scale::One, content: Content::Png }
}

fn tile(z: u8, x: u32, y: u32) -> TileId {
    TileId::new(z, x, y).unwrap()
}

/// Keeps the service's only thread busy until the sender is used or dropped.
fn blocked(service: &Service) -> (Sender<()>, Ticket) {
    let (release, wait) = channel::<()>();
    let (started, has_started) = channel();
    let work = move |_: &Pipeline, _: &Cancel| {
        started.send(()).unwrap();
        // Dropped is as good as sent.
        let _ = wait.recv();
        Ok(())
    };
    let ticket = service.ask(Priority::Interactive, work, |_| {});
    has_started.recv().unwrap();
    (release, ticket)
}

type Answers = Receiver<Result<Answer, ServiceError>>;

fn ask(service: &Service, request: TileRequest) -> (Option<Ticket>, Answers) {
    let (send, receive) = channel();
    (service.tile(request, Priority::Interactive, move |answer| send.send(answer).unwrap_or(())), receive)
}

fn metric(service: &Service, name: &str) -> u64 {
    let text = service.metrics().text();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn grids_counted(service: &Service) -> u64 {
    metric(service, "pointillist_tile_cache_requests_total{cache=\"grid\",result=\"miss\"}")
}

#[test]
fn a_hundred_equal_requests_at_once_are_one_count() {
    let (_folder, service, source) = service(1 << 20);
    let (release, _busy) = blocked(&service);
    let asked: Vec<_> = (0..100).map(|_| ask(&service, request(&source, tile(1, 0, 0), &[]))).collect();
    drop(release);
    let origins: Vec<Origin> = asked.iter().map(|(_, answer)| answer.recv().unwrap().unwrap().origin).collect();
    assert_eq!(origins.iter().filter(|origin| **origin == Origin::Miss).count(), 1);
    assert_eq!(origins.iter().filter(|origin| **origin == Origin::Coalesced).count(), 99);
    assert_eq!((grids_counted(&service), metric(&service, "pointillist_coalesced_total")), (1, 99));
    let (_ticket, again) = ask(&service, request(&source, tile(1, 0, 0), &[]));
    assert_eq!(again.recv().unwrap().unwrap().origin, Origin::Hit);
    let of_tiles = |result: &str| metric(&service, &format!("pointillist_tile_cache_requests_total{{cache=\"tile\",result=\"{result}\"}}"));
    assert_eq!((of_tiles("hit"), of_tiles("miss")), (1, 1));
}

#[test]
fn what_the_last_client_has_left_is_dropped_before_it_costs_anything() {
    let (_folder, service, source) = service(1 << 20);
    let (release, _busy) = blocked(&service);
    let (left, never) = ask(&service, request(&source, tile(2, 0, 0), &[]));
    let (first, lost) = ask(&service, request(&source, tile(1, 0, 0), &[]));
    let (_second, kept) = ask(&service, request(&source, tile(1, 0, 0), &[]));
    drop(left);
    drop(first);
    drop(release);
    assert!(kept.recv().unwrap().is_ok(), "somebody still waits for it");
    assert!(never.recv().is_err() && lost.recv().is_err(), "who has left is not answered");
    // Behind everything else on the only thread.
    let (_ticket, last) = ask(&service, request(&source, tile(3, 0, 0), &[]));
    last.recv().unwrap().unwrap();
    assert_eq!(grids_counted(&service), 2, "the tile that nobody waited for was counted");
}

#[test]
fn errors_are_not_kept() {
    let (_folder, service, source) = service(1 << 20);
    for _ in 0..2 {
        let (_ticket, answer) = ask(&service, request(&source, tile(1, 0, 0), &[("hide", "5G")]));
        assert!(matches!(answer.recv().unwrap(), Err(ServiceError::Invalid(_))));
        assert_eq!(metric(&service, "pointillist_tile_cache_entries{cache=\"tile\"}"), 0);
    }
    let misses = metric(&service, "pointillist_tile_cache_requests_total{cache=\"tile\",result=\"miss\"}");
    assert_eq!(misses, 2, "the second is tried again");
}

#[test]
fn an_entry_over_the_budget_is_served_and_not_kept_and_the_budget_holds() {
    let (_folder, tiny, source) = service(500);
    for _ in 0..2 {
        let (_ticket, answer) = ask(&tiny, request(&source, tile(1, 0, 0), &[]));
        let answer = answer.recv().unwrap().unwrap();
        assert_eq!(answer.origin, Origin::Miss);
        assert!(answer.tile.body.bytes().starts_with(b"\x89PNG"));
    }
    assert_eq!(metric(&tiny, "pointillist_tile_cache_bytes{cache=\"tile\"}"), 0);

    let (_folder, small, source) = service(4000);
    for alpha in 1..100u32 {
        let (_ticket, answer) = ask(&small, request(&source, tile(1, 0, 0), &[("min_alpha", &alpha.to_string())]));
        answer.recv().unwrap().unwrap();
    }
    let bytes = metric(&small, "pointillist_tile_cache_bytes{cache=\"tile\"}");
    let evicted = metric(&small, "pointillist_tile_cache_evictions_total{cache=\"tile\"}");
    let entries = metric(&small, "pointillist_tile_cache_entries{cache=\"tile\"}");
    assert!(bytes > 0 && bytes <= 2000 && entries > 0 && evicted + entries == 99, "{bytes} bytes, {entries} entries, {evicted} evicted");
}

#[test]
fn a_purge_forgets_tiles_and_counts_of_one_dataset_in_memory_and_on_disk() {
    let (_folder, memory_only, source) = service(1 << 20);
    let cache = tempfile::tempdir().unwrap();
    let service = memory_only.with_disk(DiskCache::open(cache.path(), 1 << 20).unwrap());
    let origin = |at: TileId| {
        let (_ticket, answer) = ask(&service, request(&source, at, &[]));
        answer.recv().unwrap().unwrap().origin
    };
    let (near, far) = (tile(1, 0, 0), tile(3, 0, 0));
    for at in [near, far] {
        assert_eq!((origin(at), origin(at)), (Origin::Miss, Origin::Hit));
    }
    assert_eq!(service.purge(&source, &Purge::all().zooms(2..=9)).unwrap(), 1);
    assert_eq!((origin(near), origin(far)), (Origin::Hit, Origin::Miss));
    assert_eq!(grids_counted(&service), 3);
    let elsewhere = Purge::all().touching(&"10,-80,170,-10".parse().unwrap());
    assert_eq!(service.purge(&source, &elsewhere).unwrap(), 0);
    assert_eq!(service.purge(&source, &Purge::all()).unwrap(), 2);
    assert_eq!((origin(near), origin(far)), (Origin::Miss, Origin::Miss));
}

/// Goal: where the scale is given, nobody waits for what the zoom's pixels have. Method: what was looked for in vain, and so made.
#[test]
fn a_span_needs_no_distribution() {
    let (_folder, service, source) = service(1 << 20);
    let made = |cache: &str| metric(&service, &format!("pointillist_tile_cache_requests_total{{cache=\"{cache}\",result=\"miss\"}}"));
    for pairs in [&[("how", "log"), ("span", "1,50")][..], &[("how", "linear"), ("span", "1,9"), ("spread", "2")], &[("normalize", "tile")]] {
        let (_ticket, answer) = ask(&service, request(&source, tile(3, 0, 0), pairs));
        let answer = answer.recv().unwrap().unwrap();
        assert_eq!((answer.tile.quality, answer.origin), (TileQuality::Exact, Origin::Miss), "{pairs:?}");
        assert_eq!(made("distribution"), 0, "{pairs:?}");
    }
    let (_ticket, answer) = ask(&service, request(&source, tile(3, 0, 0), &[("how", "log")]));
    assert!(answer.recv().unwrap().is_ok());
    assert_eq!(made("distribution"), 1);
}

/// Goal: the distribution of spread points is that of every tile of the zoom, also of those that points only reach into. Method: all tiles'
/// own counts, spread.
#[test]
fn spread_points_of_a_zoom_are_all_counted() {
    let (_folder, service, source) = service(1 << 20);
    let view = View::new(&source, Filter::all(), []).unwrap();
    let (zoom, never) = (crate::world::Zoom::new(4).unwrap(), Cancel::never());
    for radius in [1, 5] {
        let all = (0..16).flat_map(|y| (0..16).map(move |x| tile(4, x, y)));
        let totals = all.flat_map(|at| {
            let grid = service.pipeline.counts_spread(&view, at, Scale::One, radius, &never).unwrap();
            grid.map_or_else(Vec::new, |grid| grid.totals())
        });
        let expected = crate::engine::Distribution::of_totals(totals);
        assert!(source.few_tiles(zoom).is_some() && expected.pixels() > 400);
        assert_eq!(*service.pipeline.distribution(&view, zoom, radius, &never).unwrap(), expected);
    }
}

#[test]
fn after_the_stop_nothing_is_refined() {
    let (_folder, service, source) = service(1 << 20);
    let view = Arc::new(View::new(&source, Filter::all(), []).unwrap());
    let refined = || {
        let refinement = service.pool.stats().by_priority[Priority::Refinement as usize];
        refinement.waiting + refinement.begun
    };
    let (_release, _ticket) = blocked(&service);
    service.refine(&view, Zoom::new(8).unwrap());
    assert_eq!(refined(), 1);
    service.refiner.stop();
    service.refine(&view, Zoom::new(9).unwrap());
    assert_eq!(refined(), 1);
}
