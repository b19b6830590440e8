//! Outputs: PMTiles 3, MBTiles 1.3, or a folder of `z/x/y.png`. Written beside and renamed; equal tiles give equal bytes.

use super::work::WorkFile;
use super::{Job, PrewarmError};
use crate::service::View;
use crate::encode::empty_png;
use crate::world::{LonLatBox, TileId};
use rusqlite::{Connection, params};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Pmtiles,
    Mbtiles,
    Folder,
}

impl Format {
    /// By the extension: `.pmtiles`, `.mbtiles`, and a folder without one.
    ///
    /// # Errors
    /// Another extension; it is given back.
    pub fn of(output: &Path) -> Result<Format, String> {
        match output.extension().map(|extension| extension.to_string_lossy().into_owned()).as_deref() {
            Some("pmtiles") => Ok(Format::Pmtiles),
            Some("mbtiles") => Ok(Format::Mbtiles),
            None => Ok(Format::Folder),
            Some(other) => Err(other.to_owned()),
        }
    }
}

/// What an output says of itself.
pub(super) struct Described<'a> {
    pub job: &'a Job,
    pub view: &'a View,
}

/// Writes all tiles of the work file that show anything.
pub(super) fn write(described: &Described<'_>, output: &Path, format: Format, work: &WorkFile) -> Result<(), PrewarmError> {
    let name = output.file_name().map_or_else(|| "tiles".into(), |name| name.to_string_lossy().into_owned());
    let partial = output.with_file_name(format!(".{name}.partial"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PrewarmError::Io { path, source }
    };
    remove(&partial)?;
    match format {
        Format::Pmtiles => pmtiles(described, work, &partial)?,
        Format::Mbtiles => mbtiles(described, work, &partial)?,
        Format::Folder => folder(work, &partial)?,
    }
    // On the disk before it has its name: a file that bears it is whole.
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed(&partial))?;
    if !is_replaceable(output, format)? {
        return Err(PrewarmError::Occupied(output.to_owned()));
    }
    remove(output)?;
    fs::rename(&partial, output).map_err(failed(output))
}

/// Whether nothing else is lost when an output of this format takes a path: nothing is there, or a file where a file is to be, or a
/// folder that holds tiles only.
pub(super) fn is_replaceable(output: &Path, format: Format) -> Result<bool, PrewarmError> {
    match fs::symlink_metadata(output) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(PrewarmError::Io { path: output.to_owned(), source }),
        Ok(there) if format == Format::Folder => Ok(there.is_dir() && holds_only_tiles(output, "")?),
        Ok(there) => Ok(there.is_file()),
    }
}

/// `below` is the folder's name within the output: empty, `z/` or `z/x/`.
fn holds_only_tiles(folder: &Path, below: &str) -> Result<bool, PrewarmError> {
    let failed = |source| PrewarmError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        let is_ours = if is_folder { name.split('/').count() < 3 && holds_only_tiles(&entry.path(), &format!("{name}/"))? } else { is_tile(&name) };
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file or an object is named z/x/y.png below its output: nothing else there is touched.
pub(super) fn is_tile(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_suffix(".png").is_some_and(|stem| stem.split('/').count() == 3 && stem.split('/').all(is_number))
}

/// Whether an image is that of an empty tile: to every reader the same as a tile that is not there.
pub(super) fn shows_nothing(image: &[u8]) -> bool {
    image == empty_png(256)
}

/// Bytes of a file, or of all files in a folder.
pub(super) fn size(path: &Path) -> Result<u64, PrewarmError> {
    let failed = |source| PrewarmError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path).map_err(failed)?.map(|entry| size(&entry.map_err(failed)?.path())).sum()
}

fn pmtiles(described: &Described<'_>, work: &WorkFile, path: &Path) -> Result<(), PrewarmError> {
    let failed = |source| PrewarmError::Pmtiles { path: path.to_owned(), source };
    let file = File::create(path).map_err(|source| PrewarmError::Io { path: path.to_owned(), source })?;
    let LonLatBox { west, south, east, north } = described.bounds();
    let (zoom_min, zoom_max) = (*described.job.zooms.start(), *described.job.zooms.end());
    let mut writer = pmtiles::PmTilesWriter::new(pmtiles::TileType::Png)
        .tile_compression(pmtiles::Compression::None)
        .min_zoom(zoom_min)
        .max_zoom(zoom_max)
        .bounds(west, south, east, north)
        .center((west + east) / 2.0, (south + north) / 2.0)
        .center_zoom(zoom_min)
        .metadata(described.metadata().to_string())
        .create(file)
        .map_err(failed)?;
    // Clustered: in the order of PMTiles' ids, which follow Hilbert's curve within a zoom.
    let mut tiles = Vec::new();
    for tile in work.tiles()? {
        let coord = pmtiles::TileCoord::new(tile.z(), tile.x(), tile.y()).map_err(failed)?;
        tiles.push((pmtiles::TileId::from(coord).value(), coord, tile));
    }
    tiles.sort_unstable_by_key(|(id, _, _)| *id);
    for (_, coord, tile) in tiles {
        if let Some(image) = shown(work, tile)? {
            writer.add_tile(coord, &image).map_err(failed)?;
        }
    }
    writer.finalize().map_err(failed)?;
    Ok(())
}

fn mbtiles(described: &Described<'_>, work: &WorkFile, path: &Path) -> Result<(), PrewarmError> {
    let failed = |source| PrewarmError::Work { path: path.to_owned(), source };
    let mut database = Connection::open(path).map_err(failed)?;
    let transaction = database.transaction().map_err(failed)?;
    // Equal images are stored once: the specification allows `tiles` to be a view.
    transaction
        .execute_batch(
            "PRAGMA application_id = 0x4d504258;
             CREATE TABLE metadata (name TEXT, value TEXT);
             CREATE TABLE map (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_id INTEGER);
             CREATE TABLE images (tile_id INTEGER PRIMARY KEY, tile_data BLOB);
             CREATE VIEW tiles AS SELECT zoom_level, tile_column, tile_row, tile_data FROM map JOIN images USING (tile_id);",
        )
        .map_err(failed)?;
    let LonLatBox { west, south, east, north } = described.bounds();
    let (zoom_min, zoom_max) = (*described.job.zooms.start(), *described.job.zooms.end());
    let manifest = &described.view.source.dataset().manifest;
    let rows = [
        ("name", manifest.title.clone()),
        ("format", "png".to_owned()),
        ("type", "overlay".to_owned()),
        ("version", manifest.data_version.clone()),
        ("attribution", manifest.attribution.clone().unwrap_or_default()),
        ("minzoom", zoom_min.to_string()),
        ("maxzoom", zoom_max.to_string()),
        ("bounds", format!("{west},{south},{east},{north}")),
        ("center", format!("{},{},{}", (west + east) / 2.0, (south + north) / 2.0, zoom_min)),
    ];
    {
        let mut insert = transaction.prepare("INSERT INTO metadata VALUES (?1, ?2)").map_err(failed)?;
        for (name, value) in rows {
            insert.execute([name, value.as_str()]).map_err(failed)?;
        }
        let mut place = transaction.prepare("INSERT INTO map VALUES (?1, ?2, ?3, ?4)").map_err(failed)?;
        let mut keep = transaction.prepare("INSERT INTO images VALUES (?1, ?2)").map_err(failed)?;
        let mut known = std::collections::HashMap::new();
        for tile in work.tiles()? {
            let Some(image) = shown(work, tile)? else { continue };
            let next = known.len() as i64;
            let digest = xxhash_rust::xxh3::xxh3_128(&image);
            let id = *known.entry(digest).or_insert(next);
            if id == next {
                keep.execute(params![id, image]).map_err(failed)?;
            }
            // TMS: rows count from the south.
            let row = (1i64 << tile.z()) - 1 - i64::from(tile.y());
            place.execute(params![tile.z(), tile.x(), row, id]).map_err(failed)?;
        }
    }
    transaction
        .execute_batch("CREATE UNIQUE INDEX map_index ON map (zoom_level, tile_column, tile_row);")
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(())
}

fn folder(work: &WorkFile, path: &Path) -> Result<(), PrewarmError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PrewarmError::Io { path, source }
    };
    fs::create_dir_all(path).map_err(failed(path))?;
    for tile in work.tiles()? {
        let Some(image) = shown(work, tile)? else { continue };
        let column: PathBuf = path.join(tile.z().to_string()).join(tile.x().to_string());
        fs::create_dir_all(&column).map_err(failed(&column))?;
        let file = column.join(format!("{}.png", tile.y()));
        fs::write(&file, image).map_err(failed(&file))?;
    }
    Ok(())
}

/// A tile's image, unless it shows nothing.
fn shown(work: &WorkFile, tile: TileId) -> Result<Option<Vec<u8>>, PrewarmError> {
    let image = work.image(tile)?;
    Ok((!shows_nothing(&image)).then_some(image))
}

impl Described<'_> {
    fn bounds(&self) -> LonLatBox {
        self.job.area.bounds().unwrap_or(self.view.source.dataset().manifest.bounds)
    }

    fn metadata(&self) -> serde_json::Value {
        let manifest = &self.view.source.dataset().manifest;
        serde_json::json!({
            "name": manifest.title,
            "attribution": manifest.attribution,
            "type": "overlay",
            "version": manifest.data_version,
            "filter": self.view.filter.canonical(),
            "style": self.view.style.canonical(),
        })
    }
}

fn remove(path: &Path) -> Result<(), PrewarmError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(PrewarmError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
