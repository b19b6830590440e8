//! MBTiles 1.3: a SQLite file whose rows count from the south.

use super::{ArchiveError, Described, TileFormat, kept};
use crate::world::{LonLatBox, TileId};
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Connections that read.
const READERS: usize = 4;

pub(super) struct Mbtiles {
    readers: [Mutex<Connection>; READERS],
    next: AtomicUsize,
    path: PathBuf,
}

impl Mbtiles {
    pub(super) fn open(path: &Path) -> Result<(Mbtiles, Described), ArchiveError> {
        let failed = |cause| ArchiveError::Mbtiles { path: path.to_owned(), cause };
        let connect = || Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let connection = connect().map_err(failed)?;
        let described = described(&connection, path)?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(Mutex::new(connect().map_err(failed)?));
        }
        let readers = readers.try_into().unwrap_or_else(|_| unreachable!("there are as many as were opened"));
        Ok((Mbtiles { readers, next: AtomicUsize::new(0), path: path.to_owned() }, described))
    }

    pub(super) fn tile(&self, tile: TileId) -> Result<Option<Bytes>, ArchiveError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let reader = self.readers[turn].lock().unwrap_or_else(PoisonError::into_inner);
        let row = (1i64 << tile.z()) - 1 - i64::from(tile.y());
        let bytes: Option<Vec<u8>> = reader
            .prepare_cached("SELECT tile_data FROM tiles WHERE zoom_level = ?1 AND tile_column = ?2 AND tile_row = ?3")
            .and_then(|mut query| query.query_row(params![tile.z(), tile.x(), row], |row| row.get(0)).optional())
            .map_err(|cause| ArchiveError::Mbtiles { path: self.path.clone(), cause })?;
        Ok(bytes.map(Bytes::from))
    }
}

fn described(connection: &Connection, path: &Path) -> Result<Described, ArchiveError> {
    let failed = |cause| ArchiveError::Mbtiles { path: path.to_owned(), cause };
    let read = || {
        let mut query = connection.prepare("SELECT name, value FROM metadata")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<BTreeMap<String, String>, _>>()
    };
    let texts = read().map_err(failed)?;
    let text = |name: &str| texts.get(name).map(String::as_str);
    let format = match text("format") {
        Some("png") => TileFormat::Png,
        Some("jpg" | "jpeg") => TileFormat::Jpeg,
        Some("webp") => TileFormat::Webp,
        Some("pbf") => TileFormat::Mvt,
        other => {
            let what = format!("tiles of the format '{}'", other.unwrap_or_default());
            return Err(ArchiveError::Format { path: path.to_owned(), what });
        }
    };
    // The specification only recommends to say the zooms.
    let zooms = match (text("minzoom").and_then(|z| z.parse().ok()), text("maxzoom").and_then(|z| z.parse().ok())) {
        (Some(min), Some(max)) => min..=max,
        _ => {
            let bounds = "SELECT COALESCE(MIN(zoom_level), 0), COALESCE(MAX(zoom_level), 0) FROM tiles";
            connection.query_row(bounds, [], |row| Ok(row.get(0)?..=row.get(1)?)).map_err(failed)?
        }
    };
    let numbers = |name: &str| -> Vec<f64> {
        text(name).unwrap_or_default().split(',').filter_map(|number| number.trim().parse().ok()).collect()
    };
    let bounds = match numbers("bounds")[..] {
        [west, south, east, north] => LonLatBox { west, south, east, north },
        _ => LonLatBox { west: -180.0, south: -85.051_13, east: 180.0, north: 85.051_13 },
    };
    let center = match numbers("center")[..] {
        [lon, lat, zoom] => (lon, lat, zoom as u8),
        _ => (bounds.center().0, bounds.center().1, *zooms.start()),
    };
    // Vector layers lie in a JSON text.
    let layers = text("json").and_then(|json| serde_json::from_str::<Value>(json).ok());
    let layers = layers.and_then(|json| json.as_object().cloned()).unwrap_or_default();
    let metadata = kept(texts.into_iter().map(|(name, text)| (name, Value::String(text))).chain(layers));
    Ok(Described { format, is_gzipped: false, zooms, bounds, center, metadata })
}
