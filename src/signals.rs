//! The signals that ask a program to end: SIGINT, SIGTERM, and SIGHUP, which comes when a terminal is gone.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// A signal that comes so soon after another is the same word: `timeout` tells the program and then its group, and the end of a
/// login is told by SIGTERM and SIGHUP.
const ECHO: Duration = Duration::from_millis(100);

/// Listens for them.
#[derive(Debug)]
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
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: Some(listen(SignalKind::hangup())?),
            heard: None,
        })
    }

    /// Takes no notice of SIGHUP from now on: the program does without its terminal.
    pub fn ignore_hang_up(&mut self) {
        self.hang_up = None;
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> SignalKind {
        loop {
            let kind = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                Some(_) = async { Some(self.hang_up.as_mut()?.recv().await) } => SignalKind::hangup(),
            };
            let now = Instant::now();
            if self.heard.replace(now).is_none_or(|before| now - before > ECHO) {
                return kind;
            }
        }
    }
}

/// Listens for signals of one kind.
///
/// # Errors
/// If the system refuses.
pub fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Failed(format!("can't listen for signals: {error}")))
}
