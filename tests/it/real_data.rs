//! Real files, as they are, each with one command and the totals of their README. They are not part of the project: without
//! them these tests skip, and say so.

use crate::command::{counts, ingest, kind};
use pointillist::dataset::Dataset;
use std::path::PathBuf;
use tempfile::tempdir;

/// The path of a real file, or `None` with a visible line.
pub fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    // A worktree lies one folder deeper than the project.
    let path = if path.exists() { path } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name) };
    if !path.exists() {
        crate::skipped::skipped(name, "the real file is not in ../shared/data");
    }
    path.exists().then_some(path)
}

/// Ingests a real file, which must have `rows` rows of which `rejected` are rejected; `None` if it is not there.
fn totals(name: &str, rows: u64, rejected: u64, more: &[&str]) -> Option<Dataset> {
    let path = real(name)?;
    let folder = tempdir().unwrap();
    let (dataset, summary) = ingest(folder.path(), &path, more);
    let lost: u64 = summary["rejected"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((summary["rows_in"].as_u64(), lost), (Some(rows), rejected), "{name}");
    assert_eq!(dataset.rows() + lost, rows, "{name}");
    Some(dataset)
}

fn attribution(dataset: &Dataset) -> &str {
    dataset.manifest.attribution.as_deref().unwrap_or_default()
}

#[test]
fn ships() {
    let Some(dataset) = totals("ais-us-2020-01-01.csv.gz", 6_345_302, 0, &[]) else { return };
    let nulls = |name| dataset.column(dataset.column_id(name).unwrap()).nulls;
    assert_eq!(nulls("Heading"), 3_669_637);
    assert_eq!(nulls("CallSign"), 642_504);
    assert_eq!(nulls("IMO"), 3_369_824);
    assert_eq!(nulls("VesselType"), 99_950);
    let groups = counts(&dataset, "VesselGroup");
    assert_eq!((groups["unknown"], groups["pleasure"], groups["fishing"]), (99_950, 1_133_708, 521_392));
    assert_eq!(groups.values().sum::<u64>(), 6_345_302);
    assert!(attribution(&dataset).contains("MarineCadastre"));
}

#[test]
fn cells_of_three_countries_are_one_dataset() {
    let Some(folder) = real("opencellid-206-be.csv.gz").and_then(|path| path.parent().map(PathBuf::from)) else { return };
    let output = tempdir().unwrap();
    let (dataset, summary) = ingest(output.path(), &folder.join("opencellid-*.csv.gz"), &[]);
    assert_eq!((summary["rows_in"].as_u64(), dataset.rows()), (Some(304_324), 304_324));
    let radio = counts(&dataset, "radio");
    assert_eq!((radio["LTE"], radio["GSM"], radio["UMTS"], radio["NR"]), (196_847, 79_727, 21_906, 5_844));
    assert_eq!((dataset.manifest.category.as_deref(), kind(&dataset, "created").as_str()), (Some("radio"), "timestamp"));
    assert!(attribution(&dataset).contains("OpenCelliD"));
}

#[test]
fn crimes_in_a_zip_of_41_files() {
    let Some(dataset) = totals("uk-police-street-2018-11.zip", 368_887, 8_738, &[]) else { return };
    assert_eq!(counts(&dataset, "Crime type").len(), 14);
    assert_eq!(counts(&dataset, "Reported by").len(), 41);
}

#[test]
fn wells_in_parquet() {
    let Some(dataset) = totals("ny-oil-and-gas-wells.parquet", 260_374, 0, &[]) else { return };
    assert_eq!((counts(&dataset, "Well Type").len(), counts(&dataset, "Well Status").len()), (17, 15));
    assert_eq!(kind(&dataset, "Date Well Completed"), "timestamp");
    assert_eq!(dataset.manifest.coordinates.x, "Surface Longitude");
}

#[test]
fn postal_codes_without_header_or_quotes() {
    let Some(dataset) = totals("geonames-postal-IN.zip", 154_809, 0, &[]) else { return };
    assert_eq!(kind(&dataset, "postal code"), "text");
}

#[test]
fn cities_with_stray_quotes_and_namibia() {
    let Some(dataset) = totals("geonames-cities15000.txt.gz", 22_841, 0, &[]) else { return };
    let countries = counts(&dataset, "country code");
    assert_eq!(countries.len(), 242);
    assert!(countries["NA"] > 0);
}

#[test]
fn airports_without_the_poles() {
    // The South Pole, and one airfield near the North Pole, lie outside the Web-Mercator world.
    let Some(dataset) = totals("openflights-airports.dat.gz", 7_698, 2, &[]) else { return };
    assert_eq!(dataset.manifest.rejected["latitude outside the Web-Mercator world"], 2);
}

#[test]
fn earthquakes_fires_and_taxis() {
    let Some(quakes) = totals("usgs-earthquakes-2015-08.csv.gz", 8_826, 0, &[]) else { return };
    assert_eq!(counts(&quakes, "type")["quarry blast"], 108);
    let Some(fires) = totals("firms-modis-2023-08-01.csv.gz", 36_555, 0, &[]) else { return };
    assert_eq!(kind(&fires, "acq_time"), "text", "0035 is a code");
    assert_eq!(counts(&fires, "satellite")["A"], 25_464);
    let Some(taxis) = totals("nyc-green-taxi-2013-08.csv.gz", 7_623, 0, &[]) else { return };
    assert_eq!(taxis.manifest.coordinates.x, "Pickup_longitude");
    assert_eq!(kind(&taxis, "Total_amount"), "float");
}
