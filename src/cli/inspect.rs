//! `pointillist inspect`: what a dataset is, by its manifest.

use crate::dataset::verify::bytes_of;
use crate::dataset::{Dataset, Encoding};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

/// Show what a dataset holds: rows, bounds, columns, categories, parts and sizes
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist inspect towers
  pointillist inspect towers --json | jq .columns")]
pub struct InspectArgs {
    /// The dataset's folder or URL
    pub path: PathBuf,

    /// Print JSON: the manifest, and what is worked out from it
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    let dataset = super::stores::dataset_at(&args.path)?;
    let text = if args.json { json_of(&dataset) } else { text_of(&dataset) };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Bytes that stay in memory while the dataset is served: key halves, index and hot columns.
fn hot_bytes(dataset: &Dataset) -> usize {
    let columns: usize = dataset.columns().iter().map(|column| column.width.bytes()).sum();
    dataset.parts.iter().map(|part| part.index_bytes() + part.rows() as usize * columns).sum()
}

fn json_of(dataset: &Dataset) -> String {
    let mut body = serde_json::to_value(&dataset.manifest).expect("a manifest has no keys that are not text");
    let hot = hot_bytes(dataset);
    body["bytes"] = json!(bytes_of(&dataset.manifest));
    body["hot_bytes"] = json!(hot);
    body["hot_bytes_per_point"] = json!(hot as f64 / dataset.rows().max(1) as f64);
    format!("{body:#}\n")
}

fn text_of(dataset: &Dataset) -> String {
    let manifest = &dataset.manifest;
    let bounds = &manifest.bounds;
    let hot = hot_bytes(dataset);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("dataset", format!("{} ({})", manifest.name, manifest.title));
    line("points", HumanCount(manifest.rows).to_string());
    let rejected: u64 = manifest.rejected.values().sum();
    if rejected > 0 {
        let reasons: Vec<String> = manifest.rejected.iter().map(|(reason, rows)| format!("{}: {reason}", HumanCount(*rows))).collect();
        line("rejected", format!("{} ({})", HumanCount(rejected), reasons.join("; ")));
    }
    line("bounds", format!("{:.5},{:.5},{:.5},{:.5}", bounds.west, bounds.south, bounds.east, bounds.north));
    line("coordinates", format!("{}, {} ({})", manifest.coordinates.x, manifest.coordinates.y, manifest.coordinates.crs));
    if let Some(attribution) = &manifest.attribution {
        line("attribution", attribution.clone());
    }
    line("size", format!("{} on disk in {} parts", HumanBytes(bytes_of(manifest)), manifest.parts.len()));
    line("in memory", format!("{}, {:.1} bytes a point", HumanBytes(hot as u64), hot as f64 / manifest.rows.max(1) as f64));
    line("version", format!("{} (format {}, {})", manifest.data_version, manifest.format_version, manifest.created_by));
    let _ = writeln!(text, "\n{:<24} {:<10} {:<20} {:>12}  {:<28} max", "column", "type", "stored as", "nulls", "min");
    for column in &manifest.columns {
        let encoding = match column.encoding {
            Encoding::Dictionary => format!("{} values, {} B", column.key_max, column.width.bytes()),
            Encoding::Affine { .. } => format!("integers, {} B", column.width.bytes()),
            Encoding::OrderedFloat => format!("floats, {} B", column.width.bytes()),
        };
        let main = if manifest.category.as_deref() == Some(column.name.as_str()) { " *" } else { "" };
        let kind = format!("{:?}", column.kind).to_lowercase();
        let name = format!("{}{main}", column.name);
        let (min, max) = (short(&column.min.to_string()), short(&column.max.to_string()));
        let _ = writeln!(text, "{name:<24} {kind:<10} {encoding:<20} {:>12}  {min:<28} {max}", HumanCount(column.nulls).to_string());
    }
    if manifest.category.is_some() {
        text.push_str("* colours the map\n");
    }
    text
}

/// The start of a long value.
fn short(value: &str) -> String {
    const CHARS_MAX: usize = 28;
    if value.chars().count() <= CHARS_MAX {
        return value.to_owned();
    }
    value.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}
