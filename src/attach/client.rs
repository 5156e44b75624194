//! The dashboard's side: a handle to the lab at the other end of a socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::sync::watch;

use super::frame::{self, FrameError, TO_CLIENT, TO_LAB};
use super::wire::{Ask, LINE, Told, Welcome, knock, read_answer};
use crate::command::{Command, ExportArgs, Keep, TuneArgs};
use crate::data::Dataset;
use crate::data::drawings::Drawing;
use crate::error::Error;
use crate::lab::{Answering, Lab, Request};
use crate::state::LabState;

/// For the lab to let a client in.
const OPENING: Duration = Duration::from_secs(10);

/// A client that was let in and has not looked yet.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    welcome: Welcome,
}

/// A handle to the lab, and what becomes of the line.
#[derive(Debug)]
pub struct Attached {
    /// The lab.
    pub lab: Lab,
    /// Ends with the line.
    pub ended: Ended,
}

/// The thread that listens to the lab.
#[derive(Debug)]
pub struct Ended(JoinHandle<Outcome>);

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client left: the run goes on.
    Detached,
    /// The run has ended; the sentence says what became of it.
    Farewell(String),
    /// Nobody said why; the sentence is what the system says.
    Lost(String),
}

/// What both threads of a line know.
#[derive(Debug, Default)]
struct Shared {
    /// Who waits for which answer.
    waiting: Mutex<HashMap<u64, Answering>>,
    /// Nobody on this side can ask any more: it is here that the line was put down.
    left: AtomicBool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Answering>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Goes to the run that listens on `path`, to be shown so many states a second at most.
    ///
    /// # Errors
    /// If no run of this user and version listens there, or it takes nobody in.
    pub fn connect(path: &Path, fps: u8) -> Result<Self, Error> {
        let place = path.display().to_string();
        let nobody =
            |error| Error::Failed(format!("no run listens on {place}: {error}; `mnist-lab train --listen` begins one"));
        let broken = |error: std::io::Error| Error::Failed(format!("the run at {place} does not answer: {error}"));
        let stream = UnixStream::connect(path).map_err(nobody)?;
        if !socket_peercred(&stream).is_ok_and(|peer| peer.uid == geteuid()) {
            return Err(Error::Failed(format!("{place} belongs to another user: attach to a run of your own")));
        }
        stream.set_read_timeout(Some(OPENING)).map_err(broken)?;
        let mut reader = BufReader::new(stream.try_clone().map_err(broken)?);
        (&stream).write_all(knock(fps).as_bytes()).map_err(broken)?;
        let mut line = String::new();
        reader.by_ref().take(LINE as u64).read_line(&mut line).map_err(broken)?;
        read_answer(&line, &place)?;
        let welcome = match frame::read(&mut reader, TO_CLIENT) {
            Ok(Told::Welcome(welcome)) => welcome,
            Ok(_) => return Err(Error::Failed(format!("the run at {place} does not say what it trains on"))),
            Err(error) => return Err(Error::Failed(format!("the run at {place} does not answer: {error}"))),
        };
        stream.set_read_timeout(None).map_err(broken)?;
        Ok(Self { stream, reader, welcome })
    }

    /// Where the run lives.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// A handle to the lab, whose digits are those of `dataset`.
    ///
    /// # Errors
    /// If the run trains on others, or the system gives no thread.
    pub fn open(self, dataset: Dataset) -> Result<Attached, Error> {
        let Self { stream, mut reader, welcome } = self;
        if dataset.fingerprint() != welcome.fingerprint {
            return Err(Error::Failed(format!(
                "the run trains on other data than {} is here: attach where its data is",
                dataset.name
            )));
        }
        let refused = |error| Error::Failed(format!("can't start the threads of the line: {error}"));
        let state = LabState { dataset: Some(dataset), ..LabState::default() };
        let (lab, requests, states) = Lab::elsewhere(state);
        let shared = Arc::new(Shared::default());
        let here = shared.clone();
        let listening = move || {
            let outcome = listen(&mut reader, &states, &here);
            // Nobody answers any more.
            here.waiting().clear();
            outcome
        };
        let ended = thread::Builder::new().name("attach-in".into()).spawn(listening).map_err(refused)?;
        let speaking = move || speak(&requests, &stream, &shared);
        thread::Builder::new().name("attach-out".into()).spawn(speaking).map_err(refused)?;
        Ok(Attached { lab, ended: Ended(ended) })
    }
}

impl Ended {
    /// How the line ended; waits for that. All handles to the lab must be gone.
    pub fn outcome(self) -> Outcome {
        self.0.join().unwrap_or_else(|_| Outcome::Lost("the thread of the line failed".into()))
    }
}

/// Takes what the lab tells until the line is down.
fn listen(reader: &mut impl Read, states: &watch::Sender<Arc<LabState>>, shared: &Shared) -> Outcome {
    let mut state = LabState::clone(&states.borrow());
    loop {
        match frame::read(reader, TO_CLIENT) {
            Ok(Told::State(update)) => {
                if let Err(error) = update.apply(&mut state) {
                    return Outcome::Lost(error.to_string());
                }
                states.send_replace(Arc::new(state.clone()));
            }
            Ok(Told::Answer { id, result }) => {
                let asker = shared.waiting().remove(&id);
                if let Some(asker) = asker {
                    // Whoever asked may be gone.
                    let _ = asker.send(result.map(Into::into).map_err(Error::Lab));
                }
            }
            Ok(Told::Welcome(_)) => {}
            Ok(Told::Farewell(sentence)) => return Outcome::Farewell(sentence),
            Err(FrameError::Line(_)) if shared.left.load(Ordering::Acquire) => return Outcome::Detached,
            Err(FrameError::Line(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Outcome::Lost("the line to the run was put down at its end".into());
            }
            Err(error) => return Outcome::Lost(error.to_string()),
        }
    }
}

/// Passes on what is asked until nobody can ask any more, and hangs up.
fn speak(requests: &Receiver<Request>, mut stream: &UnixStream, shared: &Shared) {
    for (id, Request { command, answer }) in requests.iter().enumerate() {
        let ask = Ask { id: id as u64, asked: from_root(command).into() };
        match frame::encode(&ask, TO_LAB) {
            Ok(frame) => {
                shared.waiting().insert(ask.id, answer);
                if stream.write_all(&frame).is_err() {
                    return;
                }
            }
            Err(error) => drop(answer.send(Err(Error::Usage(error.to_string())))),
        }
    }
    shared.left.store(true, Ordering::Release);
    // The other thread, which waits for the lab, is told by this.
    let _ = stream.shutdown(Shutdown::Both);
}

/// The same command with files named so that another process finds them.
pub fn from_root(command: Command) -> Command {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let named = |name: String| absolute(name.into()).to_string_lossy().into_owned();
    // Test digits, and the drawings beside the sessions, have the same names everywhere.
    let is_drawing = |name: &str| name.strip_prefix("drawings/").and_then(Drawing::of_file).is_some();
    let input = |name: String| if name.parse::<u64>().is_ok() || is_drawing(&name) { name } else { named(name) };
    match command {
        Command::Predict { inputs } => Command::Predict { inputs: inputs.into_iter().map(input).collect() },
        Command::Explain { input: of, class } => Command::Explain { input: of.map(input), class },
        Command::Nearest { input: of } => Command::Nearest { input: of.map(input) },
        Command::Plot { file } => Command::Plot { file: absolute(file) },
        Command::Draw { keep: Keep::Save, name, image } => Command::Draw { keep: Keep::Save, name: named(name), image },
        Command::Export(args) => Command::Export(ExportArgs { output: absolute(args.output), ..args }),
        Command::Tune { what, epochs, args } => {
            let space = args.space.map(absolute);
            Command::Tune { what, epochs, args: TuneArgs { space, ..args } }
        }
        command => command,
    }
}
