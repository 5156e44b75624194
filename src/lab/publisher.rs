//! Publishing the state: every event is applied at once, readers get a copy at most some sixty times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::state::{LabEvent, LabState, Level, LogLine};
use crate::train::event::TrainEvent;

/// No screen shows more than this.
const INTERVAL: Duration = Duration::from_millis(16);

/// Owns the state and shows copies of it.
pub struct Publisher {
    state: LabState,
    sender: watch::Sender<Arc<LabState>>,
    shown: Shown,
    at: Instant,
}

#[derive(PartialEq, Eq)]
enum Shown {
    Current,
    Stale,
}

impl Publisher {
    /// A publisher of the empty state, and what readers get it from.
    pub fn new() -> (Self, watch::Receiver<Arc<LabState>>) {
        let (sender, receiver) = watch::channel(Arc::new(LabState::default()));
        (Self { state: LabState::default(), sender, shown: Shown::Current, at: Instant::now() }, receiver)
    }

    /// The state with all events applied.
    pub fn state(&self) -> &LabState {
        &self.state
    }

    /// Applies an event.
    pub fn emit(&mut self, event: LabEvent) {
        self.state.apply(event);
        self.shown = Shown::Stale;
    }

    /// Applies what the run reports, with a line in the log where it is worth one.
    pub fn report(&mut self, event: TrainEvent) {
        match &event {
            TrainEvent::Epoch { record, .. } => self.log(Level::Info, record.sentence()),
            TrainEvent::Edited(edit) => {
                self.log(Level::Info, format!("{} {} → {} at step {}", edit.setting, edit.from, edit.to, edit.step));
            }
            _ => {}
        }
        self.emit(LabEvent::Train(event));
    }

    /// Adds a line to the log.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        let text = text.into();
        match level {
            Level::Info => tracing::info!("{text}"),
            Level::Warning => tracing::warn!("{text}"),
            Level::Error => tracing::error!("{text}"),
        }
        self.emit(LabEvent::Log(LogLine { level, text }));
    }

    /// Shows the state now.
    pub fn show(&mut self) {
        if self.shown == Shown::Stale {
            self.sender.send_replace(Arc::new(self.state.clone()));
            self.shown = Shown::Current;
            self.at = Instant::now();
        }
    }

    /// Shows the state if the last time is long enough ago.
    pub fn show_if_due(&mut self) {
        if self.at.elapsed() >= INTERVAL {
            self.show();
        }
    }
}
