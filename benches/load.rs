//! The server under load, over real sockets: cold tiles, a mix of filters, and twice what it can do.
//!
//! ```text
//! cargo bench --bench load -- DATASET [SECONDS]      a dataset with the columns of cell towers
//! ```
//! Starts the program on a free port of this machine and is its only client, so both share the cores. Every tile is asked for
//! once, so nothing comes from the cache of finished tiles. A request's time runs from when it should have been sent: a server that
//! falls behind is not flattered by a client that waits for it.

use pointillist::dataset::Dataset;
use pointillist::world::{TileId, Zoom};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 32;

/// Enough for every request that the queue holds, and for those that are being refused.
const CONNECTIONS_OVERLOAD: usize = 768;

const FILTERS: [&str; 5] = [
    "radio%20%3D%20%27LTE%27",
    "range%20%3E%201000",
    "range%20%3C%20500%20AND%20radio%20%3C%3E%20%27GSM%27",
    "samples%20%3E%205",
    "radio%20IN%20%28%27UMTS%27%2C%27NR%27%29",
];

/// Zooms that people look at: the world to a street.
const ZOOMS: std::ops::RangeInclusive<u8> = 5..=14;

struct Answered {
    status: u16,
    took: Duration,
}

fn main() {
    // cargo passes --bench, also when it tests.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(dataset) = arguments.first() else {
        println!("SKIPPED: name a dataset, as in: cargo bench --bench load -- DATASET");
        return;
    };
    let seconds = arguments.get(1).map_or(10, |text| text.parse().expect("SECONDS is a whole number"));
    let window = Duration::from_secs(seconds);
    let opened = Dataset::open(dataset.as_ref()).expect("the dataset can be opened");
    let tiles = distinct_tiles(&opened);
    println!("{} points, {} distinct tiles with points at zooms {ZOOMS:?}, {CONNECTIONS} connections", opened.rows(), tiles.len());
    drop(opened);
    let server = Served::start(dataset);
    let path = |tile: &TileId| format!("/{}/{}/{}/{}.png", server.name, tile.z(), tile.x(), tile.y());

    // What a zoom's first tile prepares for all others.
    for zoom in ZOOMS {
        let tile = tiles.iter().find(|tile| tile.z() == zoom).expect("every zoom has tiles");
        server.ask(&[path(tile)], 1, window, None);
    }
    let third = tiles.len() / 3;
    let cold: Vec<String> = tiles[..third].iter().map(path).collect();
    let before = server.cpu();
    let answers = server.ask(&cold, CONNECTIONS, window, None);
    let capacity = report("cold tiles", &answers, server.cpu() - before);

    let filtered: Vec<String> = tiles.iter().rev().enumerate().map(|(i, tile)| format!("{}?filter={}", path(tile), FILTERS[i % 5])).collect();
    let mut firsts: Vec<Duration> = Vec::new();
    for filter in FILTERS {
        for zoom in ZOOMS {
            let tile = tiles.iter().find(|tile| tile.z() == zoom).expect("every zoom has tiles");
            firsts.extend(server.ask(&[format!("{}?filter={filter}", path(tile))], 1, window, None).iter().map(|answer| answer.took));
        }
    }
    println!("first tile of a filter and zoom: at most {:.0} ms", firsts.iter().max().expect("there are filters").as_secs_f64() * 1e3);
    let before = server.cpu();
    let answers = server.ask(&filtered[..third], CONNECTIONS, window, None);
    report("mix of 5 filters", &answers, server.cpu() - before);

    let rate = 2.0 * capacity;
    let rest: Vec<String> = tiles[third..].iter().map(path).collect();
    let before = server.cpu();
    let answers = server.ask(&rest, CONNECTIONS_OVERLOAD, window, Some(rate));
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    let took = WINDOW.lock().expect("no thread panicked").as_secs_f64();
    println!("twice the capacity: {rate:.0} requests/s asked for, {:.0} % of them sent", (good.len() + refused.len()) as f64 / (rate * took) * 100.0);
    let goodput = report("  answered", &good, server.cpu() - before);
    report("  refused", &refused, Duration::ZERO);
    println!("  goodput {:.0} % of the capacity", goodput / capacity * 100.0);
    println!("peak memory of the server {:.0} MB", server.peak_memory_mb());
}

/// Prints a line; gives answers a second.
fn report(what: &str, answers: &[Answered], cpu: Duration) -> f64 {
    if answers.is_empty() {
        println!("{what}: none");
        return 0.0;
    }
    let mut times: Vec<f64> = answers.iter().map(|answer| answer.took.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    // The phase is as long as its window, so the rate is over that.
    let rate = answers.len() as f64 / WINDOW.lock().expect("no thread panicked").as_secs_f64();
    println!(
        "{what}: {rate:.0}/s, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms, status {statuses:?}, server CPU {:.2} ms each",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
        cpu.as_secs_f64() * 1e3 / answers.len() as f64
    );
    rate
}

/// How long the last phase took.
static WINDOW: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// Tiles with points, each once, in no order: those around evenly spaced points, which are where people look.
fn distinct_tiles(dataset: &Dataset) -> Vec<TileId> {
    // Enough distinct tiles for some 10,000 requests a second.
    const SAMPLES: u64 = 500_000;
    let mut tiles = std::collections::BTreeSet::new();
    for part in &dataset.parts {
        let rows = u64::from(part.rows());
        let step = (dataset.rows() / SAMPLES).max(1);
        for (i, place) in (0..rows).step_by(step as usize).enumerate() {
            let zoom = ZOOMS.start() + (i % ZOOMS.count()) as u8;
            tiles.insert(TileId::containing(part.key(place as u32).world(), Zoom::new(zoom).expect("it is one")));
        }
    }
    let mut tiles: Vec<TileId> = tiles.into_iter().collect();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for i in (1..tiles.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tiles.swap(i, (state % (i as u64 + 1)) as usize);
    }
    tiles
}

struct Served {
    child: Child,
    address: String,
    name: String,
}

impl Served {
    fn start(dataset: &str) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointillist"))
            .args(["serve", dataset, "--listen", "127.0.0.1:0", "--backend", "cpu", "--set", "limits.client_requests=100000", "--set", "log.slow=1h"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on http://").expect("it says where it listens").to_owned();
        let name = Dataset::open(dataset.as_ref()).expect("it was opened before").manifest.name;
        Served { child, address, name }
    }

    /// Asks for each path once, until the time is over: as fast as the answers come, or at a rate.
    fn ask(&self, paths: &[String], connections: usize, window: Duration, rate: Option<f64>) -> Vec<Answered> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(Vec::with_capacity(paths.len()));
        let start = Instant::now();
        let work = || {
            let mut connection = Connection::open(&self.address);
            let mut mine = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let due = rate.map(|rate| start + Duration::from_secs_f64(place as f64 / rate));
                if let Some(wait) = due.map(|due| due.saturating_duration_since(Instant::now())) {
                    std::thread::sleep(wait);
                }
                let Some(path) = paths.get(place).filter(|_| start.elapsed() < window) else { break };
                let sent = Instant::now();
                let status = connection.get(path);
                // What a client was late with is its own fault, and said by the share that was sent.
                mine.push(Answered { status, took: sent.elapsed() });
            }
            answers.lock().expect("no thread panicked").extend(mine);
        };
        std::thread::scope(|scope| {
            for _ in 0..connections.min(paths.len()) {
                std::thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, work).expect("a thread can be started");
            }
        });
        *WINDOW.lock().expect("no thread panicked") = start.elapsed();
        answers.into_inner().expect("no thread panicked")
    }

    /// Time that the server's threads have worked, in the program and in the kernel.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // Hundredths of a second, whatever the kernel ticks at inside.
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    fn peak_memory_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1000.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection, kept open: nothing but what is measured, so that the client costs little.
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("a socket takes the option");
        Connection { stream, bytes: vec![0; 64 << 10] }
    }

    fn get(&mut self, path: &str) -> u16 {
        write!(self.stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server reads");
        let mut held = 0;
        let head = loop {
            held += self.read_at(held);
            if let Some(end) = self.bytes[..held].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.bytes[..head]).expect("a head is ASCII");
        let status = text[9..12].parse().expect("a status has three digits");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse::<usize>().expect("a number"));
        let mut body = held - head;
        while body < length {
            body += self.read_at(0);
        }
        status
    }

    fn read_at(&mut self, place: usize) -> usize {
        let read = self.stream.read(&mut self.bytes[place..]).expect("the server answers");
        assert!(read > 0, "the server closed the connection in the middle of an answer");
        read
    }
}
