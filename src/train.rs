//! Training: one run, advanced batch by batch; it reports what happens and never asks who listens.

pub mod event;
pub mod history;
mod questions;
pub mod recipe;
mod run;
pub mod settings;
mod together;
pub mod tree;

use std::sync::Arc;
use std::time::Instant;

use crate::data::{Batch, Dataset, Split};
use crate::metrics::Evaluation;
use crate::nn::norms::LayerNorm;
use crate::nn::{BatchResult, Network, NetworkError, Step};
use crate::random::{Purpose, Stream};
use event::{Reason, TrainEvent};
use history::{Edit, EpochRecord, History, Measured, NORMS_EVERY, NormRecord, StepRecord};
use settings::{Setting, SettingError, Settings};

pub use run::{Advance, Best, Goal, Progress, RunConfig, RunState, Target};

/// Samples of one chunk of an evaluation: small enough that a key is answered between two of them.
const CHUNK: usize = 500;

/// One run and the network it trains.
pub struct Trainer {
    config: RunConfig,
    settings: Settings,
    progress: Progress,
    best: Option<Best>,
    history: History,
    dataset: Dataset,
    split: Split,
    network: Box<dyn Network>,
    target: Option<Target>,
    /// The epoch that `order` belongs to, and the order of its samples.
    order: Option<(u32, Vec<u32>)>,
    /// The validation that is going on.
    validating: Option<Evaluation>,
    /// The state to go back to when the run diverges.
    good: Option<Arc<RunState>>,
}

impl Trainer {
    /// A fresh run of `network`, which must have been built for `config.arch`.
    ///
    /// # Errors
    /// If the network's device fails.
    pub fn new(
        config: RunConfig,
        settings: Settings,
        dataset: Dataset,
        network: Box<dyn Network>,
    ) -> Result<Self, NetworkError> {
        let split = Split::new(dataset.train.len(), config.validation_split);
        let mut trainer = Self {
            config,
            settings,
            progress: Progress::default(),
            best: None,
            history: History::default(),
            dataset,
            split,
            network,
            target: None,
            order: None,
            validating: None,
            good: None,
        };
        trainer.checkpoint()?;
        Ok(trainer)
    }

    /// The run of `state`, going on where it was left.
    ///
    /// # Errors
    /// If the state is of another architecture than the network, or the device fails.
    pub fn resume(state: &RunState, dataset: Dataset, mut network: Box<dyn Network>) -> Result<Self, NetworkError> {
        network.restore(&state.network)?;
        let mut trainer = Self::new(state.config.clone(), state.settings.clone(), dataset, network)?;
        trainer.take_over(state);
        trainer.checkpoint()?;
        Ok(trainer)
    }

    /// Goes to another state of this run, as it was: weights, optimizer, and all that names the random draws to come.
    ///
    /// # Errors
    /// If the state is of another architecture, or the device fails; the run is then as it was.
    pub fn go_to(&mut self, state: &RunState) -> Result<(), NetworkError> {
        self.network.restore(&state.network)?;
        // How much is kept is no matter of the past: a smaller number of then would throw away what is kept now.
        let keep = self.settings.keep;
        self.take_over(state);
        self.settings.keep = keep;
        self.checkpoint()
    }

    /// Ends the run at this accuracy.
    pub fn set_target(&mut self, target: Option<Target>) {
        self.target = target;
    }

    /// What can't change during the run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The hyperparameters as they are.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What the run has been through.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The data it trains on.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Which training samples are trained on.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Steps of a whole epoch at the present batch size.
    pub fn steps_per_epoch(&self) -> u64 {
        self.split.train.len().div_ceil(self.settings.batch_size) as u64
    }

    /// A copy of the run as it is.
    ///
    /// # Errors
    /// If the device fails.
    pub fn state(&self) -> Result<RunState, NetworkError> {
        Ok(RunState {
            config: self.config.clone(),
            settings: self.settings.clone(),
            progress: self.progress,
            network: self.network.state()?,
            best: self.best.clone(),
            history: self.history.clone(),
        })
    }

    /// Before a run that early stopping has ended goes on: its patience counts from here, where the best weights are back.
    pub fn renew_patience(&mut self) {
        if let (Some(best), Some(good)) = (&mut self.best, &self.good)
            && best.epoch < self.progress.epoch
            && best.network == good.network
        {
            best.epoch = self.progress.epoch;
        }
    }

    /// Changes a setting; it holds from the next batch on.
    ///
    /// # Errors
    /// If `value` is no value of the setting.
    pub fn set(
        &mut self,
        setting: Setting,
        value: &str,
        report: &mut impl FnMut(TrainEvent),
    ) -> Result<(), SettingError> {
        let from = setting.get(&self.settings);
        setting.set(&mut self.settings, value)?;
        let to = setting.get(&self.settings);
        if from != to {
            let edit = Edit { step: self.progress.step, setting: setting.name().into(), from, to };
            self.history.edits.push(edit.clone());
            report(TrainEvent::Edited(edit));
        }
        Ok(())
    }

    /// Does one piece of work on the way to `goal`: a training step, or a chunk of the validation at an epoch's end.
    ///
    /// # Errors
    /// If the device fails.
    pub fn advance(&mut self, goal: Goal, report: &mut impl FnMut(TrainEvent)) -> Result<Advance, NetworkError> {
        if let Some(rest) = self.rest(goal) {
            return Ok(rest);
        }
        let started = Instant::now();
        let ended = if self.progress.sample < self.split.train.len() {
            self.train_batches(goal, report)?
        } else {
            self.validate_chunk(report)?
        };
        self.progress.seconds += started.elapsed().as_secs_f64();
        Ok(match ended {
            Some(reason) => Advance::Finished(reason),
            None => self.rest(goal).unwrap_or(Advance::More),
        })
    }

    /// Whether `goal` is reached, and what that means.
    fn rest(&self, goal: Goal) -> Option<Advance> {
        let reached = match goal {
            Goal::Epoch(epoch) => self.progress.epoch >= epoch,
            Goal::Step(step) => self.progress.step >= step,
        };
        let at_the_end = self.progress.epoch >= self.settings.epochs && self.progress.sample == 0;
        match (reached, goal) {
            (true, Goal::Epoch(_)) if at_the_end => Some(Advance::Finished(Reason::Completed)),
            (true, _) => Some(Advance::Resting),
            (false, _) => None,
        }
    }

    /// A step, or as many as the network likes to have at once, up to `goal`, the epoch's end, or a step whose norms are taken.
    fn train_batches(
        &mut self,
        goal: Goal,
        report: &mut impl FnMut(TrainEvent),
    ) -> Result<Option<Reason>, NetworkError> {
        let started = Instant::now();
        let from = self.progress;
        let measured = from.step.is_multiple_of(NORMS_EVERY);
        let to_goal = if let Goal::Step(step) = goal { step.saturating_sub(from.step) } else { u64::MAX };
        let to_measured = if measured { 1 } else { NORMS_EVERY - from.step % NORMS_EVERY };
        let wanted = (self.network.burst() as u64).min(to_goal).min(to_measured).max(1);
        let mut steps = Vec::new();
        let mut next = from;
        while (steps.len() as u64) < wanted && next.sample < self.split.train.len() {
            let (batch, step) = (self.batch_at(&next), self.step_at(&next));
            next.step += 1;
            next.sample += batch.len();
            steps.push((batch, step));
        }
        let (results, mut layers) = if let (true, [(batch, step)]) = (measured, &steps[..]) {
            let (result, layers) = self.network.train_measured(batch, step)?;
            (vec![result], layers)
        } else {
            (self.network.train_burst(&steps)?, Vec::new())
        };
        self.progress.epoch_seconds += started.elapsed().as_secs_f64();
        for ((batch, step), result) in steps.iter().zip(results) {
            self.count_in(batch, step, &result, std::mem::take(&mut layers), report);
            if !result.loss.is_finite() {
                return self.go_back(report).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes the result of a step into the history, and tells of it.
    fn count_in(
        &mut self,
        batch: &Batch,
        step: &Step,
        result: &BatchResult,
        layers: Vec<LayerNorm>,
        report: &mut impl FnMut(TrainEvent),
    ) {
        let outcomes: Vec<(u8, u8)> =
            result.predictions.iter().enumerate().map(|(i, &predicted)| (batch.label(i), predicted)).collect();
        let correct = outcomes.iter().filter(|(label, predicted)| label == predicted).count();
        let progress = &mut self.progress;
        progress.step += 1;
        progress.sample += batch.len();
        progress.loss_sum += f64::from(result.loss) * batch.len() as f64;
        progress.correct += correct as u64;
        let record = StepRecord {
            step: progress.step,
            loss: result.loss,
            accuracy: correct as f32 / batch.len() as f32,
            learning_rate: step.learning_rate as f32,
        };
        let norms = (!layers.is_empty()).then(|| NormRecord { step: record.step, layers: layers.into() });
        self.history.push(record, norms.clone());
        report(TrainEvent::Step { record, outcomes, norms });
    }

    /// The batch that comes next at `progress`.
    fn batch_at(&mut self, progress: &Progress) -> Batch {
        let epoch = progress.epoch;
        let train = self.split.train.len();
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => Stream::new(self.config.seed, Purpose::Shuffle, [u64::from(epoch), 0]).permutation(train),
        };
        let end = (progress.sample + self.settings.batch_size).min(train);
        let indices = order[progress.sample..end].to_vec();
        self.order = Some((epoch, order));
        Batch::new(self.dataset.train.clone(), indices)
            .augmented(self.settings.augment, self.config.seed, u64::from(epoch))
            .taught(self.config.teacher.clone())
    }

    /// The hyperparameters of the step that comes next at `progress`.
    fn step_at(&self, progress: &Progress) -> Step {
        let Settings { learning_rate, optimizer, weight_decay, dropout, label_smoothing, .. } = self.settings;
        let Settings { distill, temperature, ema, epochs, .. } = self.settings;
        let done = f64::from(progress.epoch) + progress.sample as f64 / self.split.train.len() as f64;
        Step {
            seed: self.config.seed,
            number: progress.step,
            learning_rate: learning_rate * self.settings.schedule.factor(done, epochs),
            optimizer,
            weight_decay,
            dropout,
            label_smoothing,
            distill,
            temperature,
            ema,
        }
    }

    fn validate_chunk(&mut self, report: &mut impl FnMut(TrainEvent)) -> Result<Option<Reason>, NetworkError> {
        let mut evaluation = self.validating.take().unwrap_or_default();
        let total = self.split.validation.len();
        let done = evaluation.outcomes.len();
        let chunk = self.split.validation.start + done..self.split.validation.start + (done + CHUNK).min(total);
        let images = self.dataset.train.clone();
        self.evaluate_chunk(&images, chunk, &mut evaluation)?;
        let done = evaluation.outcomes.len();
        report(TrainEvent::Validating { done, total });
        if done < total {
            self.validating = Some(evaluation);
            return Ok(None);
        }
        self.end_epoch(&evaluation, report)
    }

    fn end_epoch(
        &mut self,
        evaluation: &Evaluation,
        report: &mut impl FnMut(TrainEvent),
    ) -> Result<Option<Reason>, NetworkError> {
        let samples = self.progress.sample as f64;
        let validation = (!evaluation.outcomes.is_empty())
            .then(|| Measured { loss: evaluation.loss(), accuracy: evaluation.confusion.accuracy() });
        let record = EpochRecord {
            epoch: self.progress.epoch + 1,
            step: self.progress.step,
            train_loss: self.progress.loss_sum / samples,
            train_accuracy: self.progress.correct as f64 / samples,
            validation,
            learning_rate: self.history.steps.last().map_or(0.0, |step| f64::from(step.learning_rate)),
            seconds: self.progress.epoch_seconds,
            samples: self.progress.sample as u64,
        };
        let Progress { step, seconds, .. } = self.progress;
        self.progress = Progress { epoch: record.epoch, step, seconds, ..Progress::default() };
        self.history.epochs.push(record);
        report(TrainEvent::Epoch { record, confusion: evaluation.confusion });

        if validation.is_some_and(|measured| !measured.loss.is_finite()) {
            return self.go_back(report).map(Some);
        }
        let ended = match self.early_stop(&record)? {
            None => self.target_reached(&record, report)?.then_some(Reason::Target),
            stopped => stopped,
        };
        self.checkpoint()?;
        Ok(ended)
    }

    /// Keeps the best weights so far; once the patience is spent, takes them back.
    fn early_stop(&mut self, record: &EpochRecord) -> Result<Option<Reason>, NetworkError> {
        let Some(patience) = self.settings.early_stop else {
            self.best = None;
            return Ok(None);
        };
        let loss = record.loss();
        match &self.best {
            Some(best) if loss >= best.loss => {
                if record.epoch - best.epoch < patience {
                    return Ok(None);
                }
                self.network.restore(&best.network)?;
                let first = self.history.epochs.iter().find(|epoch| epoch.loss().total_cmp(&best.loss).is_eq());
                Ok(Some(Reason::EarlyStop { best_epoch: first.map_or(best.epoch, |epoch| epoch.epoch) }))
            }
            _ => {
                self.best = Some(Best { epoch: record.epoch, loss, network: self.network.state()? });
                Ok(None)
            }
        }
    }

    fn target_reached(
        &mut self,
        record: &EpochRecord,
        report: &mut impl FnMut(TrainEvent),
    ) -> Result<bool, NetworkError> {
        Ok(match self.target {
            None => false,
            Some(Target::Validation(accuracy)) => {
                record.validation.is_some_and(|measured| measured.accuracy >= accuracy)
            }
            Some(Target::Test(accuracy)) => self.test(report)?.confusion.accuracy() >= accuracy,
        })
    }

    /// After a loss that is no number: takes the last checkpoint back.
    fn go_back(&mut self, report: &mut impl FnMut(TrainEvent)) -> Result<Reason, NetworkError> {
        let step = self.progress.step;
        let seconds = self.progress.seconds;
        if let Some(good) = self.good.take() {
            let settings = self.settings.clone();
            let changed = self.history.edits.len() > good.history.edits.len();
            self.network.restore(&good.network)?;
            self.take_over(&good);
            // What was changed since then stays changed: it is what the person wants.
            for setting in Setting::ALL {
                let _ = self.set(setting, &setting.get(&settings), &mut |_| ());
            }
            if changed {
                report(TrainEvent::WentBack { edits: self.history.edits.clone() });
            }
            self.progress.seconds = seconds;
            self.good = Some(good);
        }
        Ok(Reason::Diverged { step, kept_epoch: self.progress.epoch, kept_step: self.progress.step })
    }

    fn take_over(&mut self, state: &RunState) {
        self.settings = state.settings.clone();
        self.progress = state.progress;
        self.best.clone_from(&state.best);
        self.history = state.history.clone();
        // One from a time when it was not yet.
        self.history.bound();
        self.order = None;
        self.validating = None;
    }

    fn checkpoint(&mut self) -> Result<(), NetworkError> {
        self.good = Some(Arc::new(self.state()?));
        Ok(())
    }

    /// The run as it was at the end of its last epoch, at its start, or where it was resumed or gone to.
    pub fn last_checkpoint(&self) -> Option<Arc<RunState>> {
        self.good.clone()
    }
}
