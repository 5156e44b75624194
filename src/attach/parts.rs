//! Parts of a state as they travel: without what no screen shows, and as text where text is what they are known by.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame::FrameError;
use crate::data::Split;
use crate::data::teacher::Teacher;
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{DeviceInfo, NetworkState};
use crate::state::{GpuHistory, GpuSample, Overlay, RunInfo};
use crate::train::history::{Edit, EpochRecord, History, NormRecord, StepRecord};
use crate::train::settings::{Setting, Settings};
use crate::train::tree::{Branch, Fork, Tree};
use crate::train::{Progress, RunConfig, RunState};

/// A run: its layers as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarRun {
    name: String,
    arch: String,
    seed: u64,
    validation_split: f64,
    /// The sessions that teach it.
    teachers: Vec<String>,
    device: DeviceInfo,
    parameters: usize,
    split: Split,
}

/// Each setting's name and value as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarSettings(Vec<(String, String)>);

/// The points, the epochs, the edits, the layers' norms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarHistory(Vec<StepRecord>, Vec<EpochRecord>, Vec<Edit>, Vec<NormRecord>);

/// A curve behind the run's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarOverlay {
    name: String,
    slot: isize,
    history: FarHistory,
}

/// What a GPU was seen to do beyond what is known already: so many of the oldest samples are forgotten, and these come to the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarGpu {
    forgotten: usize,
    samples: Vec<GpuSample>,
}

/// Branches, and the number of the one that the run is on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarTree {
    branches: Vec<FarBranch>,
    on: usize,
}

/// A branch without weights: how far the epochs are that can be gone back to, and what its end has been through.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FarBranch {
    name: String,
    /// The other branch, epochs and steps.
    fork: Option<(String, u32, u64)>,
    kept: Vec<Progress>,
    tip: Option<(Progress, FarHistory)>,
}

impl From<&RunInfo> for FarRun {
    fn from(run: &RunInfo) -> Self {
        let RunInfo { name, config, device, parameters, split } = run;
        let RunConfig { arch, seed, validation_split, .. } = config;
        Self {
            name: name.clone(),
            arch: arch.to_string(),
            seed: *seed,
            validation_split: *validation_split,
            teachers: config.teachers().to_vec(),
            device: device.clone(),
            parameters: *parameters,
            split: split.clone(),
        }
    }
}

impl FarRun {
    /// The run as it is known here.
    ///
    /// # Errors
    /// If it has layers that nobody knows.
    pub fn near(self) -> Result<RunInfo, FrameError> {
        let Self { name, arch, seed, validation_split, teachers, device, parameters, split } = self;
        let arch = arch.parse().map_err(|_| FrameError::Damaged("it has unknown layers"))?;
        // What it says stays where the run is.
        let teacher = (!teachers.is_empty()).then(|| Arc::new(Teacher { sessions: teachers, logits: Vec::new() }));
        Ok(RunInfo { name, config: RunConfig { arch, seed, validation_split, teacher }, device, parameters, split })
    }
}

impl From<&Settings> for FarSettings {
    fn from(settings: &Settings) -> Self {
        Self(Setting::ALL.map(|setting| (setting.name().into(), setting.get(settings))).into())
    }
}

impl FarSettings {
    /// The settings as they are known here.
    ///
    /// # Errors
    /// If one is unknown.
    pub fn near(&self) -> Result<Settings, FrameError> {
        let mut settings = Settings::default();
        for (name, value) in &self.0 {
            let setting = name.parse::<Setting>();
            let set = setting.and_then(|setting| setting.set(&mut settings, value));
            set.map_err(|_| FrameError::Damaged("it has an unknown setting"))?;
        }
        Ok(settings)
    }
}

impl From<&History> for FarHistory {
    fn from(history: &History) -> Self {
        let History { steps, epochs, edits, norms } = history;
        Self(
            steps.iter().copied().collect(),
            epochs.iter().copied().collect(),
            edits.clone(),
            norms.iter().cloned().collect(),
        )
    }
}

impl From<FarHistory> for History {
    fn from(FarHistory(steps, epochs, edits, norms): FarHistory) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            epochs: epochs.into_iter().collect(),
            edits,
            norms: norms.into_iter().collect(),
        }
    }
}

impl From<&Overlay> for FarOverlay {
    fn from(overlay: &Overlay) -> Self {
        Self { name: overlay.name.clone(), slot: overlay.slot, history: (&*overlay.history).into() }
    }
}

impl FarOverlay {
    /// The curve as it is known here.
    pub fn near(self) -> Overlay {
        Overlay { name: self.name, slot: self.slot, history: Arc::new(self.history.into()) }
    }
}

impl FarGpu {
    /// What leads from `had` to `now`.
    pub fn between(had: &GpuHistory, now: &GpuHistory) -> Self {
        let (had, now) = (had.samples(), now.samples());
        let oldest = now.front().and_then(|oldest| had.iter().position(|sample| sample == oldest));
        let goes_on =
            |at: &usize| now.len() >= had.len() - at && had.iter().skip(*at).eq(now.iter().take(had.len() - at));
        let forgotten = oldest.filter(goes_on).unwrap_or(had.len());
        Self { forgotten, samples: now.iter().skip(had.len() - forgotten).copied().collect() }
    }

    /// What is known here with this.
    ///
    /// # Errors
    /// If it goes on from samples that are not there.
    pub fn near(self, had: &GpuHistory) -> Result<GpuHistory, FrameError> {
        if self.forgotten > had.samples().len() {
            return Err(FrameError::Damaged("it forgets what is not there"));
        }
        let mut history = GpuHistory::default();
        had.samples().iter().skip(self.forgotten).copied().chain(self.samples).for_each(|sample| history.push(sample));
        Ok(history)
    }
}

impl From<&Tree> for FarTree {
    fn from(tree: &Tree) -> Self {
        let branch = |branch: &Branch| FarBranch {
            name: branch.name.clone(),
            fork: branch.fork.as_ref().map(|fork| (fork.branch.clone(), fork.epoch, fork.step)),
            kept: branch.kept.iter().map(|state| state.progress).collect(),
            tip: branch.tip.as_ref().map(|tip| (tip.progress, (&tip.history).into())),
        };
        Self { branches: tree.branches().iter().map(branch).collect(), on: tree.on() }
    }
}

impl FarTree {
    /// The tree of `run` as it is known here.
    ///
    /// # Errors
    /// If the run is on no branch.
    pub fn near(self, run: Option<&RunInfo>) -> Result<Tree, FrameError> {
        // Before there is a run, there is nothing to go back to.
        let Some(run) = run else { return Ok(Tree::default()) };
        let state = |progress: Progress, history: History| Arc::new(weightless(&run.config, progress, history));
        let branch = |branch: FarBranch| Branch {
            name: branch.name,
            fork: branch.fork.map(|(branch, epoch, step)| Fork { branch, epoch, step }),
            kept: branch.kept.into_iter().map(|progress| state(progress, History::default())).collect(),
            tip: branch.tip.map(|(progress, history)| state(progress, history.into())),
        };
        let branches = self.branches.into_iter().map(branch).collect();
        Tree::new(branches, self.on).ok_or(FrameError::Damaged("it is on no branch"))
    }
}

/// A state that can be looked at, and not gone back to.
fn weightless(config: &RunConfig, progress: Progress, history: History) -> RunState {
    let optimizer = OptimizerState { kind: OptimizerKind::default(), updates: 0, moments: Vec::new() };
    RunState {
        config: config.clone(),
        settings: Settings::default(),
        progress,
        network: NetworkState { tensors: Vec::new(), trained: None, optimizer },
        best: None,
        history,
    }
}
