//! Histograms, rows and statistics over a real socket, against the rows themselves.

use crate::served::{Row, Sample, Served};
use pointillist::world::TileId;

#[test]
fn histograms_count_the_rows() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    let got = served.get("/towers/histogram?column=range&bins=10&by=radio&filter=range%20%3C%204000").json();
    let bins = got["bins"].as_array().unwrap();
    let edge = |bin: &serde_json::Value, name: &str| bin[name].as_f64().unwrap();
    let mut sum = 0;
    for (i, bin) in bins.iter().enumerate() {
        let is_in = |row: &&Row| {
            let range = f64::from(row.range);
            row.range < 4000 && range >= edge(bin, "lo") && (range < edge(bin, "hi") || i + 1 == bins.len() && range <= edge(bin, "hi"))
        };
        assert_eq!(bin["count"], sample.rows.iter().filter(is_in).count(), "{bin}");
        for plane in 0..4 {
            let expected = sample.rows.iter().filter(is_in).filter(|row| row.radio.unwrap_or(3) == plane).count();
            assert_eq!(bin["counts"][plane], expected);
        }
        sum += bin["count"].as_u64().unwrap();
    }
    assert_eq!(got["total"].as_u64(), Some(sum));

    let asked = r#"{"bbox":[-180,-85,180,85],"zoom":2,"brushes":{"range":[1000,3000],"radio":["LTE"]},"columns":["range","radio"]}"#;
    let linked = served.post("/towers/crossfilter", asked);
    assert_eq!(linked.status, 200, "{}", linked.text());
    let linked = linked.json();
    let in_range = |row: &&Row| (1000..3000).contains(&row.range);
    let both = sample.rows.iter().filter(in_range).filter(|row| row.radio == Some(1)).count();
    assert_eq!((&linked["selected"], &linked["selected_total"], &linked["total"]), (&both.into(), &both.into(), &3000.into()));
    let of_radio = linked["histograms"]["radio"]["total"].as_u64().unwrap();
    assert_eq!(of_radio, sample.rows.iter().filter(in_range).count() as u64, "a histogram is not under its own brush");
    let encoded: String = linked["filter"].as_str().unwrap().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let counts = served.get(&format!("/towers/0/0/0.npy?filter={encoded}")).counts();
    assert_eq!(counts.iter().sum::<u32>() as usize, both);

    for (body, said) in [
        ("{", "not a crossfilter question"),
        (r#"{"brushes":{"rnage":[1,2]}}"#, "did you mean 'range'"),
        (r#"{"brushes":{"range":"x"}}"#, "range"),
        (r#"{"colums":[]}"#, "columns"),
        (r#"{"bbox":[0,10,0,-10]}"#, "south not above north"),
    ] {
        let got = served.post("/towers/crossfilter", body);
        assert_eq!(got.status, 400, "{body}: {}", got.text());
        assert!(got.json()["detail"].as_str().unwrap().contains(said), "{body}: {}", got.text());
    }
    assert_eq!(served.post("/towers/crossfilter", &" ".repeat(100_000)).status, 413);
}

#[test]
fn rows_are_found_under_a_pixel_and_exported_whole() {
    let sample = Sample::new(12_000);
    let served = Served::start(&sample.dataset(), &[]);
    let here = TileId::new(0, 0, 0).unwrap();
    let counts = sample.counted(here, |_| true);
    let pixel = (0..65536).max_by_key(|&pixel| (0..4).map(|plane| counts[plane * 65536 + pixel]).sum::<u32>()).unwrap();
    let expected: u32 = (0..4).map(|plane| counts[plane * 65536 + pixel]).sum();
    let got = served.get(&format!("/towers/points?tile=0/0/0&pixel={},{}&limit=5", pixel % 256, pixel / 256)).json();
    assert_eq!(got["total"], expected);
    assert_eq!(got["rows"].as_array().unwrap().len(), 5.min(expected as usize));
    assert!(got["rows"][0]["lon"].is_number() && got["rows"][0]["range"].is_number());

    let export = served.get("/towers/points?format=csv&filter=range%20%3E%3D%20100");
    assert!(export.header("content-disposition").contains("towers.csv"));
    let lines = export.text().lines().count();
    assert_eq!(lines, 1 + sample.rows.iter().filter(|row| row.range >= 100).count());
    for (path, said) in [
        ("/towers/points?tile=0/0/0&pixel=256,0", "from 0 to 255"),
        ("/towers/points?pixel=1,1", "tile=z/x/y"),
        ("/towers/points?tile=0/0", "z/x/y"),
        ("/towers/points?format=xlsx", "geojson"),
        ("/towers/points?columns=nothing", "nothing"),
        ("/towers/points?limit=-1", "limit=-1"),
    ] {
        let got = served.get(path);
        assert_eq!(got.status, 400, "{path}: {}", got.text());
        assert!(got.json()["detail"].as_str().unwrap().contains(said), "{path}: {}", got.text());
    }
}

#[test]
fn statistics_of_a_selection_are_true() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &[]);
    let stats = served.get("/towers/stats?filter=range%20%3E%201234").json();
    let ranges: Vec<u32> = sample.rows.iter().map(|row| row.range).filter(|&range| range > 1234).collect();
    let column = stats["columns"].as_array().unwrap().iter().find(|column| column["name"] == "range").unwrap();
    assert_eq!(column["count"], ranges.len());
    assert_eq!(column["min"], *ranges.iter().min().unwrap());
    assert_eq!(column["max"], *ranges.iter().max().unwrap());
    let mean = ranges.iter().map(|&n| f64::from(n)).sum::<f64>() / ranges.len() as f64;
    assert_eq!(column["mean"], mean, "a sum of integers, divided once");
    let text = stats["columns"].as_array().unwrap().iter().find(|column| column["name"] == "radio").unwrap();
    assert!(text["nulls"].is_null(), "what is true of all points need not be of these");
    // Of all points too, where it is asked for.
    let column = |stats: &serde_json::Value| stats["columns"].as_array().unwrap().iter().find(|c| c["name"] == "range").unwrap().clone();
    let all = column(&served.get("/towers/stats?filter=").json());
    let mean = sample.rows.iter().map(|row| f64::from(row.range)).sum::<f64>() / 2000.0;
    assert_eq!((&all["count"], &all["mean"]), (&2000.into(), &mean.into()));
    assert_eq!(all["quantiles"].as_array().map(Vec::len), Some(5));
    assert!(column(&served.get("/towers/stats").json()).get("mean").is_none());
}
