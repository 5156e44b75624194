//! The parts of the payload: a run's progress, its network, its history, its settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::FileError;
use crate::data::CLASSES;
use crate::data::teacher::Teacher;
use crate::nn::norms::LayerNorm;
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{NamedTensor, NetworkState};
use crate::session::Store;
use crate::train::history::{Edit, EpochRecord, History, Measured, NormRecord, StepRecord};
use crate::train::settings::{Setting, Settings};
use crate::train::{Best, Progress};

/// Each setting's name and value as text.
pub(super) type FileSettings = Vec<(String, String)>;
/// Steps made, and of each layer the norms of gradient, weights and update.
pub(super) type FileNorms = Vec<(u64, Vec<[f32; 3]>)>;
/// The sessions whose networks it is, and the logits of each sample, one after the other; none of either without a teacher.
pub(super) type FileTeacher = (Vec<String>, Vec<f32>);
/// Epoch, loss and network.
pub(super) type FileBest = Option<(u32, f64, FileNetwork)>;

#[derive(Serialize, Deserialize)]
pub(super) struct FileProgress {
    epoch: u32,
    sample: u64,
    step: u64,
    loss_sum: f64,
    correct: u64,
    epoch_seconds: f64,
    seconds: f64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileNetwork {
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
    optimizer: String,
    updates: u64,
    moments: Vec<Vec<Vec<f32>>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileEpoch {
    epoch: u32,
    step: u64,
    train_loss: f64,
    train_accuracy: f64,
    validation: Option<(f64, f64)>,
    learning_rate: f64,
    seconds: f64,
    samples: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileHistory {
    steps: Vec<(u64, f32, f32, f32)>,
    epochs: Vec<FileEpoch>,
    edits: Vec<(u64, String, String, String)>,
}

/// What the names of the tensors begin with that training goes on from, where those that answer are their moving average.
const TRAINED: &str = "trained/";

/// What can't be understood, and why.
pub(super) fn content(what: &str, error: &dyn std::fmt::Display) -> FileError {
    FileError::Content(format!("{what}: {error}"))
}

pub(super) fn settings_to_file(settings: &Settings) -> FileSettings {
    Setting::ALL.map(|setting| (setting.name().into(), setting.get(settings))).into()
}

pub(super) fn settings_from_file(file: &FileSettings) -> Result<Settings, FileError> {
    let mut settings = Settings::default();
    for (name, value) in file {
        let setting: Setting = name.parse().map_err(|error| content("settings", &error))?;
        setting.set(&mut settings, value).map_err(|error| content("settings", &error))?;
    }
    Ok(settings)
}

pub(super) fn best_to_file(best: Option<&Best>) -> FileBest {
    best.map(|best| (best.epoch, best.loss, (&best.network).into()))
}

pub(super) fn best_from_file(file: FileBest) -> Result<Option<Best>, FileError> {
    file.map(|(epoch, loss, network)| Ok(Best { epoch, loss, network: network.try_into()? })).transpose()
}

pub(super) fn teacher_to_file(teacher: Option<&Teacher>) -> FileTeacher {
    teacher.map(|teacher| (teacher.sessions.clone(), teacher.logits.as_flattened().to_vec())).unwrap_or_default()
}

pub(super) fn teacher_from_file((sessions, logits): FileTeacher) -> Result<Option<Arc<Teacher>>, FileError> {
    if sessions.is_empty() && logits.is_empty() {
        return Ok(None);
    }
    let (whole, rest) = logits.as_chunks::<CLASSES>();
    if sessions.is_empty() || !rest.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
        return Err(content("teacher", &"these are no logits of a session"));
    }
    sessions.iter().try_for_each(|name| Store::check_name(name)).map_err(|error| content("teacher", &error))?;
    Ok(Some(Arc::new(Teacher { sessions, logits: whole.to_vec() })))
}

impl From<&History> for FileHistory {
    fn from(history: &History) -> Self {
        Self {
            steps: history.steps.iter().map(|s| (s.step, s.loss, s.accuracy, s.learning_rate)).collect(),
            epochs: history.epochs.iter().map(FileEpoch::from).collect(),
            edits: history.edits.iter().cloned().map(|e| (e.step, e.setting, e.from, e.to)).collect(),
        }
    }
}

impl From<FileHistory> for History {
    fn from(file: FileHistory) -> Self {
        let step = |(step, loss, accuracy, learning_rate)| StepRecord { step, loss, accuracy, learning_rate };
        let edit = |(step, setting, from, to)| Edit { step, setting, from, to };
        Self {
            steps: file.steps.into_iter().map(step).collect(),
            epochs: file.epochs.into_iter().map(EpochRecord::from).collect(),
            edits: file.edits.into_iter().map(edit).collect(),
            ..Self::default()
        }
    }
}

pub(super) fn norms_to_file(history: &History) -> FileNorms {
    let layer = |&LayerNorm { gradient, weight, update }: &LayerNorm| [gradient, weight, update];
    history.norms.iter().map(|record| (record.step, record.layers.iter().map(layer).collect())).collect()
}

pub(super) fn history_from_file(file: FileHistory, norms: FileNorms) -> History {
    let layer = |[gradient, weight, update]: [f32; 3]| LayerNorm { gradient, weight, update };
    let record =
        |(step, layers): (u64, Vec<[f32; 3]>)| NormRecord { step, layers: layers.into_iter().map(layer).collect() };
    History { norms: norms.into_iter().map(record).collect(), ..file.into() }
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
        let trained = network.trained.iter().flatten().map(tensor);
        let trained = trained.map(|(name, shape, values)| (format!("{TRAINED}{name}"), shape, values));
        Self {
            tensors: network.tensors.iter().map(tensor).chain(trained).collect(),
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
        let tensors = file.tensors.into_iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
        let (mut trained, tensors): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|tensor| tensor.name.starts_with(TRAINED));
        for tensor in &mut trained {
            tensor.name.drain(..TRAINED.len());
        }
        Ok(Self {
            tensors,
            trained: (!trained.is_empty()).then_some(trained),
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
