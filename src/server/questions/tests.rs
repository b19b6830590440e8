//! Questions that nobody wants any more are stopped. The one thread of the service is held up meanwhile, so that what is asked
//! waits for it and its end cannot come first.

use super::*;
use crate::dataset::testing::{TestColumn, dataset};
use crate::dataset::Dataset;
use crate::engine::{Cancel, Engine};
use crate::engine::cpu::CpuEngine;
use crate::config::Config;
use crate::server::publishing::Publisher;
use crate::server::{Failure, Opener, router};
use crate::service::{Limits, Service, Source, Ticket};
use crate::world::WorldPoint;
use std::future::IntoFuture;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn app() -> (tempfile::TempDir, Arc<App>) {
    app_with(Limits { threads: 1, ..Limits::default() })
}

fn app_with(limits: Limits) -> (tempfile::TempDir, Arc<App>) {
    app_of(limits, |dataset| Arc::new(CpuEngine::new(dataset)))
}

/// A hundred points in three parts, and the engine that answers for them.
pub fn app_of(limits: Limits, engine: impl FnOnce(Arc<Dataset>) -> Arc<dyn Engine>) -> (tempfile::TempDir, Arc<App>) {
    let points: Vec<WorldPoint> = (0..100u32).map(|i| WorldPoint { x: i << 20, y: i << 22 }).collect();
    let (folder, sample) = dataset(&points, &[("size", TestColumn::Integer((0..100).map(Some).collect()))], 40);
    let sample = Arc::new(sample);
    let source = Source::new(sample.clone(), engine(sample)).unwrap();
    (folder, App::new(Service::new(vec![source], limits), Config::default(), None, None, Publisher::new(Box::new(NoFiles), Vec::new()).unwrap()))
}

/// Nothing is opened here.
struct NoFiles;

impl Opener for NoFiles {
    fn config(&self) -> Result<Config, Failure> {
        Err("there is no configuration".into())
    }

    fn folder(&self, path: &std::path::Path) -> Result<std::path::PathBuf, Failure> {
        Err(format!("there is no {}", path.display()).into())
    }

    fn manifest(&self, folder: &std::path::Path) -> Result<crate::dataset::Manifest, Failure> {
        Err(format!("there is no {}", folder.display()).into())
    }

    fn source(&self, _: &Config, folder: &std::path::Path) -> Result<Source, Failure> {
        Err(format!("there is no {}", folder.display()).into())
    }
}

/// Occupies the service's thread until the sender is used or dropped.
fn held_up(app: &App) -> (mpsc::Sender<()>, Ticket) {
    let (release, released) = mpsc::channel();
    let (start, started) = mpsc::channel();
    let work = move |_: &crate::service::Pipeline, _: &Cancel| {
        let _ = start.send(());
        let _ = released.recv();
        Ok(())
    };
    let ticket = app.service.ask(Priority::Interactive, work, |_| ());
    started.recv().unwrap();
    (release, ticket)
}

fn question(client: &str, high: u32) -> String {
    format!(r#"{{"client":"{client}","brushes":{{"size":[0,{high}]}},"columns":["size"]}}"#)
}

/// Polls until there is something.
pub async fn soon<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it has not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What stops the question that a client is waiting for.
async fn asked_by(app: &App, client: &str) -> Cancel {
    let key = ("sample".to_owned(), client.to_owned());
    soon(|| app.clients.lock().unwrap().peek(&key).cloned()).await
}

fn stopped(cancel: &Cancel) -> Option<()> {
    cancel.check().is_err().then_some(())
}

#[tokio::test]
async fn a_newer_question_of_the_same_client_stops_the_older() {
    let (_folder, app) = app();
    let (release, _ticket) = held_up(&app);
    let ask = |client: &str, high| {
        let body = Ok(Bytes::from(question(client, high)));
        tokio::spawn(crossfilter(State(app.clone()), Path("sample".to_owned()), body))
    };
    let (older, other) = (ask("one", 10), ask("another", 20));
    let (older_cancel, other_cancel) = (asked_by(&app, "one").await, asked_by(&app, "another").await);
    let newer = ask("one", 30);
    soon(|| stopped(&older_cancel)).await;
    assert!(other_cancel.check().is_ok(), "clients do not stop one another");
    release.send(()).unwrap();
    let status = |answer: Result<Response, Problem>| answer.into_response().status().as_u16();
    assert_eq!(status(older.await.unwrap()), 499);
    assert_eq!((status(newer.await.unwrap()), status(other.await.unwrap())), (200, 200));
}

#[tokio::test]
async fn a_client_that_has_left_is_not_answered() {
    let (_folder, app) = app();
    let (_release, _ticket) = held_up(&app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, router(app.clone())).into_future());
    let body = question("leaver", 10);
    let head = format!("POST /sample/crossfilter HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let cancel = asked_by(&app, "leaver").await;
    assert!(cancel.check().is_ok(), "it is waited for");
    drop(stream);
    soon(|| stopped(&cancel)).await;
    server.abort();
}

/// Goal: nothing that is asked of a selection costs anything once who asked has left. Method: the queue is full of such questions; it lets
/// go of those that nobody waits for when others come, and when as many others are in, none was left to be answered.
#[tokio::test]
async fn who_has_left_a_tile_or_a_question_in_the_queue_costs_nothing() {
    const QUESTIONS: [&str; 6] = [
        "/sample/0/0/0.png?filter=size%20%3E%201",
        "/sample/0/0/0.npy?filter=size%20%3E%202",
        "/sample/histogram?column=size&filter=size%20%3E%203",
        "/sample/points?filter=size%20%3E%204",
        "/sample/stats?filter=size%20%3E%205",
        "/sample/legend.json?zoom=1&filter=size%20%3E%206",
    ];
    let (_folder, app) = app_with(Limits { threads: 1, queue_jobs_max: QUESTIONS.len(), ..Limits::default() });
    let (release, _ticket) = held_up(&app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, router(app.clone())).into_future());
    let metric = |name: &str| {
        let text = app.service.metrics().text();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    let waiting = || metric("pointillist_queue_depth{priority=\"interactive\"}").unwrap_or(0.0);
    let mut leavers = Vec::new();
    for (already, path) in QUESTIONS.iter().enumerate() {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await.unwrap();
        soon(|| (waiting() > already as f64).then_some(())).await;
        leavers.push(stream);
    }
    let (send, answers) = mpsc::channel();
    let ask = || {
        let send = send.clone();
        app.service.ask(Priority::Interactive, |_, _| Ok(()), move |result| send.send(result).unwrap())
    };
    let refused = ask();
    assert!(matches!(answers.try_recv(), Ok(Err(ServiceError::Overloaded { .. }))), "all of them are waited for");
    drop((refused, leavers));
    let mut others = Vec::new();
    soon(|| {
        let ticket = ask();
        match answers.try_recv() {
            Ok(refused) => assert!(matches!(refused, Err(ServiceError::Overloaded { .. })), "{refused:?}"),
            Err(_) => others.push(ticket),
        }
        (others.len() == QUESTIONS.len()).then_some(())
    })
    .await;
    release.send(()).unwrap();
    for _ in QUESTIONS {
        answers.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    assert_eq!(metric("pointillist_points_scanned_total"), Some(0.0));
    let selected = |text: String| text.contains("device_seconds_total{stage=\"select\"}");
    assert!(!selected(app.service.metrics().text()), "no filter was evaluated");
    // Who stays is answered, and that is seen in the same places.
    let query: Uri = QUESTIONS[0].parse().unwrap();
    let path = ("sample".to_owned(), "0".to_owned(), "0".to_owned(), "0.png".to_owned());
    let got = crate::server::tiles::tile(State(app.clone()), Path(path), query, HeaderMap::new()).await;
    assert_eq!(got.into_response().status(), 200);
    assert_eq!(metric("pointillist_points_scanned_total"), Some(100.0));
    assert!(selected(app.service.metrics().text()));
    server.abort();
}
