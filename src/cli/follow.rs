//! Waiting for the lab while it trains: epochs are written as they end, a bar shows the way between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::Output;
use super::tune::told::{ToldSearch, is_searching};
use crate::command::{Command, OfSearch, TuneArgs};
use crate::error::Error;
use crate::lab::Lab;
use crate::state::{GpuFigure, LabState, Phase};
use crate::train::Goal;
use crate::train::history::EpochRecord;

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
    until: Until,
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
    /// A signal came; the run was stopped and saved.
    Interrupted,
    /// Nobody reads any more; the run was stopped and saved.
    Unread,
}

impl Follower {
    /// Waits until the lab has loaded what it begins with.
    ///
    /// # Errors
    /// If the lab can't be opened.
    pub async fn new(lab: Lab, output: Output) -> Result<Self, Error> {
        let mut follower = Self {
            state: lab.state(),
            lab,
            output,
            signals: Signals::new()?,
            told: 0,
            told_search: ToldSearch::default(),
            until: Until::Rest,
        };
        loop {
            let state = follower.state();
            match &state.phase {
                Phase::Loading => follower.changed().await?,
                Phase::Failed(failure) => return Err(Error::Lab(failure.clone())),
                _ => {
                    follower.told = state.history.epochs.len();
                    return Ok(follower);
                }
            }
        }
    }

    /// The same for a run that others may steer and that trains on without its terminal: only its end is waited for, and a
    /// line that is dropped is not its end.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.signals.hang_up = None;
        self.until = Until::End;
        self
    }

    /// The state as it was last published.
    pub fn state(&mut self) -> Arc<LabState> {
        self.state.borrow_and_update().clone()
    }

    /// The next change; `Err` if the lab has ended.
    async fn changed(&mut self) -> Result<(), Error> {
        self.state.changed().await.map_err(|_| Error::Failed("the lab has ended".into()))
    }

    /// What is there before the next command needs not be told: a run may have gone back, or another may have taken the stage.
    pub fn catch_up(&mut self) {
        let state = self.state();
        self.told = state.history.epochs.len();
        self.told_search.catch_up(&state);
    }

    /// Waits until the lab is at rest, or if detached the run at its end, and writes the epochs that end meanwhile.
    ///
    /// # Errors
    /// If the lab breaks.
    pub async fn rest(&mut self) -> Result<Waited, Error> {
        // A run that others may hold is mostly in the background, where a bar would be drawn over what they look at it with.
        let bar = (self.until == Until::Rest && self.output.shows_progress()).then(new_bar);
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
                advance_bar(bar, &state);
            }
            tokio::select! {
                changed = self.state.changed() => {
                    changed.map_err(|_| Error::Failed("the lab has ended".into()))?;
                }
                () = self.signals.next() => return self.interrupt().await.map(|()| Waited::Interrupted),
            }
        }
    }

    /// Stops the run, which saves it; a second signal does not wait for that.
    async fn interrupt(&mut self) -> Result<(), Error> {
        self.output.note("stopping and saving; once more to leave at once");
        if is_searching(&self.state()) {
            let _ = self
                .lab
                .ask(Command::Tune { what: Some(OfSearch::Off), epochs: None, args: TuneArgs::default() })
                .await;
        }
        tokio::select! {
            answer = self.lab.ask(Command::Stop) => answer?,
            () = self.signals.next() => return Err(Error::Interrupted),
        };
        self.told = self.told.max(self.state().history.epochs.len());
        Ok(())
    }

    /// Writes the epochs and trials that were not yet told; whether anybody reads them.
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
            read && self.told_search.tell(state, self.output)
        };
        let read = match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        self.told = self.told.max(epochs.len());
        read
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

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3} %  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn advance_bar(bar: &ProgressBar, state: &LabState) {
    let done = state.epochs_done();
    let total = match state.goal {
        Some(Goal::Epoch(epoch)) => format!("/{epoch}"),
        _ => String::new(),
    };
    bar.set_prefix(format!("epoch {}{total}", done.floor() as u32 + 1));
    bar.set_position((done.fract() * 1000.0) as u64);
    let mut message = match (state.validating, state.history.steps.last()) {
        (Some((done, total)), _) => format!("validating {done}/{total}"),
        (None, Some(step)) => format!("loss {:.4}", step.loss),
        (None, None) => String::new(),
    };
    if let Some(rate) = state.samples_per_second() {
        message += &format!(", {:.1} k samples/s", rate / 1000.0);
    }
    if let Some(seconds) = state.eta() {
        message += &format!(", {seconds:.0} s left");
    }
    if let Some(busy) = state.gpu.newest().and_then(|reading| GpuFigure::Utilisation.text(reading)) {
        message += &format!(", gpu {busy}");
    }
    bar.set_message(message);
}

/// A signal that comes so soon after another is the same word: `timeout` tells the program and then its group.
const ECHO: Duration = Duration::from_millis(100);

/// The signals that ask a program to end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the program does without its terminal.
    hang_up: Option<Signal>,
    /// When the last came.
    heard: Option<Instant>,
}

impl Signals {
    /// Begins to listen for them.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::Failed(format!("can't listen for signals: {error}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: Some(listen(SignalKind::hangup())?),
            heard: None,
        })
    }

    /// The next of them.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                Some(_) = async { Some(self.hang_up.as_mut()?.recv().await) } => {}
            }
            let now = Instant::now();
            if self.heard.replace(now).is_none_or(|before| now - before > ECHO) {
                return;
            }
        }
    }
}
