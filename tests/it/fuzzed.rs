//! What fuzzers found worth keeping, and what they began with, once more: every file of the committed corpus through the function
//! that cargo-fuzz calls with millions of others (tests/fuzz, docs/reliability.md).

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Runs a target on its corpus; a panic names the file.
fn replayed(name: &str, target: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "only {} files in {}", files.len(), folder.display());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "{} on {}", name, file.display());
    }
}

#[test]
fn filters_select_what_their_rows_pass() {
    replayed("filter", targets::filter);
}

#[test]
fn text_files_become_whole_datasets_or_are_refused() {
    replayed("csv", targets::csv);
}

#[test]
fn counts_come_out_of_npy_as_they_went_in() {
    replayed("npy", targets::npy);
}

#[test]
fn manifests_open_or_are_refused() {
    replayed("manifest", targets::manifest);
}

#[test]
fn requests_are_answered_without_a_fault_of_the_server() {
    replayed("request", targets::request);
}

/// What requests are spliced with.
const PIECES: [&str; 28] = [
    "filter=", "&by=none", "&by=radio", "&agg=mean", "&column=range", "&bins=7", "&limit=3", "&bbox=-10,30,40,60", "@2x", ".npy", ".png", "/0/0/0", "/22/4194303/0",
    "18446744073709551616", "-1", "1e999", "NaN", "%00", "%FF", "%27", "%20OR%20", "..%2F..%2F", "//", "range%20%3E%201", "how=log", "&how=linear&span=0,0", "&spread=16", "&format=parquet",
];

/// A generator of Marsaglia's.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// A request of the corpus, changed in some places.
    fn request(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut request = corpus[self.below(corpus.len())].clone();
        for _ in 0..self.below(5) {
            let at = self.below(request.len().max(1));
            match self.below(5) {
                0 => request[at] = self.below(256) as u8,
                1 => drop(request.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
                2 => drop(request.drain(at..(at + self.below(9)).min(request.len()))),
                3 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    request.truncate(at);
                    request.extend(&other[from..]);
                }
                _ => request.insert(at, b"/?&=,%"[self.below(6)]),
            }
            if request.is_empty() {
                request.push(b'/');
            }
        }
        request
    }
}

/// Goal: the server stands a million random requests, with no fault of its own and no end. Takes minutes, so it is asked for by name; with
/// POINTILLIST_PROGRAM a release build answers:
///
/// `POINTILLIST_PROGRAM=target/release/pointillist cargo nextest run --run-ignored only -E 'test(a_million_random_requests)'`
#[test]
#[ignore = "takes minutes"]
fn a_million_random_requests_are_answered() {
    use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};
    const REQUESTS: usize = 1_000_000;
    const CONNECTIONS: usize = 8;
    let program = std::env::var("POINTILLIST_PROGRAM").unwrap_or_else(|_| crate::served::PROGRAM.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let towers = folder.path().join("towers");
    let ingested = std::process::Command::new(&program).args(["ingest", "fixtures/towers-1000.csv", "-o"]).arg(&towers).output().unwrap();
    assert!(ingested.status.success());
    let arguments = ["--backend", "cpu", "--set", "limits.client_requests=1000", "--set", "log.slow=1h", "--set", "limits.exports=64", "--set", "limits.subscribers=0"];
    let served = crate::served::Served::start_program(&program, &towers, &arguments);
    let address = served.base.strip_prefix("http://").unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.unwrap().path()).unwrap();
    let corpus: Vec<Vec<u8>> = std::fs::read_dir("tests/fuzz/corpus/request").unwrap().map(read).collect();
    let (sent, by_class) = (AtomicUsize::new(0), [const { AtomicUsize::new(0) }; 6]);
    std::thread::scope(|scope| {
        for seed in 1..=CONNECTIONS as u64 {
            let (sent, by_class, corpus) = (&sent, &by_class, &corpus);
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let mut kept: Option<BufReader<std::net::TcpStream>> = None;
                while sent.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                    let request = random.request(corpus);
                    let mut parts = request.splitn(2, |&byte| byte == b'\n');
                    let (line, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                    let mut bytes = line.to_vec();
                    bytes.extend(format!(" HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).bytes());
                    bytes.extend(body);
                    let mut stream = kept.take().unwrap_or_else(|| BufReader::new(std::net::TcpStream::connect(address).expect("the server listens")));
                    stream.get_ref().set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
                    let _ = stream.get_mut().write_all(&bytes);
                    let (mut status, mut length, mut is_chunked, mut is_last) = (0, Some(0), false, false);
                    loop {
                        let mut field = String::new();
                        // What is no HTTP is not always answered.
                        let read = stream.read_line(&mut field);
                        let is_late = read.as_ref().is_err_and(|error| [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()));
                        assert!(!is_late, "no answer within a minute to {}", String::from_utf8_lossy(&request));
                        if read.unwrap_or(0) == 0 { break is_last = true }
                        let field = field.trim().to_ascii_lowercase();
                        if let Some(rest) = field.strip_prefix("http/1.1 ") { status = rest[..3].parse().unwrap() }
                        if let Some(text) = field.strip_prefix("content-length: ") { length = text.parse::<usize>().ok() }
                        is_chunked |= field == "transfer-encoding: chunked";
                        is_last |= field == "connection: close";
                        if field.is_empty() { break }
                    }
                    by_class[status / 100].fetch_add(1, Ordering::Relaxed);
                    assert!(status < 500, "{status} for {}", String::from_utf8_lossy(&request));
                    if is_chunked || is_last || line.starts_with(b"HEAD") || status == 304 || status == 204 { continue }
                    let mut rest = vec![0; length.unwrap_or(0)];
                    kept = stream.read_exact(&mut rest).is_ok().then_some(stream);
                }
            });
        }
    });
    assert_eq!(served.get("/health").json()["status"], "ok");
    eprintln!("{REQUESTS} requests, by class of status (0: no answer): {by_class:?}");
    let [unanswered, _, answered, ..] = by_class.map(AtomicUsize::into_inner);
    assert!(unanswered == 0 && answered > REQUESTS / 20, "{answered} were answered, {unanswered} not at all");
}
