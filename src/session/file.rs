//! The format of a session file: a checked header, then a bincode payload of structs that belong to the format alone.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNISTLAB` |
//! | 4 | format version, little-endian |
//! | 8 | length of the payload, little-endian |
//! | 32 | BLAKE3 of the payload |
//! | … | the payload |
//!
//! Settings and the architecture are kept as the text that a person would type, so that reading them back checks them, and
//! a new setting is no new version.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::{DataMark, Session};
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{NamedTensor, NetworkState};
use crate::train::history::{Edit, EpochRecord, History, Measured, StepRecord};
use crate::train::settings::{Setting, Settings};
use crate::train::{Best, Progress, RunConfig, RunState};

/// The version that this program writes; it reads all up to it.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"MNISTLAB";
const HEADER: usize = 8 + 4 + 8 + 32;
/// No session comes near: the largest architecture with Adam takes 600 MB.
const LIMIT: usize = 1 << 30;

/// Why bytes are no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It does not begin as one.
    #[error("this is no mnist-lab session: it does not begin with MNISTLAB")]
    Foreign,
    /// A later program wrote it.
    #[error("format version {0} is newer than this program's {VERSION}: update mnist-lab")]
    Newer(u32),
    /// It is shorter or longer than it says.
    #[error(
        "the file is {found} bytes long but says {expected}: it was cut off or something was added; take a backup, or train again"
    )]
    Length {
        /// What the header says, header included.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A byte changed.
    #[error("the checksum does not match: the file was damaged; take a backup, or train again")]
    Checksum,
    /// It is whole but makes no sense.
    #[error("the file is whole but can't be understood: {0}")]
    Content(String),
}

#[derive(Serialize, Deserialize)]
struct FileSession {
    data_name: String,
    data_fingerprint: u64,
    arch: String,
    seed: u64,
    validation_split: f64,
    settings: Vec<(String, String)>,
    progress: FileProgress,
    network: FileNetwork,
    best: Option<(u32, f64, FileNetwork)>,
    steps: Vec<(u64, f32, f32, f32)>,
    epochs: Vec<FileEpoch>,
    edits: Vec<(u64, String, String, String)>,
}

#[derive(Serialize, Deserialize)]
struct FileProgress {
    epoch: u32,
    sample: u64,
    step: u64,
    loss_sum: f64,
    correct: u64,
    epoch_seconds: f64,
    seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct FileNetwork {
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
    optimizer: String,
    updates: u64,
    moments: Vec<Vec<Vec<f32>>>,
}

#[derive(Serialize, Deserialize)]
struct FileEpoch {
    epoch: u32,
    step: u64,
    train_loss: f64,
    train_accuracy: f64,
    validation: Option<(f64, f64)>,
    learning_rate: f64,
    seconds: f64,
    samples: u64,
}

/// `session` as the bytes of a file.
///
/// # Errors
/// If it is too large for the format.
pub fn encode(session: &Session) -> Result<Vec<u8>, FileError> {
    let payload = bincode::serde::encode_to_vec(FileSession::from(session), bincode::config::standard())
        .map_err(|error| FileError::Content(error.to_string()))?;
    if payload.len() > LIMIT {
        return Err(FileError::Content(format!("{} bytes are more than a session may have", payload.len())));
    }
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// The session that `bytes` hold.
///
/// # Errors
/// If they are not the whole, undamaged file of one that this program understands.
pub fn decode(bytes: &[u8]) -> Result<Session, FileError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(FileError::Foreign)?;
    if magic != MAGIC {
        return Err(FileError::Foreign);
    }
    let short = FileError::Length { expected: HEADER as u64, found: bytes.len() as u64 };
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(short.clone())?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(short.clone())?;
    let (checksum, payload) = rest.split_first_chunk::<32>().ok_or(short)?;
    let version = u32::from_le_bytes(*version);
    if version > VERSION {
        return Err(FileError::Newer(version));
    }
    let length = u64::from_le_bytes(*length);
    if length != payload.len() as u64 {
        let expected = length.saturating_add(HEADER as u64);
        return Err(FileError::Length { expected, found: bytes.len() as u64 });
    }
    if blake3::hash(payload).as_bytes() != checksum {
        return Err(FileError::Checksum);
    }
    let (file, used): (FileSession, usize) =
        bincode::serde::decode_from_slice(payload, bincode::config::standard().with_limit::<LIMIT>())
            .map_err(|error| FileError::Content(error.to_string()))?;
    if used != payload.len() {
        return Err(FileError::Content("there are bytes after its end".into()));
    }
    file.try_into()
}

/// Reads a file to its end, but no further than a session can reach.
pub(super) fn read_limited(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take((HEADER + LIMIT + 1) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl From<&Session> for FileSession {
    fn from(session: &Session) -> Self {
        let RunState { config, settings, progress, network, best, history } = &session.run;
        Self {
            data_name: session.data.name.clone(),
            data_fingerprint: session.data.fingerprint,
            arch: config.arch.to_string(),
            seed: config.seed,
            validation_split: config.validation_split,
            settings: Setting::ALL.map(|setting| (setting.name().into(), setting.get(settings))).into(),
            progress: progress.into(),
            network: network.into(),
            best: best.as_ref().map(|best| (best.epoch, best.loss, (&best.network).into())),
            steps: history.steps.iter().map(|s| (s.step, s.loss, s.accuracy, s.learning_rate)).collect(),
            epochs: history.epochs.iter().map(FileEpoch::from).collect(),
            edits: history.edits.iter().cloned().map(|e| (e.step, e.setting, e.from, e.to)).collect(),
        }
    }
}

impl TryFrom<FileSession> for Session {
    type Error = FileError;

    fn try_from(file: FileSession) -> Result<Self, FileError> {
        let content = |what: &str, error: &dyn std::fmt::Display| FileError::Content(format!("{what}: {error}"));
        let mut settings = Settings::default();
        for (name, value) in &file.settings {
            let setting: Setting = name.parse().map_err(|error| content("settings", &error))?;
            setting.set(&mut settings, value).map_err(|error| content("settings", &error))?;
        }
        if !(0.0..1.0).contains(&file.validation_split) {
            return Err(content("validation split", &file.validation_split));
        }
        let best = file.best.map(|(epoch, loss, network)| Ok(Best { epoch, loss, network: network.try_into()? }));
        let steps = file.steps.into_iter().map(|(step, loss, accuracy, learning_rate)| StepRecord {
            step,
            loss,
            accuracy,
            learning_rate,
        });
        let edits = file.edits.into_iter().map(|(step, setting, from, to)| Edit { step, setting, from, to });
        Ok(Self {
            data: DataMark { name: file.data_name, fingerprint: file.data_fingerprint },
            run: RunState {
                config: RunConfig {
                    arch: file.arch.parse().map_err(|error| content("architecture", &error))?,
                    seed: file.seed,
                    validation_split: file.validation_split,
                },
                settings,
                progress: file.progress.into(),
                network: file.network.try_into()?,
                best: best.transpose()?,
                history: History {
                    steps: steps.collect(),
                    epochs: file.epochs.into_iter().map(EpochRecord::from).collect(),
                    edits: edits.collect(),
                },
            },
        })
    }
}

impl From<&Progress> for FileProgress {
    fn from(progress: &Progress) -> Self {
        let Progress { epoch, sample, step, loss_sum, correct, epoch_seconds, seconds } = *progress;
        Self { epoch, sample: sample as u64, step, loss_sum, correct, epoch_seconds, seconds }
    }
}

impl From<FileProgress> for Progress {
    fn from(file: FileProgress) -> Self {
        let FileProgress { epoch, sample, step, loss_sum, correct, epoch_seconds, seconds } = file;
        Self { epoch, sample: sample as usize, step, loss_sum, correct, epoch_seconds, seconds }
    }
}

impl From<&NetworkState> for FileNetwork {
    fn from(network: &NetworkState) -> Self {
        let tensor =
            |t: &NamedTensor| (t.name.clone(), t.shape.iter().map(|&dim| dim as u64).collect(), t.values.clone());
        Self {
            tensors: network.tensors.iter().map(tensor).collect(),
            optimizer: network.optimizer.kind.to_string(),
            updates: network.optimizer.updates,
            moments: network.optimizer.moments.clone(),
        }
    }
}

impl TryFrom<FileNetwork> for NetworkState {
    type Error = FileError;

    fn try_from(file: FileNetwork) -> Result<Self, FileError> {
        let kind: OptimizerKind =
            file.optimizer.parse().map_err(|error| FileError::Content(format!("optimizer: {error}")))?;
        let tensor = |(name, shape, values): (String, Vec<u64>, Vec<f32>)| {
            let len = shape.iter().try_fold(1u64, |len, &dim| len.checked_mul(dim));
            if len != Some(values.len() as u64) {
                return Err(FileError::Content(format!(
                    "tensor {name} has {} values but shape {shape:?}",
                    values.len()
                )));
            }
            Ok(NamedTensor { name, shape: shape.into_iter().map(|dim| dim as usize).collect(), values })
        };
        Ok(Self {
            tensors: file.tensors.into_iter().map(tensor).collect::<Result<_, _>>()?,
            optimizer: OptimizerState { kind, updates: file.updates, moments: file.moments },
        })
    }
}

impl From<&EpochRecord> for FileEpoch {
    fn from(record: &EpochRecord) -> Self {
        let EpochRecord { epoch, step, train_loss, train_accuracy, validation, learning_rate, seconds, samples } =
            *record;
        let validation = validation.map(|measured| (measured.loss, measured.accuracy));
        Self { epoch, step, train_loss, train_accuracy, validation, learning_rate, seconds, samples }
    }
}

impl From<FileEpoch> for EpochRecord {
    fn from(file: FileEpoch) -> Self {
        let FileEpoch { epoch, step, train_loss, train_accuracy, validation, learning_rate, seconds, samples } = file;
        let validation = validation.map(|(loss, accuracy)| Measured { loss, accuracy });
        Self { epoch, step, train_loss, train_accuracy, validation, learning_rate, seconds, samples }
    }
}
