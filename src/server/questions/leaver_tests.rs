//! Goal: what an engine is at work on stops when who asked for it leaves. Method: an engine that answers as the CPU does, but begins only once
//! nobody wants the answer any more; it is asked over a socket, which is closed while it is at work.

use super::tests::{PATIENCE, app_of, soon};
use crate::engine::cpu::CpuEngine;
use crate::engine::{
    Aggregate, Cancel, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest, LinkedCounts,
    LinkedQuestion, PartialGrid, Selection, ValueDistribution, ValueGrid,
};
use crate::filter::{Filter, Region};
use crate::server::router;
use crate::service::Limits;
use crate::world::{TileId, Zoom};
use std::future::IntoFuture;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

struct Watched {
    engine: CpuEngine,
    /// What has begun, and then whether it was given up.
    told: mpsc::Sender<(&'static str, Option<bool>)>,
}

impl Watched {
    fn once_left<T>(&self, what: &'static str, cancel: &Cancel, answer: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
        self.told.send((what, None)).unwrap();
        let begun = Instant::now();
        while cancel.check().is_ok() {
            assert!(begun.elapsed() < PATIENCE, "{what} goes on for nobody");
            std::thread::sleep(Duration::from_millis(2));
        }
        let answer = answer();
        self.told.send((what, Some(matches!(answer, Err(EngineError::Cancelled))))).unwrap();
        answer
    }
}

impl Engine for Watched {
    fn info(&self) -> EngineInfo {
        self.engine.info()
    }

    /// Of everything at once, so that tiles come to be counted.
    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        match filter.is_all() {
            true => self.engine.select(filter, groups, cancel),
            false => self.once_left("select", cancel, || self.engine.select(filter, groups, cancel)),
        }
    }

    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
        self.once_left("count", cancel, || self.engine.count(selection, tiles, cancel))
    }

    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError> {
        self.once_left("histograms", cancel, || self.engine.histograms(selection, requests, area, cancel))
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        self.once_left("distribution", cancel, || self.engine.distribution(selection, zoom, cancel))
    }

    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
        self.once_left("linked_counts", cancel, || self.engine.linked_counts(question, cancel))
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        self.once_left("aggregate", cancel, || self.engine.aggregate(selection, aggregate, tiles, cancel))
    }

    fn partials(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<PartialGrid>, EngineError> {
        self.once_left("partials", cancel, || self.engine.partials(selection, aggregate, tiles, cancel))
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        self.once_left("value_distribution", cancel, || self.engine.value_distribution(selection, aggregate, zoom, cancel))
    }
}

#[tokio::test]
async fn what_is_at_work_for_a_client_that_leaves_stops() {
    const QUESTIONS: [(&str, &str); 8] = [
        ("/sample/0/0/0.npy", "count"),
        ("/sample/0/0/0.png", "distribution"),
        ("/sample/0/0/0.npy?filter=size%20%3E%201", "select"),
        ("/sample/0/0/0.npy?agg=mean&column=size", "aggregate"),
        ("/sample/histogram?column=size&filter=size%20%3E%202", "linked_counts"),
        ("/sample/stats?filter=size%20%3E%203", "select"),
        ("/sample/legend.json?zoom=1", "distribution"),
        ("/sample/legend.json?zoom=1&agg=max&column=size", "value_distribution"),
    ];
    let (tell, told) = mpsc::channel();
    let (_folder, app) = app_of(Limits { threads: 1, ..Limits::default() }, |dataset| Arc::new(Watched { engine: CpuEngine::new(dataset), told: tell }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, router(app)).into_future());
    for (path, work) in QUESTIONS {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(soon(|| told.try_recv().ok()).await, (work, None), "{path}");
        drop(stream);
        assert_eq!(soon(|| told.try_recv().ok()).await, (work, Some(true)), "{path}");
    }
    server.abort();
}
