//! What an experienced colleague would say of the curves: what is wrong, what shows it, and which commands may mend it.
//!
//! Only epochs since the last change of a setting count, so that advice that was taken falls silent until there is new evidence.

mod epochs;
mod steps;

use crate::explain::DeadRelus;
use crate::nn::norms::{self, LayerNorm};
use crate::state::{LabState, Phase};
use crate::train::event::Reason;
use crate::train::history::{EpochRecord, StepRecord};
use crate::train::settings::{Setting, Settings};

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Advice {
    /// What is wrong.
    pub finding: Finding,
    /// What shows it, in figures.
    pub evidence: String,
    /// What to do, as commands of the lab, in order.
    pub commands: Vec<String>,
}

/// What can be wrong, the graver first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Finding {
    /// A loss was no number.
    Diverged,
    /// The loss goes up.
    Diverging,
    /// Many units never fire.
    DeadRelus,
    /// Nothing is learnt: hardly any gradient comes back to the first layers.
    VanishingGradient,
    /// Nothing is learnt: the steps are too large.
    RateTooHigh,
    /// Hardly anything is learnt: the steps are too small.
    RateTooLow,
    /// It learns the training digits by heart.
    Overfitting,
    /// It can't learn even the training digits.
    Underfitting,
    /// Nothing gets better any more.
    Plateau,
}

impl Finding {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Diverged => "diverged",
            Self::Diverging => "diverging",
            Self::DeadRelus => "dead relus",
            Self::VanishingGradient => "vanishing gradient",
            Self::RateTooHigh => "learning rate too high",
            Self::RateTooLow => "learning rate too low",
            Self::Overfitting => "overfitting",
            Self::Underfitting => "underfitting",
            Self::Plateau => "plateau",
        }
    }
}

impl std::fmt::Display for Advice {
    /// `overfitting: the validation loss rose from 0.0312 (epoch 4) to 0.0388; try set dropout 0.3`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; try {}", self.finding.words(), self.evidence, self.commands.join(", "))
    }
}

/// What the rules look at: the part of a run since a setting that matters was changed.
struct Evidence<'a> {
    settings: &'a Settings,
    /// Whether a layer follows the `dropout` setting.
    has_dropout: bool,
    /// The preset that the architecture is, if it is one.
    preset: Option<&'static str>,
    steps: Vec<&'a StepRecord>,
    epochs: Vec<&'a EpochRecord>,
    /// Each trained layer's name and how large the last measured step was for it.
    layers: Vec<(String, LayerNorm)>,
}

impl<'a> Evidence<'a> {
    fn new(state: &'a LabState) -> Self {
        // These say how long to train and what to keep, and change no step.
        let matters = |name: &str| !["epochs", "keep", "early-stop"].contains(&name);
        let history = &state.history;
        let since = history.edits.iter().rev().find(|edit| matters(&edit.setting)).map_or(0, |edit| edit.step);
        // An epoch counts if all of it was trained with the settings as they are.
        let whole = history.epochs.partition_point(|epoch| epoch.step <= since);
        let ended = whole.checked_sub(1).map_or(0, |before| history.epochs[before].step);
        let first = if ended == since { whole } else { (whole + 1).min(history.epochs.len()) };
        let first_step = history.steps.partition_point(|record| record.step <= since);
        let names = state.run.as_ref().map(|run| norms::layers(run.arch())).unwrap_or_default();
        let norms = history.norms.last().filter(|record| record.step > since);
        let norms = norms.map(|record| record.layers.to_vec()).unwrap_or_default();
        Self {
            settings: &state.settings,
            has_dropout: state.run.as_ref().is_some_and(|run| run.arch().has_live_dropout()),
            preset: state.run.as_ref().and_then(|run| run.arch().preset()),
            steps: history.steps.iter().skip(first_step).collect(),
            epochs: history.epochs.iter().skip(first).collect(),
            layers: names.into_iter().map(|(name, _)| name).zip(norms).collect(),
        }
    }

    /// `set NAME VALUE`, as it would be shown; `None` where it changes nothing.
    fn set(&self, setting: Setting, value: &str) -> Option<String> {
        let mut changed = self.settings.clone();
        setting.set(&mut changed, value).ok()?;
        (changed != *self.settings).then(|| format!("set {} {}", setting.name(), setting.get(&changed)))
    }

    /// The layer whose weights the last measured step changed most, and by which share.
    fn largest_step(&self) -> Option<(&str, f32)> {
        let ratios = self.layers.iter().map(|(name, norm)| (name.as_str(), norm.ratio()));
        ratios.filter(|(_, ratio)| ratio.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The learning rate times `factor`, to one digit.
    fn rate(&self, factor: f64) -> Option<String> {
        self.set(Setting::LearningRate, &format!("{:.0e}", self.settings.learning_rate * factor))
    }
}

/// What is wrong, the gravest first; nothing if all is well. `dead` are the layers whose units never fire.
pub fn advise(state: &LabState, dead: &[DeadRelus]) -> Vec<Advice> {
    let evidence = Evidence::new(state);
    if let Phase::Finished(Reason::Diverged { step, kept_step, .. }) = state.phase {
        return diverged(state, &evidence, step, kept_step).into_iter().collect();
    }
    let rules: [fn(&Evidence) -> Option<Advice>; 7] = [
        steps::diverging,
        steps::vanishing,
        steps::too_high,
        steps::too_low,
        epochs::overfitting,
        epochs::underfitting,
        epochs::plateau,
    ];
    let dead = steps::dead(&evidence, dead);
    dead.into_iter().chain(rules.iter().filter_map(|rule| rule(&evidence)).take(1)).collect()
}

/// A loss was no number, and the learning rate is still about what it was then.
fn diverged(state: &LabState, evidence: &Evidence, step: u64, kept_step: u64) -> Option<Advice> {
    if evidence.settings.learning_rate < 0.5 * last_rate(state) {
        return None;
    }
    let shown = format!("the loss of step {step} was no number; the state after step {kept_step} is back");
    advice(Finding::Diverged, shown, [evidence.rate(0.1), Some("train".into())])
}

/// The learning rate of the last step, before the schedule.
fn last_rate(state: &LabState) -> f64 {
    let LabState { history, settings, run, .. } = state;
    let Some(last) = history.steps.last() else { return 0.0 };
    let ended = history.epochs.partition_point(|epoch| epoch.step < last.step);
    let (epochs, steps) = ended.checked_sub(1).map_or((0, 0), |at| (history.epochs[at].epoch, history.epochs[at].step));
    let samples = (last.step - 1 - steps) as f64 * settings.batch_size as f64;
    let train = run.as_ref().map_or(1, |run| run.split.train.len().max(1));
    let factor = settings.schedule.factor(f64::from(epochs) + samples / train as f64, settings.epochs);
    if factor > 0.0 { f64::from(last.learning_rate) / factor } else { settings.learning_rate }
}

/// Advice with those commands that change something; none without a command.
fn advice(finding: Finding, evidence: String, commands: impl IntoIterator<Item = Option<String>>) -> Option<Advice> {
    let commands: Vec<String> = commands.into_iter().flatten().collect();
    (!commands.is_empty()).then_some(Advice { finding, evidence, commands })
}

#[cfg(test)]
mod tests;
