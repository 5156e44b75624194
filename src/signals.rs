//! The signals that ask a program to end: SIGINT, SIGTERM, and SIGHUP, which comes when a terminal is gone.

use std::fs;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::error::Error;

/// A signal that comes so soon after another is the same word: `timeout` tells the program and then its group, and the end of a
/// login is told by SIGTERM and SIGHUP.
const ECHO: Duration = Duration::from_millis(100);

/// How long it takes to see whether one has come: the runtime looks when it has nothing else to do.
const GLANCE: Duration = Duration::from_millis(1);

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
    /// Begins to listen for them; not for SIGHUP if the program was started without an ear for it, as `nohup` does.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: (!hang_up_is_ignored()).then(|| listen(SignalKind::hangup())).transpose()?,
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

    /// Goes on, unless one of them came that was not waited for.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if one came.
    pub async fn check(&mut self) -> Result<(), Error> {
        if timeout(GLANCE, self.next()).await.is_ok() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Whether SIGHUP does nothing to this program.
fn hang_up_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & 1 == 1)
}

/// Listens for signals of one kind.
///
/// # Errors
/// If the system refuses.
pub fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Failed(format!("can't listen for signals: {error}")))
}
