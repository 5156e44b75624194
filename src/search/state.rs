//! A search as it is seen: what is known of its trials, what is done now, and the table that this makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::train::history::Measured;
use crate::tune::study::Study;
use crate::tune::trial::{Ending, Task, Trial, Trials};
use crate::tune::work::Event;

/// A search as it is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchState {
    /// Its name: that of its folder.
    pub name: String,
    /// What is searched and how.
    pub study: Arc<Study>,
    /// What is known of the trials.
    pub trials: Arc<Trials>,
    /// What is done in this process, by trial.
    pub running: BTreeMap<u32, Running>,
    /// What other processes do, as far as they tell.
    pub elsewhere: Vec<Running>,
    /// Whether it goes on.
    pub phase: SearchPhase,
    /// Trials beside each other in this process.
    pub jobs: usize,
}

/// A trial that is being trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Until how many epochs.
    pub task: Task,
    /// What it tries.
    pub values: Vec<String>,
    /// Epochs that are done, the running one as a fraction.
    pub epochs: f64,
    /// What came of it so far, once an epoch is done.
    pub so_far: Option<Trial>,
}

/// Whether a search goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SearchPhase {
    /// It does.
    Searching,
    /// All trials are done.
    Done,
    /// It was told to end, and can go on.
    Stopped,
    /// It can't go on; the sentence says why.
    Failed(Failure),
}

impl SearchState {
    /// Takes in what a worker tells; a result, if it was news.
    pub fn apply(&mut self, event: Event) -> Option<Trial> {
        match event {
            Event::Begun { task, values, epochs } => {
                let running = Running { task, values, epochs: f64::from(epochs), so_far: None };
                self.running.insert(task.trial, running);
            }
            Event::Step { trial, epochs } => {
                if let Some(running) = self.running.get_mut(&trial) {
                    running.epochs = epochs;
                }
            }
            Event::Epoch(trial) => {
                if let Some(running) = self.running.get_mut(&trial.number) {
                    running.so_far = Some(trial);
                }
            }
            Event::Left(task) => drop(self.running.remove(&task.trial)),
            Event::Learned(trial) => {
                // Another worker's view of it may be older.
                self.running.retain(|number, running| *number != trial.number || !trial.has(running.task.epochs));
                return Arc::make_mut(&mut self.trials).learn(trial.clone()).then_some(trial);
            }
            Event::Elsewhere(all) => {
                let running = |(task, values, epochs)| Running { task, values, epochs, so_far: None };
                self.elsewhere = all.into_iter().map(running).collect();
            }
            Event::Waiting => {}
        }
        None
    }

    /// The best of the trials that are done.
    pub fn best(&self) -> Option<&Trial> {
        self.trials.best(self.study.objective)
    }

    /// All trials of which something is known, the best first; those that have no score yet last.
    pub fn rows(&self) -> Vec<Row> {
        let open = |running: &&Running| {
            let number = running.task.trial;
            let is_here = self.running.contains_key(&number);
            !is_here && self.trials.get(number).is_none_or(|trial| !trial.has(running.task.epochs))
        };
        let running: Vec<&Running> = self.running.values().chain(self.elsewhere.iter().filter(open)).collect();
        let rests = |trial: &&Trial| running.iter().all(|running| running.task.trial != trial.number);
        let done = self.trials.iter().filter(rests).map(Row::done);
        let mut rows: Vec<Row> = done.chain(running.iter().map(|running| self.row(running))).collect();
        let objective = self.study.objective;
        let cost = |row: &Row| row.score.map_or(f64::INFINITY, |score| objective.cost(&score));
        rows.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.number.cmp(&b.number)));
        rows
    }

    fn row(&self, running: &Running) -> Row {
        let number = running.task.trial;
        // One that was promoted has the score of the rung below until its next epoch is done.
        let score = running.so_far.as_ref().or_else(|| self.trials.get(number)).and_then(Trial::score);
        Row {
            number,
            values: running.values.clone(),
            score,
            epochs: running.epochs,
            how: How::Running(running.task.epochs),
        }
    }
}

/// A trial in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// From 0 on.
    pub number: u32,
    /// One a parameter.
    pub values: Vec<String>,
    /// The last that is known; `None` if there is none, or the weights are worth nothing.
    pub score: Option<Measured>,
    /// That are done, the running one as a fraction.
    pub epochs: f64,
    /// What it does, or did.
    pub how: How,
}

/// What a trial in a table does, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It trains, until so many epochs are done.
    Running(u32),
    /// It came to rest.
    Ended(Ending),
}

impl Row {
    fn done(trial: &Trial) -> Self {
        Self {
            number: trial.number,
            values: trial.values.clone(),
            score: trial.score(),
            epochs: trial.scores.len() as f64,
            how: How::Ended(trial.ending.clone()),
        }
    }
}
