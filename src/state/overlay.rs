//! Curves behind the run's own: of its other branches and of saved sessions.

use std::sync::Arc;

use super::LabState;
use crate::train::history::History;

/// So many saved sessions are drawn at most.
pub const SESSIONS_AT_MOST: isize = 6;

/// Another history to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// The branch's or the session's name.
    pub name: String,
    /// Names its colour, and stays what it is when others come and go: branches have the slots from 0 up, sessions those from
    /// -1 down, so that on a palette that goes round they meet late.
    pub slot: isize,
    /// What is drawn.
    pub history: Arc<History>,
}

impl LabState {
    /// All that is drawn behind the run. What lies ahead of a run that went back is drawn too.
    pub fn overlays(&self) -> Vec<Overlay> {
        let branches = self.tree.branches().iter().enumerate().filter_map(|(slot, branch)| {
            let history = Arc::new(branch.tip.as_ref()?.history.clone());
            Some(Overlay { name: branch.name.clone(), slot: slot as isize, history })
        });
        branches.chain(self.sessions.iter().cloned()).collect()
    }

    /// The history of the branch that the run is on, with what lies ahead if the run went back.
    pub fn whole_history(&self) -> &History {
        self.tree.ahead().map_or(&self.history, |tip| &tip.history)
    }
}
