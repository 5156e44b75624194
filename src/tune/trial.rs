//! One trial: what it tried and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::study::{Objective, Study};
use crate::train::history::Measured;

/// A piece of work: a trial, trained until so many epochs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Which trial, from 0.
    pub trial: u32,
    /// Until how many epochs are done.
    pub epochs: u32,
}

/// What a trial tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 0 on.
    pub number: u32,
    /// One a parameter, in the order of the space.
    pub values: Vec<String>,
    /// The validation split after each epoch.
    pub scores: Vec<Measured>,
    /// How it came to rest.
    pub ending: Ending,
    /// That it took, training and validation.
    pub seconds: f64,
    /// Who did it.
    pub worker: String,
}

/// How a trial came to rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It has the epochs that were asked for, and may get more.
    Reached,
    /// It was worse than others.
    Stopped,
    /// Its own early stopping ended it; the weights of this epoch are back.
    EarlyStop {
        /// Counted from 1.
        best_epoch: u32,
    },
    /// Its loss was no number.
    Diverged,
}

impl Ending {
    /// The word for it in `--json` and on the screen.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Reached => "completed",
            Self::Stopped => "stopped",
            Self::EarlyStop { .. } => "early_stop",
            Self::Diverged => "diverged",
        }
    }
}

impl Trial {
    /// Whether it needs no more work to have so many epochs.
    pub fn has(&self, epochs: u32) -> bool {
        self.ending != Ending::Reached || self.scores.len() >= epochs as usize
    }

    /// Of the weights that it was left with; `None` if they are worth nothing.
    pub fn score(&self) -> Option<Measured> {
        match self.ending {
            Ending::Diverged => None,
            Ending::EarlyStop { best_epoch } => self.scores.get((best_epoch as usize).checked_sub(1)?).copied(),
            Ending::Reached | Ending::Stopped => self.scores.last().copied(),
        }
    }

    /// What its weights cost; infinite if they are worth nothing.
    pub fn cost(&self, objective: Objective) -> f64 {
        self.score().map_or(f64::INFINITY, |score| cost(objective, &score))
    }

    /// The same after so many epochs, or at its end if that was earlier.
    pub fn cost_after(&self, objective: Objective, epochs: u32) -> f64 {
        let early = self.scores.get((epochs as usize).saturating_sub(1));
        early.map_or_else(|| self.cost(objective), |score| cost(objective, score))
    }

    /// The least that it cost in its first `epochs`.
    pub fn best_within(&self, objective: Objective, epochs: usize) -> f64 {
        best(objective, &self.scores[..epochs.min(self.scores.len())])
    }
}

/// What a score costs; one that is no number is infinite.
fn cost(objective: Objective, score: &Measured) -> f64 {
    let cost = objective.cost(score);
    if cost.is_nan() { f64::INFINITY } else { cost }
}

/// The least that one of these costs.
pub fn best(objective: Objective, scores: &[Measured]) -> f64 {
    scores.iter().map(|score| cost(objective, score)).fold(f64::INFINITY, f64::min)
}

/// All trials of which something is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trials(BTreeMap<u32, Trial>);

impl Trials {
    /// Takes in what came of a trial, unless more is known already. Whether that was news.
    pub fn learn(&mut self, trial: Trial) -> bool {
        let later = |known: &Trial| {
            let ended = known.ending == Ending::Reached && trial.ending != Ending::Reached;
            known.scores.len() < trial.scores.len() || known.scores.len() == trial.scores.len() && ended
        };
        let news = self.0.get(&trial.number).is_none_or(later);
        if news {
            self.0.insert(trial.number, trial);
        }
        news
    }

    /// The trial of this number.
    pub fn get(&self, number: u32) -> Option<&Trial> {
        self.0.get(&number)
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Trial> {
        self.0.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that trial `number` of `study` may know of.
    pub fn before<'a>(&'a self, number: u32, study: &Study) -> impl Iterator<Item = &'a Trial> {
        let end = (number + 1).saturating_sub(study.lag);
        self.0.range(..end).map(|(_, trial)| trial)
    }

    /// The best first, of equals the earlier one.
    pub fn ranking(&self, objective: Objective) -> Vec<&Trial> {
        let mut ranking: Vec<&Trial> = self.iter().collect();
        ranking.sort_by(|a, b| a.cost(objective).total_cmp(&b.cost(objective)));
        ranking
    }

    /// The best; `None` while none is worth anything.
    pub fn best(&self, objective: Objective) -> Option<&Trial> {
        self.ranking(objective).into_iter().next().filter(|trial| trial.cost(objective).is_finite())
    }
}

impl FromIterator<Trial> for Trials {
    fn from_iter<I: IntoIterator<Item = Trial>>(trials: I) -> Self {
        let mut all = Self::default();
        trials.into_iter().for_each(|trial| {
            all.learn(trial);
        });
        all
    }
}
