//! From what somebody asks for to the study that is searched.

use std::fs;
use std::path::Path;

use crate::command::TuneArgs;
use crate::data::Dataset;
use crate::error::Error;
use crate::session::DataMark;
use crate::train::settings::{Setting, Settings};
use crate::tune::TuneError;
use crate::tune::journal::Journal;
use crate::tune::space::{Space, TUTORIAL};
use crate::tune::study::{LAG, Study};

/// Trials if nobody says how many.
const TRIALS: u32 = 20;
/// Epochs of a trial if nobody says how many: after so many good settings can be told from bad ones.
const EPOCHS: u32 = 5;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// In the words of the search.
    pub args: &'a TuneArgs,
    /// Epochs that a trial has at most.
    pub epochs: Option<u32>,
    /// Layers in the place of the space's.
    pub arch: Option<&'a str>,
    /// Settings that somebody said, which are not searched then.
    pub said: Vec<Setting>,
    /// What all trials have in common, before the space's own settings.
    pub settings: Settings,
    /// Names every random draw.
    pub seed: u64,
    /// Share of the training set that measures.
    pub validation_split: f64,
}

impl Request<'_> {
    /// The study: that of the search in `folder` where nothing was said that `defines` one, else a new one.
    ///
    /// # Errors
    /// If the space can't be read or searched, or the folder's search is damaged.
    pub fn study(&self, folder: &Path, defines: bool, dataset: &Dataset) -> Result<Study, Error> {
        let there = match Journal::open(folder) {
            Ok((_, study)) => Some(study),
            Err(TuneError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let trials = self.args.trials.or(there.as_ref().map(|study| study.trials)).unwrap_or(TRIALS);
        if let Some(study) = there.filter(|_| !defines) {
            return Ok(Study { trials, ..study });
        }
        let study = self.new_study(trials, dataset)?;
        study.check(dataset.train.len())?;
        Ok(study)
    }

    fn new_study(&self, trials: u32, dataset: &Dataset) -> Result<Study, Error> {
        let TuneArgs { algorithm, objective, stop, lag, .. } = *self.args;
        let mut space = self.space()?;
        if let Some(arch) = self.arch {
            space = space.with_arch(arch)?;
        }
        for setting in &self.said {
            space = space.without(*setting);
        }
        let epochs = self.epochs.unwrap_or(EPOCHS);
        let Settings { distill, temperature, .. } = Settings::default();
        Ok(Study {
            objective: objective.or(space.objective).unwrap_or_default(),
            algorithm: algorithm.unwrap_or_default(),
            stopping: stop.unwrap_or_default(),
            trials,
            epochs,
            lag: lag.unwrap_or(LAG),
            seed: self.seed,
            validation_split: self.validation_split,
            // Trials have no teacher.
            settings: Settings { epochs, distill, temperature, ..self.settings.clone() },
            data: DataMark { name: dataset.name.clone(), fingerprint: dataset.fingerprint() },
            space,
        })
    }

    fn space(&self) -> Result<Space, Error> {
        let Some(path) = &self.args.space else { return Ok(Space::parse(TUTORIAL, "the tutorial's space")?) };
        let shown = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| Error::Usage(format!("can't read the search space {shown}: {error}")))?;
        Ok(Space::parse(&text, &shown)?)
    }
}
