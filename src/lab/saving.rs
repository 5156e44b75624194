//! When a run is saved, and what is done where that fails.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::name::Name;
use super::saver::Outcome;
use crate::error::Error;
use crate::reply::Reply;
use crate::session::{DataMark, Session, SessionError, Store};
use crate::state::{LabEvent, Level, Saved};
use crate::train::RunState;

/// How long after a save that failed the next is tried.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// How the saves at the ends of epochs go.
#[derive(Default)]
pub struct Checkpoints {
    /// There is something to save that was not given to the saver yet.
    is_owed: bool,
    /// When the last one failed, if it did.
    failed: Option<Instant>,
    /// Where the run was written to when its folder refused it, and what it was then.
    rescued: Option<(PathBuf, Saved)>,
}

impl Engine<'_> {
    /// Saves the run, under a new name if one is given.
    pub(super) fn save(&mut self, name: Option<String>) -> Result<Reply, Error> {
        if let Some(name) = name.filter(|name| !self.name.holds(name)) {
            let name = Name::claimed(&self.options.store, &name)?;
            self.rename(name);
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

    /// Saves the run if it has changed; where its folder refuses it, that is told, and saving is tried again later.
    pub(super) fn save_or_owe(&mut self) -> Result<(), Error> {
        match self.save_if_needed() {
            Err(Error::Session(refused)) => {
                self.tell_not_saved(&refused);
                Ok(())
            }
            saved => saved,
        }
    }

    /// Saves the run if it has changed, for the last time: where its folder refuses it, it is written elsewhere, and the error says
    /// where.
    pub(super) fn save_at_the_end(&mut self) -> Result<(), Error> {
        match self.save_if_needed() {
            Ok(()) => {
                if let Some((rescued, _)) = self.checkpoints.rescued.take() {
                    let _ = fs::remove_file(rescued);
                }
                Ok(())
            }
            Err(Error::Session(refused)) => Err(self.rescue(&refused)?),
            Err(error) => Err(error),
        }
    }

    /// Whether the run as it is now was written elsewhere, and somebody told where.
    pub(super) fn is_rescued(&self) -> bool {
        let now = (self.trainer.progress().step, self.trainer.history().edits.len());
        self.checkpoints.rescued.as_ref().is_some_and(|(_, rescued)| (rescued.step, rescued.edits) == now)
    }

    fn rescue(&mut self, refused: &SessionError) -> Result<Error, Error> {
        if self.checkpoints.is_owed {
            // Not tried at once again: the program may end now, and would leave a file half written.
            self.checkpoints.failed = Some(Instant::now());
        }
        let session = self.session(self.trainer.state()?);
        let sentence = match Store::rescue(self.name.as_str(), &session) {
            Ok(path) => {
                // Whoever was told of an earlier place finds the run there.
                let path = match self.checkpoints.rescued.take() {
                    Some((earlier, _)) if fs::rename(&path, &earlier).is_ok() => earlier,
                    _ => path,
                };
                let sentence = format!(
                    "{refused}; the run is kept in {}: when there is room, move it to {} as {}.mlab",
                    path.display(),
                    self.options.store.folder().display(),
                    self.name.as_str()
                );
                self.checkpoints.rescued = Some((path, Saved::of(self.name.as_str().into(), &session.run)));
                sentence
            }
            Err(error) => format!("{refused}; nor can it be kept elsewhere: {error}"),
        };
        Ok(Error::Failed(sentence))
    }

    fn save_now(&mut self) -> Result<(Saved, PathBuf, u64), Error> {
        self.finish_saving();
        self.hold_name()?;
        let run = self.trainer.state()?;
        self.send_to_saver(run);
        let outcome = self.saver.wait().ok_or_else(|| Error::Failed("the saving thread has ended".into()))?;
        let (saved, path, bytes) = outcome.result?;
        self.checkpoints = Checkpoints { rescued: self.checkpoints.rescued.take(), ..Checkpoints::default() };
        self.publisher.emit(LabEvent::Saved(saved.clone()));
        Ok((saved, path, bytes))
    }

    /// Saves the run as it was at the end of the epoch; training goes on meanwhile.
    pub(super) fn save_checkpoint(&mut self) {
        self.checkpoints.is_owed = true;
        self.save_what_is_owed();
    }

    /// Saves what could not be saved before: because the saver was busy, which skips an epoch rather than to fall behind, or
    /// because it failed.
    pub(super) fn save_what_is_owed(&mut self) {
        let waits = self.checkpoints.failed.is_some_and(|failed| failed.elapsed() < RETRY);
        if self.checkpoints.is_owed && !waits && !self.saver.is_busy() {
            // At rest nothing newer comes.
            let run = if self.is_training() {
                self.trainer.last_checkpoint().map(|run| RunState::clone(&run))
            } else {
                self.trainer.state().ok()
            };
            self.checkpoints.is_owed = false;
            if let Some(run) = run {
                self.checkpoint_to_saver(run);
            }
        }
    }

    /// Whether something waits to be saved.
    pub(super) fn owes_a_save(&self) -> bool {
        self.checkpoints.is_owed
    }

    fn checkpoint_to_saver(&mut self, run: RunState) {
        match self.hold_name() {
            Ok(()) => self.send_to_saver(run),
            Err(error) => self.tell_not_saved(&error),
        }
    }

    /// Makes the run's name its own.
    fn hold_name(&mut self) -> Result<(), SessionError> {
        let store = &self.options.store;
        match &self.name {
            Name::Held { .. } => {}
            Name::Chosen(name) => self.name = Name::claimed(store, name)?,
            // Another program may have taken the name since.
            Name::Free(_) => {
                let (name, claim) = store.claim_free();
                self.rename(Name::with(name, claim));
            }
        }
        Ok(())
    }

    fn send_to_saver(&mut self, run: RunState) {
        let session = self.session(run);
        self.saver.save(self.name.as_str().into(), session);
    }

    fn session(&self, run: RunState) -> Session {
        let dataset = self.trainer.dataset();
        let data = DataMark { name: dataset.name.clone(), fingerprint: dataset.fingerprint() };
        Session { run, tree: self.tree.clone(), data }
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
            Ok((saved, ..)) => {
                if self.checkpoints.failed.take().is_some() {
                    self.publisher.log(Level::Info, format!("saved again as `{}`", saved.name));
                }
                self.publisher.emit(LabEvent::Saved(saved));
            }
            Err(error) => self.tell_not_saved(&error),
        }
    }

    /// A save failed: the next one is tried soon, and of a row of failures the first alone is told.
    fn tell_not_saved(&mut self, error: &SessionError) {
        if self.checkpoints.failed.replace(Instant::now()).is_none() {
            let goes_on = if self.is_training() { "the run goes on, and " } else { "" };
            let seconds = RETRY.as_secs();
            self.publisher.log(Level::Error, format!("{error}; {goes_on}saving is tried every {seconds} s"));
        }
        self.checkpoints.is_owed = true;
    }
}
