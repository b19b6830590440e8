//! `pointillist config`: what a server would be told, and how to say it.

use crate::config::{Config, KeyHash, Layers, new_key};
use anyhow::{Context, ensure};
use std::io::Write;
use std::path::PathBuf;

/// Check, show or describe a server's configuration, or make a key for it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist config check pointillist.yaml
  pointillist config show pointillist.yaml
  pointillist config schema > pointillist.schema.json
  pointillist config key
The settings and what they do: docs/configuration.md.")]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(clap::Subcommand, Debug)]
pub enum ConfigCommand {
    /// Say what is wrong, if anything; also looks whether the files that it names are there
    Check {
        /// The configuration's file
        file: Option<PathBuf>,
    },
    /// Print the settings that file and environment make, with every default filled in
    Show {
        /// The configuration's file
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of a configuration's file
    Schema,
    /// Make an API key: it is shown once, and its hash goes into the configuration
    Key,
}

pub fn run(args: ConfigArgs) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match args.command {
        ConfigCommand::Check { file } => {
            let config = layered(file)?;
            find_missing(&config)?;
            writeln!(stdout, "the configuration is right")?;
        }
        ConfigCommand::Show { file, json: false } => write!(stdout, "{}", layered(file)?.resolved().to_yaml())?,
        ConfigCommand::Show { file, json: true } => {
            writeln!(stdout, "{}", serde_json::to_string_pretty(&layered(file)?.resolved())?)?;
        }
        ConfigCommand::Schema => writeln!(stdout, "{}", serde_json::to_string_pretty(&Config::schema())?)?,
        ConfigCommand::Key => {
            let key = new_key().context("the system gives no random numbers")?;
            writeln!(stdout, "key:    {key}\nsha256: {}", KeyHash::of(&key))?;
        }
    }
    Ok(())
}

fn layered(file: Option<PathBuf>) -> anyhow::Result<Config> {
    let mut layers = Layers::new();
    if let Some(file) = file {
        layers = layers.file(&file)?;
    }
    layers = layers.environment(super::serve::variables())?;
    for warning in layers.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(layers.config()?)
}

fn find_missing(config: &Config) -> anyhow::Result<()> {
    let datasets = config.datasets.paths.iter().chain(config.datasets.sources.values()).chain(&config.datasets.folder);
    for path in datasets.chain(&config.tls.certificate).chain(&config.tls.key) {
        ensure!(path.exists(), "{} does not exist", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_that_of_the_code() {
        let committed = include_str!("../../docs/config.schema.json");
        let current = serde_json::to_string_pretty(&Config::schema()).unwrap();
        // Not assert_eq, which would print both.
        assert!(committed.trim_end() == current, "it is not: run `pointillist config schema > docs/config.schema.json`");
    }
}
