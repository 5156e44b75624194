//! Everything that happens in a run, as the trainer reports it.

use std::sync::Arc;

use super::history::{Edit, EpochRecord, NormRecord, StepRecord};
use super::settings::Settings;
use crate::metrics::{Confusion, Evaluation};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum TrainEvent {
    /// A step was made.
    Step {
        /// Its point on the curve.
        record: StepRecord,
        /// Label and prediction of each of its samples.
        outcomes: Vec<(u8, u8)>,
        /// How large it was, if that was measured.
        norms: Option<NormRecord>,
    },
    /// An epoch's training pass is done and this share of the validation split is measured.
    Validating {
        /// Samples measured.
        done: usize,
        /// Samples of the split.
        total: usize,
    },
    /// An epoch ended.
    Epoch {
        /// Its figures.
        record: EpochRecord,
        /// The confusion matrix of the validation split.
        confusion: Confusion,
    },
    /// A setting changed.
    Edited(Edit),
    /// The run went back, and with it the steps at which its settings were changed since: these are all its changes now.
    WentBack {
        /// The changes of the whole run.
        edits: Vec<Edit>,
    },
    /// The test set was measured with the weights after `step` steps.
    Tested {
        /// Steps made.
        step: u64,
        /// The outcomes.
        evaluation: Arc<Evaluation>,
    },
}

/// Why a run came to an end.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// All epochs are done.
    Completed,
    /// The loss stopped getting better; the weights of the best epoch are back.
    EarlyStop {
        /// The epoch whose weights are back.
        best_epoch: u32,
    },
    /// The accuracy asked for was reached.
    Target,
    /// A loss was NaN or infinite; an earlier state is back.
    Diverged {
        /// Steps made until then.
        step: u64,
        /// Epochs that are done in the state that is back.
        kept_epoch: u32,
        /// Steps that are made in it.
        kept_step: u64,
    },
    /// Somebody stopped it.
    Interrupted,
}

impl Reason {
    /// The word for it in `--json`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::EarlyStop { .. } => "early_stop",
            Self::Target => "target",
            Self::Diverged { .. } => "diverged",
            Self::Interrupted => "interrupted",
        }
    }

    /// What happened and, where something went wrong, what to try.
    pub fn sentence(&self, settings: &Settings) -> String {
        match self {
            Self::Completed if settings.epochs == 1 => "the one epoch is done".into(),
            Self::Completed => format!("all {} epochs are done", settings.epochs),
            Self::EarlyStop { best_epoch } => {
                format!("the loss stopped getting better: the weights of epoch {best_epoch} are back")
            }
            Self::Target => "the accuracy asked for is reached".into(),
            Self::Diverged { step, kept_epoch, kept_step } => format!(
                "the loss of step {step} is not a number: the run diverged, and the state after step {kept_step} (epochs done: \
                 {kept_epoch}) is back; try a tenth of the learning rate (`set lr {:e}`), then `train`",
                settings.learning_rate / 10.0
            ),
            Self::Interrupted => "stopped".into(),
        }
    }
}
