//! Clients in great number, slow ones, and ones that go on while the server is told to stop: whoever asks properly is answered whole.

use crate::served::{Sample, Served};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn connected(served: &Served) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(served.base.strip_prefix("http://").unwrap())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What came of a request over a connection that is kept.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Status, and whether the connection ends after it.
    Whole(u16, bool),
    /// The connection ended before the first byte of an answer.
    Nothing,
    /// It ended in the middle of one.
    Torn,
}

/// Asks over a connection, and reads the answer to its end.
fn asked(stream: &mut BufReader<TcpStream>, path: &str, id: &str) -> Outcome {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\n\r\n");
    if stream.get_mut().write_all(request.as_bytes()).is_err() {
        return Outcome::Nothing;
    }
    let (mut status, mut bytes, mut is_last, mut lines) = (0, 0, false, 0);
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(n) if n > 0 => {}
            _ => return if lines == 0 { Outcome::Nothing } else { Outcome::Torn },
        }
        let line = line.trim().to_ascii_lowercase();
        match line.split_once(": ") {
            _ if lines == 0 => status = line.split(' ').nth(1).unwrap().parse().unwrap(),
            Some(("content-length", length)) => bytes = length.parse().unwrap(),
            Some(("connection", "close")) => is_last = true,
            _ if line.is_empty() => break,
            _ => {}
        }
        lines += 1;
    }
    let mut body = vec![0; bytes];
    if stream.read_exact(&mut body).is_ok() { Outcome::Whole(status, is_last) } else { Outcome::Torn }
}

fn log_of(served: Served, path: &Path) -> String {
    drop(served);
    std::fs::read_to_string(path).unwrap()
}

/// Goal: no request is lost when the server is told to stop under load. Method: clients over kept and over fresh connections, each request
/// with a number of its own, until no connection is taken any more. Every one that the server's log calls answered was received
/// whole; whatever else was sent was never taken.
#[test]
fn a_server_that_is_told_to_stop_under_load_loses_no_request() {
    let sample = Sample::new(3000);
    let log = sample.folder.path().join("log");
    // What is numbered in the log is every request.
    let served = Served::start_logged(&sample.dataset(), &["--set", "log.slow=0", "--log-format", "json"], &log);
    let (whole, unanswered, told) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (served, whole, unanswered, told) = (&served, &whole, &unanswered, &told);
            scope.spawn(move || {
                let mut kept: Option<BufReader<TcpStream>> = None;
                for i in 0.. {
                    let Some(mut stream) = kept.take().or_else(|| connected(served).ok().map(BufReader::new)) else { break };
                    let id = format!("c{client}-{i}");
                    let path = format!("/towers/6/{}/{}.png?filter=range%20%3E%20{i}", i % 64, (i / 64 + client) % 64);
                    match asked(&mut stream, &path, &id) {
                        Outcome::Whole(status, is_last) => {
                            assert!(status == 200 || told.load(Ordering::SeqCst) && status == 503, "{status}");
                            whole.lock().unwrap().insert(id);
                            kept = (client % 2 == 0 && !is_last).then_some(stream);
                        }
                        Outcome::Nothing => {
                            assert!(told.load(Ordering::SeqCst), "a connection ended early");
                            unanswered.lock().unwrap().insert(id);
                        }
                        Outcome::Torn => panic!("an answer was cut off"),
                    }
                }
            });
        }
        let started = Instant::now();
        while whole.lock().unwrap().len() <= 50 {
            assert!(started.elapsed() < PATIENCE, "only {} requests were answered", whole.lock().unwrap().len());
            std::thread::sleep(Duration::from_millis(10));
        }
        told.store(true, Ordering::SeqCst);
        assert!(Command::new("kill").args(["-TERM", &served.process_id().to_string()]).status().unwrap().success());
    });
    let mut served = served;
    assert_eq!(served.wait().code(), Some(0));
    let log = log_of(served, &log);
    let id_of = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["request_id"].as_str().map(str::to_owned);
    let taken: BTreeSet<String> = log.lines().filter(|line| line.contains("slow request")).filter_map(id_of).collect();
    let (whole, unanswered) = (whole.into_inner().unwrap(), unanswered.into_inner().unwrap());
    assert_eq!(taken, whole, "what was taken was answered, and the answer was received");
    assert!(unanswered.is_disjoint(&taken));
}

/// Goal: connections that idle cost little, and nobody anything. Method: nine thousand that say nothing, a thousand that ask, and the idle
/// ones asked in the end.
#[test]
fn ten_thousand_connections_of_which_nine_thousand_idle() {
    const IDLE: usize = 9000;
    const BUSY: usize = 1000;
    let files_wanted = (IDLE + BUSY + 500) as u64;
    let files = rlimit::increase_nofile_limit(files_wanted).unwrap_or(0);
    if files < files_wanted {
        crate::skipped::skipped("ten thousand connections", format!("this process may have {files} files"));
        return;
    }
    let sample = Sample::new(500);
    let set = ["--set", "limits.head_timeout=10m", "--set", "limits.connections=10100", "--set", "limits.client_requests=2000", "--set", "limits.queue=2000"];
    let served = Served::start(&sample.dataset(), &set);
    assert_eq!(served.get("/towers/0/0/0.png").status, 200);
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", served.process_id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let before = memory();
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| connected(&served).unwrap()).collect();
    let mut busy: Vec<BufReader<TcpStream>> = (0..BUSY).map(|_| BufReader::new(connected(&served).unwrap())).collect();
    std::thread::scope(|scope| {
        for (some, streams) in busy.chunks_mut(BUSY / 8).enumerate() {
            scope.spawn(move || {
                for (i, stream) in streams.iter_mut().enumerate() {
                    for path in [format!("/towers/8/{}/{some}.png", i % 256), "/catalog".into(), "/towers/stats".into()] {
                        assert_eq!(asked(stream, &path, "busy"), Outcome::Whole(200, false), "{path}");
                    }
                }
            });
        }
    });
    let each = (memory() - before) as f64 / (IDLE + BUSY) as f64;
    eprintln!("10,000 connections: {each:.1} kB each");
    assert!(each < 64.0, "{each} kB a connection");
    for stream in idle.iter_mut().step_by(100) {
        let mut stream = BufReader::new(stream.try_clone().unwrap());
        assert_eq!(asked(&mut stream, "/towers/0/0/0.png", "idle"), Outcome::Whole(200, false), "it has idled and is not forgotten");
    }
}

/// Goal: clients that send a byte now and then hold nobody up, and are cut off by the clock and not by the byte.
#[test]
fn clients_that_drip_are_cut_off_and_hold_nobody_up() {
    let sample = Sample::new(500);
    let served = Served::start(&sample.dataset(), &["--set", "limits.head_timeout=1s", "--set", "limits.body_timeout=1s"]);
    let drips = |start: &'static str| {
        let mut stream = connected(&served).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        stream
    };
    let mut slow: Vec<TcpStream> = (0..200).map(|_| drips("GET /towers/0/0/0.png HTTP/1.1\r\nhost: x\r\nx-slow: ")).collect();
    slow.extend((0..50).map(|_| drips("POST /towers/crossfilter HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n")));
    let started = Instant::now();
    let mut answered = 0;
    while !slow.is_empty() {
        assert!(started.elapsed() < PATIENCE, "{} still drip", slow.len());
        slow.retain_mut(|stream| {
            // An end or a reset; a refusal (408) comes before it.
            let mut bytes = [0; 4096];
            let is_open = match stream.read(&mut bytes) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            is_open && stream.write_all(b" ").is_ok()
        });
        assert_eq!(served.get(&format!("/towers/7/{}/60.png", answered % 128)).status, 200);
        answered += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(answered >= 10 && started.elapsed() > Duration::from_secs(1));
}

/// Goal: a client that asks for much and reads nothing is cut off, and what it was to get is let go.
#[test]
fn clients_that_read_nothing_are_cut_off() {
    let sample = Sample::new(500);
    let served = Served::start(&sample.dataset(), &["--set", "limits.stall_timeout=500ms"]);
    let mut stream = connected(&served).unwrap();
    // A megabyte each, and far more in all than sockets hold.
    let asks: String = (0..64).map(|i| format!("GET /towers/2/{}/{}.npy?filter=range%20%3E%20{i} HTTP/1.1\r\nhost: x\r\n\r\n", i % 4, i / 4 % 4)).collect();
    stream.write_all(asks.as_bytes()).unwrap();
    let started = Instant::now();
    while served.metric("pointillist_http_requests_total{endpoint=\"/{dataset}/{z}/{x}/{file}\",method=\"GET\",status=\"200\"}") < 2.0 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(1500));
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.len() < 60 << 20, "it was given all {} bytes", bytes.len());
}

/// Asks over a connection of its own, as the client at an address behind a proxy; gives the status, with the body still to be read.
fn asked_as(served: &Served, client: &str, path: &str) -> (u16, BufReader<TcpStream>) {
    let mut stream = BufReader::new(connected(served).unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {client}\r\nconnection: close\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(stream.read_until(b'\n', &mut head).unwrap() > 0, "the answer is cut off: {}", String::from_utf8_lossy(&head));
    }
    (String::from_utf8_lossy(&head)[9..12].parse().unwrap(), stream)
}

/// Goal: what clients do not read is bounded, for each and for all; small answers go on, and whoever reads is given more. Method: answers of 8
/// MiB, of which the kernel holds at most half.
#[test]
fn what_nobody_reads_is_bounded() {
    const NUMBERS: &str = "/towers/0/0/0@2x.npy?tilesize=512&agg=mean&column=range";
    let sample = Sample::new(500);
    let set = ["--set", "limits.unread=22MB", "--set", "trusted_proxies=[127.0.0.1/32]"];
    let served = Served::start(&sample.dataset(), &set);
    let unread: Vec<_> = (1..=3).map(|client| asked_as(&served, &format!("192.0.2.{client}"), NUMBERS)).collect();
    assert!(unread.iter().all(|(status, _)| *status == 200));
    // A quarter is for one, and less than four are enough for all.
    let mut refused = asked_as(&served, "192.0.2.1", NUMBERS);
    let mut problem = String::new();
    refused.1.read_to_string(&mut problem).unwrap();
    assert!(refused.0 == 429 && problem.contains("has not read 5500000 bytes"), "{problem}");
    assert_eq!(asked_as(&served, "192.0.2.4", NUMBERS).0, 503);
    assert_eq!(asked_as(&served, "192.0.2.4", "/towers/0/0/0.png").0, 200);
    assert_eq!(served.metric("pointillist_shed_total{reason=\"unread\"}"), 2.0);
    for (_, mut stream) in unread {
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        assert_eq!(body.len(), (8 << 20) + 128, "1,024 by 1,024 means, after a header");
    }
    let (status, mut stream) = asked_as(&served, "192.0.2.1", NUMBERS);
    assert_eq!(status, 200, "what was read is given back");
    // Whoever leaves gives it back as well.
    stream.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
    drop(stream);
    let started = Instant::now();
    while asked_as(&served, "192.0.2.1", NUMBERS).0 != 200 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_megabyte_of_address_is_refused() {
    let sample = Sample::new(100);
    let served = Served::start(&sample.dataset(), &[]);
    for (bytes, status) in [(20_000, "414"), (1 << 20, "4")] {
        for place in ["/towers/0/0/0.png?filter=", "/"] {
            let mut stream = connected(&served).unwrap();
            let request = format!("GET {place}{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(bytes));
            // The server may have said no, and closed, before the end.
            let _ = stream.write_all(request.as_bytes());
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line);
            assert!(line.is_empty() || line.starts_with(&format!("HTTP/1.1 {status}")), "{bytes} bytes: {line}");
            assert!(!line.is_empty() || bytes > 64 << 10, "there is no answer");
        }
    }
    assert_eq!(served.get("/health").status, 200);
}
