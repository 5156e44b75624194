//! The tree of a run: the epochs that it can go back to, and the branches that went on from them.

use std::collections::HashSet;
use std::sync::Arc;

use super::settings::Settings;
use super::{Progress, RunState};
use crate::nn::NetworkState;

/// What a run begins on.
const TRUNK: &str = "main";
/// Bytes that the states of a tree may take together: a session must stay a file that is quickly written and sent.
const BUDGET: usize = 256 << 20;

/// All branches of one run. Cheap to clone: states are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    branches: Vec<Branch>,
    /// The branch that the run is on.
    on: usize,
}

/// One line of epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// What it is called.
    pub name: String,
    /// Where it left another; `None` for the one that the run began on.
    pub fork: Option<Fork>,
    /// The epochs' ends that can be gone back to, the oldest first, those from before the fork included.
    pub kept: Vec<Arc<RunState>>,
    /// How far it came; `None` while the run itself is there.
    pub tip: Option<Arc<RunState>>,
}

/// Where a branch left another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The other's name.
    pub branch: String,
    /// Epochs done there.
    pub epoch: u32,
    /// Steps made there.
    pub step: u64,
}

/// Why a tree does not grow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// That epoch is not there.
    #[error("epoch {epoch} is not kept: {kept}; `set keep N` says how many are")]
    NotKept {
        /// The epoch asked for.
        epoch: u32,
        /// Which are.
        kept: String,
    },
    /// The states would take too much.
    #[error("{0} MB more are too much to be kept beside this run: `save NAME` begins another session")]
    Full(usize),
    /// The run is at the end of that branch.
    #[error("the run is on branch `{0}` already")]
    Here(String),
}

impl Default for Tree {
    fn default() -> Self {
        Self { branches: vec![Branch { name: TRUNK.into(), fork: None, kept: Vec::new(), tip: None }], on: 0 }
    }
}

impl Tree {
    /// The tree of these branches, on number `on`; `None` if there is no such branch.
    pub fn new(branches: Vec<Branch>, on: usize) -> Option<Self> {
        (on < branches.len()).then_some(Self { branches, on })
    }

    /// All branches, in the order they were made.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// The number of the branch that the run is on.
    pub fn on(&self) -> usize {
        self.on
    }

    /// The branch that the run is on.
    pub fn branch(&self) -> &Branch {
        &self.branches[self.on]
    }

    /// The end of the branch that the run is on, if the run went back from it.
    pub fn ahead(&self) -> Option<&Arc<RunState>> {
        self.branch().tip.as_ref()
    }

    /// Keeps the end of an epoch, and at most `most` in all: the oldest goes first.
    pub fn keep(&mut self, state: Arc<RunState>, most: usize) {
        let kept = &mut self.branches[self.on].kept;
        kept.retain(|old| old.progress.step < state.progress.step);
        kept.push(state);
        let surplus = kept.len().saturating_sub(most);
        kept.drain(..surplus);
        while self.bytes() > BUDGET && !self.branches[self.on].kept.is_empty() {
            self.branches[self.on].kept.remove(0);
        }
    }

    /// The end of `epoch` on the branch that the run is on.
    ///
    /// # Errors
    /// If it is not kept.
    pub fn at(&self, epoch: u32) -> Result<Arc<RunState>, TreeError> {
        let kept = &self.branch().kept;
        let found = kept.iter().find(|state| state.progress.epoch == epoch && state.progress.sample == 0);
        found.cloned().ok_or_else(|| {
            let epochs: Vec<String> = kept.iter().map(|state| state.progress.epoch.to_string()).collect();
            let kept = if epochs.is_empty() { "none is".into() } else { format!("there are {}", epochs.join(", ")) };
            TreeError::NotKept { epoch, kept }
        })
    }

    /// The run goes back to `to` on its branch; `now` is the state that it leaves.
    ///
    /// # Errors
    /// If that one is too large to be kept.
    pub fn rewind(&mut self, to: &RunState, now: RunState) -> Result<(), TreeError> {
        self.leave(now)?;
        // Settings changed at the branch's end since are a part of it that would be lost; `keep` the run takes along.
        let is_end = |tip: &mut Arc<RunState>| {
            let settings = Settings { keep: to.settings.keep, ..tip.settings.clone() };
            tip.progress.step == to.progress.step && settings == to.settings
        };
        self.branches[self.on].tip.take_if(is_end);
        Ok(())
    }

    /// A new branch begins where the run is, which goes on there; `now` is its state.
    ///
    /// # Errors
    /// If the state of the branch that is left is too large to be kept.
    pub fn fork(&mut self, name: String, now: RunState) -> Result<(), TreeError> {
        let Progress { epoch, step, .. } = now.progress;
        self.leave(now)?;
        let left = self.branch();
        let kept = left.kept.iter().filter(|state| state.progress.step <= step).cloned().collect();
        let fork = Fork { branch: left.name.clone(), epoch, step };
        self.branches.push(Branch { name, fork: Some(fork), kept, tip: None });
        self.on = self.branches.len() - 1;
        Ok(())
    }

    /// The run goes over to the end of branch number `to`; `now` is the state that it leaves. The state to go on from.
    ///
    /// # Errors
    /// If the run is there already, or what it leaves is too large to be kept.
    pub fn switch(&mut self, to: usize, now: RunState) -> Result<Arc<RunState>, TreeError> {
        if self.branches[to].tip.is_none() {
            return Err(TreeError::Here(self.branches[to].name.clone()));
        }
        self.leave(now)?;
        self.on = to;
        let tip = self.branches[to].tip.take();
        tip.ok_or_else(|| TreeError::Here(self.branches[to].name.clone()))
    }

    /// A name for a branch that is not taken: `main-2`, `main-3`, …
    pub fn free_name(&self) -> String {
        let stem = self.branch().fork.as_ref().map_or(&self.branch().name, |fork| &fork.branch);
        let stem =
            stem.rsplit_once('-').filter(|(_, n)| n.parse::<u32>().is_ok()).map_or(stem.as_str(), |(stem, _)| stem);
        let names = (2..).map(|n: usize| format!("{stem}-{n}"));
        names.into_iter().find(|name| self.find(name).is_none()).unwrap_or_default()
    }

    /// The number of the branch of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.branches.iter().position(|branch| branch.name == name)
    }

    /// Keeps the end of the branch that the run is on, unless it went back from it and it is kept already.
    fn leave(&mut self, now: RunState) -> Result<(), TreeError> {
        if self.ahead().is_none() {
            let more = size(&now);
            if self.bytes() + more > BUDGET {
                return Err(TreeError::Full(more >> 20));
            }
            self.branches[self.on].tip = Some(Arc::new(now));
        }
        Ok(())
    }

    /// What the states take, each counted once.
    fn bytes(&self) -> usize {
        let states = self.branches.iter().flat_map(|branch| branch.kept.iter().chain(&branch.tip));
        let mut seen = HashSet::new();
        states.filter(|state| seen.insert(Arc::as_ptr(state))).map(|state| size(state)).sum()
    }
}

/// Bytes of a state's weights, their moving average and moments.
fn size(state: &RunState) -> usize {
    let network = |network: &NetworkState| {
        let tensors = network.tensors.iter().chain(network.trained.iter().flatten());
        let tensors = tensors.map(|tensor| tensor.values.len());
        let moments = network.optimizer.moments.iter().flatten().map(Vec::len);
        tensors.chain(moments).sum::<usize>() * size_of::<f32>()
    };
    network(&state.network) + state.best.as_ref().map_or(0, |best| network(&best.network))
}

#[cfg(test)]
mod tests;
