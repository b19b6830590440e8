//! Histograms, brushes and rows over a real socket, against the rows that went in.

use crate::served::{RADIOS, Row, Sample, Served};
use serde_json::{Value, json};

fn count(sample: &Sample, wanted: impl Fn(&Row) -> bool) -> u64 {
    sample.rows.iter().filter(|row| wanted(row)).count() as u64
}

#[test]
fn brushes_are_linked_and_the_filter_says_the_same() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    for high in [2000, 2500, 3000, 3100] {
        let request = json!({
            "bbox": null, "zoom": 2, "by": "radio", "client": "test",
            "brushes": {"range": [500, high], "radio": ["LTE", null]},
            "columns": [{"column": "range", "bins": 20}, "radio"],
        });
        let got = post(&served, &request);
        let (status, answer) = got;
        assert_eq!(status, 200, "{answer}");
        let in_range = |row: &Row| (500..high).contains(&row.range);
        let in_radio = |row: &Row| row.radio.is_none() || row.radio == Some(1);
        assert_eq!(answer["selected_total"], count(&sample, |row| in_range(row) && in_radio(row)));
        assert_eq!(answer["total"], 3000);
        // Each under the brushes of the others.
        assert_eq!(answer["histograms"]["range"]["total"], count(&sample, in_radio));
        assert_eq!(answer["histograms"]["radio"]["total"], count(&sample, in_range));
        for bin in answer["histograms"]["radio"]["bins"].as_array().unwrap() {
            let radio = RADIOS.iter().position(|radio| bin["value"] == *radio);
            assert_eq!(bin["count"], count(&sample, |row| in_range(row) && row.radio == radio));
        }
        for bin in answer["histograms"]["range"]["bins"].as_array().unwrap() {
            let (low, high) = (bin["lo"].as_u64().unwrap() as u32, bin["hi"].as_u64().unwrap() as u32);
            assert_eq!(bin["count"], count(&sample, |row| in_radio(row) && (low..high).contains(&row.range)));
            let by_group: u64 = bin["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
            assert_eq!(bin["count"], by_group);
        }
        let filter = percent_encoded(answer["filter"].as_str().unwrap());
        let stats = served.get(&format!("/towers/stats?filter={filter}")).json();
        assert_eq!(stats["rows"], answer["selected_total"]);
        let summary = stats["columns"].as_array().unwrap().iter().find(|column| column["name"] == "range").unwrap().clone();
        let mut ranges: Vec<u32> =
            sample.rows.iter().filter(|row| in_range(row) && in_radio(row)).map(|row| row.range).collect();
        ranges.sort_unstable();
        assert_eq!((&summary["min"], &summary["max"]), (&json!(ranges[0]), &json!(ranges[ranges.len() - 1])));
        assert_eq!(summary["quantiles"][2]["value"], json!(ranges[ranges.len().div_ceil(2) - 1]));
    }
}

#[test]
fn a_histogram_counts_the_rows() {
    let sample = Sample::new(1500);
    let served = Served::start(&sample.dataset(), &[]);
    let got = served.get("/towers/histogram?column=range&bins=10&filter=radio%20IS%20NULL");
    let answer = got.json();
    let counted: u64 = answer["bins"].as_array().unwrap().iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, count(&sample, |row| row.radio.is_none()));
    for (path, part) in [
        ("/towers/histogram?column=rnage", "did you mean 'range'"),
        ("/towers/histogram?column=range&bins=5000", "1 to 1024"),
        ("/towers/histogram?column=range&scale=cubic", "linear or log10"),
        ("/towers/histogram?column=lon", "there is no column 'lon'; the columns are radio, range"),
        ("/towers/histogram?column=range&min=nan", "an axis cannot end at NaN"),
        ("/towers/histogram?column=range&max=inf", "an axis cannot end at inf"),
        ("/towers/histogram?column=range&min=5&max=5", "an axis from 5 to 5 is empty"),
        ("/towers/histogram?column=radio&min=1", "column 'radio' is text, and min and max are of numbers"),
        ("/towers/points?columns=rnage", "there is no column 'rnage'"),
    ] {
        let got = served.get(path);
        assert_eq!(got.status, 400, "{path}: {}", got.text());
        assert!(got.json()["detail"].as_str().unwrap().contains(part), "{path}");
    }
    let (status, problem) = post(&served, &json!({"brushes": {"rnage": [1, 2]}}));
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("did you mean 'range'"), "{problem}");
}

#[test]
fn rows_come_in_pages_and_as_files() {
    let sample = Sample::new(2000);
    let served = Served::start(&sample.dataset(), &[]);
    let wanted = count(&sample, |row| row.range < 1000);
    let mut seen = 0;
    loop {
        let page = served.get(&format!("/towers/points?filter=range%20%3C%201000&limit=150&offset={seen}&columns=range,radio")).json();
        assert_eq!(page["total"], wanted);
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["range"].as_u64().unwrap() < 1000 && row.get("lon").is_none()));
        seen += rows.len() as u64;
        if rows.len() < 150 {
            break;
        }
    }
    assert_eq!(seen, wanted);
    let table = served.get("/towers/points?format=csv&filter=range%20%3C%201000");
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(table.text().lines().count() as u64, wanted + 1);
    let features = served.get("/towers/points?format=geojson&limit=20000&bbox=-180,-85,180,85").json();
    assert_eq!(features["features"].as_array().map(Vec::len), Some(2000));
    let pixel: Vec<Value> = served.get("/towers/points?tile=0/0/0&pixel=20,100&limit=5000").json()["rows"].as_array().unwrap().clone();
    assert_eq!(pixel.len() as u64, count(&sample, |row| row.at.x >> 24 == 20 && row.at.y >> 24 == 100));
}

#[test]
fn a_whole_selection_is_exported_with_all_its_columns() {
    // More than is put together in memory, so both are streamed.
    let sample = Sample::new(30_000);
    let served = Served::start(&sample.dataset(), &[]);
    let wanted = sample.rows.iter().filter(|row| row.range < 2500);
    let (rows, sum) = wanted.fold((0, 0), |(rows, sum), row| (rows + 1, sum + u64::from(row.range)));
    assert!(rows > 10_000);
    let check = |batches: Vec<arrow::record_batch::RecordBatch>| {
        let names: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["radio", "lon", "lat", "range", "geometry"]);
        let ranges = |batch: &arrow::record_batch::RecordBatch| {
            let ranges = arrow::compute::cast(batch.column(3), &arrow::datatypes::DataType::UInt64).unwrap();
            arrow::compute::sum(arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt64Type>(&ranges)).unwrap_or(0)
        };
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows);
        assert_eq!(batches.iter().map(ranges).sum::<u64>(), sum);
    };
    let parquet = served.get("/towers/points?format=parquet&filter=range%20%3C%202500");
    assert_eq!(parquet.header("content-type"), "application/vnd.apache.parquet");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(axum::body::Bytes::from(parquet.body), 8192).unwrap();
    check(reader.map(Result::unwrap).collect());
    let stream = served.get("/towers/points?format=arrow&filter=range%20%3C%202500");
    let reader = arrow::ipc::reader::StreamReader::try_new(&stream.body[..], None).unwrap();
    check(reader.map(Result::unwrap).collect());
}

fn post(served: &Served, question: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{}/towers/crossfilter", served.base)).header("content-type", "application/json");
    let mut response = request.send(question.to_string()).unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
