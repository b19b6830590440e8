//! CSV and its kin: cut into blocks of whole records on one thread, parsed into batches on the others.
//!
//! The `csv` crate and not arrow's reader does the parsing, because real files are ragged: rows with more fields than the
//! header names, empty lines, quotes in the middle of a field.

use super::batch::{Batch, BatchBuilder};
use super::dialect::Dialect;
use super::plan::Plan;
use super::rejects::Reason;
use std::io::Read;

/// Bytes of a block: some thousand records, so that threads share evenly; a few of them in flight cost little memory.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest record: beyond it, it is a quote that nobody closed.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Whole records of a file.
#[derive(Debug)]
pub struct Block {
    pub bytes: Vec<u8>,
    /// The line of the file, from 1, on which the block begins.
    pub first_line: u64,
    /// The first record is the header.
    pub header: bool,
}

/// Why a file cannot be cut into records.
#[derive(Debug)]
pub enum SplitError<E> {
    Io(std::io::Error),
    /// What is wrong with the file, in words that follow its name.
    Unreadable(String),
    /// The receiver does not want more.
    Stopped(E),
}

/// Cuts `reader` into blocks.
pub fn split<E>(
    reader: &mut dyn Read,
    dialect: Dialect,
    mut emit: impl FnMut(Block) -> Result<(), E>,
) -> Result<(), SplitError<E>> {
    let mut buffer: Vec<u8> = Vec::with_capacity(BLOCK_BYTES * 2);
    let mut line = 1;
    let mut header = dialect.header;
    let mut wanted = BLOCK_BYTES;
    loop {
        let read = reader.take((wanted - buffer.len()) as u64).read_to_end(&mut buffer).map_err(SplitError::Io)?;
        let ended = read == 0 || buffer.len() < wanted;
        let (end, open_quote) = last_record_end(&buffer, dialect);
        if ended && open_quote {
            return Err(SplitError::Unreadable(never_ends(line + lines(&buffer[..end]), open_quote)));
        }
        let end = if ended { buffer.len() } else { end };
        if end == 0 && !ended {
            wanted *= 2; // one record fills the block
            if wanted > RECORD_BYTES_MAX {
                return Err(SplitError::Unreadable(never_ends(line, open_quote)));
            }
            continue;
        }
        let rest = buffer.split_off(end);
        let bytes = std::mem::replace(&mut buffer, Vec::with_capacity(BLOCK_BYTES * 2));
        buffer.extend_from_slice(&rest);
        let block_lines = lines(&bytes);
        if !bytes.is_empty() {
            emit(Block { bytes, first_line: line, header }).map_err(SplitError::Stopped)?;
        }
        (line, header, wanted) = (line + block_lines, false, BLOCK_BYTES.max(buffer.len() + BLOCK_BYTES / 2));
        if ended {
            return Ok(());
        }
    }
}

/// What is wrong with a record that begins at `line` and does not end.
fn never_ends(line: u64, open_quote: bool) -> String {
    if open_quote {
        return format!("has a quoted field in the record at line {line} that never ends: if quotes are just characters in this file, say --quote none");
    }
    let limit = RECORD_BYTES_MAX >> 20;
    format!("has over {limit} MB without a line feed at line {line}: if its lines end in carriage returns only, convert them, for instance with tr '\\r' '\\n'")
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Where the last record of `bytes` that is complete ends, and whether a quoted field is open at the end. `bytes` begins
/// with a record.
fn last_record_end(bytes: &[u8], dialect: Dialect) -> (usize, bool) {
    if !dialect.quoting || !bytes.contains(&b'"') {
        return (bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1), false);
    }
    // The same rules as the parser's: a quote opens a field only at its beginning, and in a quoted field ends it unless
    // doubled.
    #[derive(PartialEq)]
    enum State {
        FieldStart,
        Field,
        Quoted,
        QuoteInQuoted,
    }
    let mut state = State::FieldStart;
    let mut end = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        state = match (&state, byte) {
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) => State::Quoted,
            (State::QuoteInQuoted, b'"') => State::Quoted,
            (State::FieldStart, b'"') => State::Quoted,
            (_, b'\n') => {
                end = place + 1;
                State::FieldStart
            }
            (_, b'\r') => State::FieldStart,
            (_, byte) if byte == dialect.delimiter => State::FieldStart,
            _ => State::Field,
        };
    }
    (end, state == State::Quoted)
}

/// Parses a block. `fields` says at which field of a record each column of the plan stands.
pub fn parse(block: &Block, dialect: Dialect, plan: &Plan, fields: &[Option<usize>], columns: usize) -> Batch {
    let mut builder = BatchBuilder::new(plan);
    let mut reader = dialect.reader(&block.bytes[..]);
    let mut record = csv::ByteRecord::new();
    let mut skip = block.header;
    loop {
        let (start, line) = (reader.position().byte() as usize, reader.position().line());
        if !reader.read_byte_record(&mut record).expect("a slice can be read, and the reader is flexible") {
            return builder.finish();
        }
        if std::mem::take(&mut skip) {
            continue;
        }
        let end = reader.position().byte() as usize;
        // Empty lines belong to the bytes before a record, and are counted into its line.
        let row = || {
            let blank = block.bytes[start..end].iter().take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\t');
            block.first_line + line - 1 + blank.filter(|&&byte| byte == b'\n').count() as u64
        };
        let raw = || block.bytes[start..end].trim_ascii().to_vec();
        if record.len() > columns && record.iter().skip(columns).any(|field| !field.is_empty()) {
            builder.reject(row(), Reason::TooManyFields, raw());
            continue;
        }
        builder.push(row(), |column| fields[column].and_then(|place| record.get(place)), raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CSV: Dialect = Dialect { delimiter: b',', quoting: true, header: false };

    fn records(bytes: &[u8], dialect: Dialect) -> Vec<csv::ByteRecord> {
        dialect.reader(bytes).into_byte_records().map(Result::unwrap).collect()
    }

    proptest! {
        /// Whatever is complete by [`last_record_end`] parses to the same records alone as with what follows.
        #[test]
        fn a_cut_at_a_record_end_changes_nothing(text in "([ab,\n\"\r]|\"\"){0,60}") {
            let bytes = text.as_bytes();
            let (end, _) = last_record_end(bytes, CSV);
            let mut parts = records(&bytes[..end], CSV);
            parts.extend(records(&bytes[end..], CSV));
            prop_assert_eq!(parts, records(bytes, CSV));
        }
    }

    /// Lines of old Macs, of which a short file can still be read.
    #[test]
    fn lines_that_never_end_are_no_open_quote() {
        let mut long = std::io::repeat(b'1').take(RECORD_BYTES_MAX as u64 + 1);
        let Err(SplitError::Unreadable(what)) = split(&mut long, CSV, |_| Ok::<(), ()>(())) else { panic!("it was split") };
        assert!(what.contains("without a line feed at line 1") && what.contains("tr '\\r' '\\n'"), "{what}");
    }

    #[test]
    fn an_unclosed_quote_is_found() {
        let mut text = String::from("a,b\n1,2\n3,\"x\ny\n");
        let split_all = |text: &str| {
            let mut blocks = Vec::new();
            split(&mut text.as_bytes(), CSV, |block| { blocks.push(block.bytes); Ok::<(), ()>(()) }).map(|()| blocks.concat())
        };
        assert!(matches!(split_all(&text), Err(SplitError::Unreadable(what)) if what.contains("quoted field in the record at line 3")));
        text.push_str("\",4\n");
        assert_eq!(split_all(&text).unwrap(), text.as_bytes());
    }
}
