//! The lab: the thread that owns the network, answers commands and publishes the state.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::{oneshot, watch};

use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::LabState;

/// A handle to the lab: commands go in, the state comes out. Clones speak to the same lab.
#[derive(Clone, Debug)]
pub struct Lab {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Arc<LabState>>,
}

/// The answer to a command, once it is there.
pub type Answer = oneshot::Receiver<Result<Reply, Error>>;

#[derive(Debug)]
struct Request {
    command: Command,
    answer: oneshot::Sender<Result<Reply, Error>>,
}

impl Lab {
    /// The state as it was last published; wait for changes on the receiver.
    pub fn state(&self) -> watch::Receiver<Arc<LabState>> {
        self.state.clone()
    }

    /// Sends a command without waiting. If the lab has ended, the answer never comes.
    pub fn send(&self, command: Command) -> Answer {
        let (answer, receiver) = oneshot::channel();
        // A lab that has ended drops the request, and the receiver tells.
        let _ = self.requests.send(Request { command, answer });
        receiver
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// What the command's execution gives; or that the lab has ended.
    pub async fn ask(&self, command: Command) -> Result<Reply, Error> {
        self.send(command).await.unwrap_or_else(|_| Err(Error::Failed("the lab has ended".into())))
    }
}
