//! JSON: one object a line, an array of objects, objects one after another, or a GeoJSON feature collection of points.
//!
//! An object is a row. Nested objects become columns with dotted names (`position.lat`), arrays stay JSON text. Values go
//! through the same inference as the fields of text files, so that numbers that were written as strings are numbers.

use super::batch::{Batch, BatchBuilder};
use super::delimited::{Block, SplitError};
use super::plan::{Plan, SeenColumn};
use super::rejects::Reason;
use super::value::{kind_of, wider};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{BufReader, Read};

/// Bytes of a block, as for delimited text.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest object.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Objects nested deeper than this are kept as JSON text.
const DEPTH_MAX: usize = 4;

/// How the objects of a file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One a line: a damaged line costs one row.
    Lines,
    /// In an array, or one after another, over as many lines as they like.
    Objects,
    /// The features of a GeoJSON feature collection.
    Features,
}

impl Layout {
    /// The layout of a file with this beginning.
    pub fn detect(beginning: &[u8]) -> Layout {
        let beginning = beginning.trim_ascii_start();
        let head = String::from_utf8_lossy(&beginning[..beginning.len().min(4096)]).replace(char::is_whitespace, "");
        let line = beginning.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if head.starts_with('{') && head.contains("\"type\":\"FeatureCollection\"") {
            Layout::Features
        } else if beginning.starts_with(b"{") && serde_json::from_slice::<Map<String, Value>>(line).is_ok() {
            Layout::Lines
        } else {
            Layout::Objects
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Layout::Lines => "JSON, one object a line",
            Layout::Objects => "JSON objects",
            Layout::Features => "GeoJSON features",
        }
    }
}

/// Cuts `reader` into blocks of whole objects. Whatever is cut off, or stands after an array, is [`SplitError::Unreadable`]: rows that
/// are not read are never passed over.
pub fn split<E>(
    reader: &mut dyn Read,
    layout: Layout,
    mut emit: impl FnMut(Block) -> Result<(), E>,
) -> Result<(), SplitError<E>> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut line = 1;
    let mut wanted = BLOCK_BYTES;
    let mut begun = layout == Layout::Lines;
    let mut around = Nesting::default();
    let mut rows = 0u64;
    loop {
        let read = reader.take((wanted - buffer.len()) as u64).read_to_end(&mut buffer).map_err(SplitError::Io)?;
        let ended = read == 0 || buffer.len() < wanted;
        if !begun {
            let start = first_object(&buffer, layout);
            buffer[..start].iter().for_each(|&byte| _ = around.enter(byte));
            line += buffer[..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
            buffer.drain(..start);
            begun = true;
        }
        let Objects { end, count, closed } = if layout == Layout::Lines {
            let end = buffer.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
            Objects { end, count: 0, closed: false }
        } else {
            objects(&buffer, around.depth > 0)
        };
        rows += count;
        let end = if ended && layout == Layout::Lines { buffer.len() } else { end };
        if end > 0 {
            let rest = buffer.split_off(end);
            let bytes = std::mem::replace(&mut buffer, rest);
            let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            emit(Block { bytes, first_line: line, header: false }).map_err(SplitError::Stopped)?;
            line += lines;
        }
        if closed {
            return end_of_array(&mut buffer.as_slice().chain(reader), around, line, rows);
        }
        if ended {
            let rest = buffer.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != b',');
            return match (rest, around.depth > 0) {
                (false, false) => Ok(()),
                (true, _) => Err(cut_off(format_args!("within the JSON object that begins at or after line {line}"), rows)),
                (false, true) => Err(cut_off(format_args!("before the ']' of its array"), rows)),
            };
        }
        wanted = if end > 0 { BLOCK_BYTES.max(buffer.len() + BLOCK_BYTES / 2) } else { wanted * 2 };
        if wanted > OBJECT_BYTES_MAX {
            let limit = OBJECT_BYTES_MAX >> 20;
            let what = format!("has a JSON object of over {limit} MB that begins at or after line {line}: it is damaged, or no row; rows read until there: {rows}");
            return Err(SplitError::Unreadable(what));
        }
    }
}

fn cut_off<E>(place: impl std::fmt::Display, rows: u64) -> SplitError<E> {
    SplitError::Unreadable(format!("ends {place}, and is cut off or damaged; rows read until there: {rows}"))
}

/// Reads what follows the rows, from the `]` of their array on: the members after `"features"`, and then nothing.
fn end_of_array<E>(rest: &mut dyn Read, mut around: Nesting, mut line: u64, rows: u64) -> Result<(), SplitError<E>> {
    for byte in BufReader::new(rest).bytes() {
        let byte = byte.map_err(SplitError::Io)?;
        line += u64::from(byte == b'\n');
        if around.depth > 0 {
            around.enter(byte);
        } else if !byte.is_ascii_whitespace() {
            let what = "has one JSON value after another, of which the first is an array or a collection";
            return Err(SplitError::Unreadable(format!("{what}: there is more at line {line}; make a file of each, or one array of all; rows read until there: {rows}")));
        }
    }
    if around.depth > 0 { Err(cut_off("before the '}' of its feature collection", rows)) } else { Ok(()) }
}

/// How deep within objects and arrays a place of a file is.
#[derive(Clone, Copy, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Goes on by a byte, and answers a comma or a closing bracket that is not within a string.
    fn enter(&mut self, byte: u8) -> Option<u8> {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return Some(byte);
            }
            b',' => return Some(byte),
            _ => {}
        }
        None
    }
}

/// Where the objects begin: after the bracket of an array, or of `"features"`.
fn first_object(bytes: &[u8], layout: Layout) -> usize {
    if layout == Layout::Features {
        let key = b"\"features\"";
        let at = bytes.windows(key.len()).position(|window| window == key).unwrap_or(0);
        return bytes[at..].iter().position(|&byte| byte == b'[').map_or(bytes.len(), |bracket| at + bracket + 1);
    }
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    start + usize::from(bytes.get(start) == Some(&b'['))
}

/// The whole objects that some bytes begin with.
struct Objects {
    /// Where the last of them ends; where the array that holds them ends too, the place of its bracket.
    end: usize,
    count: u64,
    closed: bool,
}

fn objects(bytes: &[u8], in_array: bool) -> Objects {
    let mut found = Objects { end: 0, count: 0, closed: false };
    loop {
        let Some(start) = bytes[found.end..].iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b',') else {
            return found;
        };
        if in_array && bytes[found.end + start] == b']' {
            return Objects { end: found.end + start, closed: true, ..found };
        }
        match value_end(&bytes[found.end + start..]) {
            Some(length) => found.end += start + length,
            None => return found,
        }
        found.count += 1;
    }
}

/// The length of the object or array that `bytes` begins with, or of whatever stands before the next comma; `None` if it does
/// not end here.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let mut inside = Nesting::default();
    for (place, &byte) in bytes.iter().enumerate() {
        let outside = inside.depth == 0;
        match inside.enter(byte) {
            Some(_) if inside.depth > 0 => {}
            Some(b',') => return Some(place),
            // The bracket of what is around a bare word belongs to that.
            Some(_) => return Some(if outside && place > 0 { place } else { place + 1 }),
            None => {}
        }
    }
    None
}

/// The rows of a block: first line, and bytes, of each.
fn rows(block: &Block, layout: Layout) -> Vec<(u64, &[u8])> {
    let mut rows = Vec::new();
    let mut line = block.first_line;
    if layout == Layout::Lines {
        for bytes in block.bytes.split(|&byte| byte == b'\n') {
            if !bytes.trim_ascii().is_empty() {
                rows.push((line, bytes));
            }
            line += 1;
        }
        return rows;
    }
    let mut rest = &block.bytes[..];
    while let Some(start) = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b',') {
        line += rest[..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let length = value_end(&rest[start..]).unwrap_or(rest.len() - start);
        let (row, after) = rest[start..].split_at(length);
        rows.push((line, row));
        line += row.iter().filter(|&&byte| byte == b'\n').count() as u64;
        rest = after;
    }
    rows
}

/// Parses a block.
pub fn parse(block: &Block, layout: Layout, plan: &Plan) -> Batch {
    let mut builder = BatchBuilder::new(plan);
    let places: HashMap<&str, usize> =
        plan.columns.iter().enumerate().map(|(place, column)| (column.name.as_str(), place)).collect();
    for (line, bytes) in rows(block, layout) {
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(bytes) else {
            builder.reject(line, Reason::NotAnObject, bytes.trim_ascii().to_vec());
            continue;
        };
        let mut row: Vec<Option<String>> = vec![None; plan.columns.len()];
        let mut unplanned = Vec::new();
        flatten(object, &mut |name, text| match places.get(name.as_str()) {
            Some(&place) => row[place] = Some(text),
            None => unplanned.push((name, kind_of(text.as_bytes()))),
        });
        unplanned.into_iter().for_each(|(name, kind)| builder.unplanned(name, kind));
        builder.push(line, |place| row[place].as_deref().map(str::as_bytes), || bytes.trim_ascii().to_vec());
    }
    builder.finish()
}

/// The columns of a file with this beginning.
pub fn columns(beginning: &[u8], layout: Layout) -> Vec<SeenColumn> {
    let mut blocks = Vec::new();
    // The beginning mostly ends within an object: that one is left out.
    let whole = match beginning.iter().rposition(|&byte| byte == b'\n') {
        Some(end) if layout == Layout::Lines => &beginning[..=end],
        _ => beginning,
    };
    let _cut = split(&mut &whole[..], layout, |block| { blocks.push(block); Ok::<(), ()>(()) });
    let mut columns: Vec<SeenColumn> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (_, bytes) in blocks.iter().flat_map(|block| rows(block, layout)) {
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(bytes) else { continue };
        flatten(object, &mut |name, text| {
            let place = *places.entry(name.clone()).or_insert_with(|| {
                columns.push(SeenColumn { name, kind: None, example: None });
                columns.len() - 1
            });
            let kind = kind_of(text.as_bytes());
            columns[place].kind = wider(columns[place].kind, kind);
            if columns[place].example.is_none() && kind.is_some() {
                columns[place].example = Some(text);
            }
        });
    }
    columns
}

/// Why a file with this beginning, or that is no more than it, has no columns.
pub fn without_columns(beginning: &[u8], layout: Layout, is_whole: bool) -> String {
    match split(&mut &*beginning, layout, |_| Ok::<(), ()>(())) {
        Err(SplitError::Unreadable(what)) if is_whole => what,
        _ if is_whole => "holds no JSON object with a value in it: there is nothing to ingest".to_owned(),
        _ => format!("holds no whole JSON object in its first {} bytes: it is damaged, or its objects are no rows", beginning.len()),
    }
}

/// Hands every value of an object to `field`, with its name. A GeoJSON feature gives `lon` and `lat` of its geometry, its `id`, and its
/// properties: one that is called `lon` or `lat` itself is `properties.lon`, and an `id` among them is the feature's.
fn flatten(mut object: Map<String, Value>, field: &mut impl FnMut(String, String)) {
    if object.get("type").and_then(Value::as_str) != Some("Feature") || !object.contains_key("geometry") {
        return flatten_under("", object, 1, field);
    }
    if let Some([lon, lat, ..]) = object["geometry"].get("coordinates").and_then(Value::as_array).map(Vec::as_slice) {
        field("lon".to_owned(), lon.to_string());
        field("lat".to_owned(), lat.to_string());
    }
    let properties = match object.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    if let (Some(id), false) = (object.remove("id"), properties.contains_key("id")) {
        flatten_under("", Map::from_iter([("id".to_owned(), id)]), 1, field);
    }
    flatten_under("", properties, 1, &mut |name, text| {
        field(if name == "lon" || name == "lat" { format!("properties.{name}") } else { name }, text);
    });
}

fn flatten_under(prefix: &str, object: Map<String, Value>, depth: usize, field: &mut impl FnMut(String, String)) {
    for (key, value) in object {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Null => field(name, String::new()),
            Value::String(text) => field(name, text),
            Value::Object(inner) if depth < DEPTH_MAX => flatten_under(&name, inner, depth + 1, field),
            other => field(name, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_rows(text: &str) -> (Layout, Vec<(u64, String)>) {
        let layout = Layout::detect(text.as_bytes());
        let mut found = Vec::new();
        split(&mut text.as_bytes(), layout, |block| {
            found.extend(rows(&block, layout).into_iter().map(|(line, bytes)| (line, String::from_utf8_lossy(bytes).into_owned())));
            Ok::<(), ()>(())
        })
        .unwrap();
        (layout, found)
    }

    #[test]
    fn layouts_are_found_and_cut() {
        let row = |line, text: &str| (line, text.to_owned());
        assert_eq!(all_rows("{\"a\":1}\n\nnope\n{\"a\":2}"), (Layout::Lines, vec![row(1, "{\"a\":1}"), row(3, "nope"), row(4, "{\"a\":2}")]));
        assert_eq!(all_rows("[\n {\"a\":\"]}\\\"\"},\n {\"a\":[2]}\n]\n"), (Layout::Objects, vec![row(2, "{\"a\":\"]}\\\"\"}"), row(3, "{\"a\":[2]}")]));
        assert_eq!(all_rows("{\n\"a\":1}\n{\"a\":2}"), (Layout::Objects, vec![row(1, "{\n\"a\":1}"), row(3, "{\"a\":2}")]));
        let features = "{\"type\": \"FeatureCollection\", \"features\": [{\"a\":1}, {\"a\":2}], \"bbox\": [1]}";
        assert_eq!(all_rows(features), (Layout::Features, vec![row(1, "{\"a\":1}"), row(1, "{\"a\":2}")]));
    }

    #[test]
    fn a_cut_file_is_an_error() {
        let cut = "[{\"a\":1},{\"a\":";
        assert!(refused(cut).contains("rows read until there: 1"), "{}", refused(cut));
    }

    fn refused(text: &str) -> String {
        match split(&mut text.as_bytes(), Layout::detect(text.as_bytes()), |_| Ok::<(), ()>(())) {
            Err(SplitError::Unreadable(what)) => what,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn no_row_is_passed_over() {
        let collection = r#"{"type": "FeatureCollection", "features": [{"a":1},{"a":"]"}]"#;
        for (text, words, rows) in [
            ("[{\"a\":1}]\n[{\"a\":2}]", "more at line 2;", 1),
            ("[{\"a\":1}]{\"a\":2}", "more at line 1;", 1),
            ("[\n{\"a\":1},\n{\"a\":2},\n", "before the ']' of its array", 2),
            ("[{\"a\":1}", "before the ']' of its array", 1),
            (&collection[..collection.len() - 1], "before the ']' of its array", 2),
            (collection, "before the '}' of its feature collection", 2),
            (&format!("{collection}, \"name\": \"}}\"}} \n{collection}}}"), "more at line 2;", 2),
        ] {
            let what = refused(text);
            assert!(what.contains(words) && what.ends_with(&format!("until there: {rows}")), "{text}: {what}");
        }
        assert_eq!(all_rows(" [] \n").1, []);
        assert_eq!(all_rows("[1, {\"a\":1}, nope]").1.len(), 3, "what is no object is a row to be rejected");
    }

    /// Goal: the end of an array is found wherever blocks are cut. Method: more blocks than one, and white space that fills another.
    #[test]
    fn an_array_of_several_blocks() {
        let text = format!("[{}{{\"a\":1}}\n]{}", "{\"a\":1},\n".repeat(BLOCK_BYTES / 4), " \n".repeat(BLOCK_BYTES));
        assert_eq!(all_rows(&text).1.len(), BLOCK_BYTES / 4 + 1);
        assert!(refused(&format!("{text}!")).ends_with(&format!("until there: {}", BLOCK_BYTES / 4 + 1)));
        assert!(refused(&text[..text.find(']').unwrap()]).contains("before the ']'"));
    }

    #[test]
    fn a_feature_is_where_its_geometry_is() {
        let feature = r#"{"type":"Feature","id":7,"geometry":{"type":"Point","coordinates":[1.5,2]},"properties":{"lon":"8","a":1}}"#;
        let examples = |text: &str| {
            let seen = columns(text.as_bytes(), Layout::Lines).into_iter();
            seen.map(|column| format!("{}={}", column.name, column.example.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(examples(feature), ["lon=1.5", "lat=2", "id=7", "properties.lon=8", "a=1"]);
        let own = feature.replace("\"a\":1", "\"id\":\"b\"");
        assert_eq!(examples(&own), ["lon=1.5", "lat=2", "properties.lon=8", "id=b"]);
        let none = r#"{"type":"Feature","id":"x","geometry":{"coordinates":[1,2]},"properties":null}"#;
        assert_eq!(examples(none), ["lon=1", "lat=2", "id=x"]);
    }

    #[test]
    fn nested_values_have_dotted_names() {
        let columns = columns(b"{\"p\":{\"lat\":1,\"lon\":\"2.5\"},\"t\":[1,2],\"n\":null}\n", Layout::Lines);
        let named: Vec<(&str, Option<&str>)> = columns.iter().map(|c| (c.name.as_str(), c.example.as_deref())).collect();
        assert_eq!(named, [("p.lat", Some("1")), ("p.lon", Some("2.5")), ("t", Some("[1,2]")), ("n", None)]);
    }
}
