//! Filters against SQL: generated ones must select as many rows over HTTP as SQLite selects of the same table.
//!
//! SQLite gets the rows as they were written, not as the program read them. Times are integers there, in microseconds, and
//! places the world's coordinates. benches/peers/filters_vs_duckdb.py asks DuckDB the same of any served dataset.

use crate::served::{PROGRAM, Served};
use pointillist::world::world_from_lonlat;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const FILTERS: usize = 250;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Text,
    Boolean,
    Time,
}

struct Table {
    columns: Vec<(&'static str, Kind)>,
    /// The values of a row in the order of the columns, then longitude and latitude.
    rows: Vec<(Vec<Value>, f64, f64)>,
}

/// A generator of Marsaglia's.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A condition in CQL2 and in SQL.
type Both = (String, String);

struct Maker<'a> {
    table: &'a Table,
    random: Random,
}

impl Maker<'_> {
    fn condition(&mut self, depth: usize) -> Both {
        match self.random.below(10) {
            0..4 => self.term(),
            _ if depth == 3 => self.term(),
            4 | 5 => {
                let (cql, sql) = self.condition(depth + 1);
                (format!("NOT ({cql})"), format!("NOT ({sql})"))
            }
            other => {
                let with = if other < 8 { " AND " } else { " OR " };
                let terms: Vec<Both> = (0..2 + self.random.below(2)).map(|_| self.condition(depth + 1)).collect();
                let joined = |side: fn(&Both) -> &str| format!("({})", terms.iter().map(side).collect::<Vec<_>>().join(with));
                (joined(|both| &both.0), joined(|both| &both.1))
            }
        }
    }

    fn term(&mut self) -> Both {
        if self.random.below(12) == 0 {
            return self.place();
        }
        let column = self.random.below(self.table.columns.len());
        let (name, kind) = self.table.columns[column];
        let name = format!("\"{name}\"");
        let not = *self.random.of(&["", "NOT "]);
        if self.random.below(8) == 0 {
            let both = format!("{name} IS {not}NULL");
            return (both.clone(), both);
        }
        let sign = *self.random.of(&["=", "<>", "<", "<=", ">", ">="]);
        match kind {
            Kind::Text => self.text(&name, column, not, sign),
            Kind::Boolean => {
                let value = *self.random.of(&["TRUE", "FALSE"]);
                (format!("{name} = {value}"), format!("{name} = {value}"))
            }
            Kind::Number | Kind::Time => {
                let values: Vec<Both> = (0..2 + self.random.below(2)).map(|_| self.value(column)).collect();
                let side = |side: fn(&Both) -> &str, form: usize| {
                    let of: Vec<&str> = values.iter().map(side).collect();
                    match form {
                        0 => format!("{name} {not}BETWEEN {} AND {}", of[0], of[1]),
                        1 => format!("{name} {not}IN ({})", of.join(", ")),
                        2 => format!("{} {sign} {name}", of[0]),
                        _ => format!("{name} {sign} {}", of[0]),
                    }
                };
                let form = self.random.below(5);
                (side(|both| &both.0, form), side(|both| &both.1, form))
            }
        }
    }

    /// A value that occurs, or one near it.
    fn value(&mut self, column: usize) -> Both {
        if self.random.below(20) == 0 {
            return ("NULL".into(), "NULL".into());
        }
        let rows = self.table.rows.len();
        let shift: f64 = *self.random.of(&[0.0, 0.0, 0.5, -0.25, 1.0]);
        match &self.table.rows[self.random.below(rows)].0[column] {
            Value::Integer(us) if self.table.columns[column].1 == Kind::Time => {
                let us = us + (shift * 4000.0) as i64;
                (format!("TIMESTAMP('{}')", jiff::Timestamp::from_microsecond(us).unwrap()), us.to_string())
            }
            Value::Integer(value) if shift.fract() == 0.0 => {
                let text = (value + shift as i64).to_string();
                (text.clone(), text)
            }
            Value::Integer(value) => {
                let text = format!("{:?}", *value as f64 + shift);
                (text.clone(), text)
            }
            Value::Real(value) => {
                let text = format!("{:?}", value + shift);
                (text.clone(), text)
            }
            _ => ("NULL".into(), "NULL".into()),
        }
    }

    fn text(&mut self, name: &str, column: usize, not: &str, sign: &str) -> Both {
        let rows = self.table.rows.len();
        let mut word = || match &self.table.rows[self.random.below(rows)].0[column] {
            Value::Text(text) => text.clone(),
            _ => "nothing".to_owned(),
        };
        let (word, other) = (word(), word());
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let swapped: String =
            word.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
        let start: String = word.chars().take(self.random.below(6)).collect();
        let escaped = start.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let pattern = format!("{}{escaped}{}", self.random.of(&["", "%", "_"]), self.random.of(&["", "%", "_%"]));
        match self.random.below(6) {
            0 | 1 => (format!("{name} {sign} {}", quoted(&word)), format!("{name} {sign} {}", quoted(&word))),
            2 => {
                let both = format!("{name} {not}IN ({}, {})", quoted(&word), quoted(&other));
                (both.clone(), both)
            }
            3 => (format!("CASEI({name}) = CASEI({})", quoted(&swapped)), format!("lower({name}) = lower({})", quoted(&swapped))),
            4 => {
                let like = format!("{not}LIKE {}", quoted(&pattern));
                (format!("{name} {like}"), format!("{name} {like} ESCAPE '\\'"))
            }
            _ => {
                let sql = format!("lower({name}) {not}LIKE lower({}) ESCAPE '\\'", quoted(&pattern));
                (format!("{name} {not}ILIKE {}", quoted(&pattern)), sql)
            }
        }
    }

    /// A box around a row's place, also across the antimeridian.
    fn place(&mut self) -> Both {
        let rows = self.table.rows.len();
        let (_, lon, lat) = self.table.rows[self.random.below(rows)];
        let (width, height) = (self.random.below(60) as f64, self.random.below(30) as f64);
        let (south, north) = ((lat - height).max(-85.0), (lat + height).min(85.0));
        let (mut west, mut east) = (lon - width, lon + width);
        if west < -180.0 {
            west += 360.0;
        }
        if east > 180.0 {
            east -= 360.0;
        }
        let (x_west, x_east) = (world_from_lonlat(west, 0.0).unwrap().x, world_from_lonlat(east, 0.0).unwrap().x);
        let (y_north, y_south) = (world_from_lonlat(0.0, north).unwrap().y, world_from_lonlat(0.0, south).unwrap().y);
        let between = if west <= east { format!("x BETWEEN {x_west} AND {x_east}") } else { format!("(x >= {x_west} OR x <= {x_east})") };
        (
            format!("S_INTERSECTS(geometry, BBOX({west:?}, {south:?}, {east:?}, {north:?}))"),
            format!("({between} AND y BETWEEN {y_north} AND {y_south})"),
        )
    }
}

fn sqlite(table: &Table) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    // SQL's LIKE minds the case of letters; SQLite's does when told to.
    connection.execute_batch("PRAGMA case_sensitive_like = ON").unwrap();
    // No declared types: values stay as they are given.
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    connection.execute_batch(&format!("CREATE TABLE points (x, y, {})", names.join(", "))).unwrap();
    let marks = vec!["?"; table.columns.len() + 2].join(", ");
    let transaction = connection.unchecked_transaction().unwrap();
    let mut insert = connection.prepare(&format!("INSERT INTO points VALUES ({marks})")).unwrap();
    for (values, lon, lat) in &table.rows {
        let at = world_from_lonlat(*lon, *lat).unwrap();
        let place = [Value::Integer(at.x.into()), Value::Integer(at.y.into())];
        insert.execute(rusqlite::params_from_iter(place.iter().chain(values))).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
    connection
}

/// Asks both, filter after filter.
fn compare(table: &Table, input: &Path, seed: u64) {
    let folder = TempDir::new().unwrap();
    let output = Command::new(PROGRAM).arg("ingest").arg(input).arg("-o").arg(folder.path().join("points")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let served = Served::start(&folder.path().join("points"), &["--backend", "cpu"]);
    let connection = sqlite(table);
    let mut maker = Maker { table, random: Random(seed) };
    let mut some = 0;
    for _ in 0..FILTERS {
        let (cql, sql) = maker.condition(0);
        let encoded: String = cql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let got = served.get(&format!("/points/points?limit=0&filter={encoded}"));
        assert_eq!(got.status, 200, "{cql}: {}", got.text());
        let expected: i64 = connection.query_row(&format!("SELECT count(*) FROM points WHERE {sql}"), [], |row| row.get(0)).unwrap();
        assert_eq!(got.json()["total"], expected, "CQL2 {cql}\nSQL  {sql}");
        some += usize::from(expected > 0 && (expected as usize) < table.rows.len());
    }
    assert!(some > FILTERS / 3, "only {some} of {FILTERS} filters select some rows and not all");
}

fn or_null<T>(value: Option<T>, as_value: impl Fn(T) -> Value) -> Value {
    value.map_or(Value::Null, as_value)
}

#[test]
fn generated_filters_select_what_sql_selects() {
    const NAMES: [&str; 8] = ["Alder", "alder", "O'Hara", "50%_off", "back\\slash", "BIRCH tree", "birch", "_"];
    let columns = vec![
        ("name", Kind::Text), ("size", Kind::Number), ("cell", Kind::Number), ("depth", Kind::Number), ("seen", Kind::Time), ("open", Kind::Boolean),
    ];
    let mut csv = String::from("lon,lat,name,size,cell,depth,seen,open\n");
    let mut rows = Vec::new();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..1500 {
        let (lon, lat) = (random.below(3600) as f64 / 10.0 - 180.0, random.below(1600) as f64 / 10.0 - 80.0);
        let mut maybe = |n: usize| (random.below(7) > 0).then(|| random.below(n));
        let name = maybe(NAMES.len()).map(|i| NAMES[i]);
        let size = maybe(300).map(|n| n as i64 - 150);
        let cell = maybe(1 << 40).map(|n| n as i64 * 8 - (1 << 42));
        let depth = maybe(100_000).map(|n| n as f64 / -7.0);
        // From 1950 to 1990, to the millisecond.
        let seen = maybe(1_262_304_000_000).map(|ms| (ms as i64 - 631_152_000_000) * 1000);
        let open = maybe(2).map(|n| n == 1);
        let text = |value: Option<String>| value.unwrap_or_default();
        writeln!(
            csv, "{lon},{lat},{},{},{},{},{},{}",
            text(name.map(|n| format!("\"{n}\""))), text(size.map(|n| n.to_string())), text(cell.map(|n| n.to_string())),
            text(depth.map(|n| n.to_string())), text(seen.map(|us| jiff::Timestamp::from_microsecond(us).unwrap().to_string())),
            text(open.map(|open| open.to_string())),
        )
        .unwrap();
        let values = vec![
            or_null(name, |name| Value::Text(name.to_owned())), or_null(size, Value::Integer), or_null(cell, Value::Integer),
            or_null(depth, Value::Real), or_null(seen, Value::Integer), or_null(open, |open| Value::Integer(open.into())),
        ];
        rows.push((values, lon, lat));
    }
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("points.csv");
    std::fs::write(&input, csv).unwrap();
    compare(&Table { columns, rows }, &input, 11);
}

#[test]
fn generated_filters_select_what_sql_selects_of_earthquakes() {
    let Some(path) = crate::real_data::real("usgs-earthquakes-2015-08.csv.gz") else { return };
    let columns = vec![
        ("time", Kind::Time), ("depth", Kind::Number), ("mag", Kind::Number), ("magType", Kind::Text), ("nst", Kind::Number), ("gap", Kind::Number),
        ("dmin", Kind::Number), ("rms", Kind::Number), ("net", Kind::Text), ("id", Kind::Text), ("updated", Kind::Time), ("place", Kind::Text),
        ("type", Kind::Text),
    ];
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()), &mut text).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|known| known == name).unwrap();
    let rows = reader.records().map(Result::unwrap).map(|record| {
        let value = |(name, kind): &(&str, Kind)| match (&record[place(name)], kind) {
            ("", _) => Value::Null,
            (text, Kind::Text) => Value::Text(text.to_owned()),
            (text, Kind::Time) => Value::Integer(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()),
            (text, _) => Value::Real(text.parse().unwrap()),
        };
        let degrees = |name: &str| record[place(name)].parse::<f64>().unwrap();
        (columns.iter().map(value).collect(), degrees("longitude"), degrees("latitude"))
    });
    let rows = rows.collect();
    let input: PathBuf = path;
    compare(&Table { columns, rows }, &input, 5);
}

/// The lines of the code blocks of a language in a page of docs.
fn examples(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_examples_of_the_docs_are_answered() {
    let folder = TempDir::new().unwrap();
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ais-1000.csv.gz");
    let output = Command::new(PROGRAM).arg("ingest").arg(&input).arg("-o").arg(folder.path().join("ships")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let served = Served::start(&folder.path().join("ships"), &["--backend", "cpu"]);
    let total = |filter: &str| {
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        served.get(&format!("/ships/points?limit=0&filter={encoded}"))
    };
    let filters = examples("filters.md", "cql2");
    assert!(filters.len() > 25, "{filters:?}");
    for filter in &filters {
        let got = total(filter);
        assert_eq!(got.status, 200, "{filter}: {}", got.text());
        let selected = got.json()["total"].as_u64().unwrap();
        assert!(selected > 0, "{filter} selects nothing");
    }
    let addresses = [examples("filters.md", "address"), examples("aggregates.md", "address")].concat();
    assert!(addresses.len() > 15, "{addresses:?}");
    for address in &addresses {
        let got = served.get(&address.replace("{z}/{x}/{y}", "2/1/2"));
        assert_eq!(got.status, 200, "{address}: {}", String::from_utf8_lossy(&got.body));
    }
    let [question] = &examples("filters.md", "json").chunks(3).map(|lines| lines.concat()).collect::<Vec<_>>()[..] else {
        panic!("there is one question")
    };
    let got = served.post("/ships/crossfilter", question);
    assert_eq!(got.status, 200, "{question}: {}", got.text());
    // | `filter` | how the answer begins |
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/filters.md")).unwrap();
    let wrong: Vec<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")).collect();
    assert!(wrong.len() > 5, "{wrong:?}");
    for (filter, answer) in wrong {
        let got = total(filter);
        assert_eq!(got.status, 400, "{filter}");
        let detail = got.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(answer), "{filter}: {detail}");
    }
}
