//! What a fuzzer throws at the program, and what must hold of the outcome: one function a target, which panics where it does not.
//!
//! cargo-fuzz makes up the bytes; `tests/it/fuzzed.rs` includes this file and replays the committed corpus with every run of the
//! tests. Nothing here may know of libFuzzer.

use axum::body::Body;
use axum::http::{Method, Request, Uri, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use pointillist::config::Config;
use pointillist::dataset::write::Replace;
use pointillist::dataset::{ColumnId, Dataset, Manifest, PART_POINTS_MAX};
use pointillist::encode::{NpyDtype, npy as npy_of};
use pointillist::engine::{Backend, Cancel, CountGrid, Engine, EngineOptions, Groups, open};
use pointillist::filter::{Filter, FilterError, RowFilter, Schema, ValueRef};
use pointillist::ingest::{ColumnWishes, DialectWishes, IngestOptions, Unobserved, ingest};
use pointillist::server::{App, Failure, Opener, router};
use pointillist::service::{Limits, Service, Source};
use pointillist::world::{TileId, Zoom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

const TOWERS: &[u8] = include_bytes!("../../../fixtures/towers-1000.csv");

/// The most of an answer that is read: some times what the fixture's rows take in any format.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A filter selects the points whose rows pass it, and its canonical text is a filter that says the same.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Towers { dataset, engine, .. } = Towers::get();
    let Ok(Some(expr)) = pointillist::filter::parse(text) else { return };
    let Ok(filter) = Filter::bind(&expr, dataset) else { return };
    match Filter::parse(filter.canonical(), dataset) {
        Ok(again) => assert_eq!((again.predicate(), again.canonical()), (filter.predicate(), filter.canonical())),
        // Canonical text spells out what was short.
        Err(FilterError::TooLong { .. }) => {}
        Err(error) => panic!("the canonical text {:?} is no filter: {error}", filter.canonical()),
    }
    let groups = Arc::new(Groups::none(dataset));
    let selection = engine.select(&Arc::new(filter), &groups, &Cancel::never()).expect("the engine selects");
    let world = TileId::new(0, 0, 0).expect("it is a tile");
    let selected = engine.count(&selection, &[world], &Cancel::never()).expect("the engine counts")[0].total();
    let rows = RowFilter::new(&expr, &Schema::of_dataset(dataset)).expect("it was bound");
    let mut passing = 0;
    for part in &dataset.parts {
        for position in 0..part.rows() {
            let values: Vec<_> = (0..dataset.columns().len())
                .map(|column| dataset.value(ColumnId(column), part.column(ColumnId(column)).get(position as usize)))
                .collect();
            passing += u64::from(rows.passes(&|column| ValueRef::from(&values[column]), Some(part.key(position).world())));
        }
    }
    assert_eq!(selected, passing, "of {text:?}");
}

/// Whatever is called a CSV file, an ingest makes a whole dataset of it, with every row a point or rejected, or says why not.
pub fn csv(data: &[u8]) {
    let folder = scratch();
    let input = folder.path().join("a.csv");
    std::fs::write(&input, data).expect("the input can be written");
    let output = folder.path().join("out");
    match ingest(&options(&input, &output), &Unobserved) {
        Ok(summary) => {
            let rejected: u64 = summary.rejected.values().sum();
            assert_eq!(summary.rows_in, summary.manifest.rows + rejected);
            let verified = pointillist::dataset::verify::verify(&output, &|_| {}).expect("what was made is whole");
            assert_eq!(verified.points, summary.manifest.rows);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!output.exists(), "a failed ingest left something");
        }
    }
}

/// Counts come out of npy as they went in. (The program reads no npy; a reader by the specification stands here.)
pub fn npy(data: &[u8]) {
    let [planes, side, rest @ ..] = data else { return };
    let (categories, size) = (usize::from(planes % 5) + 1, usize::from(side % 8) + 1);
    let mut bytes = rest.chunks(4).map(|chunk| chunk.iter().fold(0u32, |n, &byte| n << 8 | u32::from(byte))).cycle();
    let counts: Vec<u32> = (0..categories * size * size).map(|_| bytes.next().unwrap_or(0)).collect();
    let grid = CountGrid { categories, size, counts };
    for dtype in [NpyDtype::U32, NpyDtype::Auto] {
        let (descr, shape, elements) = npy_parts(&npy_of(&grid, dtype));
        let read: Vec<u32> = match descr.as_str() {
            "<u4" => elements.chunks_exact(4).map(|n| u32::from_le_bytes(n.try_into().expect("four bytes"))).collect(),
            "<u2" => elements.chunks_exact(2).map(|n| u32::from(u16::from_le_bytes(n.try_into().expect("two bytes")))).collect(),
            other => panic!("elements of {other}"),
        };
        assert_eq!((shape, read), (vec![categories, size, size], grid.counts.clone()));
        assert!(dtype == NpyDtype::Auto || descr == "<u4");
    }
}

/// `descr`, `shape` and the elements' bytes.
fn npy_parts(bytes: &[u8]) -> (String, Vec<usize>, Vec<u8>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).expect("the header is ASCII");
    assert!(end.is_multiple_of(64) && header.ends_with('\n'));
    let between = |from: &str, to: char| {
        let rest = header.split_once(from).expect("the header has it").1;
        rest.split_once(to).expect("the header closes it").0.to_owned()
    };
    assert!(header.contains("'fortran_order': False"));
    let shape = between("'shape': (", ')').split(',').map(|n| n.trim().parse().expect("a length")).collect();
    (between("'descr': '", '\''), shape, bytes[end..].to_vec())
}

/// A dataset with any text for its manifest opens or says why not; what opens can say what it holds.
pub fn manifest(data: &[u8]) {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| ingested().0).path().join("towers");
    std::fs::write(folder.join("dataset.json"), data).expect("the manifest can be written");
    let Ok(dataset) = Dataset::open(&folder) else { return };
    for tile in [TileId::new(0, 0, 0), TileId::new(9, 300, 200)] {
        dataset.revision_of(tile.expect("it is a tile"));
    }
    dataset.tiles_changed(0, Zoom::new(4).expect("it is a zoom"), 1000);
    dataset.manifest.revision_of_version("0123456789abcdef");
    let _ = pointillist::dataset::verify::verify(&folder, &|_| {});
}

/// Whatever is asked, the answer is not that the server is at fault; and errors are problem+json.
///
/// The first line is a method and an address, what follows the body.
pub fn request(data: &[u8]) {
    let line_end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..line_end], data.get(line_end + 1..).unwrap_or_default());
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return };
    let (Ok(method), Ok(uri)) = (Method::from_bytes(&line[..space]), Uri::try_from(&line[space + 1..])) else { return };
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let Towers { runtime, routes, .. } = Towers::get();
    runtime.block_on(async {
        let response = routes.call(request).await.expect("routes are infallible");
        let (parts, body) = response.into_parts();
        axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.expect("the answer comes to its end");
        let shown = String::from_utf8_lossy(line);
        assert!(!parts.status.is_server_error(), "{} for {shown}", parts.status);
        let is_problem = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
        assert!(!parts.status.is_client_error() || is_problem, "{} for {shown} is not explained", parts.status);
    });
}

/// The fixture, ready to be asked.
struct Towers {
    _folder: TempDir,
    dataset: Arc<Dataset>,
    engine: Arc<dyn Engine>,
    routes: TowerToHyperService<axum::Router>,
    runtime: tokio::runtime::Runtime,
}

impl Towers {
    fn get() -> &'static Towers {
        static TOWERS: OnceLock<Towers> = OnceLock::new();
        TOWERS.get_or_init(|| {
            let (_folder, path) = ingested();
            let dataset = Arc::new(Dataset::open(&path).expect("it was ingested"));
            let engine = open(dataset.clone(), Backend::Cpu, &EngineOptions::default()).expect("there is a CPU");
            let mut config = Config::default();
            config.datasets.paths = vec![path];
            // A stream of events has no end to wait for; without a place on it, a client gets what has happened and is told to ask again.
            config.limits.subscribers = 0;
            let limits = Limits { threads: 1, cache_bytes: 64 << 20, ..Limits::default() };
            let app = App::open(Service::new(Vec::new(), limits), config, None, Box::new(OnCpu)).expect("the dataset is served");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be started");
            Towers { _folder, dataset, engine, routes: TowerToHyperService::new(router(app)), runtime }
        })
    }
}

/// Opens datasets for the CPU.
struct OnCpu;

impl Opener for OnCpu {
    fn config(&self) -> Result<Config, Failure> {
        Err("there is no configuration".into())
    }

    fn folder(&self, path: &Path) -> Result<PathBuf, Failure> {
        Ok(path.to_owned())
    }

    fn manifest(&self, folder: &Path) -> Result<Manifest, Failure> {
        Ok(Manifest::read(folder)?)
    }

    fn source(&self, _: &Config, folder: &Path) -> Result<Source, Failure> {
        let dataset = Arc::new(Dataset::open(folder)?);
        let engine = open(dataset.clone(), Backend::Cpu, &EngineOptions::default())?;
        Ok(Source::new(dataset, engine)?)
    }
}

/// The fixture as a dataset named `towers`, and where it is.
fn ingested() -> (TempDir, PathBuf) {
    let folder = scratch();
    let (input, output) = (folder.path().join("towers.csv"), folder.path().join("towers"));
    std::fs::write(&input, TOWERS).expect("the fixture can be written");
    ingest(&options(&input, &output), &Unobserved).expect("the fixture can be ingested");
    (folder, output)
}

/// In memory where that is to be had: a fuzzer makes thousands of files a second.
fn scratch() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.expect("a folder can be made")
}

fn options(input: &Path, output: &Path) -> IngestOptions {
    IngestOptions {
        inputs: vec![input.to_owned()],
        output: output.to_owned(),
        preset: None,
        columns: ColumnWishes::default(),
        dialect: DialectWishes::default(),
        wanted: None,
        rejects: None,
        name: None,
        style: Default::default(),
        replace: Replace::Never,
        memory_limit_bytes: 64 << 20,
        part_points_max: PART_POINTS_MAX,
    }
}
