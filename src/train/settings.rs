//! The hyperparameters of a run: every one of them can be changed while it trains.

use std::fmt;
use std::str::FromStr;

use crate::data::augment::{Augment, AugmentError};
use crate::nn::optim::{OptimizerError, OptimizerKind};
use crate::nn::schedule::{Schedule, ScheduleError};

/// All hyperparameters. The defaults are the Keras tutorial's.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Epochs of the whole run; the schedule's horizon.
    pub epochs: u32,
    /// Samples of a step.
    pub batch_size: usize,
    /// Before the schedule.
    pub learning_rate: f64,
    /// How gradients become updates.
    pub optimizer: OptimizerKind,
    /// L2 of the weights; decoupled for `AdamW`.
    pub weight_decay: f64,
    /// Rate of the architecture's `dropout` layers.
    pub dropout: f32,
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// Share of the loss that is the teacher's, where the run has one.
    pub distill: f32,
    /// What the logits of teacher and network are divided by there.
    pub temperature: f32,
    /// The learning rate's way over the run.
    pub schedule: Schedule,
    /// Random changes to the training images.
    pub augment: Augment,
    /// Stop after so many epochs without a better validation loss (training loss without a split), and take the best weights
    /// back.
    pub early_stop: Option<u32>,
    /// How much of the moving average of the weights each step keeps; `None` for no average.
    pub ema: Option<f64>,
    /// How many epochs' ends can be gone back to.
    pub keep: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 64,
            learning_rate: 1e-3,
            optimizer: OptimizerKind::Adam,
            weight_decay: 0.0,
            dropout: 0.0,
            label_smoothing: 0.0,
            distill: 0.9,
            temperature: 4.0,
            schedule: Schedule::Constant,
            augment: Augment::default(),
            early_stop: None,
            ema: None,
            keep: 10,
        }
    }
}

/// The name of one hyperparameter: what `set`, the flags of `train` and the settings pane speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `lr`
    LearningRate,
    /// `batch-size`
    BatchSize,
    /// `epochs`
    Epochs,
    /// `optimizer`
    Optimizer,
    /// `schedule`
    Schedule,
    /// `weight-decay`
    WeightDecay,
    /// `dropout`
    Dropout,
    /// `label-smoothing`
    LabelSmoothing,
    /// `distill`
    Distill,
    /// `temperature`
    Temperature,
    /// `augment`
    Augment,
    /// `early-stop`
    EarlyStop,
    /// `ema`
    Ema,
    /// `keep`
    Keep,
}

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);

impl Setting {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 14] = [
        Self::LearningRate,
        Self::BatchSize,
        Self::Epochs,
        Self::Optimizer,
        Self::Schedule,
        Self::WeightDecay,
        Self::Dropout,
        Self::LabelSmoothing,
        Self::Distill,
        Self::Temperature,
        Self::Augment,
        Self::EarlyStop,
        Self::Ema,
        Self::Keep,
    ];

    /// Whether it means something only to a run with a teacher.
    pub const fn needs_teacher(self) -> bool {
        matches!(self, Self::Distill | Self::Temperature)
    }

    /// Those that a run follows.
    pub fn followed(has_teacher: bool) -> Vec<Self> {
        Self::ALL.into_iter().filter(|setting| has_teacher || !setting.needs_teacher()).collect()
    }

    /// The name in `set NAME VALUE`, which is also the flag's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LearningRate => "lr",
            Self::BatchSize => "batch-size",
            Self::Epochs => "epochs",
            Self::Optimizer => "optimizer",
            Self::Schedule => "schedule",
            Self::WeightDecay => "weight-decay",
            Self::Dropout => "dropout",
            Self::LabelSmoothing => "label-smoothing",
            Self::Distill => "distill",
            Self::Temperature => "temperature",
            Self::Augment => "augment",
            Self::EarlyStop => "early-stop",
            Self::Ema => "ema",
            Self::Keep => "keep",
        }
    }

    /// What it does and what it takes.
    pub const fn about(self) -> &'static str {
        match self {
            Self::LearningRate => "learning rate before the schedule, above 0 up to 10; Adam likes 1e-3",
            Self::BatchSize => "samples of a step, 1 to 4096",
            Self::Epochs => "epochs of the whole run, 1 to 100000",
            Self::Optimizer => "adam, adamw, sgd[:momentum=0.9[:nesterov]] or rmsprop",
            Self::Schedule => "constant, step:EPOCHS:FACTOR, cosine, onecycle, warmup:EPOCHS or warmup:EPOCHS:cosine",
            Self::WeightDecay => "L2 of the weights (decoupled for adamw), 0 to 1; biases are left out",
            Self::Dropout => "rate of the architecture's dropout layers, 0 to 0.95",
            Self::LabelSmoothing => "share of the target spread over all classes, 0 to 0.9",
            Self::Distill => "share of the loss that is the teacher's, 0 to 1; the rest is the labels'",
            Self::Temperature => "what the teacher's logits are divided by, which softens them, 1 to 100",
            Self::Augment => {
                "none; tutorial, which is rotate=10,shift=0.1,zoom=0.1; also shear=5,elastic=1,noise=0.05,erase=0.2"
            }
            Self::EarlyStop => {
                "stop after so many epochs without a better loss (validation, else training); none or 1 to 1000"
            }
            Self::Ema => {
                "the weights' moving average answers: share of it that a step keeps (0.999); none or 0 to 0.99999"
            }
            Self::Keep => "how many epochs `rewind` can go back to on a branch, 0 to 1000; the oldest goes first",
        }
    }

    /// The value as text, as [`Setting::set`] takes it.
    pub fn get(self, settings: &Settings) -> String {
        match self {
            Self::LearningRate => Number(settings.learning_rate).to_string(),
            Self::BatchSize => settings.batch_size.to_string(),
            Self::Epochs => settings.epochs.to_string(),
            Self::Optimizer => settings.optimizer.to_string(),
            Self::Schedule => settings.schedule.to_string(),
            Self::WeightDecay => Number(settings.weight_decay).to_string(),
            Self::Dropout => settings.dropout.to_string(),
            Self::LabelSmoothing => settings.label_smoothing.to_string(),
            Self::Distill => settings.distill.to_string(),
            Self::Temperature => settings.temperature.to_string(),
            Self::Augment => settings.augment.to_string(),
            Self::EarlyStop => settings.early_stop.map_or_else(|| "none".into(), |patience| patience.to_string()),
            Self::Ema => settings.ema.map_or_else(|| "none".into(), |decay| decay.to_string()),
            Self::Keep => settings.keep.to_string(),
        }
    }

    /// Takes a value from text.
    ///
    /// # Errors
    /// If it is no value of this setting; `settings` is then as it was.
    pub fn set(self, settings: &mut Settings, value: &str) -> Result<(), SettingError> {
        match self {
            Self::LearningRate => settings.learning_rate = self.number(value, f64::MIN_POSITIVE, 10.0)?,
            Self::BatchSize => settings.batch_size = self.number(value, 1, 4096)?,
            Self::Epochs => settings.epochs = self.number(value, 1, 100_000)?,
            Self::WeightDecay => settings.weight_decay = self.number(value, 0.0, 1.0)?,
            Self::Dropout => settings.dropout = self.number(value, 0.0, 0.95)?,
            Self::LabelSmoothing => settings.label_smoothing = self.number(value, 0.0, 0.9)?,
            Self::Distill => settings.distill = self.number(value, 0.0, 1.0)?,
            Self::Temperature => settings.temperature = self.number(value, 1.0, 100.0)?,
            Self::EarlyStop if value == "none" => settings.early_stop = None,
            Self::EarlyStop => settings.early_stop = Some(self.number(value, 1, 1000)?),
            Self::Ema if value == "none" => settings.ema = None,
            Self::Ema => settings.ema = Some(self.number(value, 0.0, 0.99999)?),
            Self::Keep => settings.keep = self.number(value, 0, 1000)?,
            Self::Optimizer => settings.optimizer = value.parse().map_err(|e: OptimizerError| SettingError(e.0))?,
            Self::Schedule => settings.schedule = value.parse().map_err(|e: ScheduleError| SettingError(e.0))?,
            Self::Augment => {
                let refuse = |e: AugmentError| SettingError(format!("`{value}` is no {}: {e}", self.name()));
                settings.augment = value.parse().map_err(refuse)?;
            }
        }
        Ok(())
    }

    /// The next value up or down a sensible ladder, for editing with the arrow keys; `None` at the end of it.
    pub fn nudge(self, settings: &Settings, up: bool) -> Option<String> {
        let ladder: &[&str] = match self {
            Self::LearningRate => &["1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1", "3e-1"],
            Self::BatchSize => &["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024", "2048", "4096"],
            Self::Epochs => &["1", "2", "3", "5", "10", "15", "20", "30", "50", "100", "200"],
            Self::Optimizer => &["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9:nesterov", "rmsprop"],
            Self::Schedule => &["constant", "step:5:0.5", "cosine", "onecycle", "warmup:1"],
            Self::WeightDecay => &["0", "1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1"],
            Self::Dropout => &["0", "0.1", "0.2", "0.25", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8"],
            Self::LabelSmoothing => &["0", "0.02", "0.05", "0.1", "0.15", "0.2", "0.3"],
            Self::Distill => &["0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"],
            Self::Temperature => &["1", "2", "3", "4", "6", "8", "10", "20"],
            Self::Augment => {
                &["none", "rotate=10", "rotate=10,shift=0.1", "tutorial", "rotate=15,shift=0.1,zoom=0.15,elastic=1"]
            }
            Self::EarlyStop => &["none", "1", "2", "3", "5", "8", "10", "20"],
            Self::Ema => &["none", "0.99", "0.995", "0.998", "0.999", "0.9995"],
            Self::Keep => &["0", "1", "2", "3", "5", "10", "20", "50", "100"],
        };
        let rungs: Vec<String> = ladder.iter().filter_map(|rung| self.canonical(settings, rung)).collect();
        let current = self.get(settings);
        let at = rungs.iter().position(|rung| *rung == current);
        match (at, up) {
            (Some(at), true) => rungs.get(at + 1).cloned(),
            (Some(at), false) => at.checked_sub(1).map(|at| rungs[at].clone()),
            (None, _) => self.nearest(&rungs, &current, up),
        }
    }

    fn canonical(self, settings: &Settings, value: &str) -> Option<String> {
        let mut changed = settings.clone();
        self.set(&mut changed, value).ok()?;
        Some(self.get(&changed))
    }

    /// The rung next to a value that is on none: by size where values are numbers, else the second one up and the first one down.
    fn nearest(self, rungs: &[String], current: &str, up: bool) -> Option<String> {
        let Ok(current) = current.parse::<f64>() else {
            return if up { rungs.get(1).or(rungs.first()) } else { rungs.first() }.cloned();
        };
        let size = |rung: &&String| rung.parse::<f64>().unwrap_or(0.0);
        if up {
            rungs.iter().find(|rung| size(rung) > current).cloned()
        } else {
            rungs.iter().rev().find(|rung| size(rung) < current).cloned()
        }
    }

    fn number<N: FromStr + PartialOrd + fmt::Display + Copy>(
        self,
        value: &str,
        low: N,
        high: N,
    ) -> Result<N, SettingError> {
        match value.parse::<N>() {
            Ok(number) if number >= low && number <= high => Ok(number),
            _ => Err(SettingError(format!("`{value}` is no {}: {}", self.name(), self.about()))),
        }
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let plain = name.replace('_', "-").to_lowercase();
        let wanted = match plain.as_str() {
            "learning-rate" => "lr",
            "batch" => "batch-size",
            "decay" | "l2" => "weight-decay",
            "smoothing" => "label-smoothing",
            "average" => "ema",
            other => other,
        };
        Self::ALL.into_iter().find(|setting| setting.name() == wanted).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let near =
                names.iter().max_by(|a, b| strsim::jaro_winkler(a, wanted).total_cmp(&strsim::jaro_winkler(b, wanted)));
            let near = near.filter(|near| strsim::jaro_winkler(near, wanted) > 0.7);
            let hint = near
                .map_or_else(|| format!("there are {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
            SettingError(format!("there is no setting `{name}`: {hint}"))
        })
    }
}

/// A number as a person writes it: 0.001 and 0.3 plainly, 3e-5 with an exponent.
pub struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 1e-3 { write!(f, "{:e}", self.0) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, Settings};

    #[test]
    fn every_setting_takes_back_its_own_text() {
        let settings = Settings::default();
        for setting in Setting::ALL {
            let mut copy = settings.clone();
            setting.set(&mut copy, &setting.get(&settings)).unwrap();
            assert_eq!(copy, settings, "{}", setting.name());
        }
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence_and_change_nothing() {
        for (name, value) in [
            ("lr", "0"),
            ("lr", "-1"),
            ("lr", "nan"),
            ("lr", "inf"),
            ("lr", "fast"),
            ("batch-size", "0"),
            ("batch-size", "1.5"),
            ("dropout", "1"),
            ("dropout", "-0.1"),
            ("label-smoothing", "1"),
            ("epochs", "0"),
            ("weight-decay", "-1e-3"),
            ("early-stop", "0"),
            ("ema", "1"),
            ("distill", "1.1"),
            ("temperature", "0.5"),
            ("temperature", "nan"),
            ("optimizer", "adan"),
            ("schedule", "step"),
            ("augment", "rotat=3"),
        ] {
            let mut settings = Settings::default();
            let error = name.parse::<Setting>().unwrap().set(&mut settings, value).unwrap_err();
            assert!(error.to_string().contains(&format!("`{value}`")), "{error}");
            assert_eq!(settings, Settings::default());
        }
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        for (setting, value, sentence) in [
            (Setting::Optimizer, "AdamW", "`AdamW` is no optimizer: did you mean `adamw`?"),
            (Setting::Schedule, "cosin", "`cosin` is no schedule: did you mean `cosine`?"),
        ] {
            assert_eq!(setting.set(&mut Settings::default(), value).unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn arrows_walk_the_ladder_and_stop_at_its_ends() {
        let mut settings = Settings::default();
        for setting in Setting::ALL {
            let mut rungs = 0;
            while let Some(value) = setting.nudge(&settings, true) {
                setting.set(&mut settings, &value).unwrap();
                rungs += 1;
                assert!(rungs < 30, "{} has no top", setting.name());
            }
            while let Some(value) = setting.nudge(&settings, false) {
                setting.set(&mut settings, &value).unwrap();
                rungs -= 1;
                assert!(rungs > -30, "{} has no bottom", setting.name());
            }
        }
        settings.learning_rate = 2e-3;
        assert_eq!(Setting::LearningRate.nudge(&settings, true).unwrap(), "0.003");
        assert_eq!(Setting::LearningRate.nudge(&settings, false).unwrap(), "0.001");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        assert!("dropot".parse::<Setting>().unwrap_err().to_string().contains("did you mean `dropout`?"));
        assert_eq!("learning_rate".parse::<Setting>().unwrap(), Setting::LearningRate);
    }
}
