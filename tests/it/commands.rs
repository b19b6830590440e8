//! What commands say and serve: `inspect`, `verify`, `serve` where it cannot, `demo`.

use crate::served::{PROGRAM, Sample, Served};
use std::process::Command;

#[test]
fn a_dataset_is_inspected_and_verified() {
    let sample = Sample::new(500);
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).arg(sample.dataset()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = run(&["inspect"]);
    assert!(code == Some(0) && said.contains("500") && said.contains("radio *"), "{said}");
    let (code, said) = run(&["inspect", "--json"]);
    let inspected: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &inspected["rows"]), (Some(0), &500.into()));
    let (code, said) = run(&["verify"]);
    assert!(code == Some(0) && said.contains("is whole: 500 points"), "{said}");

    let file = sample.dataset().join("parts/00000/hot.arrow");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, said) = run(&["verify"]);
    assert!(code == Some(1) && said.contains("hot.arrow is damaged: its checksum"), "{said}");
}

#[test]
fn a_port_in_use_and_a_missing_dataset_are_one_clear_sentence() {
    let sample = Sample::new(10);
    let served = Served::start(&sample.dataset(), &[]);
    let address = served.base.strip_prefix("http://").unwrap();
    let output = Command::new(PROGRAM).arg("serve").arg(sample.dataset()).args(["--listen", address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the port is in use") && said.lines().count() == 1, "{said}");

    let output = Command::new(PROGRAM).args(["serve", "/no/such/place", "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("/no/such/place") && said.lines().count() == 1, "{said}");
}

#[test]
fn the_demo_shows_real_files_too() {
    let sample = Sample::new(500);
    let served = Served::start_command(&["demo", "towers", sample.dataset().to_str().unwrap()].map(std::ffi::OsStr::new));
    assert_eq!(served.get("/catalog").json()["datasets"][0]["rows"], 500);
    let both = crate::command::pointillist(["demo", "towers", "somewhere", "--rows", "5"]);
    assert!(both.error().contains("cannot be used with"), "{}", both.error());
}

#[test]
fn the_demo_generates_both_kinds_in_the_schemas_of_the_real_files() {
    let cache = tempfile::tempdir().unwrap();
    for (kind, by, columns) in [("towers", "radio", ["mcc", "range", "created"]), ("ais", "VesselGroup", ["MMSI", "SOG", "Length"])] {
        let arguments = ["demo", kind, "--rows", "3000"].map(std::ffi::OsStr::new);
        let served = Served::start_command_in(&arguments, &[("XDG_CACHE_HOME", cache.path())]);
        let stats = served.get(&format!("/{kind}/stats")).json();
        assert_eq!((&stats["rows"], &stats["by"]), (&3000.into(), &by.into()), "{stats}");
        for name in columns {
            assert!(stats["columns"].as_array().unwrap().iter().any(|column| column["name"] == name), "{name}: {stats}");
        }
    }
}
