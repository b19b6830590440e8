//! The cluster engine, with its real nodes on loopback: a dataset that executors prepared is the one that is made here, whatever
//! happens to them, or there is none.
//!
//! Built with `--features cluster` only: `make test-cluster`.

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A scheduler or an executor; killed when dropped.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    /// Starts a node and waits until it says where it is.
    fn start(arguments: &[&str]) -> Node {
        let mut child = binary().arg("cluster").args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once(" at ")?.1.split(',').next()?.to_owned()));
        let address = said.unwrap_or_else(|| panic!("{arguments:?} ended before it was ready"));
        // A pipe that nobody reads would block it.
        std::thread::spawn(move || lines.for_each(drop));
        Node { child, address }
    }

    fn scheduler() -> Node {
        Node::start(&["scheduler", "--listen", "127.0.0.1:0", "--executor-timeout", "4"])
    }

    fn executor(scheduler: &Node) -> Node {
        let scheduler = scheduler.address.strip_prefix("ballista://").unwrap();
        Node::start(&["executor", "--scheduler", scheduler, "--slots", "1", "--memory-limit", "256MB", "--heartbeat", "1"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pointillist"))
}

fn ingest(inputs: &[PathBuf], output: &Path, more: &[&str]) -> Command {
    let mut command = binary();
    command.arg("ingest").args(inputs).arg("-o").arg(output).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two files, 200,000 rows: places of which many share a pixel and a key, some of them nowhere; columns of several types, and the
/// row's number, which shows in what order rows of equal keys come.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let write = |name: &str, rows: std::ops::Range<i64>| {
        let random = |row: i64, salt: u64| {
            let mut bits = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
            bits ^= bits >> 31;
            bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits ^ (bits >> 29)
        };
        let all = || rows.clone();
        // 100 by 100 places all over the world; every 500th has no longitude, and the northernmost lie beyond the map.
        let lon: Float64Array = all().map(|row| (row % 500 != 7).then(|| (random(row, 1) % 100) as f64 * 3.57 - 178.0)).collect();
        let lat: Float64Array = all().map(|row| Some((random(row, 2) % 100) as f64 * 1.72 - 84.5)).collect();
        let radio: StringArray = all().map(|row| (row % 11 != 0).then(|| ["LTE", "GSM", "UMTS", "é \"NR\""][(random(row, 3) % 4) as usize])).collect();
        let range: Int32Array = all().map(|row| (row % 13 != 0).then(|| (random(row, 4) % 90_000) as i32 * 5)).collect();
        let seen: TimestampMillisecondArray = all().map(|row| Some(1_500_000_000_000 + (random(row, 5) % 1_000_000_000) as i64)).collect();
        let number: Int64Array = all().map(Some).collect();
        let columns: [(&str, ArrayRef); 6] = [
            ("lon", Arc::new(lon)), ("lat", Arc::new(lat)), ("Radio Kind", Arc::new(radio)), ("range", Arc::new(range)),
            ("seen", Arc::new(seen)), ("number", Arc::new(number)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = folder.join(name);
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    };
    vec![write("a.parquet", 0..120_000), write("b.parquet", 120_000..200_000)]
}

fn manifest(dataset: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dataset.join("dataset.json")).unwrap()).unwrap()
}

/// All of the manifest is equal: parts with the checksums of their files, dictionaries, columns, counts of rejected rows.
fn assert_equal(local: &Path, cluster: &Path) {
    let (local, cluster) = (manifest(local), manifest(cluster));
    assert!(local["parts"][0]["files"][0]["xxh3"].is_string(), "no checksums: {local}");
    assert_eq!(local["parts"], cluster["parts"]);
    assert_eq!(local, cluster);
}

/// What lies in a folder, hidden files too.
fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn places(folder: &Path) -> (PathBuf, PathBuf) {
    let places = (folder.join("local"), folder.join("cluster"));
    fs::create_dir(&places.0).unwrap();
    fs::create_dir(&places.1).unwrap();
    (places.0.join("points"), places.1.join("points"))
}

#[test]
fn a_cluster_makes_the_dataset_that_is_made_here() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path());
    let (local, cluster) = places(folder.path());
    let scheduler = Node::scheduler();
    let _executors = [Node::executor(&scheduler), Node::executor(&scheduler)];
    for more in [&[][..], &["--where", "range > 1000 AND \"Radio Kind\" <> 'GSM'", "--columns", "number,range", "--category", "Radio Kind"]] {
        let made = ingest(&inputs, &local, &[more, &["--force"]].concat()).output().unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        let more = [more, &["--engine", &scheduler.address, "--job-rows", "40000", "--force"]].concat();
        let made = ingest(&inputs, &cluster, &more).output().unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        for step in ["partition", "sort", "write"] {
            assert!(stderr(&made).contains(step), "no word of {step}: {}", stderr(&made));
        }
        assert_equal(&local, &cluster);
        assert_eq!(names(cluster.parent().unwrap()), ["points"]);
    }
    assert!(manifest(&cluster)["rejected"].as_object().is_some_and(|rejected| !rejected.is_empty()));
    assert!(!cluster.join("spill").exists());
}

#[test]
fn an_executor_that_is_killed_costs_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path());
    let (local, cluster) = places(folder.path());
    assert!(ingest(&inputs, &local, &[]).output().unwrap().status.success());
    let scheduler = Node::scheduler();
    let mut executors = [Node::executor(&scheduler), Node::executor(&scheduler)];
    let more = ["--engine", &scheduler.address, "--job-rows", "20000", "--deadline", "180"];
    let ingest = ingest(&inputs, &cluster, &more).spawn().unwrap();
    // Work is under way as soon as a first file of a cell is there.
    let spill = cluster.with_file_name(format!(".points.{}.ingest", ingest.id())).join("spill");
    let started = Instant::now();
    while fs::read_dir(&spill).map_or(0, Iterator::count) == 0 {
        assert!(started.elapsed() < PATIENCE, "no work was begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    executors[0].child.kill().unwrap();
    let made = ingest.wait_with_output().unwrap();
    if made.status.success() {
        assert_equal(&local, &cluster);
    } else {
        assert!(stderr(&made).contains("error: the cluster "), "{}", stderr(&made));
        assert!(!cluster.exists());
    }
    // The other one works on; and whatever a job that was given up wrote too late goes with the next ingest.
    let made = self::ingest(&inputs, &cluster, &[&more[..], &["--force"]].concat()).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    assert_equal(&local, &cluster);
    assert_eq!(names(cluster.parent().unwrap()), ["points"]);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path());
    let (_, output) = places(folder.path());
    let refused = |inputs: &[PathBuf], more: &[&str], code: i32, words: &str| {
        let made = ingest(inputs, &output, more).output().unwrap();
        assert_eq!(made.status.code(), Some(code), "{}", stderr(&made));
        assert!(stderr(&made).contains(words), "{}", stderr(&made));
        assert_eq!(names(output.parent().unwrap()), [""; 0]);
    };
    // Bound, so that nobody else listens there, and never accepting HTTP.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&inputs, &["--engine", &format!("ballista://{nobody}")], 1, "no scheduler answers");
    refused(&inputs, &["--engine", "127.0.0.1:50050"], 2, "write it as ballista://");
    let scheduler = Node::scheduler();
    let csv = folder.path().join("points.csv");
    fs::write(&csv, "lon,lat\n1,2\n").unwrap();
    refused(&[csv], &["--engine", &scheduler.address], 2, "is no Parquet file");
    // A scheduler without executors: the job waits, and is given up.
    refused(&inputs, &["--engine", &scheduler.address, "--deadline", "2"], 1, "has not finished");
}
