//! What is searched and how: all that decides which trials there are.

mod file;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TuneError;
use super::space::Space;
use super::trial::{Ending, Trial};
use crate::session::DataMark;
use crate::train::history::Measured;
use crate::train::settings::{Setting, Settings};
use file::FileStudy;

/// Trials that may run beside each other if nobody says otherwise.
pub const LAG: u32 = 4;
/// More than anybody waits for.
pub const MOST_TRIALS: u32 = 10_000;
/// As many as any run may have; brackets of more could not be counted.
const MOST_EPOCHS: u32 = 100_000;

/// A search as it was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FileStudy", into = "FileStudy")]
pub struct Study {
    /// What is tried.
    pub space: Space,
    /// What makes one trial better than another.
    pub objective: Objective,
    /// How the next trial is chosen.
    pub algorithm: Algorithm,
    /// What happens to bad trials.
    pub stopping: Stopping,
    /// How many trials.
    pub trials: u32,
    /// Epochs that a trial has at most.
    pub epochs: u32,
    /// A trial knows of those that began so many before it, and of none later: as many can run beside each other without a wait,
    /// and what each of them tries does not depend on which is faster.
    pub lag: u32,
    /// Names every random draw, of the search and of each trial.
    pub seed: u64,
    /// Share of the training set that measures.
    pub validation_split: f64,
    /// What all trials have in common, before the space's own settings.
    pub settings: Settings,
    /// The data.
    pub data: DataMark,
}

/// What makes one trial better than another: of the validation split, never of the test set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The larger the better.
    #[default]
    ValAccuracy,
    /// The smaller the better.
    ValLoss,
}

/// How the next trial is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// By chance (Bergstra and Bengio 2012).
    #[default]
    Random,
    /// Near to what was good so far: tree-structured Parzen estimators (Bergstra et al. 2011).
    Tpe,
    /// By chance; many with few epochs, of which the best third goes on with three times as many (Jamieson and Talwalkar 2016).
    Halving,
    /// Brackets of successive halving, from many short trials to few long ones (Li et al. 2018).
    Hyperband,
}

/// What happens to bad trials, where the algorithm does not say it itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// A trial that is worse than the median of those before it, after as many epochs, is given up (Golovin et al. 2017).
    #[default]
    Median,
    /// Each has all its epochs.
    None,
}

/// `1 epoch`, `3 epochs`
pub fn epochs(count: usize) -> String {
    format!("{count} epoch{}", if count == 1 { "" } else { "s" })
}

/// A word that stands for one of a few.
macro_rules! words {
    ($name:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $name {
            /// The words for all of them.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{word}` is no {}: there are {}", $what, Self::WORDS.join(", "))),
                }
            }
        }
    };
}

words!(Objective, "objective", ValAccuracy = "val_accuracy", ValLoss = "val_loss");
words!(Algorithm, "algorithm", Random = "random", Tpe = "tpe", Halving = "halving", Hyperband = "hyperband");
words!(Stopping, "way to stop", Median = "median", None = "none");

impl Objective {
    /// What is to be made small.
    pub fn cost(self, score: &Measured) -> f64 {
        match self {
            Self::ValAccuracy => 1.0 - score.accuracy,
            Self::ValLoss => score.loss,
        }
    }
}

impl Study {
    /// Checks that it can be searched.
    ///
    /// # Errors
    /// If there are no trials, no epochs or too many, nothing to measure on, or a flag against the space.
    pub fn check(&self, train_samples: usize) -> Result<(), TuneError> {
        let refuse = |problem: String| Err(TuneError::Study(problem));
        if !(1..=MOST_TRIALS).contains(&self.trials) {
            return refuse(format!("{} trials: use 1 to {MOST_TRIALS}", self.trials));
        }
        if !(1..=MOST_EPOCHS).contains(&self.epochs) {
            return refuse(format!("{} epochs a trial: use 1 to {MOST_EPOCHS}", self.epochs));
        }
        if !(1..=1000).contains(&self.lag) {
            return refuse(format!("{} trials beside each other: use 1 to 1000", self.lag));
        }
        if crate::data::Split::new(train_samples, self.validation_split).validation.is_empty() {
            return refuse(
                "a search measures on the validation split, and there is none: use --validation-split 0.2".into(),
            );
        }
        self.space.check().map_err(TuneError::Space)
    }

    /// How many trials it makes: no more than the space has.
    pub fn trials(&self) -> u32 {
        let combinations = self.space.combinations().and_then(|count| u32::try_from(count).ok());
        self.trials.min(combinations.unwrap_or(u32::MAX))
    }

    /// Whether the trials' results decide what is tried later, so that a trial waits for others.
    pub fn learns(&self) -> bool {
        self.algorithm == Algorithm::Tpe || self.stops_bad_trials()
    }

    /// Whether a trial may be given up because others were better.
    pub fn stops_bad_trials(&self) -> bool {
        self.stopping == Stopping::Median && !self.has_brackets()
    }

    /// Whether trials go on in rungs.
    pub fn has_brackets(&self) -> bool {
        matches!(self.algorithm, Algorithm::Halving | Algorithm::Hyperband)
    }

    /// What decides the trials, by name and as text: two searches with the same are the same search. How many trials there are is
    /// a part of it only where it decides the others.
    pub fn identity(&self) -> Vec<(String, String)> {
        let text = |value: &dyn fmt::Display| value.to_string();
        let json = |value: &Space| serde_json::to_string(value).unwrap_or_default();
        let mut identity = vec![
            ("algorithm", text(&self.algorithm)),
            ("objective", text(&self.objective)),
            ("epochs", text(&self.epochs)),
            ("seed", text(&self.seed)),
            ("validation-split", text(&self.validation_split)),
            ("lag", text(&self.lag)),
            ("stop", text(&self.stopping)),
            ("data", format!("{} {:016x}", self.data.name, self.data.fingerprint)),
            ("space", json(&self.space)),
        ];
        if self.has_brackets() {
            identity.push(("trials", text(&self.trials)));
        }
        let settings =
            Setting::followed(false).into_iter().filter(|setting| !matches!(setting, Setting::Keep | Setting::Epochs));
        let settings = settings.map(|setting| (setting.name(), setting.get(&self.settings)));
        identity.into_iter().chain(settings).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// `trial 3: val accuracy 98.81 %, val loss 0.0412 after 5 epochs; units 96, lr 0.00173, dropout 0.2`
    pub fn sentence(&self, trial: &Trial) -> String {
        let score = trial.score().map_or_else(
            || "diverged".to_owned(),
            |score| format!("val accuracy {:.2} %, val loss {:.4}", score.accuracy * 100.0, score.loss),
        );
        let values = self.space.parameters.iter().zip(&trial.values);
        let values =
            values.map(|(parameter, value)| format!("{} {value}", parameter.name)).collect::<Vec<_>>().join(", ");
        let how = match self.ending(trial) {
            "completed" => String::new(),
            word => format!(", {word}"),
        };
        format!("trial {}: {score} after {}{how}; {values}", trial.number, epochs(trial.scores.len()))
    }

    /// How a trial came to rest, in a word: also one that is not, or not yet, among the best that go on.
    pub fn ending(&self, trial: &Trial) -> &'static str {
        let short = trial.scores.len() < self.epochs as usize;
        if trial.ending == Ending::Reached && short { "halted" } else { trial.ending.word() }
    }

    /// In what this search differs from another, in words; `None` if in nothing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let pairs = self.identity().into_iter().zip(other.identity());
        let (mine, theirs) = pairs.into_iter().find(|(mine, theirs)| mine != theirs)?;
        Some(match (mine, theirs) {
            ((name, mine), (other, theirs)) if name == other && name == "trials" => {
                format!("its brackets are planned for {theirs} trials, not {mine}")
            }
            ((name, mine), (other, theirs)) if name == other && name != "space" => {
                format!("its {name} is {theirs}, not {mine}")
            }
            _ => "its space is another".into(),
        })
    }
}
