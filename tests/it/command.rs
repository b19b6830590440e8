//! Running the built binary, and looking at the datasets that it makes.

use pointillist::dataset::{ColumnId, Dataset, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// A run of the binary: exit code, standard output, standard error.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn pointillist<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(arguments: I) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_pointillist")).args(arguments))
}

pub fn run(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().expect("the binary can be started");
    Run {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("answers are UTF-8"),
        stderr: String::from_utf8(stderr).expect("messages are UTF-8"),
    }
}

impl Run {
    /// The one error line.
    pub fn error(&self) -> &str {
        self.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("no error line in: {}", self.stderr))
    }
}

/// Ingests `input` into `folder/out` and opens the dataset; also gives the summary.
pub fn ingest(folder: &Path, input: &Path, more: &[&str]) -> (Dataset, serde_json::Value) {
    let output = folder.join("out");
    let mut arguments = vec!["ingest", input.to_str().unwrap(), "-o", output.to_str().unwrap(), "--json", "--force"];
    arguments.extend(more);
    let run = pointillist(&arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).expect("--json prints JSON");
    (Dataset::open(&output).unwrap(), summary)
}

/// All points of a dataset in order: key, and values by column name as text.
pub fn points(dataset: &Dataset) -> Vec<(u64, BTreeMap<String, String>)> {
    let mut points = Vec::new();
    for part in &dataset.parts {
        for position in 0..part.rows() {
            let value = |(place, column): (usize, &pointillist::dataset::Column)| {
                let id = ColumnId(place);
                (column.name.clone(), dataset.value(id, part.column(id).get(position as usize)).to_string())
            };
            points.push((part.key(position).0, dataset.columns().iter().enumerate().map(value).collect()));
        }
    }
    points
}

/// The values of one column, sorted, as text.
pub fn column(dataset: &Dataset, name: &str) -> Vec<String> {
    let mut values: Vec<String> = points(dataset).into_iter().map(|(_, mut row)| row.remove(name).unwrap()).collect();
    values.sort();
    values
}

/// The kind, in lower case, of a column.
pub fn kind(dataset: &Dataset, name: &str) -> String {
    let id = dataset.column_id(name).unwrap_or_else(|| panic!("no column {name}"));
    format!("{:?}", dataset.column(id).kind).to_lowercase()
}

/// The distinct values of a dictionary column and their counts.
pub fn counts(dataset: &Dataset, name: &str) -> BTreeMap<String, u64> {
    let id = dataset.column_id(name).unwrap();
    let dictionary = dataset.dictionary(id).expect("it is a dictionary column");
    (1..=dictionary.len() as u64)
        .map(|key| (match dictionary.value(key) { Value::Text(text) => text, other => other.to_string() }, dictionary.count(key)))
        .collect()
}
