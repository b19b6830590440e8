//! A dataset's files are cut, changed, removed or replaced while it is served: whatever is answered is right, nothing that was made of
//! damaged files stays, other datasets do not notice, and the server goes on.

use crate::served::{Got, PROGRAM, Sample, Served};
use pointillist::config::KeyHash;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

const ADMIN: &str = "pk_admin";

/// The status of a reload that would take damaged or missing files; nothing has changed then.
const REFUSED: u16 = 422;

/// Has the configuration read again; the status of the answer, which comes when that is done.
fn reloaded(served: &Served) -> u16 {
    served.administer("POST", "/admin/reload", ADMIN, "").status
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} has not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two datasets with the same rows, one of them to be damaged, served with a cache on disk.
struct Pair {
    sample: Sample,
    served: Served,
}

/// A question that no cache knows, and how many rows pass it.
struct Question {
    path: String,
    rows: u32,
}

impl Pair {
    fn new(rows: usize) -> Pair {
        let sample = Sample::new(rows);
        let folder = sample.folder.path();
        copied(&sample.dataset(), &folder.join("whole"));
        copied(&sample.dataset(), &folder.join("spare"));
        let config = folder.join("pointillist.yaml");
        let key = KeyHash::of(ADMIN);
        let keys = format!("access: {{keys: [{{name: boss, role: admin, sha256: {key}}}]}}\n");
        let yaml = format!("datasets: {{sources: {{hurt: {0}/towers, whole: {0}/whole}}}}\ncache: {{dir: {0}/tiles}}\n{keys}", folder.display());
        fs::write(&config, yaml).unwrap();
        let served = Served::start_command(&["serve".as_ref(), "--config".as_ref(), config.as_os_str(), "--admin-listen".as_ref(), "127.0.0.1:0".as_ref()]);
        Pair { sample, served }
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.sample.folder.path().join(path)
    }

    fn question(&self, dataset: &str, i: u32) -> Question {
        let rows = self.sample.rows.iter().filter(|row| row.range >= i).count() as u32;
        Question { path: format!("/{dataset}/0/0/0.npy?filter=range%20%3E%3D%20{i}"), rows }
    }

    /// The right answer, or none.
    fn is_answered(&self, question: &Question) -> bool {
        let got = self.served.get(&question.path);
        match got.status {
            200 => assert_eq!(got.counts().iter().sum::<u32>(), question.rows, "{}", question.path),
            // Whoever was under way when it happened may hear that its thread failed.
            500 | 503 => assert_eq!(got.header("content-type"), "application/problem+json"),
            other => panic!("{other}: {}", got.text()),
        }
        got.status == 200
    }

    /// Asks until nothing is answered of the damaged dataset any more, and then of everything that there is to ask.
    fn is_refused_and_the_other_goes_on(&self) {
        let mut i = 0;
        until("that the damage is found", || {
            i += 1;
            // Of a byte that was changed in place, nothing tells until the files are looked at.
            self.served.get(&self.question("hurt", i).path).status == 503
        });
        for path in ["/0/0/0.png", ".json", "/stats?filter=", "/histogram?column=range", "/points?limit=3", "/points?format=csv", "/legend.json", "/legend.png", "/events"] {
            let got: Got = self.served.get(&format!("/hurt{path}"));
            assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "{path}: {}", got.text());
            assert!(!got.text().contains("towers"), "it names files: {}", got.text());
        }
        assert_eq!(self.served.post("/hurt/crossfilter", "{}").status, 503);
        assert_eq!(self.served.get("/health").json()["status"], "degraded");
        for i in 0..20 {
            assert!(self.is_answered(&self.question("whole", i)));
        }
    }

    /// Puts the files back, has the configuration read again, and finds all questions answered.
    fn is_restored(&self) {
        // What is damaged is not taken again.
        assert_eq!(reloaded(&self.served), REFUSED);
        assert!(!self.is_answered(&self.question("hurt", 1)));
        fs::remove_dir_all(self.file("towers")).unwrap();
        copied(&self.file("spare"), &self.file("towers"));
        assert_eq!(reloaded(&self.served), 200);
        assert!(self.is_answered(&self.question("hurt", 1)));
        for i in 0..60 {
            assert!(self.is_answered(&self.question("hurt", i)), "{i}: what was made of damaged files is still there");
        }
        assert_eq!(self.served.get("/health").json()["status"], "ok");
    }
}

/// Goal: a mapped file that ends before its map costs answers about its dataset, and neither a wrong answer nor the process.
#[test]
fn a_file_that_is_cut_while_it_is_served() {
    // Enough rows that the columns take some pages.
    let pair = Pair::new(20_000);
    for (round, file) in ["towers/parts/00000/hot.arrow", "towers/parts/00000/cells.arrow"].into_iter().enumerate() {
        assert!(pair.is_answered(&pair.question("hurt", 7 + round as u32)));
        let file = fs::File::options().write(true).open(pair.file(file)).unwrap();
        file.set_len(5000).unwrap();
        for i in 0..8 {
            pair.is_answered(&pair.question("hurt", 100 + i));
        }
        pair.is_refused_and_the_other_goes_on();
        pair.is_restored();
    }
}

/// Goal: a byte that is changed in place is found, though nothing faults. Until then, for a second, it may be counted: what was made of
/// it is neither kept in memory nor on disk.
#[test]
fn a_byte_that_is_changed_while_it_is_served() {
    let pair = Pair::new(20_000);
    let path = pair.file("towers/parts/00000/hot.arrow");
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    // The last bytes before the footer are keys of the last column.
    let place = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], place).unwrap();
    pair.is_refused_and_the_other_goes_on();
    pair.is_restored();
}

/// Goal: who has a dataset open keeps it, whatever happens to its name; and a reload that finds nothing changes nothing.
#[test]
fn files_that_are_removed_or_replaced_while_they_are_served() {
    let pair = Pair::new(2000);
    let rows = |dataset: &str| pair.served.get(&format!("/{dataset}/stats")).json()["rows"].as_u64().unwrap();
    fs::remove_dir_all(pair.file("towers")).unwrap();
    for i in 0..20 {
        assert!(pair.is_answered(&pair.question("hurt", i)));
    }
    assert_eq!(pair.served.get("/hurt/points?limit=2000&format=csv").text().lines().count(), 2001);
    assert_eq!(reloaded(&pair.served), REFUSED);
    // A look at the files.
    std::thread::sleep(Duration::from_millis(1300));
    assert!(pair.is_answered(&pair.question("hurt", 77)));
    assert_eq!(pair.served.get("/health").json()["status"], "ok");

    let (csv, _) = crate::served::rows(300);
    fs::write(pair.file("other.csv"), csv).unwrap();
    for output in ["towers", "whole"] {
        let mut ingest = Command::new(PROGRAM);
        ingest.arg("ingest").arg(pair.file("other.csv")).args(["--category", "radio", "--force", "-o"]).arg(pair.file(output));
        assert!(ingest.output().unwrap().status.success());
        assert!(pair.is_answered(&pair.question("hurt", 78)) && pair.is_answered(&pair.question("whole", 78)), "the former versions are served");
    }
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!((rows("hurt"), rows("whole")), (2000, 2000));
    assert_eq!(reloaded(&pair.served), 200);
    assert_eq!((rows("hurt"), rows("whole")), (300, 300));
}
