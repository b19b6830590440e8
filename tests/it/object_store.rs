//! A store of objects that speaks S3, on loopback: `tests/object_store.py`, which is made slow, faulty or absent at will.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Ends when dropped.
pub struct ObjectStore {
    child: Child,
    /// Ends the store when it is closed.
    stdin: Option<ChildStdin>,
    control: String,
    /// `s3://` and the bucket.
    pub url: String,
    /// The same, over HTTP and without keys.
    pub bucket: String,
    /// What a client needs in its environment.
    pub env: Vec<(String, String)>,
}

impl ObjectStore {
    /// An empty store; `None`, with a line that says why, where Python's packages cannot be had.
    pub fn start(test: &str) -> Option<ObjectStore> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/object_store.py");
        let started = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = started else {
            crate::skipped::skipped(test, "python3 is not installed");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(said) = serde_json::from_str::<Value>(&line) else {
            let ended = child.wait().unwrap();
            let why = line.trim().strip_prefix("SKIPPED: ").unwrap_or_else(|| panic!("the store does not start: {ended}: {line}"));
            crate::skipped::skipped(test, why);
            return None;
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let env = said["env"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let stdin = child.stdin.take();
        let (endpoint, bucket) = (text(&said["endpoint"]), text(&said["bucket"]));
        let (url, bucket) = (format!("s3://{bucket}"), format!("{endpoint}/{bucket}"));
        Some(ObjectStore { child, stdin, control: text(&said["control"]), url, bucket, env })
    }

    /// What happens to requests from now on: see the script.
    pub fn faults(&self, faults: Value) {
        ureq::post(format!("{}/faults", self.control)).send_json(faults).unwrap();
    }

    /// Requests that were answered or not, since the last reset.
    pub fn requests(&self) -> u64 {
        let mut answer = ureq::get(format!("{}/counts", self.control)).call().unwrap();
        answer.body_mut().read_json::<Value>().unwrap()["requests"].as_u64().unwrap()
    }

    /// Paths of the objects that were put since the last reset.
    pub fn names_put(&self) -> Vec<String> {
        let mut answer = ureq::get(format!("{}/log", self.control)).call().unwrap();
        let log = answer.body_mut().read_json::<Value>().unwrap();
        let put = log.as_array().unwrap().iter().filter(|entry| entry["method"] == "PUT");
        put.map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    }

    pub fn reset(&self) {
        ureq::post(format!("{}/reset", self.control)).send_json(json!({})).unwrap();
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}
