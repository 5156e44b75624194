//! Going back to earlier epochs, branches that go on from them, and other runs' curves to compare with.

use std::sync::Arc;

use super::engine::Engine;
use crate::error::Error;
use crate::reply::{BranchRow, Reply};
use crate::session::Store;
use crate::state::{LabEvent, Level, Overlay, Phase, SESSIONS_AT_MOST};

impl Engine<'_> {
    /// Keeps the epoch that has just ended.
    pub(super) fn keep_epoch(&mut self) {
        if let Some(state) = self.trainer.last_checkpoint() {
            self.tree.keep(state, self.trainer.settings().keep);
            self.publisher.emit(LabEvent::Tree(self.tree.clone()));
        }
    }

    /// Goes back to the end of an epoch.
    pub(super) fn rewind(&mut self, epoch: u32) -> Result<Reply, Error> {
        let state = self.tree.at(epoch)?;
        let now = self.trainer.state()?;
        self.tree.rewind(&state, now)?;
        self.trainer.go_to(&state)?;
        self.arrive();
        let branch = self.tree.branch().name.clone();
        let ahead = self.tree.ahead().map(|tip| tip.progress);
        Ok(Reply::Rewound { epoch, step: state.progress.step, branch, ahead })
    }

    /// Begins a branch, goes over to one, or lists all.
    pub(super) fn branch(&mut self, name: Option<String>) -> Result<Reply, Error> {
        let Some(name) = name else { return Ok(Reply::Branches(self.branch_rows())) };
        Store::check_name(&name)?;
        let now = self.trainer.state()?;
        match self.tree.find(&name) {
            Some(to) => {
                let tip = self.tree.switch(to, now)?;
                self.trainer.go_to(&tip)?;
            }
            None => self.tree.fork(name, now)?,
        }
        self.arrive();
        let rows = self.branch_rows();
        Ok(Reply::Branches(rows.into_iter().filter(|row| row.current).collect()))
    }

    /// Before training goes on where the run went back to: what lies ahead is kept, so this must be another branch.
    pub(super) fn branch_off(&mut self) -> Result<(), Error> {
        if self.tree.ahead().is_some() {
            let (name, left) = (self.tree.free_name(), self.tree.branch().name.clone());
            let now = self.trainer.state()?;
            let epoch = now.progress.epoch;
            self.tree.fork(name.clone(), now)?;
            self.publisher.emit(LabEvent::Tree(self.tree.clone()));
            let text = format!("on from epoch {epoch} as branch `{name}`; `branch {left}` is as it was");
            self.publisher.log(Level::Info, text);
        }
        Ok(())
    }

    /// Shows the run where it is now, at rest.
    fn arrive(&mut self) {
        // What is being saved is the run as it was: told of later, it would count for the run as it is.
        self.finish_saving();
        let device = self.publisher.state().run.as_ref().map(|run| run.device.clone());
        if let Some(device) = device {
            self.present(device, None);
        }
        self.rest(Phase::Paused);
    }

    fn branch_rows(&self) -> Vec<BranchRow> {
        BranchRow::all(&self.tree, self.trainer.progress())
    }

    /// Draws saved sessions' curves behind the run's, or takes all away.
    pub(super) fn overlay(&mut self, names: &[String]) -> Result<Reply, Error> {
        if names == ["none"] {
            self.publisher.emit(LabEvent::Overlaid(Vec::new()));
            return Ok(Reply::Done("no session is drawn behind the run".into()));
        }
        let mut sessions = self.publisher.state().sessions.to_vec();
        for name in names {
            let history = Arc::new(self.options.store.load(name)?.run.history);
            let slot = sessions.iter().find(|known| known.name == *name).map(|known| known.slot);
            let is_free = |slot: &isize| sessions.iter().all(|known| known.slot != *slot);
            let slot = slot.or_else(|| (-SESSIONS_AT_MOST..0).rev().find(is_free)).ok_or_else(|| {
                Error::Usage(format!("{SESSIONS_AT_MOST} sessions are drawn at most: `overlay none` takes them away"))
            })?;
            sessions.retain(|known| known.name != *name);
            sessions.push(Overlay { name: name.clone(), slot, history });
        }
        let drawn: Vec<&str> = sessions.iter().map(|session| session.name.as_str()).collect();
        let text = format!("drawn behind the run: {}", drawn.join(", "));
        self.publisher.emit(LabEvent::Overlaid(sessions));
        Ok(Reply::Done(text))
    }
}
