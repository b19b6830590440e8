//! Outputs: PMTiles 3, MBTiles 1.3, or a folder of `z/x/y.png`. Written beside and renamed; equal tiles give equal bytes.

use super::work::WorkFile;
use super::{Job, PrewarmError};
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

pub(super) struct Totals {
    pub tiles: u64,
    pub bytes: u64,
}

/// Writes all tiles of the work file that show anything.
pub(super) fn write(job: &Job, work: &WorkFile) -> Result<Totals, PrewarmError> {
    let partial = job.output.with_file_name(format!(
        ".{}.partial",
        job.output.file_name().map_or_else(|| "tiles".into(), |name| name.to_string_lossy().into_owned())
    ));
    remove(&partial)?;
    let totals = match job.format {
        Format::Pmtiles => pmtiles(job, work, &partial)?,
        Format::Mbtiles => mbtiles(job, work, &partial)?,
        Format::Folder => folder(work, &partial)?,
    };
    remove(&job.output)?;
    fs::rename(&partial, &job.output).map_err(|source| PrewarmError::Io { path: job.output.clone(), source })?;
    Ok(totals)
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

fn pmtiles(job: &Job, work: &WorkFile, path: &Path) -> Result<Totals, PrewarmError> {
    let failed = |source| PrewarmError::Pmtiles { path: path.to_owned(), source };
    let file = File::create(path).map_err(|source| PrewarmError::Io { path: path.to_owned(), source })?;
    let LonLatBox { west, south, east, north } = bounds(job);
    let mut writer = pmtiles::PmTilesWriter::new(pmtiles::TileType::Png)
        .tile_compression(pmtiles::Compression::None)
        .min_zoom(job.zoom_min)
        .max_zoom(job.zoom_max)
        .bounds(west, south, east, north)
        .center((west + east) / 2.0, (south + north) / 2.0)
        .center_zoom(job.zoom_min)
        .metadata(metadata(job).to_string())
        .create(file)
        .map_err(failed)?;
    // Clustered: in the order of PMTiles' ids, which follow Hilbert's curve within a zoom.
    let mut tiles = Vec::new();
    for tile in work.tiles()? {
        let coord = pmtiles::TileCoord::new(tile.z(), tile.x(), tile.y()).map_err(failed)?;
        tiles.push((pmtiles::TileId::from(coord).value(), coord, tile));
    }
    tiles.sort_unstable_by_key(|(id, _, _)| *id);
    let mut totals = Totals { tiles: 0, bytes: 0 };
    for (_, coord, tile) in tiles {
        if let Some(image) = shown(work, tile, &mut totals)? {
            writer.add_tile(coord, &image).map_err(failed)?;
        }
    }
    writer.finalize().map_err(failed)?;
    Ok(totals)
}

fn mbtiles(job: &Job, work: &WorkFile, path: &Path) -> Result<Totals, PrewarmError> {
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
    let LonLatBox { west, south, east, north } = bounds(job);
    let manifest = &job.view.source.dataset().manifest;
    let rows = [
        ("name", manifest.title.clone()),
        ("format", "png".to_owned()),
        ("type", "overlay".to_owned()),
        ("version", manifest.data_version.clone()),
        ("attribution", manifest.attribution.clone().unwrap_or_default()),
        ("minzoom", job.zoom_min.to_string()),
        ("maxzoom", job.zoom_max.to_string()),
        ("bounds", format!("{west},{south},{east},{north}")),
        ("center", format!("{},{},{}", (west + east) / 2.0, (south + north) / 2.0, job.zoom_min)),
    ];
    let mut totals = Totals { tiles: 0, bytes: 0 };
    {
        let mut insert = transaction.prepare("INSERT INTO metadata VALUES (?1, ?2)").map_err(failed)?;
        for (name, value) in rows {
            insert.execute([name, value.as_str()]).map_err(failed)?;
        }
        let mut place = transaction.prepare("INSERT INTO map VALUES (?1, ?2, ?3, ?4)").map_err(failed)?;
        let mut keep = transaction.prepare("INSERT INTO images VALUES (?1, ?2)").map_err(failed)?;
        let mut known = std::collections::HashMap::new();
        for tile in work.tiles()? {
            let Some(image) = shown(work, tile, &mut totals)? else { continue };
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
    Ok(totals)
}

fn folder(work: &WorkFile, path: &Path) -> Result<Totals, PrewarmError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PrewarmError::Io { path, source }
    };
    fs::create_dir_all(path).map_err(failed(path))?;
    let mut totals = Totals { tiles: 0, bytes: 0 };
    for tile in work.tiles()? {
        let Some(image) = shown(work, tile, &mut totals)? else { continue };
        let column: PathBuf = path.join(tile.z().to_string()).join(tile.x().to_string());
        fs::create_dir_all(&column).map_err(failed(&column))?;
        let file = column.join(format!("{}.png", tile.y()));
        fs::write(&file, image).map_err(failed(&file))?;
    }
    Ok(totals)
}

/// A tile's image, unless it shows nothing: a tile that is not there and an empty one are the same to every reader.
fn shown(work: &WorkFile, tile: TileId, totals: &mut Totals) -> Result<Option<Vec<u8>>, PrewarmError> {
    let image = work.image(tile)?;
    if image == empty_png(256) {
        return Ok(None);
    }
    totals.tiles += 1;
    totals.bytes += image.len() as u64;
    Ok(Some(image))
}

fn bounds(job: &Job) -> LonLatBox {
    match &job.boxes[..] {
        [] => job.view.source.dataset().manifest.bounds,
        [first, rest @ ..] => rest.iter().fold(*first, |a, b| LonLatBox {
            west: a.west.min(b.west),
            south: a.south.min(b.south),
            east: a.east.max(b.east),
            north: a.north.max(b.north),
        }),
    }
}

fn metadata(job: &Job) -> serde_json::Value {
    let manifest = &job.view.source.dataset().manifest;
    serde_json::json!({
        "name": manifest.title,
        "attribution": manifest.attribution,
        "type": "overlay",
        "version": manifest.data_version,
        "filter": job.view.filter.canonical(),
        "style": job.view.style.canonical(),
    })
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
