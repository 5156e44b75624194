//! When a run is saved, and under which name.

use std::path::PathBuf;

use super::engine::Engine;
use super::saver::Outcome;
use crate::error::Error;
use crate::reply::Reply;
use crate::session::{DataMark, Session, Store};
use crate::state::{LabEvent, Level, Saved};
use crate::train::RunState;

/// The name a run is saved under.
pub enum Name {
    /// Somebody chose it: what was there is replaced.
    Chosen(String),
    /// The first free one; chosen when the run is first saved.
    Free(String),
}

impl Name {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Chosen(name) | Self::Free(name) => name,
        }
    }
}

impl Engine<'_> {
    /// Saves the run, under a new name if one is given.
    pub(super) fn save(&mut self, name: Option<String>) -> Result<Reply, Error> {
        if let Some(name) = name {
            Store::check_name(&name)?;
            self.rename(Name::Chosen(name));
        }
        let (saved, path, bytes) = self.save_now()?;
        Ok(Reply::Saved { name: saved.name, path: path.display().to_string(), bytes })
    }

    /// Saves the run if it has changed since it was last saved.
    pub(super) fn save_if_needed(&mut self) -> Result<(), Error> {
        self.finish_saving();
        if self.publisher.state().is_unsaved() {
            self.save_now()?;
        }
        Ok(())
    }

    fn save_now(&mut self) -> Result<(Saved, PathBuf, u64), Error> {
        self.finish_saving();
        let run = self.trainer.state()?;
        self.send_to_saver(run);
        let outcome = self.saver.wait().ok_or_else(|| Error::Failed("the saving thread has ended".into()))?;
        let (saved, path, bytes) = outcome.result?;
        self.publisher.emit(LabEvent::Saved(saved.clone()));
        Ok((saved, path, bytes))
    }

    /// Saves the run as it was at the end of the epoch; training goes on meanwhile.
    pub(super) fn save_checkpoint(&mut self) {
        if let Some(run) = self.trainer.last_checkpoint() {
            self.send_to_saver(RunState::clone(&run));
        }
    }

    fn send_to_saver(&mut self, run: RunState) {
        if let Name::Free(_) = self.name {
            // Another program may have taken the name since.
            let name = self.options.store.free_name();
            self.rename(Name::Chosen(name));
        }
        let dataset = self.trainer.dataset();
        let data = DataMark { name: dataset.name.clone(), fingerprint: dataset.fingerprint() };
        self.saver.save(self.name.as_str().into(), Session { run, tree: self.tree.clone(), data });
    }

    fn rename(&mut self, name: Name) {
        self.name = name;
        self.publisher.emit(LabEvent::Named(self.name.as_str().into()));
    }

    /// Waits for what is being saved.
    pub(super) fn finish_saving(&mut self) {
        while let Some(outcome) = self.saver.wait() {
            self.tell_saved(outcome);
        }
    }

    /// Tells how a save went.
    pub(super) fn tell_saved(&mut self, outcome: Outcome) {
        match outcome.result {
            Ok((saved, ..)) => self.publisher.emit(LabEvent::Saved(saved)),
            Err(error) => self.publisher.log(Level::Error, error.to_string()),
        }
    }
}
