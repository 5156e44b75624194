//! What the lab shows: one value, changed only by applying events, read by every screen, printer and server.

mod gpu;
mod overlay;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::advice::Advice;
use crate::arch::Arch;
use crate::data::{CLASSES, Dataset, Image, Split};
use crate::error::Failure;
use crate::explain::{Explanation, Neighbour};
use crate::metrics::{Confusion, Evaluation};
use crate::nn::DeviceInfo;
use crate::search::SearchState;
use crate::train::event::{Reason, TrainEvent};
use crate::train::history::History;
use crate::train::settings::Settings;
use crate::train::tree::Tree;
use crate::train::{Goal, Progress, RunConfig, RunState};

pub use gpu::{GpuFigure, GpuHistory, GpuReading, GpuSample, Part};
pub use overlay::{Overlay, SESSIONS_AT_MOST};

/// How many lines the log keeps.
const LOG_LINES: usize = 500;

/// Everything that can be shown, at one moment. Cheap to clone: what is large is shared.
#[derive(Clone, Debug, Default)]
pub struct LabState {
    /// What the lab is doing.
    pub phase: Phase,
    /// The data, once it is there.
    pub dataset: Option<Dataset>,
    /// The run, once its network is built.
    pub run: Option<Arc<RunInfo>>,
    /// The hyperparameters.
    pub settings: Settings,
    /// How far the run is.
    pub progress: Progress,
    /// Where it is to come to rest; the last goal when it does.
    pub goal: Option<Goal>,
    /// Curve, epochs and edits.
    pub history: Arc<History>,
    /// Samples of the validation that are done, and all of them, while one goes on.
    pub validating: Option<(usize, usize)>,
    /// Confusion of the running epoch's training samples so far, or of the last epoch's before the first step of the next.
    pub training: Confusion,
    /// Confusion of the validation split at the end of the last epoch.
    pub validation: Option<Confusion>,
    /// The epochs that can be gone back to, and the branches.
    pub tree: Arc<Tree>,
    /// Saved sessions whose curves are drawn behind the run's.
    pub sessions: Arc<Vec<Overlay>>,
    /// The test set as it was last measured.
    pub test: Option<Tested>,
    /// The list of digits that `next` and `prev` walk.
    pub list: Option<DigitList>,
    /// The digit that was asked for last.
    pub digit: Option<Arc<DigitView>>,
    /// What the curves say is wrong; nothing if all is well.
    pub advice: Arc<Vec<Advice>>,
    /// What it is saved as.
    pub saved: Option<Saved>,
    /// What the run's GPU was seen to do; empty on the CPU and where no driver tells.
    pub gpu: Arc<GpuHistory>,
    /// The search that goes on beside the run, or the last one.
    pub search: Option<Arc<SearchState>>,
    /// What happened, the newest last.
    pub log: Arc<VecDeque<LogLine>>,
}

/// What the lab is doing.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// Reading the data and building the network.
    #[default]
    Loading,
    /// Waiting for the first `train`, or for more after a rest.
    Ready,
    /// Training or validating.
    Training,
    /// Held between two batches.
    Paused,
    /// The run came to an end.
    Finished(Reason),
    /// It can't go on; the sentence says why.
    Failed(Failure),
    /// All is saved: the program may end.
    Closed,
}

/// What does not change during a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunInfo {
    /// The name that it is saved under.
    pub name: String,
    /// Architecture, seed and validation split.
    pub config: RunConfig,
    /// Where it trains.
    pub device: DeviceInfo,
    /// Trained values.
    pub parameters: usize,
    /// Which training samples are trained on.
    pub split: Split,
}

impl RunInfo {
    /// The layers.
    pub fn arch(&self) -> &Arch {
        &self.config.arch
    }
}

/// The test set as it was measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Tested {
    /// Steps that the weights had made.
    pub step: u64,
    /// The outcome of every test digit.
    pub evaluation: Arc<Evaluation>,
}

/// Digits to step through.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DigitList {
    /// What they have in common: `wrong`, `true=4 pred=9`.
    pub title: String,
    /// Their indices in the test set, or in `drawings` where those are listed.
    pub indices: Arc<Vec<u32>>,
    /// Own drawings, as the network saw them when they were listed; none in a list of test digits.
    pub drawings: Arc<Vec<Arc<DigitView>>>,
    /// Which one is shown; `None` before the first.
    pub position: Option<usize>,
}

impl DigitList {
    /// The place of test digit `index` in the list, from 1, and the list's length.
    pub fn place_of(&self, index: u32) -> Option<(usize, usize)> {
        let place = self.indices.iter().position(|&other| other == index)?;
        Some((place + 1, self.indices.len()))
    }
}

/// One digit and what the network says of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DigitView {
    /// Where it is from.
    pub source: DigitSource,
    /// Its pixels.
    #[serde(with = "crate::data::pixels")]
    pub image: Box<Image>,
    /// Its label, if it has one.
    pub label: Option<u8>,
    /// Of each class.
    pub probabilities: [f32; CLASSES],
    /// The class with the largest logit.
    pub predicted: u8,
    /// Cross-entropy in nats against the label.
    pub loss: Option<f32>,
    /// Whether most reviewers reject its label.
    pub doubtful: bool,
    /// Steps that the weights had made.
    pub step: u64,
    /// Its place in the list that is stepped through, from 1, and the list's length.
    pub place: Option<(usize, usize)>,
    /// What was done to an image file to make it look like the data.
    pub preprocess: Option<String>,
    /// What it was taken for after earlier epochs, as far as that was measured: epoch and class.
    pub past: Vec<(u32, u8)>,
    /// Why it is taken for what it is, if that was asked for.
    pub explanation: Option<Arc<Explanation>>,
    /// The training digits that the network sees as most like it, the nearest first, if that was asked for.
    pub neighbours: Vec<Neighbour>,
}

impl DigitView {
    /// Probability of the predicted class.
    pub fn confidence(&self) -> f32 {
        self.probabilities[usize::from(self.predicted)]
    }

    /// The classes, the most probable first.
    pub fn ranking(&self) -> [u8; CLASSES] {
        let mut ranking: [u8; CLASSES] = std::array::from_fn(|class| class as u8);
        let probability = |class: u8| self.probabilities[usize::from(class)];
        ranking.sort_by(|&a, &b| probability(b).total_cmp(&probability(a)).then(a.cmp(&b)));
        ranking
    }
}

/// Where a digit is from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DigitSource {
    /// The test set.
    Test(u32),
    /// An image file.
    File(String),
    /// An own drawing of this name.
    Drawing(String),
}

impl std::fmt::Display for DigitSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Test(index) => write!(f, "{index}"),
            Self::File(path) => f.write_str(path),
            Self::Drawing(name) => write!(f, "drawings/{name}"),
        }
    }
}

/// The last save.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    /// Under which name.
    pub name: String,
    /// Steps that the saved run had made.
    pub step: u64,
    /// How often its settings had been changed.
    pub edits: usize,
}

impl Saved {
    /// That `run` is saved under `name`.
    pub fn of(name: String, run: &RunState) -> Self {
        Self { name, step: run.progress.step, edits: run.history.edits.len() }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// How many lines `log` has behind those of `before`, which is as it was earlier: of those the first may have been dropped since.
pub fn lines_since(before: &VecDeque<LogLine>, log: &VecDeque<LogLine>) -> usize {
    let is_kept = |count: &usize| before.iter().skip(before.len() - count).eq(log.iter().take(*count));
    log.len() - (0..=before.len().min(log.len())).rev().find(is_kept).unwrap_or(0)
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// A command and what it gave.
    Info,
    /// Something to look at.
    Warning,
    /// Something went wrong.
    Error,
}

/// What the lab tells the state.
#[derive(Clone, Debug)]
pub enum LabEvent {
    /// The phase changed.
    Phase(Phase),
    /// The data is there.
    Loaded(Dataset),
    /// A run took the stage, fresh or from a session.
    Run(Box<RunBegun>),
    /// Where the run is to come to rest.
    Goal(Goal),
    /// The run reports.
    Train(TrainEvent),
    /// After the run reported: how far it is.
    Progress(Progress),
    /// The settings as they are now.
    Settings(Settings),
    /// A list of digits to step through.
    List(DigitList),
    /// A digit was predicted.
    Digit(Arc<DigitView>),
    /// The run is to be saved under this name.
    Named(String),
    /// The run was saved.
    Saved(Saved),
    /// The run has other epochs or branches than before.
    Tree(Tree),
    /// The sessions whose curves are drawn behind the run's.
    Overlaid(Vec<Overlay>),
    /// What the curves say.
    Advice(Vec<Advice>),
    /// The GPU does something else than before; `None`: it is not seen any more.
    Gpu(Option<GpuSample>),
    /// A search as it is now.
    Search(SearchState),
    /// A line for the log.
    Log(LogLine),
}

/// A run as it takes the stage.
#[derive(Clone, Debug)]
pub struct RunBegun {
    /// What does not change.
    pub info: RunInfo,
    /// What does.
    pub settings: Settings,
    /// How far it is.
    pub progress: Progress,
    /// What it has been through.
    pub history: History,
    /// What it can go back to.
    pub tree: Tree,
    /// Whether it was loaded, and from what.
    pub saved: Option<Saved>,
}

impl LabState {
    /// Takes in one event: the only way in which the lab's state changes. (Of a run elsewhere, its parts are brought here.)
    pub fn apply(&mut self, event: LabEvent) {
        match event {
            LabEvent::Phase(phase) => self.enter(phase),
            LabEvent::Loaded(dataset) => self.dataset = Some(dataset),
            LabEvent::Run(begun) => self.begin(*begun),
            LabEvent::Goal(goal) => self.goal = Some(goal),
            LabEvent::Train(event) => self.train(event),
            LabEvent::Progress(progress) => self.progress = progress,
            LabEvent::Settings(settings) => self.settings = settings,
            LabEvent::List(list) => self.list = Some(list),
            LabEvent::Digit(digit) => {
                if let (Some(list), Some((place, _))) = (&mut self.list, digit.place) {
                    list.position = Some(place - 1);
                }
                self.digit = Some(digit);
            }
            LabEvent::Named(name) => {
                if let Some(run) = &mut self.run {
                    Arc::make_mut(run).name = name;
                }
            }
            LabEvent::Saved(saved) => self.saved = Some(saved),
            LabEvent::Tree(tree) => {
                self.tree = Arc::new(tree);
                self.saved = None;
            }
            LabEvent::Overlaid(sessions) => self.sessions = Arc::new(sessions),
            LabEvent::Advice(advice) => self.advice = Arc::new(advice),
            LabEvent::Gpu(Some(sample)) => Arc::make_mut(&mut self.gpu).push(sample),
            LabEvent::Gpu(None) => self.gpu = Arc::default(),
            LabEvent::Search(search) => self.search = Some(Arc::new(search)),
            LabEvent::Log(line) => self.log(line),
        }
    }

    fn begin(&mut self, begun: RunBegun) {
        let RunBegun { info, settings, progress, history, tree, saved } = begun;
        // What another run on the same GPU made it do is still to be seen there.
        let stays = self.run.as_ref().is_none_or(|run| run.device == info.device);
        *self = Self {
            phase: Phase::Ready,
            dataset: self.dataset.take(),
            run: Some(Arc::new(info)),
            settings,
            progress,
            history: Arc::new(history),
            tree: Arc::new(tree),
            sessions: self.sessions.clone(),
            saved,
            gpu: if stays { self.gpu.clone() } else { Arc::default() },
            search: self.search.take(),
            log: self.log.clone(),
            ..Self::default()
        };
    }

    fn enter(&mut self, phase: Phase) {
        // Where earlier weights are back, the test set may have been measured with others of as many steps.
        let is_of_others = |tested: &Tested| match phase {
            Phase::Finished(Reason::EarlyStop { .. }) => tested.step == self.progress.step,
            Phase::Finished(Reason::Diverged { kept_step, .. }) => tested.step > kept_step,
            _ => false,
        };
        if self.test.as_ref().is_some_and(is_of_others) {
            self.test = None;
        }
        self.phase = phase;
    }

    fn train(&mut self, event: TrainEvent) {
        match event {
            TrainEvent::Step { record, outcomes, norms } => {
                let history = Arc::make_mut(&mut self.history);
                if history.steps.last().is_some_and(|last| last.step >= record.step) {
                    // The run went back before it went on: what lay ahead is no longer its past.
                    history.truncate(record.step - 1);
                }
                if history.epochs.last().map_or(0, |epoch| epoch.step) == record.step - 1 {
                    self.training = Confusion::default();
                }
                history.push(record, norms);
                self.validating = None;
                for (label, predicted) in outcomes {
                    self.training.add(label, predicted);
                }
            }
            TrainEvent::Validating { done, total } => self.validating = Some((done, total)),
            TrainEvent::Epoch { record, confusion } => {
                Arc::make_mut(&mut self.history).epochs.push(record);
                self.validating = None;
                if confusion.total() > 0 {
                    self.validation = Some(confusion);
                }
            }
            TrainEvent::Edited(edit) => {
                Arc::make_mut(&mut self.history).edits.push(edit);
                self.saved = None;
            }
            TrainEvent::WentBack { edits } => {
                Arc::make_mut(&mut self.history).edits = edits;
                self.saved = None;
            }
            TrainEvent::Tested { step, evaluation } => self.test = Some(Tested { step, evaluation }),
        }
    }

    fn log(&mut self, line: LogLine) {
        let log = Arc::make_mut(&mut self.log);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }

    /// Training throughput in samples per second: of the running epoch once it has gone on for a moment, else of the last.
    pub fn samples_per_second(&self) -> Option<f64> {
        if self.progress.epoch_seconds > 0.2 {
            return Some(self.progress.sample as f64 / self.progress.epoch_seconds);
        }
        self.history.epochs.last().map(crate::train::history::EpochRecord::samples_per_second)
    }

    /// Epochs done, the running one as a fraction.
    pub fn epochs_done(&self) -> f64 {
        let train = self.run.as_ref().map_or(1, |run| run.split.train.len().max(1));
        f64::from(self.progress.epoch) + self.progress.sample as f64 / train as f64
    }

    /// Seconds until the goal, at the pace so far, validation included.
    pub fn eta(&self) -> Option<f64> {
        let done = self.epochs_done();
        let run = self.run.as_ref()?;
        let left = match self.goal? {
            Goal::Epoch(epoch) => f64::from(epoch) - done,
            Goal::Step(step) => {
                let samples = step.saturating_sub(self.progress.step) as f64 * self.settings.batch_size as f64;
                samples / run.split.train.len().max(1) as f64
            }
        };
        let enough = self.progress.seconds > 0.5 && done > 0.0;
        enough.then(|| (left * self.progress.seconds / done).max(0.0))
    }

    /// Whether there is something that no file holds.
    pub fn is_unsaved(&self) -> bool {
        let (step, edits) = (self.progress.step, self.history.edits.len());
        // Back at its start, a run has all that it left in its tree.
        let is_begun = step > 0 || self.tree.ahead().is_some() || self.tree.branches().len() > 1;
        is_begun && self.saved.as_ref().is_none_or(|saved| (saved.step, saved.edits) != (step, edits))
    }
}

#[cfg(test)]
mod tests;
