//! Points one by one: which rows lie under a pixel, in an area or in a whole selection, and the rows themselves.
//!
//! A pixel is a cell, so its points are a slice; an area's points come from the cell index; the filter then reads its columns
//! only where there are such points. Knows nothing of HTTP.

use crate::dataset::{BLOCK_POINTS, Dataset, PIECE_ROWS, Part, Piece, ReadError, RowFiles, RowFormat, Rows};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Cancel, EngineError, region_words, set_bits};
use crate::filter::{Filter, Region};
use crate::world::{Key, TILE_PIXELS, TileId, WorldPoint};
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// Where points are looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Everywhere,
    Tile(TileId),
    /// Column and row of a 256-pixel tile, from its north-west corner.
    Pixel(TileId, u32, u32),
    Area(Region),
}

#[derive(Clone, Debug)]
pub struct PointsQuestion {
    pub place: Place,
    pub filter: Arc<Filter>,
    pub offset: u64,
    /// At most so many rows; `None` for all.
    pub limit: Option<u64>,
    /// The columns wanted, in their order; all but the geometry where `None`.
    pub columns: Option<Vec<String>>,
    pub format: RowFormat,
}

#[derive(Debug, Error)]
pub enum PointsError {
    #[error("pixel {0},{1} is not in the tile: both run from 0 to {last}", last = TILE_PIXELS - 1)]
    NoPixel(u32, u32),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Points found, and their rows.
pub struct Found {
    /// Points in the place under the filter, whatever the limit.
    pub total: u64,
    pub rows: Rows,
}

/// Finds points of one dataset.
pub struct PointFinder {
    dataset: Arc<Dataset>,
    engine: CpuEngine,
    files: Arc<RowFiles>,
}

impl PointFinder {
    pub fn new(dataset: Arc<Dataset>) -> PointFinder {
        let (engine, files) = (CpuEngine::new(dataset.clone()), Arc::new(RowFiles::of(&dataset)));
        PointFinder { dataset, engine, files }
    }

    /// # Errors
    /// A pixel outside of its tile, an unknown column, a file that cannot be read, or an answer that is no longer wanted.
    pub fn find(&self, question: &PointsQuestion, cancel: &Cancel) -> Result<Found, PointsError> {
        let area = if let Place::Area(region) = &question.place { Some(region) } else { None };
        let mut wants = self.engine.wants_of_points(question.filter.predicate(), area);
        if let Some((first, last)) = keys_of(&question.place)? {
            self.dataset.parts.iter().for_each(|part| part.want_slice(first, last, &mut wants));
        }
        let _held = self.dataset.hold(&wants).map_err(ReadError::Dataset)?;
        let mut bitmaps = Vec::new();
        let mut total = 0;
        for (place, part) in self.dataset.parts.iter().enumerate() {
            cancel.check()?;
            let mut words = words_of(&question.place, part)?;
            if words.iter().any(|&word| word != 0) {
                self.engine.keep_passing(part, question.filter.predicate(), &mut words);
            }
            let points: u64 = words.iter().map(|word| u64::from(word.count_ones())).sum();
            total += points;
            if points > 0 {
                bitmaps.push((place, words));
            }
        }
        let geometry = self.files.geometry().map_err(ReadError::Dataset)?;
        let columns = self.columns(question, &geometry)?;
        let pieces = pieces(bitmaps, question.offset, question.limit.unwrap_or(u64::MAX));
        let rows = self.files.read(Box::new(pieces), Some(&columns))?;
        Ok(Found { total, rows })
    }

    /// The columns wanted, the geometry last where the format has one.
    fn columns(&self, question: &PointsQuestion, geometry: &str) -> Result<Vec<String>, PointsError> {
        let mut columns = match &question.columns {
            Some(columns) => columns.clone(),
            None => {
                let schema = self.files.schema().map_err(ReadError::Dataset)?;
                schema.fields().iter().map(|field| field.name().clone()).collect()
            }
        };
        columns.retain(|name| name != geometry);
        if question.format.has_geometry() {
            columns.push(geometry.to_owned());
        }
        Ok(columns)
    }
}

/// The keys of a place, both included, where they are one range.
fn keys_of(place: &Place) -> Result<Option<(Key, Key)>, PointsError> {
    Ok(match place {
        Place::Everywhere | Place::Area(_) => None,
        Place::Tile(tile) => Some(tile.keys()),
        Place::Pixel(tile, column, row) => {
            if *column >= TILE_PIXELS || *row >= TILE_PIXELS {
                return Err(PointsError::NoPixel(*column, *row));
            }
            let cell = WorldPoint { x: tile.x() * TILE_PIXELS + column, y: tile.y() * TILE_PIXELS + row };
            let below = 64 - 2 * tile.zoom().pixel_level();
            let first = Key::from_world(cell).0 << below;
            Some((Key(first), Key(first | ((1u64 << below) - 1))))
        }
    })
}

/// The part's points in the place, as words of bits.
fn words_of(place: &Place, part: &Part) -> Result<Vec<u64>, PointsError> {
    let slice = match (place, keys_of(place)?) {
        (Place::Area(region), _) => return Ok(region_words(region, part)),
        (_, None) => 0..part.rows(),
        (_, Some((first, last))) if part.meets(first, last) => part.index().slice(first, last),
        (_, Some(_)) => 0..0,
    };
    let mut words = vec![0; (part.rows() as usize).div_ceil(64)];
    set_bits(&mut words, slice);
    Ok(words)
}

/// The bits after the first `offset`, `limit` of them at most, as ranges of positions.
fn pieces(bitmaps: Vec<(usize, Vec<u64>)>, mut offset: u64, mut limit: u64) -> impl Iterator<Item = Piece> + Send {
    const PIECE_WORDS: usize = PIECE_ROWS as usize / 64;
    let in_parts = bitmaps.into_iter().flat_map(|(part, words)| {
        let words = Arc::new(words);
        (0..words.len().div_ceil(PIECE_WORDS)).map(move |piece| (part, words.clone(), piece * PIECE_WORDS))
    });
    in_parts.map_while(move |(part, words, from)| {
        if limit == 0 {
            return None;
        }
        let words = &words[from..(from + PIECE_WORDS).min(words.len())];
        let points: u64 = words.iter().map(|word| u64::from(word.count_ones())).sum();
        if points <= offset {
            offset -= points;
            return Some(Piece { part, ranges: Vec::new() });
        }
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for (at, &word) in words.iter().enumerate() {
            let mut bits = word;
            while bits != 0 && limit > 0 {
                let position = ((from + at) * 64) as u32 + bits.trailing_zeros();
                bits &= bits - 1;
                if offset > 0 {
                    offset -= 1;
                    continue;
                }
                limit -= 1;
                match ranges.last_mut() {
                    Some(last) if last.end == position => last.end += 1,
                    _ => ranges.push(position..position + 1),
                }
            }
        }
        Some(Piece { part, ranges })
    })
    .filter(|piece| !piece.ranges.is_empty())
}

const _: () = assert!((PIECE_ROWS as usize).is_multiple_of(BLOCK_POINTS), "pieces begin with words");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::{TestColumn, dataset};
    use crate::dataset::write_rows;
    use crate::world::Zoom;

    fn sample() -> (tempfile::TempDir, Arc<Dataset>) {
        let points: Vec<WorldPoint> =
            (0..900u32).map(|i| WorldPoint { x: i.wrapping_mul(0x9E37_79B9), y: (1 << 30) + ((i % 30) << 26) }).collect();
        let sizes = TestColumn::Integer((0..900).map(|i| (i % 10 > 0).then_some(i)).collect());
        let names = TestColumn::Text((0..900).map(|i| (i % 7 > 0).then(|| format!("a \"{}\", b", i % 7))).collect());
        let (folder, dataset) = dataset(&points, &[("size", sizes), ("name", names)], 250);
        (folder, Arc::new(dataset))
    }

    fn text(finder: &PointFinder, question: &PointsQuestion) -> String {
        let found = finder.find(question, &Cancel::never()).unwrap();
        let mut bytes = Vec::new();
        write_rows(question.format, found.rows, found.total, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_are_those_of_the_place_and_the_filter() {
        let (_folder, dataset) = sample();
        let finder = PointFinder::new(dataset.clone());
        let tile = TileId::containing(WorldPoint { x: 0, y: 1 << 30 }, Zoom::new(1).unwrap());
        let region = Region::of_boxes(vec![tile.world_box()]);
        for (place, inside) in [
            (Place::Everywhere, Box::new(|_: Key| true) as Box<dyn Fn(Key) -> bool>),
            (Place::Tile(tile), Box::new(|key: Key| tile.world_box().contains(key.world()))),
            (Place::Area(region.clone()), Box::new(|key: Key| region.contains(key.world()))),
            (Place::Pixel(tile, 0, 128), Box::new(|key: Key| key.world().x >> 23 == 0 && key.world().y >> 23 == 128)),
        ] {
            for (filter, passes) in [("", (|_| true) as fn(i64) -> bool), ("size >= 300", |size| size >= 300)] {
                let filter = Arc::new(Filter::parse(filter, &dataset).unwrap());
                let expected: Vec<i64> = dataset
                    .parts
                    .iter()
                    .flat_map(|part| (0..part.rows()).map(move |i| (part.key(i), part.column(crate::dataset::ColumnId(0)).get(i as usize))))
                    .filter(|(key, _)| inside(*key))
                    .map(|(_, key)| key as i64) // Sizes begin at 1, as keys do; null is 0.
                    .filter(|&size| passes(size))
                    .collect();
                for (offset, limit) in [(0, None), (0, Some(7)), (5, Some(300)), (260, None), (5000, None)] {
                    let question = PointsQuestion {
                        place: place.clone(), filter: filter.clone(), offset, limit,
                        columns: Some(vec!["size".into()]), format: RowFormat::Json,
                    };
                    let answer: serde_json::Value = serde_json::from_str(&text(&finder, &question)).unwrap();
                    assert_eq!(answer["total"], expected.len());
                    let sizes: Vec<i64> = answer["rows"].as_array().unwrap().iter().map(|row| row["size"].as_i64().unwrap_or(0)).collect();
                    let wanted = expected.iter().copied().skip(offset as usize).take(limit.unwrap_or(u64::MAX) as usize);
                    assert_eq!(sizes, wanted.collect::<Vec<_>>(), "{place:?} {offset} {limit:?}");
                }
            }
        }
        let outside = PointsQuestion {
            place: Place::Pixel(tile, 256, 0), filter: Arc::new(Filter::all()), offset: 0, limit: None, columns: None,
            format: RowFormat::Json,
        };
        assert!(finder.find(&outside, &Cancel::never()).is_err_and(|e| e.to_string().contains("0 to 255")));
    }

    #[test]
    fn every_format_is_read_back() {
        let (_folder, dataset) = sample();
        let finder = PointFinder::new(dataset.clone());
        let filter = Arc::new(Filter::parse("size IN (31, 32) OR size IS NULL", &dataset).unwrap());
        let question = |format| PointsQuestion {
            place: Place::Everywhere, filter: filter.clone(), offset: 0, limit: None, columns: None, format,
        };
        let geojson: serde_json::Value = serde_json::from_str(&text(&finder, &question(RowFormat::GeoJson))).unwrap();
        let features = geojson["features"].as_array().unwrap();
        assert_eq!(features.len(), 92);
        for feature in features {
            assert_eq!(feature["geometry"]["coordinates"][0], feature["properties"]["lon"]);
            assert_eq!(feature["geometry"]["coordinates"][1], feature["properties"]["lat"]);
            assert!(feature["properties"].get("geometry").is_none());
        }
        let table = text(&finder, &question(RowFormat::Csv));
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(reader.headers().unwrap(), vec!["lon", "lat", "size", "name"]);
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 92);
        assert!(records.iter().any(|r| &r[2] == "31" && &r[3] == "a \"3\", b"));
        for format in [RowFormat::Arrow, RowFormat::Parquet] {
            let found = finder.find(&question(format), &Cancel::never()).unwrap();
            let mut bytes = Vec::new();
            write_rows(format, found.rows, found.total, &mut bytes).unwrap();
            let rows: usize = match format {
                RowFormat::Arrow => {
                    arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap().map(|b| b.unwrap().num_rows()).sum()
                }
                _ => {
                    let bytes = bytes::Bytes::from(bytes);
                    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
                    reader.build().unwrap().map(|b| b.unwrap().num_rows()).sum()
                }
            };
            assert_eq!(rows, 92, "{format:?}");
        }
    }
}
