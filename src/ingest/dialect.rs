//! How a delimited text file is written: its delimiter, whether quotes mean anything, and whether the first line is a header.
//! Found from the file's beginning; every finding can be overridden.

use super::value;
use super::names;
use crate::dataset::ColumnKind;

/// The delimiters that are tried.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Records looked at: enough to tell a delimiter from a character of prose.
const SAMPLE_RECORDS_MAX: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    pub quoting: bool,
    pub header: bool,
}

/// What the user said of the dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialectWishes {
    pub delimiter: Option<u8>,
    pub quoting: Option<bool>,
    pub header: Option<bool>,
}

impl Dialect {
    /// Finds the dialect of a file that begins with `sample` (whole lines); `None` if no delimiter splits it into columns.
    pub fn detect(sample: &[u8], wishes: DialectWishes) -> Option<Dialect> {
        let candidates: Vec<u8> = wishes.delimiter.map_or(DELIMITERS.to_vec(), |delimiter| vec![delimiter]);
        let (delimiter, records) = candidates
            .into_iter()
            .map(|delimiter| (delimiter, records(sample, delimiter, wishes.quoting.unwrap_or(delimiter != b'\t'))))
            .max_by_key(|(_, records)| evenness(records))?;
        if wishes.delimiter.is_none() && evenness(&records) == 0 {
            return None;
        }
        // Tab-separated files (GeoNames) are mostly written without quoting, and hold stray quotes.
        let quoting = wishes.quoting.unwrap_or(delimiter != b'\t' || has_quoted_field(&records));
        let header = wishes.header.unwrap_or_else(|| has_header(&records));
        Some(Dialect { delimiter, quoting, header })
    }

    /// In words, for the summary.
    pub fn describe(&self) -> String {
        let delimiter = match self.delimiter {
            b',' => "comma".to_owned(),
            b'\t' => "tab".to_owned(),
            b';' => "semicolon".to_owned(),
            b'|' => "bar".to_owned(),
            other => format!("'{}'", char::from(other)),
        };
        let quoting = if self.quoting { "quoted" } else { "no quoting" };
        let header = if self.header { "with header" } else { "no header" };
        format!("{delimiter} separated, {quoting}, {header}")
    }

    pub fn reader<R: std::io::Read>(&self, bytes: R) -> csv::Reader<R> {
        csv_reader(bytes, self.delimiter, self.quoting)
    }
}

/// The first records of a sample. The last one may be cut and is left out unless it is the only one.
pub fn records(sample: &[u8], delimiter: u8, quoting: bool) -> Vec<csv::ByteRecord> {
    let mut records: Vec<csv::ByteRecord> =
        csv_reader(sample, delimiter, quoting).byte_records().map_while(Result::ok).take(SAMPLE_RECORDS_MAX).collect();
    if records.len() > 1 && !sample.ends_with(b"\n") && records.len() < SAMPLE_RECORDS_MAX {
        records.pop();
    }
    records
}

fn csv_reader<R: std::io::Read>(bytes: R, delimiter: u8, quoting: bool) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).quoting(quoting).from_reader(bytes)
}

/// How much a delimiter looks like one: the records that agree on a number of columns, times that number; 0 below two columns.
fn evenness(records: &[csv::ByteRecord]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for record in records {
        *counts.entry(record.len()).or_insert(0usize) += 1;
    }
    let agreeing = counts.into_iter().filter(|&(columns, _)| columns > 1).max_by_key(|&(_, records)| records);
    agreeing.map_or(0, |(columns, agreeing)| if agreeing * 2 > records.len() { agreeing * columns } else { 0 })
}

fn has_quoted_field(records: &[csv::ByteRecord]) -> bool {
    let quoted = |field: &[u8]| field.len() > 1 && field[0] == b'"' && field[field.len() - 1] == b'"';
    let starts = |field: &[u8]| field.first() == Some(&b'"');
    let fields = || records.iter().flat_map(|record| record.iter());
    fields().any(quoted) && fields().filter(|field| starts(field)).all(quoted)
}

/// Why no delimiter was found: in a short file, mostly because its lines are of different lengths.
pub fn without_delimiter(sample: &[u8], wishes: DialectWishes) -> String {
    let ragged = DELIMITERS.into_iter().find_map(|delimiter| {
        let records = records(sample, delimiter, wishes.quoting.unwrap_or(delimiter != b'\t'));
        let fields = || records.iter().map(csv::ByteRecord::len);
        let (min, max) = (fields().min()?, fields().max()?);
        (min > 1).then_some((delimiter, min, max))
    });
    match ragged {
        Some((delimiter, min, max)) => {
            let delimiter = if delimiter == b'\t' { "tab".to_owned() } else { format!("'{}'", char::from(delimiter)) };
            format!("has {min} to {max} fields a line, and no number of them in most lines: if {delimiter} is between them, say --delimiter {delimiter}")
        }
        None => "does not look like data: no delimiter splits its lines into columns; name one with --delimiter".to_owned(),
    }
}

/// A header names coordinates that stand above numbers (`lon,lat,2020`); or it has words only, and names coordinates or stands above any
/// numbers.
fn has_header(records: &[csv::ByteRecord]) -> bool {
    let Some(first) = records.first() else { return false };
    let columns: Vec<String> = first.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    let pairs = names::coordinate_pairs(&columns);
    let numbers_below = |place: usize| {
        records[1..].iter().filter_map(|record| record.get(place)).any(|field| value::float(field).is_some())
    };
    if pairs.iter().any(|&(lon, lat)| numbers_below(lon) && numbers_below(lat)) {
        return true;
    }
    let is_word = |field: &[u8]| matches!(value::kind_of(field), Some(ColumnKind::Text) | None) && field != b"\\N";
    if !first.iter().all(is_word) || first.iter().all(|field| field.is_empty()) {
        return false;
    }
    if !pairs.is_empty() {
        return true;
    }
    let numeric = |field: &[u8]| matches!(value::kind_of(field), Some(ColumnKind::Integer | ColumnKind::Float));
    records[1..].iter().any(|record| record.iter().any(numeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(text: &str) -> Option<Dialect> {
        Dialect::detect(text.as_bytes(), DialectWishes::default())
    }

    #[test]
    fn real_dialects_are_found() {
        let comma = |header| Some(Dialect { delimiter: b',', quoting: true, header });
        assert_eq!(detect("lon,lat\n1,2\n3,4\n"), comma(true));
        assert_eq!(detect("1,\"Goroka, Airport\",-6.0,145.3\n2,\"Madang\",-5.2,145.7\n"), comma(false));
        assert_eq!(detect("GSM,234,1.5\nLTE,234,1.6\n"), comma(false));
        assert_eq!(detect("lon,lat,2020,2021\n1,2,3,4\n"), comma(true), "years are names too");
        assert_eq!(detect("x,y,1\ny,x,2\n"), comma(false), "categories that are called like coordinates");
        let tab = |quoting| Some(Dialect { delimiter: b'\t', quoting, header: false });
        assert_eq!(detect("1\tles Escaldes, a\t42.5\n2\tAndorra \"x\"\t42.6\n"), tab(false));
        assert_eq!(detect("1\t\"les Escaldes\"\t42.5\n2\t\"Andorra\"\t42.6\n"), tab(true));
        assert_eq!(detect("lon;lat;name\n1;2;a,b\n").unwrap().delimiter, b';');
        assert_eq!(detect("This is prose.\nIt has no columns\n"), None);
    }

    #[test]
    fn wishes_win() {
        let wishes = DialectWishes { delimiter: Some(b'x'), quoting: Some(false), header: Some(true) };
        assert_eq!(
            Dialect::detect(b"1x2\n3x4\n", wishes),
            Some(Dialect { delimiter: b'x', quoting: false, header: true })
        );
    }
}
