//! The digit API and its page: HTTP in, commands to a lab, JSON out.
//!
//! A server only knows the lab's handle. Whether the lab trains meanwhile or rests on a finished session makes no difference:
//! each request becomes [`Command::Classify`](crate::command::Command::Classify), answered between two batches.
//!
//! ```text
//! listen ─ connections, slow heads ─▶ guard ─ token, time, memory, metrics ─▶ predict ─▶ input ─▶ picture ─▶ lab
//! ```

mod answer;
mod guard;
mod input;
mod listen;
mod memory;
mod metrics;
mod page;
mod predict;
mod refusal;
mod reload;
mod routes;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::lab::Lab;
use crate::state::LabState;
use memory::Memory;
use metrics::Metrics;

pub use input::Upload;
pub use reload::Watched;

/// Images with more pixels are decoded by turns, so that a crowd of them can't fill the memory: each takes a moment anyway.
const LARGE_PICTURE: u64 = 1 << 18;
/// How many of those at once.
const LARGE_AT_ONCE: usize = 2;
/// Threads that read requests and decode images; the network has its own.
const THREADS: usize = 2;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What a request must bring along as `Authorization: Bearer TOKEN`, if anything.
    pub token: Option<String>,
    /// The session whose file is loaded anew when it changes.
    pub watched: Option<Watched>,
}

/// A server that runs on a thread of its own, until it is stopped or the lab closes.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Ends when the address is free again.
    listening: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

/// What every request can reach.
#[derive(Clone, Debug)]
struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lab: Lab,
    state: watch::Receiver<Arc<LabState>>,
    metrics: Metrics,
    memory: Memory,
    /// The turns of large images.
    large: Arc<Semaphore>,
    /// Only the hash is kept, and hashes are compared in constant time.
    token: Option<blake3::Hash>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the address can't be listened on, or the system gives no thread.
    pub fn start(lab: Lab, options: ServeOptions) -> Result<Self, Error> {
        let refused =
            |error| Error::Failed(format!("can't listen on {}: {error}; try another address", options.address));
        let listener = TcpListener::bind(options.address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(|error| Error::Failed(format!("can't start the server's threads: {error}")))?;
        let (stop, stopped) = watch::channel(false);
        let (listens, listening) = mpsc::channel();
        let app = App(Arc::new(Shared {
            state: lab.state(),
            lab,
            metrics: Metrics::default(),
            memory: Memory::default(),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            token: options.token.map(|token| blake3::hash(token.as_bytes())),
        }));
        let thread = thread::Builder::new()
            .name("serve".into())
            .spawn(move || {
                runtime.block_on(listen::run(app, (listener, listens), options.watched, stopped));
                runtime.shutdown_background();
            })
            .map_err(|error| Error::Failed(format!("can't start the server's thread: {error}")))?;
        Ok(Self { address, stop, listening, thread })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections: its address is free. What was asked is answered by a thread that ends then.
    pub fn close(self) -> JoinHandle<()> {
        let _ = self.stop.send(true);
        // Nothing ever comes: the other end goes with the listener.
        let _ = self.listening.recv();
        self.thread
    }

    /// Takes no more connections, answers what was asked, and ends.
    pub fn stop(self) {
        let _ = self.close().join();
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
