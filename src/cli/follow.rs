//! Waiting for the lab: what happens meanwhile is told, a bar shows the way, and a signal ends the wait.

mod bar;
mod guard;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;

use indicatif::ProgressBar;
use serde_json::json;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use super::output::Output;
use super::tune::told::{ToldSearch, failed_search, is_searching};
use crate::command::{Command, OfSearch, TuneArgs};
use crate::error::{Error, Failure};
use crate::lab::Lab;
use crate::reply::Reply;
use crate::signals::Signals;
use crate::state::{LabState, Level, LogLine, Phase, lines_since};
use crate::train::event::Reason;
use crate::train::history::EpochRecord;
use guard::Guard;

/// Follows one lab.
pub struct Follower {
    lab: Lab,
    state: watch::Receiver<Arc<LabState>>,
    output: Output,
    signals: Signals,
    /// Epochs that were written or were there before.
    told: usize,
    /// Of a search beside the run.
    told_search: ToldSearch,
    /// The log whose lines were told.
    told_log: Arc<VecDeque<LogLine>>,
    until: Until,
    /// Dropped with it: whoever has come to the end of the run needs none.
    _guard: Guard,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// That the lab rests.
    Rest,
    /// That the run ends: others may hold it, go back and go on.
    End,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited {
    /// The lab is at rest, in this phase.
    Rested(Phase),
    /// This signal came; the run was stopped and saved.
    Interrupted(SignalKind),
    /// Nobody reads any more; the run was stopped and saved.
    Unread,
}

impl Follower {
    /// Waits until the lab has loaded what it begins with.
    ///
    /// # Errors
    /// If the lab can't be opened, or a signal comes first.
    pub async fn new(lab: Lab, output: Output) -> Result<Self, Error> {
        let guard = Guard::over(lab.clone(), output)?;
        let mut follower = Self {
            state: lab.state(),
            lab,
            output,
            signals: Signals::new()?,
            told: 0,
            told_search: ToldSearch::default(),
            told_log: Arc::default(),
            until: Until::Rest,
            _guard: guard,
        };
        loop {
            let state = follower.state();
            match &state.phase {
                Phase::Loading => tokio::select! {
                    changed = follower.state.changed() => changed.map_err(|_| has_ended())?,
                    _ = follower.signals.next() => return Err(Error::Interrupted),
                },
                Phase::Failed(failure) => return Err(Error::Lab(failure.clone())),
                _ => {
                    follower.told = state.history.epochs.len();
                    follower.tell_log(&state, None);
                    return Ok(follower);
                }
            }
        }
    }

    /// The same for a run that others may steer and that trains on without its terminal: only its end is waited for, and a
    /// line that is dropped is not its end.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.signals.ignore_hang_up();
        self.until = Until::End;
        self
    }

    /// The state as it was last published.
    pub fn state(&mut self) -> Arc<LabState> {
        self.state.borrow_and_update().clone()
    }

    /// The next signal.
    pub async fn signal(&mut self) -> SignalKind {
        self.signals.next().await
    }

    /// The lab's answer, after what its log warns of meanwhile.
    ///
    /// # Errors
    /// The signal that came first: the answer is not waited for any more.
    pub async fn ask(&mut self, command: Command) -> Result<Result<Reply, Error>, SignalKind> {
        let answer = tokio::select! {
            answer = self.lab.ask(command) => answer,
            signal = self.signals.next() => return Err(signal),
        };
        let state = self.state();
        self.tell_log(&state, answer.as_ref().err());
        Ok(answer)
    }

    /// What is there before the next command needs not be told: a run may have gone back, or another may have taken the stage.
    pub fn catch_up(&mut self) {
        self.skip_epochs();
        self.told_search.catch_up(&self.state.borrow());
    }

    /// The epochs that are there need not be told: the run went to where it had been.
    pub fn skip_epochs(&mut self) {
        self.told = self.state().history.epochs.len();
    }

    /// Waits until the lab is at rest, or if detached the run at its end, and writes the epochs that end meanwhile.
    ///
    /// # Errors
    /// If the lab breaks.
    pub async fn rest(&mut self) -> Result<Waited, Error> {
        // A run that others may hold is mostly in the background, where a bar would be drawn over what they look at it with.
        let bar = (self.until == Until::Rest && self.output.shows_progress()).then(bar::new);
        let waited = self.watch(bar.as_ref()).await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        waited
    }

    async fn watch(&mut self, bar: Option<&ProgressBar>) -> Result<Waited, Error> {
        loop {
            let state = self.state();
            // A run that others may hold goes on also without whoever began it.
            if !self.tell(&state, bar) && self.until == Until::Rest {
                return self.interrupt().await.map(|()| Waited::Unread);
            }
            match &state.phase {
                Phase::Training => {}
                Phase::Ready | Phase::Paused | Phase::Loading if self.until == Until::End => {}
                Phase::Failed(failure) => return Err(Error::Lab(failure.clone())),
                Phase::Ready | Phase::Paused | Phase::Finished(_) if is_searching(&state) => {}
                phase => return Ok(Waited::Rested(phase.clone())),
            }
            if let Some(bar) = bar {
                bar::advance(bar, &state);
            }
            tokio::select! {
                changed = self.state.changed() => changed.map_err(|_| has_ended())?,
                signal = self.signals.next() => return self.interrupt().await.map(|()| Waited::Interrupted(signal)),
            }
        }
    }

    /// Stops the run and a search beside it, which saves them; a second signal does not wait for that. Where the run can't be
    /// saved, that is told: whoever ends the lab next tries again.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after that second signal.
    pub async fn interrupt(&mut self) -> Result<(), Error> {
        self.output.note("stopping and saving; once more to leave at once");
        let (lab, searches) = (self.lab.clone(), is_searching(&self.state()));
        let stop = async move {
            if searches {
                let off = Command::Tune { what: Some(OfSearch::Off), epochs: None, args: TuneArgs::default() };
                let _ = lab.ask(off).await;
            }
            lab.ask(Command::Stop).await
        };
        let stopped = tokio::select! {
            stopped = stop => stopped,
            _ = self.signals.next() => return Err(Error::Interrupted),
        };
        if let Err(error) = stopped {
            self.output.error(&error.to_string());
        }
        self.told = self.told.max(self.state().history.epochs.len());
        Ok(())
    }

    /// Ends the lab, which saves the run. Of the signals that come meanwhile the second does not wait for that.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after that second signal; or if the run can't be saved: the lab then has not ended.
    pub async fn quit(&mut self) -> Result<Reply, Error> {
        let lab = self.lab.clone();
        let quit = lab.ask(Command::Quit);
        tokio::pin!(quit);
        let mut told_to_end = false;
        let left = loop {
            tokio::select! {
                left = &mut quit => break left,
                _ = self.signals.next() => {
                    if told_to_end {
                        return Err(Error::Interrupted);
                    }
                    told_to_end = true;
                    self.output.note("saving; once more to leave at once");
                }
            }
        };
        let state = self.state();
        self.tell_log(&state, left.as_ref().err());
        left
    }

    /// Ends the lab and its thread after all else, and says how all went. The thread of a lab that could not save its run goes
    /// on, and is not waited for.
    ///
    /// # Errors
    /// That of `outcome`; or if the run can't be saved. Where both went wrong, both are told.
    pub async fn leave<T>(&mut self, thread: JoinHandle<()>, outcome: Result<T, Error>) -> Result<T, Error> {
        // Whoever has asked twice does not wait.
        if matches!(outcome, Err(Error::Interrupted)) {
            return outcome;
        }
        let left = self.quit().await.map(drop);
        if left.is_ok() {
            let _ = thread.join();
        }
        match (outcome, left) {
            // It could not be saved before either: this says also where it is kept.
            (Err(error), Err(unsaved)) if unsaved.to_string().starts_with(&error.to_string()) => Err(unsaved),
            (Err(error), Err(unsaved)) => {
                self.output.error(&unsaved.to_string());
                Err(error)
            }
            (outcome, left) => left.and(outcome),
        }
    }

    /// Writes what was not yet told: epochs, trials, and what the log warns of; whether anybody reads them.
    fn tell(&mut self, state: &LabState, bar: Option<&ProgressBar>) -> bool {
        let epochs = &state.history.epochs;
        if self.until == Until::End && state.phase == Phase::Training {
            // Somebody went back: what comes now is new.
            self.told = self.told.min(epochs.len());
        }
        // A run that diverged went back: what was told stays told.
        let mut write = || {
            let mut untold = epochs.iter().skip(self.told);
            let read = untold.all(|record| self.output.offer(&epoch_json(record), &record.sentence()));
            let read = read && self.told_search.tell(state, self.output);
            self.tell_log(state, None);
            read
        };
        let read = match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        self.told = self.told.max(epochs.len());
        read
    }

    /// Tells the warnings and errors that are new in the log, but not what whoever waits is given as an error, which this may be.
    fn tell_log(&mut self, state: &LabState, error: Option<&Error>) {
        let before = mem::replace(&mut self.told_log, state.log.clone());
        // A run that others may hold is all that is waited for: nobody is given what became of their searches.
        let search = failed_search(state).filter(|_| self.until == Until::Rest);
        let given = [failed_run(state), search, error.map(Error::failure)];
        let is_given = |line: &&LogLine| given.iter().flatten().any(|failure| failure.sentence == line.text);
        let news = state.log.range(state.log.len() - lines_since(&before, &state.log)..);
        for line in news.filter(|line| !is_given(line)) {
            match line.level {
                Level::Info => {}
                Level::Warning => self.output.note(&line.text),
                Level::Error => self.output.error(&line.text),
            }
        }
    }
}

fn has_ended() -> Error {
    Error::Failed("the lab has ended".into())
}

/// What became of the run, where it can't go on as it was to.
pub fn failed_run(state: &LabState) -> Option<Failure> {
    match &state.phase {
        Phase::Failed(failure) => Some(failure.clone()),
        Phase::Finished(reason @ Reason::Diverged { .. }) => {
            Some(Error::Failed(reason.sentence(&state.settings)).failure())
        }
        _ => None,
    }
}

/// The `epoch` object.
pub fn epoch_json(record: &EpochRecord) -> serde_json::Value {
    json!({
        "event": "epoch",
        "epoch": record.epoch,
        "train_loss": record.train_loss,
        "train_accuracy": record.train_accuracy,
        "val_loss": record.validation.map(|validation| validation.loss),
        "val_accuracy": record.validation.map(|validation| validation.accuracy),
        "learning_rate": record.learning_rate,
        "seconds": record.seconds,
        "samples_per_second": record.samples_per_second(),
    })
}
