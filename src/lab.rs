//! The lab: the thread that owns the network, answers commands and publishes the state.
//!
//! ```text
//! Lab (handle, any thread) ── Request ──▶ Engine (its own thread) ── LabEvent ──▶ Publisher ── watch<Arc<LabState>> ──▶ screens
//!                                           │ owns the Trainer                              
//!                                           ├─ Session ──▶ Saver (its own thread) ──▶ file
//!                                           └─ GpuSample ◀── Gauge (its own thread), where the run is on a GPU
//! ```
//!
//! Between two batches the engine looks for requests; at rest it sleeps until one comes. Nothing that reads the state can
//! make it wait.

mod advisor;
mod drawings;
mod engine;
mod evaluation;
pub mod gauge;
pub mod model;
mod name;
mod opening;
mod past;
mod publisher;
mod questions;
mod saver;
mod saving;
mod searching;
mod travel;
mod visitors;

pub(crate) use opening::session_rows;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::{oneshot, watch};

use crate::command::{Command, Door};
use crate::error::Error;
use crate::nn::{DeviceChoice, Kernels};
use crate::reply::Reply;
use crate::session::Store;
use crate::state::LabState;
use crate::train::settings::Settings;
use crate::train::{RunConfig, Target};
use gauge::Meter;
use model::{Exporter, Plotter};

/// A handle to the lab: commands go in, the state comes out. Clones speak to the same lab; when the last one is gone, the
/// lab saves and ends.
#[derive(Clone, Debug)]
pub struct Lab {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Arc<LabState>>,
    door: Option<Porter>,
}

/// Opens and closes the door to the lab for other programs. What stands behind the door is an adapter, which the lab does not
/// know: whoever starts the lab brings one along.
#[derive(Clone)]
pub struct Porter(Arc<Attend>);

type Attend = dyn Fn(&Lab, Door) -> Result<Reply, Error> + Send + Sync;

impl Porter {
    /// One that does this. It must not wait for the lab.
    pub fn new(attend: impl Fn(&Lab, Door) -> Result<Reply, Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(attend))
    }
}

impl fmt::Debug for Porter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Porter")
    }
}

/// Where the door opens if nobody says where: to this machine alone.
pub const DOOR: Door = Door::Open(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

/// What a lab is started with.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Folder of four IDX files; the MNIST inside the binary if there is none.
    pub data: Option<PathBuf>,
    /// Where sessions are kept.
    pub store: Store,
    /// Where to train.
    pub device: DeviceChoice,
    /// Which implementation computes.
    pub kernels: Kernels,
    /// Threads that compute; as many as there are cores if not given.
    pub threads: Option<usize>,
    /// What to begin with.
    pub start: Start,
    /// The name to save under; a free one, or the loaded session's, if not given.
    pub name: Option<String>,
    /// Whether epochs' ends and the lab's own are saved.
    pub autosave: Autosave,
    /// An accuracy that ends the run.
    pub target: Option<Target>,
    /// What writes files for other programs.
    pub exporter: Exporter,
    /// What writes curves.
    pub plotter: Plotter,
    /// What looks at the GPU of a run.
    pub meter: Meter,
}

/// What a lab begins with.
#[derive(Clone, Debug)]
pub enum Start {
    /// A run with fresh weights.
    Fresh {
        /// What can't change.
        config: Box<RunConfig>,
        /// What can.
        settings: Box<Settings>,
        /// The sessions whose networks are to be its teacher.
        teachers: Vec<String>,
    },
    /// A saved run.
    Session(String),
}

impl Start {
    /// A run with fresh weights, whose teacher is to be the networks of the sessions `teachers`, if there are any.
    pub fn fresh(config: RunConfig, settings: Settings, teachers: Vec<String>) -> Self {
        Self::Fresh { config: Box::new(config), settings: Box::new(settings), teachers }
    }
}

/// Whether the lab saves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autosave {
    /// At each epoch's end and at the lab's own.
    On,
    /// Only on demand.
    Off,
}

/// The answer to a command, once it is there.
pub type Answer = oneshot::Receiver<Result<Reply, Error>>;

/// Where its answer goes.
pub type Answering = oneshot::Sender<Result<Reply, Error>>;

/// A command on its way to the engine.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub answer: Answering,
}

impl Lab {
    /// Starts the lab on a thread of its own, which ends after [`Command::Quit`] or when the last handle is gone.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(options: LabOptions) -> Result<(Self, JoinHandle<()>), Error> {
        let (requests, inbox) = mpsc::channel();
        let (publisher, state) = publisher::Publisher::new();
        let thread = thread::Builder::new()
            .name("trainer".into())
            .spawn(move || engine::run(options, &inbox, publisher))
            .map_err(|error| Error::Failed(format!("can't start the training thread: {error}")))?;
        Ok((Self { requests, state, door: None }, thread))
    }

    /// A handle to a lab that runs elsewhere: whoever has the other ends carries the requests there and brings the state here.
    pub fn elsewhere(state: LabState) -> (Self, mpsc::Receiver<Request>, watch::Sender<Arc<LabState>>) {
        let (requests, inbox) = mpsc::channel();
        let (publisher, state) = watch::channel(Arc::new(state));
        (Self { requests, state, door: None }, inbox, publisher)
    }

    /// The same lab, whose door this porter attends to.
    #[must_use]
    pub fn with_porter(self, porter: Porter) -> Self {
        Self { door: Some(porter), ..self }
    }

    /// The state as it was last published; wait for changes on the receiver.
    pub fn state(&self) -> watch::Receiver<Arc<LabState>> {
        self.state.clone()
    }

    /// Sends a command without waiting. If the lab has ended, the answer never comes.
    pub fn send(&self, command: Command) -> Answer {
        let (answer, receiver) = oneshot::channel();
        if let (Command::Serve { address }, Some(Porter(attend))) = (&command, &self.door) {
            // The porter's part of the work: the lab's thread has none of it.
            let _ = answer.send(attend(self, address.unwrap_or(DOOR)));
            return receiver;
        }
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
