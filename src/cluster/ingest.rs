//! An ingest whose projecting, partitioning and sorting executors do.
//!
//! ```text
//! partition   a job for each window of rows of each input: key and row number, written to a file for each cell of the window
//! sort        a job for each run of neighbouring cells: one file, by (key, row number)
//! write       here: the sorted files, in the order of their cells, are ingested as any input is
//! ```
//!
//! Types, dictionaries, rejects and statistics are therefore the local ingest's own, and so is the dataset: it reads the same rows,
//! and what it does with them depends on their order only where keys are equal. There row numbers keep the order of the input.

use super::ClusterError;
use super::functions::key_function;
use super::session::{Address, attempt, connect};
use crate::dataset::write::DatasetWriter;
use crate::ingest::{IngestError, IngestOptions, Observer, Step, Summary, Survey, ingest_into, survey_parquet};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{Expr, ParquetReadOptions, SessionContext, ident};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Level of the cells that rows are partitioned by: 256 at most, as many files as an executor has open at a time.
const CELL_LEVEL: u32 = 4;

/// Bits of a key below its cell.
const CELL_SHIFT: u32 = 64 - 2 * CELL_LEVEL;

/// Cells are numbered from 0 in the order of keys; keys in SQL begin below 0.
const CELL_FIRST: i64 = 1 << (2 * CELL_LEVEL - 1);

/// The cell of rows without a key, which the local ingest will reject.
const NO_CELL: i64 = -1;

/// The most windows of a file. A window reads past all rows before it, so the cost of windows grows with their square.
const WINDOWS_MAX: u64 = 8;

/// Jobs that are under way at a time, on whatever executors there are.
const JOBS_MAX: usize = 8;

const KEY: &str = "pointillist_key";
const ROW: &str = "pointillist_row";
const CELL: &str = "pointillist_cell";

/// Who does the work, and how it is cut.
#[derive(Clone, Debug)]
pub struct ClusterWork {
    pub scheduler: Address,
    /// Rows of a job: what an executor sorts at a time, spilling beyond its memory.
    pub job_rows: u64,
    /// How long a job may take, with everything that it waits for.
    pub deadline: Duration,
}

/// Makes a dataset that equals the one that [`crate::ingest::ingest`] makes. Inputs are Parquet files that executors see under the
/// same paths, as they do the folder of the output.
///
/// # Errors
/// Inputs that are no Parquet, a cluster that does not do its work in time, or whatever a local ingest fails with; nothing is left
/// behind then.
pub fn ingest(options: &IngestOptions, work: &ClusterWork, observer: &dyn Observer) -> Result<Summary, ClusterError> {
    let started = Instant::now();
    if options.rejects.is_some() {
        let what = "the cluster engine counts rejected rows and does not list them: leave out --rejects, or ingest without --engine";
        return Err(IngestError::Usage(what.into()).into());
    }
    // Before anything else, so that an output that cannot be written is known first; on failure it removes all that lies in it.
    let writer = DatasetWriter::create(&options.output, options.replace).map_err(IngestError::from)?;
    let survey = survey_parquet(options)?;
    let scratch = writer.folder().join("spill");
    std::fs::create_dir_all(&scratch).map_err(ClusterError::io("create", &scratch))?;
    let scratch = scratch.canonicalize().map_err(ClusterError::io("find", &scratch))?;
    let runtime = tokio::runtime::Runtime::new().map_err(ClusterError::node)?;
    let sorted = runtime.block_on(async {
        let jobs = Jobs { context: connect(&work.scheduler).await?, survey: Arc::new(survey.clone()), scratch: scratch.clone(), work };
        let cells = jobs.partition(observer).await?;
        jobs.sort(cells, observer).await
    })?;
    // What was given up may still be running somewhere, but nobody waits for it here.
    runtime.shutdown_background();
    let options = IngestOptions { inputs: sorted, ..options.clone() };
    let mut summary = ingest_into(writer, &options, observer)?;
    summary.input_bytes = survey.bytes;
    summary.files = survey.files.len();
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// Folders with the rows of a cell, and how many there are.
#[derive(Default)]
struct Cell {
    folders: Vec<PathBuf>,
    rows: u64,
}

/// Rows of an input that are read in one job.
#[derive(Clone, Debug)]
struct Window {
    file: PathBuf,
    /// The place of the window's first row in the file.
    skip: u64,
    rows: u64,
    /// The number of the window's first row among those of all inputs.
    first_row: u64,
    /// It is the whole file.
    is_all: bool,
}

struct Jobs<'a> {
    context: SessionContext,
    survey: Arc<Survey>,
    scratch: PathBuf,
    work: &'a ClusterWork,
}

impl Jobs<'_> {
    /// Writes every window's rows into a file for each cell.
    async fn partition(&self, observer: &dyn Observer) -> Result<BTreeMap<i64, Cell>, ClusterError> {
        let windows = windows(&self.survey.files, self.work.job_rows)?;
        let step = observer.start(Step::Partition, Some(windows.iter().map(|window| window.rows).sum()));
        let deadline = self.work.deadline;
        let jobs = windows.into_iter().enumerate().map(|(place, window)| {
            let (context, survey, scratch) = (self.context.clone(), self.survey.clone(), self.scratch.clone());
            async move {
                let what = format!("to partition rows {} and on of {}", window.skip, window.file.display());
                let work = |number| {
                    let (context, survey, window) = (context.clone(), survey.clone(), window.clone());
                    let folder = scratch.join(format!("partition-{place:05}-{number}"));
                    async move { partition(&context, &survey, &window, &format!("input_{place}_{number}"), &folder).await }
                };
                let cells = attempt(&what, deadline, work).await?;
                Ok((window.rows, cells))
            }
        });
        let mut all: BTreeMap<i64, Cell> = BTreeMap::new();
        let done = |(rows, cells): (u64, BTreeMap<i64, Cell>)| {
            step.advance(rows, 0);
            for (number, cell) in cells {
                let known = all.entry(number).or_default();
                known.folders.extend(cell.folders);
                known.rows += cell.rows;
            }
        };
        run(jobs.collect(), done).await?;
        step.finish();
        Ok(all)
    }

    /// Sorts neighbouring cells together; the sorted files in the order of their cells, rows without a place last.
    async fn sort(&self, mut cells: BTreeMap<i64, Cell>, observer: &dyn Observer) -> Result<Vec<PathBuf>, ClusterError> {
        let rejected = cells.remove(&NO_CELL);
        let step = observer.start(Step::Sort, Some(cells.values().map(|cell| cell.rows).sum()));
        let mut runs = runs(cells, self.work.job_rows);
        runs.extend(rejected);
        let count = runs.len();
        let deadline = self.work.deadline;
        let jobs = runs.into_iter().enumerate().map(|(place, run)| {
            let (context, survey, scratch) = (self.context.clone(), self.survey.clone(), self.scratch.clone());
            async move {
                let what = format!("to sort run {} of {count}", place + 1);
                let run = Arc::new(run);
                let work = |number| {
                    let (context, survey, run) = (context.clone(), survey.clone(), run.clone());
                    let file = scratch.join(format!("sorted-{place:05}-{number}.parquet"));
                    async move { sort(&context, &survey, &run, &file).await.map(|()| file) }
                };
                let file = attempt(&what, deadline, work).await?;
                // What has been sorted is needed no longer, and takes as much of the disk.
                for folder in &run.folders {
                    std::fs::remove_dir_all(folder).map_err(ClusterError::io("remove", folder))?;
                }
                Ok((place, run.rows, file))
            }
        });
        let mut files = BTreeMap::new();
        run(jobs.collect(), |(place, rows, file)| {
            step.advance(rows, 0);
            files.insert(place, file);
        })
        .await?;
        step.finish();
        Ok(files.into_values().collect())
    }
}

/// Runs jobs, some at a time, and hands over what each answers. The first error ends them all.
async fn run<T: Send + 'static>(
    jobs: Vec<impl Future<Output = Result<T, ClusterError>> + Send + 'static>,
    mut done: impl FnMut(T),
) -> Result<(), ClusterError> {
    let places = Arc::new(Semaphore::new(JOBS_MAX));
    let mut running = JoinSet::new();
    for job in jobs {
        let places = places.clone();
        running.spawn(async move {
            let _place = places.acquire_owned().await.map_err(ClusterError::node)?;
            job.await
        });
    }
    while let Some(answer) = running.join_next().await {
        done(answer.map_err(ClusterError::node)??);
    }
    Ok(())
}

async fn partition(
    context: &SessionContext,
    survey: &Survey,
    window: &Window,
    table: &str,
    folder: &Path,
) -> Result<BTreeMap<i64, Cell>, ClusterError> {
    std::fs::create_dir_all(folder).map_err(ClusterError::io("create", folder))?;
    let write = async {
        context.register_parquet(table, text(&window.file), ParquetReadOptions::default()).await?;
        let rows = context.sql(&partition_sql(survey, window, table)).await?;
        rows.write_parquet(&folder_text(folder), DataFrameWriteOptions::new().with_partition_by(vec![CELL.to_owned()]), None).await
    };
    write.await.map_err(ClusterError::node)?;
    let cells = cells(folder)?;
    expect_rows(folder, window.rows, cells.values().map(|cell| cell.rows).sum())?;
    Ok(cells)
}

/// A window's rows, with key, row number and cell.
fn partition_sql(survey: &Survey, window: &Window, table: &str) -> String {
    let columns: Vec<String> = survey.columns.iter().map(|name| quoted(name)).collect();
    let columns = columns.join(", ");
    let (x, y, key) = (quoted(&survey.x), quoted(&survey.y), key_function(survey.crs));
    let Window { skip, rows, first_row, is_all, .. } = window;
    let limit = if *is_all { String::new() } else { format!(" LIMIT {rows} OFFSET {skip}") };
    format!(
        "SELECT {columns}, {KEY}, {ROW}, CAST(coalesce(({KEY} >> {CELL_SHIFT}) + {CELL_FIRST}, {NO_CELL}) AS VARCHAR) AS {CELL} \
         FROM (SELECT {columns}, {key}(TRY_CAST({x} AS DOUBLE), TRY_CAST({y} AS DOUBLE)) AS {KEY}, \
         CAST(row_number() OVER () AS BIGINT) + {first_row} AS {ROW} \
         FROM (SELECT {columns} FROM {table}{limit}))"
    )
}

async fn sort(context: &SessionContext, survey: &Survey, run: &Cell, file: &Path) -> Result<(), ClusterError> {
    let folders: Vec<String> = run.folders.iter().map(|folder| folder_text(folder)).collect();
    let columns: Vec<Expr> = survey.columns.iter().map(ident).collect();
    let write = async {
        let rows = context.read_parquet(folders, ParquetReadOptions::default()).await?;
        let rows = rows.sort(vec![ident(KEY).sort(true, true), ident(ROW).sort(true, true)])?.select(columns)?;
        rows.write_parquet(text(file), DataFrameWriteOptions::new().with_single_file_output(true), None).await
    };
    write.await.map_err(ClusterError::node)?;
    expect_rows(file, run.rows, rows_of(file)?)
}

/// Cuts files into windows of at most about `job_rows` rows.
fn windows(files: &[PathBuf], job_rows: u64) -> Result<Vec<Window>, ClusterError> {
    let mut windows = Vec::new();
    let mut first_row = 0;
    for file in files {
        let all = rows_of(file)?;
        let count = all.div_ceil(job_rows.max(1)).clamp(1, WINDOWS_MAX);
        let each = all.div_ceil(count);
        for skip in (0..all).step_by(each.max(1) as usize) {
            let rows = each.min(all - skip);
            windows.push(Window { file: file.clone(), skip, rows, first_row: first_row + skip, is_all: rows == all });
        }
        first_row += all;
    }
    Ok(windows)
}

/// Joins neighbouring cells as long as they have at most `job_rows` rows together.
fn runs(cells: BTreeMap<i64, Cell>, job_rows: u64) -> Vec<Cell> {
    let mut runs: Vec<Cell> = Vec::new();
    for cell in cells.into_values() {
        match runs.last_mut() {
            Some(run) if run.rows + cell.rows <= job_rows => {
                run.folders.extend(cell.folders);
                run.rows += cell.rows;
            }
            _ => runs.push(cell),
        }
    }
    runs
}

/// The cells that a job has written, and their rows.
fn cells(folder: &Path) -> Result<BTreeMap<i64, Cell>, ClusterError> {
    let mut cells = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(ClusterError::io("read", folder))? {
        let path = entry.map_err(ClusterError::io("read", folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = name.strip_prefix(CELL).and_then(|rest| rest.strip_prefix('=')).and_then(|number| number.parse().ok());
        let unknown = || ClusterError::Incomplete { folder: folder.to_owned(), cause: format!("{name} is no cell") };
        let mut cell = Cell { folders: vec![path.clone()], rows: 0 };
        for file in std::fs::read_dir(&path).map_err(ClusterError::io("read", &path))? {
            cell.rows += rows_of(&file.map_err(ClusterError::io("read", &path))?.path())?;
        }
        cells.insert(number.ok_or_else(unknown)?, cell);
    }
    Ok(cells)
}

/// What a job wrote must be all of it, once: a task that dies and is done again leaves more, or a file that is cut.
fn expect_rows(place: &Path, expected: u64, found: u64) -> Result<(), ClusterError> {
    let cause = format!("{found} of {expected} rows were written");
    if found == expected { Ok(()) } else { Err(ClusterError::Incomplete { folder: place.to_owned(), cause }) }
}

/// Rows of a Parquet file.
fn rows_of(path: &Path) -> Result<u64, ClusterError> {
    let file = File::open(path).map_err(ClusterError::io("open", path))?;
    let damaged = |error| ClusterError::Incomplete { folder: path.to_owned(), cause: format!("a file is cut ({error})") };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    Ok(builder.metadata().file_metadata().num_rows() as u64)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the survey takes no paths that are no text, and those of the scratch folder are made of ours")
}

/// DataFusion takes for a folder what ends with a slash.
fn folder_text(folder: &Path) -> String {
    format!("{}/", text(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_cells_are_sorted_together() {
        let cell = |rows| Cell { folders: Vec::new(), rows };
        let cells = [(0, 5), (3, 5), (4, 1), (9, 30), (10, 2)].map(|(number, rows)| (number, cell(rows)));
        let rows: Vec<u64> = runs(cells.into(), 10).iter().map(|run| run.rows).collect();
        assert_eq!(rows, [10, 1, 30, 2]);
    }

    #[test]
    fn a_job_that_wrote_too_little_or_too_much_is_seen() {
        assert!(expect_rows(Path::new("f"), 7, 7).is_ok());
        for found in [6, 14] {
            let error = expect_rows(Path::new("f"), 7, found).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{found} of 7 rows were written")), "{error}");
        }
    }

    #[test]
    fn names_are_quoted_as_sql_wants() {
        assert_eq!(quoted(r#"a "b" C"#), r#""a ""b"" C""#);
    }
}
