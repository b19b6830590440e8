//! The server under load, over real sockets: cold tiles, a mix of filters, and twice what it can do.
//!
//! ```text
//! cargo bench --bench load -- DATASET [SECONDS]      a dataset with the columns of cell towers
//! ```
//! Starts the program on a free port of this machine and is its only client, so both share the cores. Every tile is asked for
//! once, so nothing comes from the cache of finished tiles. A request's time runs from when it is sent, and the share of what should have been sent
//! says whether the client kept up. Whose processor time it was stands beside every rate: the client's, and other programs', is lacking to the server.

use pointillist::dataset::Dataset;
use pointillist::world::{TileId, Zoom};
use std::io::{BufRead, BufReader};
use std::ops::Sub;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

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
    let before = server.used();
    let answers = server.ask(&cold, CONNECTIONS, window, None);
    let used = server.used() - before;
    let capacity = report("cold tiles", &answers);
    println!("{}", used.text());
    let apart_from_drawing = used.rest.as_secs_f64() / answers.len() as f64;
    println!("  a tile: {:.3} ms to draw, {:.3} ms to ask for and send", used.drawing.as_secs_f64() * 1e3 / answers.len() as f64, apart_from_drawing * 1e3);

    let filtered: Vec<String> = tiles.iter().rev().enumerate().map(|(i, tile)| format!("{}?filter={}", path(tile), FILTERS[i % 5])).collect();
    let mut firsts: Vec<Duration> = Vec::new();
    for filter in FILTERS {
        for zoom in ZOOMS {
            let tile = tiles.iter().find(|tile| tile.z() == zoom).expect("every zoom has tiles");
            firsts.extend(server.ask(&[format!("{}?filter={filter}", path(tile))], 1, window, None).iter().map(|answer| answer.took));
        }
    }
    println!("first tile of a filter and zoom: at most {:.0} ms", firsts.iter().max().expect("there are filters").as_secs_f64() * 1e3);
    let before = server.used();
    let answers = server.ask(&filtered[..third], CONNECTIONS, window, None);
    let used = server.used() - before;
    report("mix of 5 filters", &answers);
    println!("{}", used.text());

    let rate = 2.0 * capacity;
    let rest: Vec<String> = tiles[third..].iter().map(path).collect();
    let before = server.used();
    let answers = server.ask(&rest, CONNECTIONS_OVERLOAD, window, Some(rate));
    let used = server.used() - before;
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    let took = WINDOW.lock().expect("no thread panicked").as_secs_f64();
    println!("twice the capacity: {rate:.0} requests/s asked for, {:.0} % of them sent", (good.len() + refused.len()) as f64 / (rate * took) * 100.0);
    let goodput = report("  answered", &good);
    report("  refused", &refused);
    println!("{}", used.text());
    // What an answer costs beside its drawing is known from the first phase; what is left is the refusals'.
    let refusals = used.rest.as_secs_f64() - good.len() as f64 * apart_from_drawing;
    println!(
        "  a tile: {:.3} ms to draw; a refusal: {:.0} us",
        used.drawing.as_secs_f64() * 1e3 / good.len().max(1) as f64,
        refusals * 1e6 / refused.len().max(1) as f64
    );
    println!("  goodput {:.0} % of the capacity", goodput / capacity * 100.0);
    println!("peak memory of the server {:.0} MB", server.peak_memory_mb());
}

/// Prints a line; gives answers a second.
fn report(what: &str, answers: &[Answered]) -> f64 {
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
        "{what}: {rate:.0}/s, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms, status {statuses:?}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
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

/// Whose processor time was used up to a moment, or between two.
struct Used {
    at: Duration,
    /// The server's threads that count, shade and encode.
    drawing: Duration,
    /// All others of the server.
    rest: Duration,
    /// This program.
    client: Duration,
    /// All programs, with the system's own work.
    machine: Duration,
}

impl Sub for Used {
    type Output = Used;

    fn sub(self, before: Used) -> Used {
        Used {
            at: self.at - before.at,
            drawing: self.drawing - before.drawing,
            rest: self.rest - before.rest,
            client: self.client - before.client,
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}

impl Used {
    fn text(&self) -> String {
        let cores = |time: Duration| time.as_secs_f64() / self.at.as_secs_f64();
        let others = self.machine.saturating_sub(self.drawing + self.rest + self.client);
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let (server, client, others) = (cores(self.drawing + self.rest), cores(self.client), cores(others));
        format!("  of {all} cores the server used {server:.2}, this client {client:.2}, others {others:.2}")
    }
}

/// Hundredths of a second, whatever the kernel ticks at inside.
const TICK: Duration = Duration::from_millis(10);

/// The time that a process or thread has worked, in the program and in the kernel, from its `stat`.
fn worked(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    TICK * (ticks(11) + ticks(12))
}

struct Served {
    child: Child,
    started: Instant,
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
        Served { child, started: Instant::now(), address, name }
    }

    /// Asks for each path once, until the time is over: as fast as the answers come, or at a rate. On one thread, which costs least.
    fn ask(&self, paths: &[String], connections: usize, window: Duration, rate: Option<f64>) -> Vec<Answered> {
        let (next, paths): (Arc<AtomicUsize>, Arc<[String]>) = (Arc::default(), paths.into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be started");
        let start = Instant::now();
        let answers = runtime.block_on(async {
            let mut all = JoinSet::new();
            for _ in 0..connections.min(paths.len()) {
                let (next, paths, address) = (next.clone(), paths.clone(), self.address.clone());
                all.spawn(async move {
                    let mut connection = Connection::open(&address).await;
                    let mut mine = Vec::new();
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if let Some(rate) = rate {
                            tokio::time::sleep_until((start + Duration::from_secs_f64(place as f64 / rate)).into()).await;
                        }
                        let Some(path) = paths.get(place).filter(|_| start.elapsed() < window) else { break };
                        let sent = Instant::now();
                        let status = connection.get(path).await;
                        mine.push(Answered { status, took: sent.elapsed() });
                    }
                    mine
                });
            }
            all.join_all().await
        });
        *WINDOW.lock().expect("no thread panicked") = start.elapsed();
        answers.into_iter().flatten().collect()
    }

    fn used(&self) -> Used {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let stats: Vec<String> = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok()).collect();
        let (drawing, rest): (Vec<_>, Vec<_>) = stats.iter().partition(|stat| stat.contains("(tile-"));
        let of = |stats: Vec<&String>| stats.into_iter().map(|stat| worked(stat)).sum();
        let client = worked(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let machine = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> = machine.lines().next().unwrap_or_default().split_whitespace().filter_map(|text| text.parse().ok()).collect();
        // All but idle and waiting for a disk; guests are counted as users already.
        let busy: u64 = fields.iter().take(8).enumerate().filter(|(place, _)| ![3, 4].contains(place)).map(|(_, ticks)| ticks).sum();
        Used { at: Instant::now().duration_since(self.started), drawing: of(drawing), rest: of(rest), client, machine: TICK * busy as u32 }
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
    async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket takes the option");
        Connection { stream, bytes: vec![0; 64 << 10] }
    }

    async fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut held = 0;
        let head = loop {
            held += self.read_at(held).await;
            if let Some(end) = self.bytes[..held].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.bytes[..head]).expect("a head is ASCII");
        let status = text[9..12].parse().expect("a status has three digits");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse::<usize>().expect("a number"));
        let mut body = held - head;
        while body < length {
            body += self.read_at(0).await;
        }
        status
    }

    async fn read_at(&mut self, place: usize) -> usize {
        let read = self.stream.read(&mut self.bytes[place..]).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection in the middle of an answer");
        read
    }
}
