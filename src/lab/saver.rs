//! Saving on a thread of its own, in the order asked for, so that a slow disk never slows training.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use crate::session::{Session, SessionError, Store};
use crate::state::Saved;

/// What became of a save.
#[derive(Debug)]
pub struct Outcome {
    /// Name and step, where it was written and how large it is.
    pub result: Result<(Saved, PathBuf, u64), SessionError>,
}

/// The thread that writes session files.
pub struct Saver {
    jobs: Sender<(String, Session)>,
    outcomes: Receiver<Outcome>,
    pending: usize,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// Starts the thread, which writes to `store`.
    pub fn start(store: Store) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<(String, Session)>();
        let (sender, outcomes) = mpsc::channel();
        let work = move || {
            for (name, session) in inbox {
                let result = store.save(&name, &session);
                let result = result.map(|(path, bytes)| (Saved::of(name, &session.run), path, bytes));
                if sender.send(Outcome { result }).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("saver".into()).spawn(work)?;
        Ok(Self { jobs, outcomes, pending: 0, thread: Some(thread) })
    }

    /// Saves `session` under `name` when the saves before it are done.
    pub fn save(&mut self, name: String, session: Session) {
        if self.jobs.send((name, session)).is_ok() {
            self.pending += 1;
        }
    }

    /// Whether a save is under way.
    pub fn is_busy(&self) -> bool {
        self.pending > 0
    }

    /// What has come of earlier saves meanwhile.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.pending -= 1;
        Some(outcome)
    }

    /// Waits for the next of the saves that are under way; `None` when there is none.
    pub fn wait(&mut self) -> Option<Outcome> {
        if self.pending == 0 {
            return None;
        }
        self.pending -= 1;
        self.outcomes.recv().ok()
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // With the sender gone the thread finishes what it has and ends.
        self.jobs = mpsc::channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
