//! The journal of a search: a folder that any number of workers write, on one machine or many.
//!
//! | file | holds | written |
//! |---|---|---|
//! | `search.json` | the study | once, by the first |
//! | `trials-40` | that there are 40 trials by now | once, by who adds them |
//! | `trial-0007.epoch-3.json` | what came of trial 7 up to epoch 3 | once, by whoever did it |
//! | `trial-0007.epoch-3.claim-0` | who does that; `claim-1`: who took it over, … | once each |
//! | `trial-0007.mlab` | its run as it was last | anew after each epoch |
//! | `worker-ID.json` | that worker ID lives, and what it does | anew every few seconds |
//!
//! It is right on NFS: nothing is locked and nothing appended. A file appears whole (written beside its place, synced, linked or
//! renamed there), and of two who would make the same file one is refused. A claim is never taken away: who takes over a task
//! makes the next one, and only one can. What is done twice nevertheless, because a worker was taken for dead and was not, comes
//! out the same and is counted once.

pub mod claim;
mod sealed;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::TuneError;
use super::study::Study;
use super::trial::{Task, Trial, Trials};
use crate::session::{Session, SessionError, Store};
use claim::{Beat, Worker};

/// The study's file.
const STUDY: &str = "search.json";
/// What the names of the files begin with that add trials.
const TRIALS: &str = "trials-";
/// What the names of results end with.
const RESULT: &str = ".json";
/// After how long without a sign a worker counts as dead: longer than NFS clients remember what they saw (60 s by default).
pub const STALE: Duration = Duration::from_secs(90);

/// A search's folder, as one worker sees it.
pub struct Journal {
    folder: PathBuf,
    /// How many values a trial has.
    parameters: usize,
    store: Store,
    /// Results that were read.
    read: BTreeSet<String>,
    trials: Trials,
    /// What was last seen of other workers, and since when it is so.
    seen: HashMap<String, (Beat, Instant)>,
    /// The last signs of life of the workers of other processes, and when they came, if that was seen.
    heard: HashMap<String, (Beat, Option<Instant>)>,
    /// After how long without a sign a worker counts as dead.
    stale: Duration,
}

impl Journal {
    /// The journal of `study` in `folder`: begun, or joined if it is there. If it has more trials than there were, whoever opens
    /// the journal from now on makes them too.
    ///
    /// # Errors
    /// If another search is there, or the file system refuses.
    pub fn begin(folder: &Path, study: &Study) -> Result<Self, TuneError> {
        fs::create_dir_all(folder).map_err(|source| io_error(folder, "make this folder", source))?;
        let file = serde_json::to_string(study).map_err(|error| TuneError::Study(error.to_string()))?;
        let new = sealed::write_new(folder, STUDY, &file);
        if new.map_err(|source| io_error(&folder.join(STUDY), "write the search", source))? {
            return Ok(Self::new(folder, study));
        }
        let (journal, other) = Self::open(folder)?;
        if let Some(difference) = study.difference(&other) {
            return Err(TuneError::Other { folder: folder.into(), difference });
        }
        if study.trials > other.trials {
            let name = format!("{TRIALS}{}", study.trials);
            sealed::write_new(folder, &name, &study.trials.to_string())
                .map_err(|source| io_error(&folder.join(&name), "add trials", source))?;
        }
        Ok(journal)
    }

    /// The journal in `folder`, and the study that it was begun with, with the trials that were added since.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn open(folder: &Path) -> Result<(Self, Study), TuneError> {
        let path = folder.join(STUDY);
        let damaged = |problem: String| TuneError::DamagedStudy { path: path.clone(), problem };
        let text = sealed::read(&path).map_err(|error| match error {
            TuneError::Damaged { problem, .. } => damaged(problem),
            other => other,
        })?;
        let text = text.ok_or_else(|| TuneError::Missing(folder.into()))?;
        let mut study: Study = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let names = names(folder)?;
        let added = names.iter().filter_map(|name| name.strip_prefix(TRIALS)?.parse::<u32>().ok());
        study.trials = added.fold(study.trials, u32::max);
        Ok((Self::new(folder, &study), study))
    }

    fn new(folder: &Path, study: &Study) -> Self {
        Self {
            folder: folder.into(),
            parameters: study.space.parameters.len(),
            store: Store::new(folder),
            read: BTreeSet::new(),
            trials: Trials::default(),
            seen: HashMap::new(),
            heard: HashMap::new(),
            stale: STALE,
        }
    }

    /// The same with another patience for silent workers.
    #[must_use]
    pub fn patient_for(self, stale: Duration) -> Self {
        Self { stale, ..self }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All that is known so far.
    pub fn trials(&self) -> &Trials {
        &self.trials
    }

    /// Reads results that came since; those that were news.
    ///
    /// # Errors
    /// If the folder or a result can't be read.
    pub fn refresh(&mut self) -> Result<Vec<Trial>, TuneError> {
        let is_unread =
            |name: &String| name.starts_with("trial-") && name.ends_with(RESULT) && !self.read.contains(name);
        let unread: BTreeSet<String> = names(&self.folder)?.into_iter().filter(is_unread).collect();
        let mut news = Vec::new();
        for name in unread {
            news.extend(self.read_result(&name)?);
        }
        Ok(news)
    }

    /// Takes in the result of this name, if it is there; what was news.
    fn read_result(&mut self, name: &str) -> Result<Option<Trial>, TuneError> {
        let path = self.folder.join(name);
        let Some(text) = sealed::read(&path)? else { return Ok(None) };
        let damaged = |problem: String| TuneError::Damaged { path: path.clone(), problem };
        let trial: Trial = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if trial.values.len() != self.parameters {
            return Err(damaged(format!(
                "it has {} values where {} parameters are searched",
                trial.values.len(),
                self.parameters
            )));
        }
        self.read.insert(name.to_owned());
        Ok(self.trials.learn(trial.clone()).then_some(trial))
    }

    /// Writes what came of a task that was claimed.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn finish(&mut self, task: Task, trial: &Trial) -> Result<(), TuneError> {
        let name = result_name(task);
        let text = serde_json::to_string(trial).map_err(|error| TuneError::Study(error.to_string()))?;
        sealed::write_new(&self.folder, &name, &text)
            .map_err(|source| io_error(&self.folder.join(&name), "write the result", source))?;
        // Whoever was first is believed; it is the same.
        self.read_result(&name).map(drop)
    }

    /// Saves a trial's run as it is.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn save_run(&self, number: u32, session: &Session) -> Result<(), TuneError> {
        self.store.save(&run_name(number), session)?;
        Ok(())
    }

    /// A trial's run as it was last saved; `None` if there is none that is whole.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn run(&self, number: u32) -> Result<Option<Session>, TuneError> {
        match self.store.load(&run_name(number)) {
            Ok(session) => Ok(Some(session)),
            Err(SessionError::Missing { .. } | SessionError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells all others that `worker` lives.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn beat(&self, worker: &Worker, beat: &Beat) -> Result<(), TuneError> {
        let name = worker.file();
        let text = serde_json::to_string(beat).map_err(|error| TuneError::Study(error.to_string()))?;
        sealed::replace(&self.folder, &name, &text)
            .map_err(|source| io_error(&self.folder.join(&name), "write that this worker lives", source))
    }
}

/// The name of a trial's run among the journal's sessions.
pub fn run_name(number: u32) -> String {
    format!("trial-{number:04}")
}

fn task_name(task: Task) -> String {
    format!("trial-{:04}.epoch-{}", task.trial, task.epochs)
}

fn result_name(task: Task) -> String {
    task_name(task) + RESULT
}

/// The names of all that is in `folder`.
fn names(folder: &Path) -> Result<Vec<String>, TuneError> {
    let refused = |source| io_error(folder, "list this folder", source);
    let entries = fs::read_dir(folder).map_err(refused)?;
    entries.map(|entry| Ok(entry.map_err(refused)?.file_name().to_string_lossy().into_owned())).collect()
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> TuneError {
    TuneError::Io { path: path.into(), action, source }
}

#[cfg(test)]
mod tests;
