//! A dataset of known points, and the built program serving it on a free port.

use pointillist::world::{TileId, WorldPoint, world_from_lonlat};
use std::fmt::Write as _;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ureq::http::Response;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_pointillist");

/// Starts a program that cannot be told to take any port. One that was free just before may have been taken by the time it gets there: then it
/// ends, and the next one is tried. `is_up` says whether it is this child that answers.
pub fn on_a_free_port(mut start: impl FnMut(u16) -> Child, mut is_up: impl FnMut(u16, &Child) -> bool) -> (Child, u16) {
    const PORTS_TRIED: usize = 10;
    for _ in 0..PORTS_TRIED {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = start(port);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if is_up(port, &child) {
                return (child, port);
            }
            assert!(started.elapsed() < Duration::from_secs(30), "nothing answers at port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("it has ended {PORTS_TRIED} times instead of listening");
}

/// The categories of the sample, in the order of the planes of a grid; a fourth kind of rows has none.
pub const RADIOS: [&str; 3] = ["GSM", "LTE", "UMTS"];

#[derive(Clone, Debug)]
pub struct Row {
    pub at: WorldPoint,
    /// An index into [`RADIOS`].
    pub radio: Option<usize>,
    pub range: u32,
}

/// Rows in clusters: some pixels hold many, most none.
pub fn rows(count: usize) -> (String, Vec<Row>) {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut csv = String::from("radio,lon,lat,range\n");
    let mut rows = Vec::new();
    for _ in 0..count {
        let cluster = next() % 7;
        let spread = 10f64.powi(-((next() % 4) as i32));
        let jitter = |n: u64| ((n % 20_001) as f64 / 10_000.0 - 1.0) * spread * 8.0;
        let lon = -150.0 + cluster as f64 * 50.0 + jitter(next());
        let lat = -60.0 + cluster as f64 * 17.0 + jitter(next());
        let (radio, range) = ((next() % 4) as usize, (next() % 5000) as u32);
        writeln!(csv, "{},{lon:.7},{lat:.7},{range}", RADIOS.get(radio).unwrap_or(&"")).unwrap();
        // Read back as the program reads it.
        let (lon, lat): (f64, f64) = (format!("{lon:.7}").parse().unwrap(), format!("{lat:.7}").parse().unwrap());
        let at = world_from_lonlat(lon, lat).unwrap();
        rows.push(Row { at, radio: (radio < 3).then_some(radio), range });
    }
    (csv, rows)
}

/// A folder with a dataset named `towers`, made by the program itself.
pub struct Sample {
    pub folder: TempDir,
    pub rows: Vec<Row>,
}

impl Sample {
    pub fn new(count: usize) -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let (csv, rows) = rows(count);
        let input = folder.path().join("towers.csv");
        std::fs::write(&input, csv).unwrap();
        let output = Command::new(PROGRAM)
            .args(["ingest", input.to_str().unwrap(), "--category", "radio", "-o"])
            .arg(folder.path().join("towers"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Sample { folder, rows }
    }

    pub fn dataset(&self) -> PathBuf {
        self.folder.path().join("towers")
    }

    /// Counts of a tile, row by row, from the rows: `[plane][row][column]`, the last plane without a category.
    pub fn counted(&self, tile: TileId, is_wanted: impl Fn(&Row) -> bool) -> Vec<u32> {
        let mut counts = vec![0; 4 * 256 * 256];
        for row in self.rows.iter().filter(|row| is_wanted(row)) {
            if TileId::containing(row.at, tile.zoom()) == tile {
                let shift = 32 - tile.zoom().pixel_level();
                let pixel = |v: u32| ((v >> shift) & 255) as usize;
                counts[(row.radio.unwrap_or(3) * 256 + pixel(row.at.y)) * 256 + pixel(row.at.x)] += 1;
            }
        }
        counts
    }
}

/// The program, serving. Stopped when dropped.
pub struct Served {
    child: Child,
    pub base: String,
    /// Where `/admin` is, with `--admin-listen`.
    pub admin: String,
    agent: ureq::Agent,
}

impl Served {
    pub fn start(dataset: &Path, arguments: &[&str]) -> Served {
        Served::start_in(dataset, arguments, &[])
    }

    /// As [`Served::start`], with these variables in the environment.
    pub fn start_in(dataset: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Served {
        let command = [OsStr::new("serve"), dataset.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
        Served::start_command_in(&command.collect::<Vec<_>>(), variables)
    }

    /// Any command that ends up serving, on a free port.
    pub fn start_command(command: &[&OsStr]) -> Served {
        Served::start_command_in(command, &[])
    }

    /// As [`Served::start_command`], with these variables in the environment.
    pub fn start_command_in(command: &[&OsStr], variables: &[(&str, &Path)]) -> Served {
        let mut program = Command::new(PROGRAM);
        program.args(command).args(["--listen", "127.0.0.1:0"]).envs(variables.iter().copied());
        Served::running(program)
    }

    /// As [`Served::start`], of another build of the program.
    pub fn start_program(program: &str, dataset: &Path, arguments: &[&str]) -> Served {
        let mut program = Command::new(program);
        program.arg("serve").arg(dataset).args(["--listen", "127.0.0.1:0"]).args(arguments);
        Served::running(program)
    }

    /// As [`Served::start`], with its log in a file.
    pub fn start_logged(dataset: &Path, arguments: &[&str], log: &Path) -> Served {
        let mut program = Command::new(PROGRAM);
        program.arg("serve").arg(dataset).args(["--listen", "127.0.0.1:0"]).args(arguments);
        program.stderr(std::fs::File::create(log).unwrap());
        Served::running(program)
    }

    fn running(mut program: Command) -> Served {
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = |prefix: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim().strip_prefix(prefix).unwrap_or_else(|| panic!("it said {line:?}")).to_owned()
        };
        let base = said("listening on ");
        let has_admin = program.get_args().any(|argument| argument == "--admin-listen");
        let admin = if has_admin { said("admin on ") } else { String::new() };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Served { child, base, admin, agent: config.into() }
    }

    pub fn get(&self, path: &str) -> Got {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Got::from(request.call().unwrap())
    }

    pub fn post(&self, path: &str, json: &str) -> Got {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        Got::from(request.send(json).unwrap())
    }

    /// Asks for something of `/admin`, with a key.
    pub fn administer(&self, method: &str, path: &str, key: &str, body: &str) -> Got {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.admin)).header("x-api-key", key);
        Got::from(self.agent.run(request.body(body.to_owned()).unwrap()).unwrap())
    }

    pub fn head(&self, path: &str) -> Got {
        Got::from(self.agent.head(format!("{}{path}", self.base)).call().unwrap())
    }

    /// The value of a metric with these labels, written as Prometheus writes them.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl From<Response<ureq::Body>> for Got {
    fn from(mut response: Response<ureq::Body>) -> Got {
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
        Got { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The counts of an npy body of u32.
    pub fn counts(&self) -> Vec<u32> {
        assert_eq!(&self.body[..8], b"\x93NUMPY\x01\x00");
        let header = 10 + usize::from(u16::from_le_bytes([self.body[8], self.body[9]]));
        assert!(String::from_utf8_lossy(&self.body[10..header]).contains("'<u4'"));
        self.body[header..].chunks_exact(4).map(|n| u32::from_le_bytes(n.try_into().unwrap())).collect()
    }

    /// The pixels of a PNG, RGBA, and its side.
    pub fn pixels(&self) -> (Vec<[u8; 4]>, u32) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(&self.body));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::ALPHA);
        let mut reader = decoder.read_info().unwrap();
        let mut rgba = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut rgba).unwrap();
        (rgba.as_chunks::<4>().0.to_vec(), frame.width)
    }
}
