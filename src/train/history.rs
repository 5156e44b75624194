//! What a run has been through: every step's point on the curve, every epoch's figures, every change of a setting.

mod blocks;
mod thin;

use std::sync::Arc;

use crate::nn::norms::LayerNorm;
pub use blocks::Blocks;
use thin::thinned;

/// One point a step, the oldest first; fewer of a long run.
pub type Steps = Blocks<StepRecord>;

/// Steps that a history has at most: more than any screen shows, and a megabyte of a session's file.
const STEPS_AT_MOST: usize = 1 << 16;
/// Measurements of the norms likewise.
const NORMS_AT_MOST: usize = 1 << 12;

/// Steps from one measurement of the layers' norms to the next, from the first step on. Their number alone says which steps
/// are measured, so that a run that was resumed measures the same ones; the cost is a few thousandths of the training.
pub const NORMS_EVERY: u64 = 50;

/// The whole record of a run; saved with it. Cheap to clone, however long the run is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// One point a step; of a run of more than some ten thousand steps the peaks and the last ones alone.
    pub steps: Steps,
    /// One record an epoch.
    pub epochs: Blocks<EpochRecord>,
    /// Settings changed after the run began.
    pub edits: Vec<Edit>,
    /// How large every fiftieth step was, layer by layer.
    pub norms: Blocks<NormRecord>,
}

/// How large a step was for each layer that is trained, in the order of [`layers`](crate::nn::norms::layers).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NormRecord {
    /// Steps made, this one included.
    pub step: u64,
    /// One a layer.
    pub layers: Arc<[LayerNorm]>,
}

/// One training step.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepRecord {
    /// Steps made, this one included.
    pub step: u64,
    /// Mean cross-entropy of the batch, before the update.
    pub loss: f32,
    /// Share of the batch that was classified rightly, before the update.
    pub accuracy: f32,
    /// After the schedule.
    pub learning_rate: f32,
}

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochRecord {
    /// Epochs done, this one included.
    pub epoch: u32,
    /// Steps made until its end.
    pub step: u64,
    /// Mean over the epoch's samples while the weights moved on, as Keras reports it.
    pub train_loss: f64,
    /// Likewise.
    pub train_accuracy: f64,
    /// Mean over the validation split with the weights at the end; `None` without a split.
    pub validation: Option<Measured>,
    /// Of the last step, after the schedule.
    pub learning_rate: f64,
    /// Of the training pass alone.
    pub seconds: f64,
    /// Samples trained on in the epoch.
    pub samples: u64,
}

impl EpochRecord {
    /// Training throughput; what a pause cost is not in `seconds`.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds.max(1e-9)
    }

    /// What early stopping goes by: the validation loss, or the training loss without a split.
    pub fn loss(&self) -> f64 {
        self.validation.map_or(self.train_loss, |measured| measured.loss)
    }

    /// `epoch 3: loss 0.0431, accuracy 98.65 %, val loss 0.0412, val accuracy 98.80 %, 27.9 k samples/s`
    pub fn sentence(&self) -> String {
        let mut sentence =
            format!("epoch {}: loss {:.4}, accuracy {:.2} %", self.epoch, self.train_loss, self.train_accuracy * 100.0);
        if let Some(Measured { loss, accuracy }) = self.validation {
            sentence += &format!(", val loss {loss:.4}, val accuracy {:.2} %", accuracy * 100.0);
        }
        sentence + &format!(", {:.1} k samples/s", self.samples_per_second() / 1000.0)
    }
}

/// Loss and accuracy of a split.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Measured {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Top-1 accuracy.
    pub accuracy: f64,
}

/// A setting that was changed while the run went on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Edit {
    /// Steps made before the change: it holds from the next step on.
    pub step: u64,
    /// The setting's name.
    pub setting: String,
    /// Its value before.
    pub from: String,
    /// Its value since.
    pub to: String,
}

impl History {
    /// Adds a step, and its layers' norms if they were measured.
    pub fn push(&mut self, record: StepRecord, norms: Option<NormRecord>) {
        self.steps.push(record);
        self.norms.extend(norms);
        self.bound();
    }

    /// What is kept of a run's steps stays bounded: when it is too much, only the smallest and the largest loss (or gradient) of
    /// every stretch stay.
    pub(super) fn bound(&mut self) {
        if self.steps.len() > STEPS_AT_MOST {
            self.steps = thinned(&self.steps, STEPS_AT_MOST, |record| record.step, |record| record.loss);
        }
        if self.norms.len() > NORMS_AT_MOST {
            let gradient = |record: &NormRecord| record.layers.iter().map(|layer| layer.gradient).sum();
            self.norms = thinned(&self.norms, NORMS_AT_MOST, |record| record.step, gradient);
        }
    }

    /// How many points, epochs and edits there are.
    pub fn lengths(&self) -> [usize; 3] {
        [self.steps.len(), self.epochs.len(), self.edits.len()]
    }

    /// The beginning of this history, of so many points, epochs and edits.
    #[must_use]
    pub fn beginning(&self, [steps, epochs, edits]: [usize; 3]) -> Self {
        let mut history = self.clone();
        history.steps.truncate(steps);
        history.epochs.truncate(epochs);
        history.edits.truncate(edits);
        history.truncate_norms(history.steps.last().map_or(0, |record| record.step));
        history
    }

    /// Forgets all that came after `step`.
    pub fn truncate(&mut self, step: u64) {
        self.steps.truncate(self.steps.partition_point(|record| record.step <= step));
        self.epochs.truncate(self.epochs.partition_point(|record| record.step <= step));
        self.edits.retain(|edit| edit.step <= step);
        self.truncate_norms(step);
    }

    fn truncate_norms(&mut self, step: u64) {
        self.norms.truncate(self.norms.partition_point(|record| record.step <= step));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{History, LayerNorm, NORMS_AT_MOST, NormRecord, STEPS_AT_MOST, StepRecord};

    /// The history of `steps` steps whose loss is 1 but for these peaks.
    fn long(steps: u64, peaks: &[(u64, f32)]) -> History {
        let mut history = History::default();
        for step in 1..=steps {
            let loss = peaks.iter().find(|peak| peak.0 == step).map_or(1.0, |peak| peak.1);
            let layers = Arc::new([LayerNorm { gradient: loss, ..LayerNorm::default() }]);
            history.push(
                StepRecord { step, loss, accuracy: 0.5, learning_rate: 1e-3 },
                (step % 50 == 1).then_some(NormRecord { step, layers }),
            );
        }
        history
    }

    #[test]
    fn a_long_history_keeps_its_peaks_and_its_ends() {
        let peaks = [(2, 9.0), (70_001, -3.0), (70_002, f32::NAN), (500_000, 7.0), (1_999_999, 5.0)];
        let steps = 2_000_000;
        let history = long(steps, &peaks);
        assert!(history.steps.len() <= STEPS_AT_MOST && history.norms.len() <= NORMS_AT_MOST);
        let found = |step| history.steps.iter().find(|record| record.step == step).map(|record| record.loss);
        for (step, loss) in peaks {
            assert_eq!(found(step).map(f32::to_bits), Some(loss.to_bits()), "step {step}");
        }
        assert_eq!((history.steps.first().unwrap().step, history.steps.last().unwrap().step), (1, steps));
        assert!(history.norms.iter().any(|record| record.step == 70_001), "the smallest gradient");
        let places: Vec<u64> = history.steps.iter().map(|record| record.step).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "in their order, each once");
        let widest = places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 4 * steps / (STEPS_AT_MOST as u64 / 4), "no gaps: {widest}");
    }

    #[test]
    fn a_short_history_is_whole() {
        assert_eq!(long(STEPS_AT_MOST as u64, &[]).steps.len(), STEPS_AT_MOST);
    }
}
