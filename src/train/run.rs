//! What a run is made of: what it was begun with, how far it is, and where it is to end.

use std::sync::Arc;

use super::event::Reason;
use super::history::History;
use super::settings::Settings;
use crate::arch::Arch;
use crate::data::teacher::Teacher;
use crate::nn::NetworkState;

/// What can't change during a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// The network's layers.
    pub arch: Arch,
    /// Names every random draw.
    pub seed: u64,
    /// Share of the training set that only measures.
    pub validation_split: f64,
    /// What it learns from beside the labels.
    pub teacher: Option<Arc<Teacher>>,
}

impl RunConfig {
    /// The sessions that teach it.
    pub fn teachers(&self) -> &[String] {
        self.teacher.as_ref().map_or(&[], |teacher| &teacher.sessions)
    }

    /// `taught by best-1, best-2`, if it has a teacher.
    pub fn taught_by(&self) -> Option<String> {
        self.teacher.as_ref().map(|teacher| format!("taught by {}", teacher.sessions.join(", ")))
    }
}

/// Everything that a run is made of, on the host: what a session file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// What can't change.
    pub config: RunConfig,
    /// What can.
    pub settings: Settings,
    /// How far it is.
    pub progress: Progress,
    /// Weights and optimizer.
    pub network: NetworkState,
    /// The weights that early stopping would take back.
    pub best: Option<Best>,
    /// What it has been through.
    pub history: History,
}

impl RunState {
    /// Whether all its epochs are done, or early stopping has ended it.
    pub fn is_done(&self) -> bool {
        let patience = self.settings.early_stop.zip(self.best.as_ref());
        let stopped =
            patience.is_some_and(|(patience, best)| self.progress.epoch.saturating_sub(best.epoch) >= patience);
        stopped || self.progress.epoch >= self.settings.epochs
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Epochs done.
    pub epoch: u32,
    /// Samples of the running epoch that are done.
    pub sample: usize,
    /// Steps made.
    pub step: u64,
    /// Sum of the losses of the running epoch's samples.
    pub loss_sum: f64,
    /// Samples of the running epoch that were classified rightly.
    pub correct: u64,
    /// Seconds that the running epoch's training has taken.
    pub epoch_seconds: f64,
    /// Seconds that all training and validation has taken.
    pub seconds: f64,
}

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Which it was; or where its weights were taken back and training went on, since patience counts from there.
    pub epoch: u32,
    /// Its validation loss, or its training loss without a split.
    pub loss: f64,
    /// Its network.
    pub network: NetworkState,
}

/// How far a run is to go before it comes to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Goal {
    /// Until so many epochs are done.
    Epoch(u32),
    /// Until so many steps are made.
    Step(u64),
}

/// An accuracy at which a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// On the validation split.
    Validation(f64),
    /// On the test set; for time-to-accuracy benchmarks alone, since it looks at what should stay unseen.
    Test(f64),
}

/// Whether [`Trainer::advance`](super::Trainer::advance) should be called again.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// There is more to do.
    More,
    /// The goal is reached: the run rests in the middle of its way.
    Resting,
    /// The run came to an end.
    Finished(Reason),
}
