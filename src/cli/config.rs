//! The configuration file: defaults of a person's own, below flags and environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::error::Error;

/// What the file may hold; all of it optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// As `--data`.
    pub data: Option<PathBuf>,
    /// As `--sessions`.
    pub sessions: Option<PathBuf>,
    /// As `--device`.
    pub device: Option<String>,
    /// As `--threads`.
    pub threads: Option<u16>,
    /// As `--seed`.
    pub seed: Option<u64>,
    /// As `--graphics`.
    pub graphics: Option<String>,
    /// As `--theme`.
    pub theme: Option<String>,
    /// As `--fps`.
    pub fps: Option<u8>,
    /// Architecture, validation split and settings of fresh runs.
    #[serde(default)]
    pub train: TrainConfig,
}

/// What a fresh run is made of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainConfig {
    /// As `--arch`.
    pub arch: Option<String>,
    /// As `--validation-split`.
    pub validation_split: Option<f64>,
    /// Settings by the names that `set` knows.
    #[serde(flatten)]
    pub settings: BTreeMap<String, toml::Value>,
}

impl Config {
    /// Reads the file that was named, or the person's own if there is one.
    ///
    /// # Errors
    /// If the named file is missing, or one is no configuration.
    pub fn read(named: Option<&Path>) -> Result<Self, Error> {
        let own = || Some(etcetera::choose_base_strategy().ok()?.config_dir().join("mnist-lab/config.toml"));
        let path = match named {
            Some(path) => path.to_owned(),
            None => match own().filter(|path| path.exists()) {
                Some(path) => path,
                None => return Ok(Self::default()),
            },
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::Usage(format!("can't read the configuration {}: {error}", path.display())))?;
        text.parse()
            .map_err(|problem| Error::Usage(format!("the configuration {} is wrong: {problem}", path.display())))
    }
}

impl FromStr for Config {
    type Err = String;

    /// Reads the text of such a file.
    fn from_str(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "))
    }
}
