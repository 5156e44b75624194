//! The run's side: takes clients in, brings each what it does not have yet, and passes on what they ask.

use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frame::{self, FrameError, TO_CLIENT, TO_LAB};
use super::place::Place;
use super::update::Update;
use super::wire::{Answer, Ask, LINE, Told, Welcome, open, read_knock, refusal};
use crate::command::Command;
use crate::error::{Error, Failure};
use crate::lab::Lab;
use crate::state::LabState;

/// Clients at once.
const MOST_CLIENTS: usize = 16;
/// Commands of one client that wait for their answers; more are not read before.
const MOST_ASKED: usize = 32;
/// For a client to say who it is.
const KNOCK: Duration = Duration::from_secs(5);
/// For clients to take the last state, when the run has ended.
const GRACE: Duration = Duration::from_secs(2);
/// After a connection could not be accepted, as a rule for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Lets clients in, on a thread of its own, until it is told farewell.
#[derive(Debug)]
pub struct Server {
    place: Place,
    farewell: watch::Sender<Option<String>>,
    thread: JoinHandle<()>,
}

/// What every client is served from.
struct Host {
    lab: Lab,
    welcome: Welcome,
    farewell: watch::Receiver<Option<String>>,
    slots: Arc<Semaphore>,
}

impl Server {
    /// Listens on `path` for clients of `lab`, whose data is in the folder `data` and whose sessions are in `sessions`.
    /// The lab has loaded its data.
    ///
    /// # Errors
    /// If it can't be listened on, or the system gives no thread.
    pub fn start(lab: Lab, path: &Path, data: Option<PathBuf>, sessions: &Path) -> Result<Self, Error> {
        let refused = |error| Error::Failed(format!("can't listen on {}: {error}", path.display()));
        let fingerprint = lab.state().borrow().dataset.as_ref().map_or(0, crate::data::Dataset::fingerprint);
        let from_root = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let welcome = Welcome { data: data.map(from_root), fingerprint, sessions: from_root(sessions.to_owned()) };
        let (place, listener) = Place::claim(path)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let (farewell, told) = watch::channel(None);
        let host = Host { lab, welcome, farewell: told, slots: Arc::new(Semaphore::new(MOST_CLIENTS)) };
        let thread = thread::Builder::new()
            .name("attach".into())
            .spawn(move || runtime.block_on(run(Arc::new(host), listener)))
            .map_err(refused)?;
        Ok(Self { place, farewell, thread })
    }

    /// Takes nobody in any more, brings all clients the last state and this sentence, and ends; one that does not take
    /// them is not waited for.
    pub fn farewell(self, sentence: String) {
        let Self { place, farewell, thread } = self;
        drop(place);
        let _ = farewell.send(Some(sentence));
        let _ = thread.join();
    }
}

async fn run(host: Arc<Host>, listener: StdListener) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("can't listen for clients: {error}"),
    };
    let mut clients = JoinSet::new();
    let mut farewell = host.farewell.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(clients.spawn(serve(host.clone(), stream))),
                Err(error) => {
                    tracing::warn!("can't accept a client: {error}");
                    sleep(BREATH).await;
                }
            },
            Some(_) = clients.join_next() => {}
            () = said(&mut farewell) => break,
        }
    }
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    // Who stalls is left behind: the sockets close with this thread's runtime.
    let _ = timeout(GRACE, all).await;
}

async fn serve(host: Arc<Host>, stream: UnixStream) {
    // The file's mode keeps others out already.
    let own = stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw());
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let Ok(Some(knock)) = timeout(KNOCK, knock(&mut reader)).await else { return };
    let slot = host.slots.clone().try_acquire_owned();
    let admitted = match (own, knock, slot) {
        (false, ..) => Err("belongs to another user".to_owned()),
        (_, Err(reason), _) => Err(reason),
        (.., Err(_)) => Err(format!("has {MOST_CLIENTS} clients already: detach one with `q`")),
        (true, Ok(fps), Ok(slot)) => Ok((fps, slot)),
    };
    match admitted {
        Ok((fps, _slot)) => {
            let outcome = Client::new(&host, fps).attend(reader, &mut writer).await;
            // How a client leaves is its own affair.
            tracing::debug!("a client has left: {outcome:?}");
        }
        Err(reason) => drop(timeout(KNOCK, writer.write_all(refusal(&reason).as_bytes())).await),
    }
}

/// What a client says first; `None` if it is none.
async fn knock(reader: &mut BufReader<OwnedReadHalf>) -> Option<Result<u8, String>> {
    let mut line = String::new();
    reader.take(LINE as u64).read_line(&mut line).await.ok()?;
    read_knock(&line)
}

/// One client, and what it has.
struct Client<'h> {
    host: &'h Host,
    states: watch::Receiver<Arc<LabState>>,
    had: LabState,
    pace: Duration,
    /// When the next state is due that nobody asked for.
    due: Instant,
}

/// The answers on their way to a client.
type Answers = mpsc::Sender<(u64, Result<Answer, Failure>)>;

impl<'h> Client<'h> {
    fn new(host: &'h Host, fps: u8) -> Self {
        let mut states = host.lab.state();
        states.mark_changed();
        let pace = Duration::from_secs(1) / u32::from(fps);
        Self { host, states, had: LabState::default(), pace, due: Instant::now() }
    }

    /// Serves it until it leaves or the run has ended. While it takes nothing, this waits in a write and gathers nothing.
    async fn attend(mut self, reader: BufReader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> Result<(), FrameError> {
        writer.write_all(open().as_bytes()).await?;
        self.tell(writer, &Told::Welcome(self.host.welcome.clone())).await?;
        self.bring(writer).await?;
        let (answers, mut answered) = mpsc::channel(MOST_ASKED);
        let listening = listen(self.host.lab.clone(), reader, answers);
        tokio::pin!(listening);
        let mut farewell = self.host.farewell.clone();
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                Some((id, result)) = answered.recv() => {
                    // What was done is seen before it is told.
                    self.bring(writer).await?;
                    self.tell(writer, &Told::Answer { id, result }).await?;
                }
                ended = &mut listening => return ended,
                () = said(&mut farewell) => break,
                () = next(&mut self.states, due) => self.bring(writer).await?,
            }
        }
        self.bring(writer).await?;
        let sentence = self.host.farewell.borrow().clone().unwrap_or_default();
        self.tell(writer, &Told::Farewell(sentence)).await
    }

    /// Brings the newest state.
    async fn bring(&mut self, writer: &mut OwnedWriteHalf) -> Result<(), FrameError> {
        let now = self.states.borrow_and_update().clone();
        let update = Update::next(&mut self.had, &now);
        self.tell(writer, &Told::State(Box::new(update))).await?;
        self.due = Instant::now() + self.pace;
        Ok(())
    }

    async fn tell(&self, writer: &mut OwnedWriteHalf, told: &Told) -> Result<(), FrameError> {
        Ok(writer.write_all(&frame::encode(told, TO_CLIENT)?).await?)
    }
}

/// Waits for the farewell, or that nobody is left to say it.
async fn said(farewell: &mut watch::Receiver<Option<String>>) {
    let _ = farewell.wait_for(Option::is_some).await;
}

/// Waits for a state that is not shown yet, and until it is due. Nothing is lost if it is not polled to its end: whoever
/// brings a state brings the newest.
async fn next(states: &mut watch::Receiver<Arc<LabState>>, due: Instant) {
    if states.changed().await.is_err() {
        // The lab has ended: the farewell is on its way.
        std::future::pending::<()>().await;
    }
    // Not seen before it is brought.
    states.mark_changed();
    sleep_until(due).await;
}

/// Passes on what a client asks, in its order, until it leaves.
async fn listen(lab: Lab, mut reader: BufReader<OwnedReadHalf>, answers: Answers) -> Result<(), FrameError> {
    let mut asked = JoinSet::new();
    loop {
        let Ask { id, asked: what } = frame::receive(&mut reader, TO_LAB).await?;
        while asked.len() >= MOST_ASKED {
            asked.join_next().await;
        }
        let answer = what.command().map(|command| match command {
            // The lab ends with the run that its process trains.
            Command::Quit => lab.send(Command::Stop),
            command => lab.send(command),
        });
        let answers = answers.clone();
        asked.spawn(async move {
            let gone = |_| Err(Error::Failed("the lab has ended".into()));
            let result = match answer {
                Ok(answer) => answer.await.unwrap_or_else(gone),
                Err(error) => Err(error),
            };
            let result = result.map(Answer::from).map_err(|error| error.failure());
            // A client that has left is not told.
            let _ = answers.send((id, result)).await;
        });
    }
}
