//! Looking at the beginnings of the inputs: formats, dialects, names, kinds, and the preset that fits.

use super::arrow_files;
use super::dialect::{self, Dialect, DialectWishes};
use super::error::IngestError;
use super::inputs::{Content, Input};
use super::json::{self, Layout};
use super::names;
use super::plan::SeenColumn;
use super::preset::{self, Preset};
use super::read::{Format, Source};
use super::value::{is_null, kind_of, wider};
use std::collections::HashMap;

/// Decompressed bytes looked at, of all inputs together and of each at least: a first guess at kinds that is rarely wrong.
const SAMPLE_BYTES_ALL: u64 = 4 << 20;
const SAMPLE_BYTES_MIN: u64 = 64 << 10;
const SAMPLE_BYTES_MAX: u64 = 1 << 20;

/// What the inputs hold.
pub struct Discovered {
    pub sources: Vec<Source>,
    /// The union of the sources' columns, in order of first appearance.
    pub columns: Vec<SeenColumn>,
    pub preset: Option<&'static Preset>,
    /// Inputs that were found in a folder or zip and are not read, each with the reason in brackets.
    pub skipped: Vec<String>,
    pub notes: Vec<String>,
}

struct Look {
    source: Source,
    seen: Vec<SeenColumn>,
    preset: Option<&'static Preset>,
    headerless: bool,
}

/// # Errors
/// An input that cannot be read, or is no data.
pub fn discover(
    inputs: Vec<Input>,
    wishes: DialectWishes,
    wanted_preset: Option<&'static Preset>,
) -> Result<Discovered, IngestError> {
    let mut notes = Vec::new();
    let sample_bytes = (SAMPLE_BYTES_ALL / inputs.len().max(1) as u64).clamp(SAMPLE_BYTES_MIN, SAMPLE_BYTES_MAX);
    let (mut looks, mut skipped) = (Vec::new(), Vec::new());
    for input in inputs {
        let label = input.label();
        let found = input.found;
        match look(input, wishes, wanted_preset, sample_bytes, &mut notes)? {
            Ok(look) => looks.push(look),
            Err(reason) if found => skipped.push(format!("{label} ({reason})")),
            Err(reason) => return Err(IngestError::unreadable(&label, reason)),
        }
    }
    let preset = wanted_preset.or_else(|| looks.iter().find_map(|look| look.preset));
    if let (Some(preset), None) = (preset, wanted_preset) {
        notes.push(format!("recognised as {}: using --preset {}", preset.name, preset.name));
    }
    skip_strangers(&mut looks, &mut skipped);
    notes.extend(skipped.iter().map(|file| format!("skipped {file}")));
    if looks.is_empty() {
        return Err(IngestError::Usage("none of the inputs holds data".into()));
    }
    describe(&looks, &mut notes);
    let columns = union(&looks);
    Ok(Discovered { sources: looks.into_iter().map(|look| look.source).collect(), columns, preset, skipped, notes })
}

/// Looks at one input; or why it is no data.
fn look(
    input: Input,
    wishes: DialectWishes,
    wanted_preset: Option<&'static Preset>,
    sample_bytes: u64,
    notes: &mut Vec<String>,
) -> Result<Result<Look, String>, IngestError> {
    let sample = input.beginning(sample_bytes)?;
    if sample.iter().all(u8::is_ascii_whitespace) {
        return if input.found { Ok(Err("it is empty".to_owned())) } else { Err(IngestError::Empty(input.label())) };
    }
    if sample.starts_with(&[0xFF, 0xFE]) || sample.starts_with(&[0xFE, 0xFF]) {
        return Err(IngestError::unreadable(&input.label(), "is UTF-16: convert it to UTF-8, for instance with iconv"));
    }
    match Content::of(&sample) {
        Content::Text => {
            let look = look_at_text(input, &sample, wishes, wanted_preset);
            Ok(look.ok_or_else(|| dialect::without_delimiter(&sample, wishes)))
        }
        Content::Json => {
            let layout = Layout::detect(&sample);
            let seen = json::columns(&sample, layout);
            if seen.is_empty() {
                let is_whole = (sample.len() as u64) < sample_bytes;
                return Ok(Err(json::without_columns(&sample, layout, is_whole)));
            }
            let names: Vec<String> = seen.iter().map(|column| column.name.clone()).collect();
            let preset = preset::by_header(&names);
            let source = Source { input, format: Format::Json(layout), names };
            Ok(Ok(Look { source, seen, preset, headerless: false }))
        }
        content => {
            let columns = arrow_files::columns(&input, content)?;
            for (name, data_type) in &columns.left_out {
                notes.push(format!("left out column '{name}' of {}: its type, {data_type}, is no attribute of a point", input.label()));
            }
            let names: Vec<String> = columns.seen.iter().map(|column| column.name.clone()).collect();
            let preset = preset::by_header(&names);
            let source = Source { input, format: Format::Columnar(content), names };
            Ok(Ok(Look { source, seen: columns.seen, preset, headerless: false }))
        }
    }
}

fn look_at_text(input: Input, sample: &[u8], wishes: DialectWishes, wanted_preset: Option<&'static Preset>) -> Option<Look> {
    let dialect = Dialect::detect(sample, wishes)?;
    let records = dialect::records(sample, dialect.delimiter, dialect.quoting);
    let data = &records[usize::from(dialect.header).min(records.len())..];
    let mut preset = None;
    let names = if dialect.header {
        let names = names::from_header(records.first()?.iter());
        preset = preset::by_header(&names);
        names
    } else {
        preset = wanted_preset.or_else(|| preset::by_shape(dialect.delimiter, data)).or(preset);
        let columns = data.iter().map(csv::ByteRecord::len).max().unwrap_or(0);
        let named = |place: usize| preset.and_then(|preset| preset.columns.get(place));
        (0..columns).map(|place| named(place).map_or_else(|| names::numbered(place), |name| (*name).to_owned())).collect()
    };
    let seen = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let fields = || data.iter().filter_map(|record| record.get(place));
            let kind = fields().fold(None, |kind, field| wider(kind, kind_of(field)));
            let example = fields().find(|field| !is_null(field)).map(|field| String::from_utf8_lossy(field).into_owned());
            SeenColumn { name: name.clone(), kind, example }
        })
        .collect();
    let source = Source { input, format: Format::Delimited(dialect), names };
    Some(Look { source, seen, preset, headerless: !dialect.header })
}

/// Leaves out what was found in a folder or zip and looks unlike the rest: a readme. The rest is the kind of file of which
/// there is the most data.
fn skip_strangers(looks: &mut Vec<Look>, skipped: &mut Vec<String>) {
    let shape = |look: &Look| {
        let names = if look.headerless { vec![look.source.names.len().to_string()] } else { look.source.names.clone() };
        (look.headerless, names)
    };
    let mut bytes_by_shape: HashMap<_, u64> = HashMap::new();
    for look in looks.iter() {
        *bytes_by_shape.entry(shape(look)).or_insert(0) += look.source.input.bytes;
    }
    let headers = looks.iter().filter(|look| !look.headerless).count();
    let Some((main, _)) = bytes_by_shape.into_iter().max_by_key(|(_, bytes)| *bytes) else { return };
    let has_coordinates = |look: &Look| look.preset.is_some() || !names::coordinate_pairs(&look.source.names).is_empty();
    looks.retain(|look| {
        let belongs = !look.source.input.found || shape(look) == main || (has_coordinates(look) && !look.headerless);
        if !belongs {
            let reason = if look.headerless && headers > 0 { "no header like the others'" } else { "its columns are not those of the other files" };
            skipped.push(format!("{} ({reason})", look.source.input.label()));
        }
        belongs
    });
}

/// Says how the files are written.
fn describe(looks: &[Look], notes: &mut Vec<String>) {
    let mut formats: Vec<(String, usize)> = Vec::new();
    for look in looks {
        let format = match look.source.format {
            Format::Delimited(dialect) => dialect.describe(),
            Format::Json(layout) => layout.describe().to_owned(),
            Format::Columnar(_) => continue,
        };
        match formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, files)) => *files += 1,
            None => formats.push((format, 1)),
        }
    }
    for (format, files) in formats {
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        notes.push(format!("{files}: {format}"));
    }
}

fn union(looks: &[Look]) -> Vec<SeenColumn> {
    let mut columns: Vec<SeenColumn> = Vec::new();
    for seen in looks.iter().flat_map(|look| &look.seen) {
        match columns.iter_mut().find(|column| column.name == seen.name) {
            Some(column) => {
                column.kind = wider(column.kind, seen.kind);
                column.example = column.example.take().or_else(|| seen.example.clone());
            }
            None => columns.push(seen.clone()),
        }
    }
    columns
}
