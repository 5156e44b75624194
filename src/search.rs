//! A search on threads of its own: each a worker on the same journal; what they tell becomes one state to look at.

mod kept;
pub mod request;
mod state;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use kept::{best, check_free, folder, free_name, keep_as_session, open_as_session};
pub use state::{How, Row, Running, SearchPhase, SearchState};

use crate::data::Dataset;
use crate::error::Error;
use crate::nn::{self, DeviceChoice, Kernels, Setup};
use crate::tune::TuneError;
use crate::tune::journal::Journal;
use crate::tune::study::Study;
use crate::tune::trial::Trial;
use crate::tune::work::{Event, Rest, work};

/// What a search is started with.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// Its folder.
    pub folder: PathBuf,
    /// What is searched; `None` to work on what is in the folder already.
    pub study: Option<Study>,
    /// The data.
    pub dataset: Dataset,
    /// Where to train.
    pub device: DeviceChoice,
    /// Which implementation computes.
    pub kernels: Kernels,
    /// Threads that compute, of all trials together; as many as there are cores if not given.
    pub threads: Option<usize>,
    /// Trials beside each other; what is fastest if not given.
    pub jobs: Option<usize>,
}

/// A search that goes on.
#[derive(Debug)]
pub struct Search {
    events: Receiver<Told>,
    told_to_end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    state: SearchState,
}

/// Ends a search from elsewhere.
#[derive(Clone, Debug)]
pub struct Ender(Arc<AtomicBool>);

impl Ender {
    /// Tells the workers to leave what they do, saved.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a worker's thread tells.
#[derive(Debug)]
enum Told {
    Event(Event),
    Rested(Result<Rest, Error>),
}

impl Search {
    /// Begins a search, goes on with one that was begun, or joins one that others do.
    ///
    /// # Errors
    /// If the study can't be searched, another search is in the folder, or it is of other data.
    pub fn start(options: &SearchOptions) -> Result<Self, Error> {
        let study = match &options.study {
            Some(study) => study.clone(),
            None => Journal::open(&options.folder)?.1,
        };
        check_data(&study, &options.dataset)?;
        study.check(options.dataset.train.len())?;
        if options.study.is_some() {
            Journal::begin(&options.folder, &study)?;
        }
        let jobs = options.jobs.unwrap_or_else(|| default_jobs(options, &study));
        let name = options.folder.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let state = SearchState {
            name,
            study: Arc::new(study),
            trials: Arc::default(),
            running: BTreeMap::new(),
            elsewhere: Vec::new(),
            phase: SearchPhase::Searching,
            jobs,
        };
        let told_to_end = Arc::new(AtomicBool::new(false));
        let (sender, events) = mpsc::channel();
        let thread = |job: usize| {
            let job = Job {
                number: job,
                study: state.study.clone(),
                folder: options.folder.clone(),
                dataset: options.dataset.clone(),
                setup: setup(options, jobs, job, &state.study),
                told_to_end: told_to_end.clone(),
                sender: sender.clone(),
            };
            let name = format!("search-{}", job.number);
            let refused = |error| Error::Failed(format!("can't start a thread of the search: {error}"));
            thread::Builder::new().name(name).spawn(move || job.run()).map_err(refused)
        };
        let threads = (0..jobs).map(thread).collect::<Result<_, _>>()?;
        Ok(Self { events, told_to_end, threads, state })
    }

    /// As it was when [`Search::next`] last returned.
    pub fn state(&self) -> &SearchState {
        &self.state
    }

    /// Tells the workers to leave what they do, saved. [`Search::next`] tells when they have.
    pub fn end(&self) {
        self.ender().end();
    }

    /// What ends it from elsewhere.
    pub fn ender(&self) -> Ender {
        Ender(self.told_to_end.clone())
    }

    /// Takes in what happens until something did that can be seen, for `patience` at most; the results that came.
    pub fn next(&mut self, patience: Duration) -> Vec<Trial> {
        let mut results = Vec::new();
        let mut first = patience;
        loop {
            match self.events.recv_timeout(first) {
                Ok(told) => results.extend(self.take(told)),
                Err(RecvTimeoutError::Timeout) => return results,
                Err(RecvTimeoutError::Disconnected) => {
                    if self.goes_on() {
                        self.state.jobs = 0;
                        self.state.phase =
                            SearchPhase::Failed(Error::Failed("a thread of the search broke".into()).failure());
                    }
                    return results;
                }
            }
            first = Duration::ZERO;
        }
    }

    /// Takes in what a worker told; a result, if that was news.
    fn take(&mut self, told: Told) -> Option<Trial> {
        match told {
            Told::Event(event) => self.state.apply(event),
            Told::Rested(rested) => {
                self.rest(rested);
                None
            }
        }
    }

    fn rest(&mut self, rested: Result<Rest, Error>) {
        let state = &mut self.state;
        match rested {
            Err(error) => {
                // One that can't go on ends all: the others would do its work in vain, or fail the same way.
                state.phase = SearchPhase::Failed(error.failure());
                self.told_to_end.store(true, Ordering::Relaxed);
            }
            Ok(Rest::Told) if state.phase == SearchPhase::Searching => state.phase = SearchPhase::Stopped,
            Ok(Rest::Told | Rest::Done) => {}
        }
        state.jobs -= 1;
        if state.jobs == 0 && state.phase == SearchPhase::Searching {
            state.phase = SearchPhase::Done;
        }
    }

    /// Whether its threads still work.
    pub fn goes_on(&self) -> bool {
        self.state.jobs > 0
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One thread's part.
struct Job {
    number: usize,
    study: Arc<Study>,
    folder: PathBuf,
    dataset: Dataset,
    setup: Setup,
    told_to_end: Arc<AtomicBool>,
    sender: Sender<Told>,
}

impl Job {
    fn run(self) {
        let rested = self.work().map_err(Error::from);
        let _ = self.sender.send(Told::Rested(rested));
    }

    fn work(&self) -> Result<Rest, TuneError> {
        let (mut journal, _) = Journal::open(&self.folder)?;
        let build = |arch: &crate::arch::Arch| nn::build(arch, &self.setup).map(|(network, _)| network);
        let tell = &mut |event| {
            let heard = self.sender.send(Told::Event(event)).is_ok();
            let goes_on = heard && !self.told_to_end.load(Ordering::Relaxed);
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        work(&self.study, &mut journal, &self.dataset, &build, tell)
    }
}

fn check_data(study: &Study, dataset: &Dataset) -> Result<(), Error> {
    if study.data.fingerprint == dataset.fingerprint() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "the search is on {} but the data here is {}: start with the --data that it was begun with",
        study.data.name, dataset.name
    )))
}

fn setup(options: &SearchOptions, jobs: usize, job: usize, study: &Study) -> Setup {
    let all = options.threads.unwrap_or_else(cores);
    // What is left over goes to the first.
    let threads = (all / jobs + usize::from(job < all % jobs)).max(1);
    Setup { device: options.device, kernels: options.kernels, threads, seed: study.seed, ..Setup::default() }
}

/// One trial after the other on a GPU; on the CPU as many as there are cores and as the search lets run beside each other. Measured
/// with the tutorial's space on two cores: two trials of one thread each take 16.4 s where one after the other on both takes 23.6 s.
fn default_jobs(options: &SearchOptions, study: &Study) -> usize {
    let at_once = if study.learns() { study.lag.min(study.trials()) } else { study.trials() };
    match options.device {
        DeviceChoice::Cuda(_) => 1,
        DeviceChoice::Auto if cfg!(feature = "cuda") => 1,
        DeviceChoice::Auto | DeviceChoice::Cpu => options.threads.unwrap_or_else(cores).min(at_once as usize),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
