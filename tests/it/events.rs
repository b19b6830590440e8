//! `/{dataset}/events`: whoever listens is told what changes, when it changes; and nobody who listens keeps the server from anything.

use crate::command::{ingest, pointillist};
use crate::served::Served;
use pointillist::dataset::Dataset;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

const RETRY: &str = "retry: 5000";

/// One point, served as `out`, with new versions taken up at a hangup only; and a file with two more.
fn started(more: &[&str]) -> (TempDir, PathBuf, PathBuf, Served) {
    let folder = tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (dataset, _) = ingest(folder.path(), &written("a.csv", "lon,lat\n10,50\n"), &[]);
    let output = dataset.folder().to_owned();
    let served = Served::start(&output, &[&["--set", "datasets.watch=0"], more].concat());
    let appended = written("b.csv", "lon,lat\n10,50\n-100,-30\n");
    (folder, output, appended, served)
}

fn signal(served: &Served, name: &str) {
    assert!(Command::new("kill").args([name, &served.process_id().to_string()]).status().unwrap().success());
}

fn version(output: &Path) -> String {
    Dataset::open(output).unwrap().manifest.data_version
}

/// Somebody who listens.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn to(served: &Served, query: &str, id: Option<&str>) -> Listener {
        let mut stream = TcpStream::connect(served.base.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let id = id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        // HTTP/1.0: without chunks.
        write!(stream, "GET /out/events{query} HTTP/1.0\r\nhost: x\r\n{id}\r\n").unwrap();
        let mut listener = Listener(BufReader::new(stream));
        let head = listener.block().unwrap();
        assert!(head.starts_with("HTTP/1.0 200") && head.contains("content-type: text/event-stream") && head.contains("cache-control: no-store"), "{head}");
        assert_eq!(listener.block().as_deref(), Some(RETRY));
        listener
    }

    /// What comes up to the next empty line, without comments; `None` at the end.
    fn block(&mut self) -> Option<String> {
        let mut block = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end() {
                ":" => {}
                "" if block.is_empty() => {}
                "" => return Some(block.trim_end().to_owned()),
                _ => block += &line,
            }
        }
    }
}

/// Goal: a map that listens is told which tiles have changed as soon as the server serves the new version, and not before. Method: the
/// moment is known by the tiles that the server then gives; events are compared whole.
#[test]
fn who_listens_is_told_which_tiles_have_changed() {
    let (_folder, output, more, served) = started(&[]);
    let first = version(&output);
    let mut anew = Listener::to(&served, "?zoom=3", None);
    assert_eq!(anew.block().unwrap(), format!("id: {first}\nevent: version\ndata: {{\"data_version\":\"{first}\"}}"));
    let (mut knowing, mut coarse) = (Listener::to(&served, "?zoom=3", Some(&first)), Listener::to(&served, "?zoom=0", Some(&first)));
    assert_eq!(served.metric("pointillist_event_subscribers"), 3.0);

    assert_eq!(pointillist(["append".as_ref(), output.as_os_str(), more.as_os_str()]).code, Some(0));
    let sum = || served.get("/out/0/0/0.npy?by=none").counts().iter().sum::<u32>();
    assert_eq!(sum(), 1, "the former version is still served");
    signal(&served, "-HUP");
    let now = version(&output);
    let changed = |tiles: &str, zoom: u8| {
        format!("id: {now}\nevent: changed\ndata: {{\"data_version\":\"{now}\",\"zoom\":{zoom},\"tiles\":{tiles}}}")
    };
    assert_eq!(anew.block().unwrap(), changed("[\"3/4/2\",\"3/1/4\"]", 3));
    assert_eq!(sum(), 3, "who is told finds it");
    assert_eq!(knowing.block().unwrap(), changed("[\"3/4/2\",\"3/1/4\"]", 3));
    assert_eq!(coarse.block().unwrap(), changed("[\"0/0/0\"]", 0));

    // Who comes late hears the same; of a version that nobody knows everything may have changed.
    assert_eq!(Listener::to(&served, "?zoom=3", Some(&first)).block().unwrap(), changed("[\"3/4/2\",\"3/1/4\"]", 3));
    assert_eq!(Listener::to(&served, "", Some("another")).block().unwrap(), changed("null", 8));
    assert_eq!(served.get("/out/events?zoom=99").status, 404);
}

/// Goal: what is appended shows by itself, without a hangup.
#[test]
fn an_append_is_seen_by_itself() {
    let (_folder, output, more, served) = started(&["--set", "datasets.watch=50ms"]);
    let mut listener = Listener::to(&served, "?zoom=0", Some(&version(&output)));
    assert_eq!(pointillist(["append".as_ref(), output.as_os_str(), more.as_os_str()]).code, Some(0));
    let told = listener.block().unwrap();
    assert!(told.contains(&version(&output)) && told.contains("[\"0/0/0\"]"), "{told}");
    assert_eq!(served.get("/out/stats").json()["rows"], 3);
}

/// Goal: listeners have a bound, beyond which one is told what there is and sent away; those who leave make room.
#[test]
fn listeners_are_as_many_as_they_may_be() {
    let (_folder, output, _, served) = started(&["--set", "limits.subscribers=1"]);
    let first = version(&output);
    let stays = Listener::to(&served, "", Some(&first));
    let mut sent_away = Listener::to(&served, "", None);
    assert!(sent_away.block().unwrap().contains("event: version"));
    assert_eq!(sent_away.block(), None);
    drop(stays);
    let left = Instant::now();
    while served.metric("pointillist_event_subscribers") > 0.0 {
        assert!(left.elapsed() < Duration::from_secs(60), "it has left, and is still counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Goal: a stop waits for nobody who only listens. Method: the drain may take a minute, and is over at once.
#[test]
fn a_stop_sends_listeners_away() {
    let (_folder, output, _, mut served) = started(&["--set", "limits.drain_timeout=60s", "--set", "limits.drain_notice=0"]);
    let mut listener = Listener::to(&served, "", Some(&version(&output)));
    let asked = Instant::now();
    signal(&served, "-TERM");
    assert_eq!(listener.block(), None);
    assert!(served.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(30), "the drain waited for who listens");
}
