//! Reading inputs into the store: one thread reads and cuts, the others parse and project, in windows that keep the order.

use super::arrow_files;
use super::batch::Batch;
use super::delimited::{self, Block, SplitError};
use super::dialect::Dialect;
use super::error::IngestError;
use super::inputs::{Content, Input};
use super::json::{self, Layout};
use super::plan::Plan;
use super::rejects::Rejects;
use super::store::Store;
use super::{Observer, Step};
use arrow::array::RecordBatch;
use crate::dataset::ColumnKind;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pieces that are converted at a time, per thread: enough that a slow one does not keep the others waiting long.
const PIECES_PER_THREAD: usize = 4;

/// An input, and how it is read.
#[derive(Clone, Debug)]
pub struct Source {
    pub input: Input,
    pub format: Format,
    /// The names of its columns.
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Delimited(Dialect),
    Json(Layout),
    Columnar(Content),
}

/// A part of a source that can be converted on its own.
enum Piece {
    Text(Block),
    Rows { batch: RecordBatch, first_row: u64 },
}

/// What a pass met that the plan did not foresee.
#[derive(Debug, Default)]
pub struct Surprises {
    /// Per column, the kind of the values that do not fit its planned kind.
    pub kinds: Vec<Option<ColumnKind>>,
    /// Columns that appeared after the beginning.
    pub columns: BTreeMap<String, Option<ColumnKind>>,
}

impl Surprises {
    fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.kinds.iter().all(Option::is_none)
    }
}

/// What one pass over the inputs found.
pub struct Pass {
    pub rows: u64,
    pub store: Store,
    pub latin1_fields: u64,
    /// Per source, its rows.
    pub sources: Vec<SourceRows>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SourceRows {
    pub all: u64,
    /// Without a place on the map.
    pub rejected: u64,
}

/// Reads everything once.
///
/// # Errors
/// A source that cannot be read to its end; or `Ok(Err(surprises))` where the plan does not hold: widen it and read again.
pub fn pass(
    sources: &[Source],
    plan: &Plan,
    store: Store,
    rejects: &mut Rejects,
    observer: &dyn Observer,
) -> Result<Result<Pass, Surprises>, IngestError> {
    let threads = rayon::current_num_threads();
    let total: u64 = sources.iter().map(|source| source.input.bytes).sum();
    let step = observer.start(Step::Read, Some(total));
    let read = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = sync_channel(threads * PIECES_PER_THREAD);
    std::thread::scope(|scope| {
        // Of this closure, so that it goes with an error: the reader would wait at a full channel for ever, and the scope for it.
        let receiver = receiver;
        let read_bytes = read.clone();
        scope.spawn(move || {
            if let Err(error) = read_sources(sources, plan, &read_bytes, &sender) {
                // A receiver that is gone has an error of its own.
                let _ = sender.send(Err(error));
            }
        });
        let mut pass = Pass { rows: 0, store, latin1_fields: 0, sources: vec![SourceRows::default(); sources.len()] };
        let mut surprises = Surprises { kinds: vec![None; plan.columns.len()], columns: BTreeMap::new() };
        let mut reported = 0;
        loop {
            let pieces = window(&receiver, threads * PIECES_PER_THREAD)?;
            if pieces.is_empty() {
                break;
            }
            let converted: Vec<(usize, Batch)> = pieces
                .into_par_iter()
                .map(|(source, piece)| convert(&sources[source], piece, plan).map(|batch| (source, batch)))
                .collect::<Result<_, _>>()?;
            let mut batches = Vec::with_capacity(converted.len());
            let rows_before = pass.rows;
            for (source, batch) in converted {
                let rows = (batch.keys.len() + batch.rejects.len()) as u64 + batch.unwanted;
                pass.rows += rows;
                pass.sources[source].all += rows;
                pass.sources[source].rejected += batch.rejects.len() as u64;
                pass.latin1_fields += batch.latin1_fields;
                rejects.add(&sources[source].input.label(), &batch.rejects)?;
                rejects.count_unwanted(batch.unwanted);
                for (known, new) in surprises.kinds.iter_mut().zip(&batch.contradictions) {
                    *known = super::value::wider(*known, *new);
                }
                if plan.takes_new_columns {
                    for (name, kind) in &batch.unplanned {
                        let known = surprises.columns.entry(name.clone()).or_insert(None);
                        *known = super::value::wider(*known, *kind);
                    }
                    super::plan::few_enough(plan.columns.len() + surprises.columns.len())?;
                }
                batches.push(batch);
            }
            if surprises.is_empty() {
                pass.store.append(&batches)?;
            }
            let now = read.load(Ordering::Relaxed);
            step.advance(now - reported, pass.rows - rows_before);
            reported = now;
        }
        step.finish();
        Ok(if surprises.is_empty() { Ok(pass) } else { Err(surprises) })
    })
}

type Message = Result<(usize, Piece), IngestError>;

/// The next pieces, in order; none at the end.
fn window(receiver: &Receiver<Message>, pieces_max: usize) -> Result<Vec<(usize, Piece)>, IngestError> {
    let mut pieces = Vec::with_capacity(pieces_max);
    while pieces.len() < pieces_max {
        match receiver.recv() {
            Ok(message) => pieces.push(message?),
            Err(_) => break,
        }
    }
    Ok(pieces)
}

/// The collector went away: it has an error of its own.
struct Gone;

fn read_sources(sources: &[Source], plan: &Plan, read: &Arc<AtomicU64>, sender: &SyncSender<Message>) -> Result<(), IngestError> {
    for (place, source) in sources.iter().enumerate() {
        let send = |piece| sender.send(Ok((place, piece))).map_err(|_| Gone);
        let stopped = match source.format {
            Format::Delimited(dialect) => source.input.with_bytes(read, |reader| {
                stopped(&source.input, delimited::split(reader, dialect, |block| send(Piece::Text(block))))
            })?,
            Format::Json(layout) => source.input.with_bytes(read, |reader| {
                stopped(&source.input, json::split(reader, layout, |block| send(Piece::Text(block))))
            })?,
            Format::Columnar(content) => {
                let wanted: Vec<String> = plan.columns.iter().map(|column| column.name.clone()).collect();
                arrow_files::with_batches(&source.input, content, &wanted, |_, batches| {
                    let mut first_row = 1;
                    for batch in batches {
                        let batch = batch.map_err(|error| arrow_files::damaged(&source.input, &error))?;
                        let rows = batch.num_rows() as u64;
                        if send(Piece::Rows { batch, first_row }).is_err() {
                            return Ok(true);
                        }
                        first_row += rows;
                    }
                    read.fetch_add(source.input.bytes, Ordering::Relaxed);
                    Ok(false)
                })?
            }
        };
        if stopped {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the collector went away while `input` was split.
fn stopped(input: &Input, split: Result<(), SplitError<Gone>>) -> Result<bool, IngestError> {
    match split {
        Ok(()) => Ok(false),
        Err(SplitError::Stopped(Gone)) => Ok(true),
        Err(SplitError::Io(error)) => Err(input.damaged(&error)),
        Err(SplitError::Unreadable(what)) => Err(IngestError::unreadable(&input.label(), what)),
    }
}

fn convert(source: &Source, piece: Piece, plan: &Plan) -> Result<Batch, IngestError> {
    match (piece, source.format) {
        (Piece::Text(block), Format::Delimited(dialect)) => {
            Ok(delimited::parse(&block, dialect, plan, &plan.fields(&source.names), source.names.len()))
        }
        (Piece::Text(block), Format::Json(layout)) => Ok(json::parse(&block, layout, plan)),
        (Piece::Rows { batch, first_row }, _) => {
            let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
            arrow_files::convert(&batch, first_row, plan, &plan.fields(&super::names::unique(names.into_iter())))
                .map_err(|error| arrow_files::damaged(&source.input, &error))
        }
        _ => unreachable!("text pieces come from text sources"),
    }
}
