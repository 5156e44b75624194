//! Models of other programs: read, checked, and turned into a session like any other.

mod chain;
mod config;
mod convert;
mod dropout;
mod guard;
mod h5;
mod keras;
mod safetensors;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::data::Dataset;
use crate::error::Error;
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::plan::BATCH_NORM_EPSILON;
use crate::nn::{NamedTensor, NetworkState, param};
use crate::session::card::Card;
use crate::session::{DataMark, Session};
use crate::train::history::History;
use crate::train::settings::Settings;
use crate::train::tree::Tree;
use crate::train::{Progress, RunConfig, RunState};

/// No file that this program could use comes near: the largest architecture has 200 MB of weights.
const LIMIT: u64 = 1 << 30;

/// Why a model file can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system said no.
    #[error("{}: can't read this file: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no whole file of a format that is known, or says what can't be.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Io { .. } => Self::Failed(error.to_string()),
            ImportError::Content { .. } => Self::ModelFile(error.to_string()),
        }
    }
}

/// A network that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Its layers.
    pub arch: Arch,
    /// Its weights in our layout, in the order of [`specs`](param::specs).
    pub tensors: Vec<NamedTensor>,
    /// The rate of its dropout layers that have none of their own.
    pub dropout: f32,
    /// What the file says of itself, if this program wrote it.
    pub card: Option<Card>,
}

/// Reads the model file `path`; `arch` is needed where the file itself does not tell the layers.
///
/// # Errors
/// If it can't be read, is no whole model file, or is a model that [`Arch`] can't say; the sentence names the layer.
pub fn read(path: &Path, arch: Option<&Arch>) -> Result<Imported, ImportError> {
    let io_error = |source| ImportError::Io { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)).map_err(io_error)?;
    decode(&bytes, arch).map_err(|problem| ImportError::Content { path: path.into(), problem })
}

/// The model that `bytes` hold; the format is told by how they begin.
///
/// # Errors
/// A sentence that says what is wrong with them.
pub fn decode(bytes: &[u8], arch: Option<&Arch>) -> Result<Imported, String> {
    if bytes.len() as u64 > LIMIT {
        return Err(format!("the file is larger than the {} MB that a model may have", LIMIT >> 20));
    }
    let imported = match bytes {
        [0x89, b'H', b'D', b'F', ..] => h5::decode(bytes)?,
        [b'P', b'K', 3, 4, ..] => keras::decode(bytes)?,
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::decode(bytes, arch)?,
        _ => {
            return Err("this is no Keras .h5 or .keras file and no safetensors file: it begins as none of them".into());
        }
    };
    match arch {
        Some(arch) if *arch != imported.arch => {
            Err(format!("the file holds `{}`, which is not the --arch that was given: leave it out", imported.arch))
        }
        _ => Ok(imported),
    }
}

impl Imported {
    /// A session that begins with this network, for `dataset`.
    pub fn session(self, dataset: &Dataset, seed: u64, validation_split: f64) -> Session {
        Session {
            data: DataMark { name: dataset.name.clone(), fingerprint: dataset.fingerprint() },
            run: RunState {
                config: RunConfig { arch: self.arch, seed, validation_split, teacher: None },
                settings: Settings { dropout: self.dropout, ..Settings::default() },
                progress: Progress::default(),
                network: NetworkState {
                    tensors: self.tensors,
                    trained: None,
                    optimizer: OptimizerState { kind: OptimizerKind::default(), updates: 0, moments: Vec::new() },
                },
                best: None,
                history: History::default(),
            },
            tree: Tree::default(),
        }
    }
}

/// Turns the scales of a batch norm with another ε into those that give the same with ours: all that counts is
/// scale / √(variance + ε).
fn fold_epsilon(epsilon: f64, scales: &mut [f32], variances: &[f32]) {
    if (epsilon - BATCH_NORM_EPSILON).abs() <= 1e-9 {
        return;
    }
    for (scale, &variance) in scales.iter_mut().zip(variances) {
        let variance = f64::from(variance);
        let factor = ((variance + BATCH_NORM_EPSILON) / (variance + epsilon)).sqrt();
        *scale = (f64::from(*scale) * factor) as f32;
    }
}

/// The tensors of `arch` with these values, if they are as many as it has and are all numbers.
fn tensors(arch: &Arch, values: Vec<Vec<f32>>) -> Result<Vec<NamedTensor>, String> {
    let specs = param::specs(arch);
    let fits =
        specs.len() == values.len() && specs.iter().zip(&values).all(|(spec, values)| spec.len() == values.len());
    if !fits {
        return Err(format!("the weights are not those of `{arch}`"));
    }
    let tensor = |(spec, values): (param::Spec, Vec<f32>)| {
        if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
            return Err(format!("the tensor for `{}` holds {odd}, which is no number to compute with", spec.name));
        }
        Ok(NamedTensor { name: spec.name, shape: spec.shape, values })
    };
    specs.into_iter().zip(values).map(tensor).collect()
}
