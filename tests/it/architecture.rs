//! The structure is what ARCHITECTURE.md says: its paths exist, modules point one way, and crates are named where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules, and the modules that each may use. Those that are not listed may not be there.
const MAY_USE: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("store", &[]),
    ("world", &[]),
    ("generate", &[]),
    ("archive", &["store", "world"]),
    ("dataset", &["store", "world"]),
    ("filter", &["world", "dataset"]),
    ("ingest", &["store", "world", "dataset", "filter"]),
    ("engine", &["world", "dataset", "filter"]),
    ("cluster", &["dataset", "ingest"]),
    ("shade", &["world", "engine"]),
    ("encode", &["engine"]),
    ("points", &["world", "dataset", "filter", "engine"]),
    ("histogram", &["world", "dataset", "filter", "engine"]),
    ("crossfilter", &["world", "dataset", "filter", "engine", "histogram"]),
    ("service", &["world", "archive", "dataset", "filter", "engine", "shade", "encode", "points", "histogram", "crossfilter"]),
    ("server", &["store", "world", "archive", "dataset", "filter", "engine", "shade", "encode", "points", "histogram", "crossfilter", "service", "config"]),
    ("prewarm", &["store", "world", "dataset", "filter", "engine", "shade", "encode", "service"]),
    ("bench", &["world", "dataset", "filter", "engine", "shade", "encode", "points", "histogram", "crossfilter"]),
    ("cli", &[
        "cluster", "store", "world", "archive", "generate", "dataset", "filter", "ingest", "engine", "shade", "encode", "points", "histogram", "crossfilter",
        "service", "server", "prewarm", "bench", "config",
    ]),
];

/// Crates that only some places may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("wgpu", &["src/engine/gpu"]),
    ("axum", &["src/server"]),
    ("hyper", &["src/server"]),
    ("yaml_rust2", &["src/config"]),
    ("tokio_rustls", &["src/server"]),
    ("subtle", &["src/server"]),
    ("opentelemetry", &["src/server/trace.rs", "src/cli/telemetry.rs", "src/cli/logging.rs"]),
    ("opentelemetry_sdk", &["src/server/trace.rs", "src/cli/telemetry.rs", "src/cli/logging.rs"]),
    ("ureq", &["src/prewarm", "src/cli"]),
    ("object_store", &["src/store"]),
    ("redis", &["src/service"]),
    ("rusqlite", &["src/service", "src/prewarm", "src/archive"]),
    ("arrow", &["src/dataset", "src/ingest", "src/generate", "src/points", "src/filter", "src/cluster"]),
    ("parquet", &["src/dataset", "src/ingest", "src/generate", "src/points", "src/cluster"]),
    ("datafusion", &["src/cluster"]),
    ("ballista", &["src/cluster"]),
    ("ballista_core", &["src/cluster"]),
    ("ballista_scheduler", &["src/cluster"]),
    ("ballista_executor", &["src/cluster"]),
];

#[test]
fn modules_point_one_way() {
    let may_use: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(module, uses)| (*module, uses.iter().copied().collect())).collect();
    let mut files = 0;
    let mut wrong = Vec::new();
    for path in rust_files(Path::new("src")) {
        let Some(module) = module_of(&path) else { continue };
        files += 1;
        let Some(allowed) = may_use.get(module.as_str()) else {
            wrong.push(format!("{}: module `{module}` is in no layer of this test", path.display()));
            continue;
        };
        let text = code_of(&path);
        for used in crate_paths(&text) {
            if used != module && may_use.contains_key(used.as_str()) && !allowed.contains(used.as_str()) {
                wrong.push(format!("{}: `{module}` uses `{used}`", path.display()));
            }
        }
    }
    assert!(files > 20, "the test found only {files} files: it looks in the wrong place");
    assert!(wrong.is_empty(), "modules must point downwards:\n{}", wrong.join("\n"));
}

/// A table with a circle would allow one in the code: every module may use only what stands above it.
#[test]
fn the_table_has_no_circles() {
    for (place, (module, uses)) in MAY_USE.iter().enumerate() {
        let above: Vec<&str> = MAY_USE[..place].iter().map(|(name, _)| *name).collect();
        let wrong: Vec<&&str> = uses.iter().filter(|used| !above.contains(used)).collect();
        assert!(wrong.is_empty(), "`{module}` may use {wrong:?}, which do not stand above it");
    }
}

#[test]
fn crates_are_named_where_they_belong() {
    let mut wrong = Vec::new();
    for path in rust_files(Path::new("src")) {
        let text = code_of(&path);
        let shown = path.display().to_string();
        for (name, places) in ONLY_IN {
            let named = text.contains(&format!("{name}::")) || text.contains(&format!("use {name};"));
            if named && !places.iter().any(|place| shown.starts_with(place)) {
                wrong.push(format!("{shown} names {name}, which belongs in {places:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_is_in_one_module() {
    let found: Vec<String> = rust_files(Path::new("src"))
        .into_iter()
        .filter(|path| ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| code_of(path).contains(word)))
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(found, ["src/dataset/mmap.rs"]);
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<PathBuf> = rust_files(Path::new("src"))
        .into_iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "files without `//!`: {silent:?}");
}

#[test]
fn the_architecture_document_names_paths_that_exist() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let paths: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains('/') && code.chars().all(|c| c.is_alphanumeric() || "/_.-".contains(c)))
        .collect();
    assert!(paths.len() > 15, "the document names only {} paths", paths.len());
    let missing: Vec<&&str> = paths.iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
    for (module, _) in MAY_USE.iter().filter(|(module, _)| Path::new(&format!("src/{module}")).exists()) {
        assert!(text.contains(&format!("src/{module}")), "ARCHITECTURE.md does not mention src/{module}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// `src/engine/cpu/count.rs` and `src/engine.rs` are of `engine`; `src/main.rs` and `src/lib.rs` of none.
fn module_of(path: &Path) -> Option<String> {
    let name = path.components().nth(1)?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (name != "main" && name != "lib").then_some(name)
}

/// The text without comments.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// First segments of all `crate::…` paths, also within `use crate::{…}`.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in text.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut at_start = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_alphanumeric() || c == '_') && at_start {
                    word.push(c);
                } else if depth <= 1 {
                    if !word.is_empty() {
                        found.insert(std::mem::take(&mut word));
                    }
                    at_start = c == ',' || (at_start && c.is_whitespace());
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}
