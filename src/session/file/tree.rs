//! The tree of a run in the payload: states that branches share are written once, and of a state's history only how much of
//! its branch's it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::FileError;
use super::parts::{self, FileBest, FileHistory, FileNetwork, FileNorms, FileProgress, FileSettings};
use crate::train::history::History;
use crate::train::tree::{Branch, Fork, Tree};
use crate::train::{Progress, RunState};

#[derive(Serialize, Deserialize)]
pub(super) struct FileTree {
    on: u32,
    branches: Vec<FileBranch>,
    states: Vec<FileState>,
}

#[derive(Serialize, Deserialize)]
struct FileBranch {
    name: String,
    /// Branch, epoch and step.
    fork: Option<(String, u32, u64)>,
    /// Numbers of states.
    kept: Vec<u32>,
    /// The number of its last state and its whole history; none for that which the run itself is on.
    tip: Option<(u32, FileHistory)>,
}

#[derive(Serialize, Deserialize)]
struct FileState {
    settings: FileSettings,
    progress: FileProgress,
    network: FileNetwork,
    best: FileBest,
    /// How many steps, epochs and edits of its branch's history are its own.
    history: [u64; 3],
}

impl FileTree {
    /// The tree of a run with this history as it is written.
    pub fn new(tree: &Tree, history: &History) -> Self {
        let mut states: Vec<(&Arc<RunState>, &History)> = Vec::new();
        let mut number = |state, history| {
            let known = states.iter().position(|(other, _)| Arc::ptr_eq(other, state));
            known.unwrap_or_else(|| {
                states.push((state, history));
                states.len() - 1
            }) as u32
        };
        let branches = tree.branches().iter().map(|branch| {
            let whole = branch.tip.as_ref().map_or(history, |tip| &tip.history);
            FileBranch {
                name: branch.name.clone(),
                fork: branch.fork.as_ref().map(|fork| (fork.branch.clone(), fork.epoch, fork.step)),
                kept: branch.kept.iter().map(|state| number(state, whole)).collect(),
                tip: branch.tip.as_ref().map(|tip| (number(tip, whole), whole.into())),
            }
        });
        let branches = branches.collect();
        let states = states.into_iter().map(|(state, whole)| FileState::new(state, whole)).collect();
        Self { on: tree.on() as u32, branches, states }
    }

    /// The tree of `run`; `norms` are those of each branch's history, if the file has some.
    pub fn of(self, run: &RunState, norms: Vec<FileNorms>) -> Result<Tree, FileError> {
        let wrong = |what: String| FileError::Content(format!("branches: {what}"));
        let mut states: Vec<(Option<FileState>, Option<Arc<RunState>>)> =
            self.states.into_iter().map(|state| (Some(state), None)).collect();
        let mut branches = Vec::with_capacity(self.branches.len());
        let mut norms = norms.into_iter();
        for file in self.branches {
            let norms = norms.next().unwrap_or_default();
            let (tip, history) = match file.tip {
                Some((tip, history)) => (Some(tip), parts::history_from_file(history, norms)),
                None => (None, run.history.clone()),
            };
            let mut state = |number: u32| {
                let entry = states.get_mut(number as usize);
                let (file, known) = entry.ok_or_else(|| wrong(format!("there is no state {number}")))?;
                if let Some(file) = file.take() {
                    *known = Some(Arc::new(file.of(run, &history)?));
                }
                known.clone().ok_or_else(|| wrong(format!("state {number} can't be read")))
            };
            let kept = file.kept.into_iter().map(&mut state).collect::<Result<_, _>>()?;
            let tip = tip.map(state).transpose()?;
            // Its steps are those until its own.
            let [_, ends @ ..] = history.lengths();
            if tip.as_ref().is_some_and(|tip| tip.history.lengths()[1..] != ends) {
                return Err(wrong(format!("the last state of `{}` is not at its end", file.name)));
            }
            let fork = file.fork.map(|(branch, epoch, step)| Fork { branch, epoch, step });
            branches.push(Branch { name: file.name, fork, kept, tip });
        }
        let on = self.on as usize;
        Tree::new(branches, on).ok_or_else(|| wrong(format!("there is no branch {on}")))
    }
}

impl FileState {
    /// A state on the branch that has this whole history.
    fn new(state: &RunState, whole: &History) -> Self {
        let [_, epochs, edits] = state.history.lengths();
        let steps = steps_until(&state.progress, whole);
        Self {
            settings: parts::settings_to_file(&state.settings),
            progress: (&state.progress).into(),
            network: (&state.network).into(),
            best: parts::best_to_file(state.best.as_ref()),
            history: [steps, epochs, edits].map(|length| length as u64),
        }
    }

    /// The state of `run`'s tree on the branch that has this whole history.
    fn of(self, run: &RunState, history: &History) -> Result<RunState, FileError> {
        let lengths = self.history.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if lengths.iter().zip(history.lengths()).any(|(&part, whole)| part > whole) {
            return Err(FileError::Content("branches: a state has more history than its branch".into()));
        }
        let [_, epochs, edits] = lengths;
        let progress = self.progress.into();
        let steps = steps_until(&progress, history);
        Ok(RunState {
            config: run.config.clone(),
            settings: parts::settings_from_file(&self.settings)?,
            progress,
            network: self.network.try_into()?,
            best: parts::best_from_file(self.best)?,
            history: history.beginning([steps, epochs, edits]),
        })
    }
}

/// How many steps of its branch's history are a state's: the branch may have been thinned since.
fn steps_until(progress: &Progress, whole: &History) -> usize {
    whole.steps.partition_point(|record| record.step <= progress.step)
}
