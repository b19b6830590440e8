//! `pointillist serve X.pmtiles` and `X.mbtiles`: what was prewarmed, or made by others, is served as it is.

use crate::served::{PROGRAM, Sample, Served};
use pointillist::world::{TileId, Zoom};
use std::io::Write;
use std::process::Command;

#[test]
fn what_was_prewarmed_is_served_as_the_dataset_is() {
    let sample = Sample::new(1500);
    let dataset = Served::start(&sample.dataset(), &[]);
    for name in ["made.pmtiles", "made.mbtiles"] {
        let file = sample.folder.path().join(name);
        let arguments = ["--min-zoom", "1", "--max-zoom", "5", "-o", file.to_str().unwrap()];
        let made = Command::new(PROGRAM).arg("prewarm").arg(sample.dataset()).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let archive = Served::start(&file, &["--max-age", "90"]);

        let tile_json = archive.get("/made.json").json();
        let source = dataset.get("/towers.json").json();
        assert_eq!((&tile_json["tilejson"], &tile_json["scheme"], &tile_json["format"]), (&"3.0.0".into(), &"xyz".into(), &"png".into()));
        assert_eq!((&tile_json["minzoom"], &tile_json["maxzoom"]), (&1.into(), &5.into()));
        assert_eq!(tile_json["name"], source["description"], "the dataset's title");
        for (corner, expected) in tile_json["bounds"].as_array().unwrap().iter().zip(source["bounds"].as_array().unwrap()) {
            assert!((corner.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-6, "{tile_json}");
        }
        let template = tile_json["tiles"][0].as_str().unwrap();
        let mut tiles: Vec<TileId> =
            (1..=5).flat_map(|z| sample.rows.iter().map(move |row| TileId::containing(row.at, Zoom::new(z).unwrap()))).collect();
        tiles.sort_unstable();
        tiles.dedup();
        for tile in tiles.iter().step_by(7).chain([&TileId::new(5, 0, 31).unwrap()]) {
            let numbers = [("{z}", u32::from(tile.z())), ("{x}", tile.x()), ("{y}", tile.y())];
            let url = numbers.iter().fold(template.to_owned(), |url, (name, number)| url.replace(name, &number.to_string()));
            let got = archive.get(url.strip_prefix(&archive.base).unwrap());
            let expected = dataset.get(&format!("/towers/{}/{}/{}.png", tile.z(), tile.x(), tile.y()));
            assert_eq!((got.status, got.header("content-type"), &got.body), (200, "image/png", &expected.body), "{tile:?}");
            assert!(got.header("cache-control").contains("immutable"));
        }

        let plain = archive.get("/made/1/1/0.png");
        assert_eq!(plain.header("cache-control"), "public, max-age=90, stale-while-revalidate=900");
        let known = archive.get_with("/made/1/1/0.png", &[("If-None-Match", plain.header("etag"))]);
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, plain.header("etag")));
        let head = archive.head("/made/1/1/0.png");
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, plain.header("etag")));
        for (path, status, said) in [
            ("/made/0/0/0.png", 404, "the zooms 1 to 5"),
            ("/made/6/0/0.png", 404, "the zooms 1 to 5"),
            ("/made/1/2/0.png", 400, "outside the world"),
            ("/made/1/a/0.png", 400, "x=a"),
            ("/made/1/0/0.npy", 404, "end in .png"),
            ("/made/1/0/0.png?how=log", 400, "'how'"),
            ("/other/1/0/0.png", 404, "no dataset"),
        ] {
            let got = archive.get(path);
            assert!(got.status == status && got.text().contains(said), "{path}: {} {}", got.status, got.text());
            assert_eq!(got.header("cache-control"), "no-store");
        }
        assert_eq!(archive.get("/catalog").json()["archives"][0]["name"], "made");
    }
}

#[test]
fn vector_tiles_stay_packed_for_those_who_can_unpack_them() {
    let folder = tempfile::tempdir().unwrap();
    let body = b"not really a vector tile, which is nobody's business here";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(body).unwrap();
    let packed = packed.finish().unwrap();
    let file = folder.path().join("roads.mbtiles");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch(
            "CREATE TABLE metadata (name TEXT, value TEXT);
             CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB);
             INSERT INTO metadata VALUES ('name', 'Roads'), ('format', 'pbf'), ('json', '{\"vector_layers\":[{\"id\":\"roads\",\"fields\":{}}]}');",
        )
        .unwrap();
    database.execute("INSERT INTO tiles VALUES (1, 0, 1, ?1)", [&packed]).unwrap();
    drop(database);
    let served = Served::start(&file, &[]);
    let tile_json = served.get("/roads.json").json();
    assert_eq!((&tile_json["minzoom"], &tile_json["maxzoom"], &tile_json["name"]), (&1.into(), &1.into(), &"Roads".into()));
    assert_eq!(tile_json["vector_layers"][0]["id"], "roads");
    // Row 1 from the south is row 0 from the north.
    let plain = served.get_with("/roads/1/0/0.pbf", &[("Accept-Encoding", "identity")]);
    assert_eq!((plain.status, plain.header("content-encoding"), &plain.body[..]), (200, "", &body[..]));
    assert_eq!(plain.header("content-type"), "application/vnd.mapbox-vector-tile");
    let gzip = served.get_with("/roads/1/0/0.pbf", &[("Accept-Encoding", "gzip")]);
    assert_eq!((gzip.header("content-encoding"), &gzip.body), ("gzip", &packed));
    assert_ne!(gzip.header("etag"), plain.header("etag"), "other bytes have another strong ETag");
    assert!(plain.header("vary").contains("accept-encoding") && gzip.header("vary").contains("accept-encoding"));
    let none = served.get("/roads/1/1/0.pbf");
    assert_eq!((none.status, none.body.len()), (204, 0));
}

#[test]
fn what_is_no_archive_is_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, said) in [
        ("cut.pmtiles", &b"PMTiles\x03"[..], "shorter than a header"),
        ("other.pmtiles", &[7; 200][..], "does not begin"),
        ("other.mbtiles", &b"this is no database, however it is looked at"[..], "no MBTiles archive"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = Command::new(PROGRAM).arg("serve").arg(&file).args(["--listen", "127.0.0.1:0"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains(said) && error.lines().count() == 1, "{error}");
    }
}
