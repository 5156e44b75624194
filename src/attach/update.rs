//! What a client does not have yet of the lab's state.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame::FrameError;
use super::parts::{FarGpu, FarOverlay, FarRun, FarSettings, FarTree};
use crate::advice::Advice;
use crate::metrics::Confusion;
use crate::search::SearchState;
use crate::state::{DigitList, DigitView, LabState, LogLine, Phase, Saved, Tested};
use crate::train::history::{Edit, EpochRecord, History, NormRecord, StepRecord};
use crate::train::{Goal, Progress};

/// The parts of a state that changed; all of it travels, but for the data set and the weights of epochs to go back to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[expect(clippy::option_option, reason = "the outer one: whether it changed; the inner one: what it is now")]
pub struct Update {
    phase: Option<Phase>,
    run: Option<Option<FarRun>>,
    settings: Option<FarSettings>,
    progress: Option<Progress>,
    goal: Option<Option<Goal>>,
    history: Option<Growth>,
    validating: Option<Option<(usize, usize)>>,
    training: Option<Confusion>,
    validation: Option<Option<Confusion>>,
    tree: Option<FarTree>,
    sessions: Option<Vec<FarOverlay>>,
    test: Option<Option<Tested>>,
    list: Option<Option<DigitList>>,
    digit: Option<Option<Arc<DigitView>>>,
    advice: Option<Arc<Vec<Advice>>>,
    saved: Option<Option<Saved>>,
    gpu: Option<FarGpu>,
    search: Option<Option<Arc<SearchState>>>,
    log: Option<Arc<VecDeque<LogLine>>>,
}

/// A history that keeps so many points, epochs, edits and layers' norms, and goes on with others.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Growth {
    kept: [usize; 4],
    steps: Vec<StepRecord>,
    epochs: Vec<EpochRecord>,
    edits: Vec<Edit>,
    norms: Vec<NormRecord>,
}

impl Update {
    /// What leads from `had` to `now`; `had` is the same then.
    pub fn next(had: &mut LabState, now: &LabState) -> Self {
        let update = Self::between(had, now);
        *had = now.clone();
        update
    }

    fn between(had: &LabState, now: &LabState) -> Self {
        // A part that is forgotten here does not build.
        let LabState {
            phase,
            dataset: _,
            run,
            settings,
            progress,
            goal,
            history,
            validating,
            training,
            validation,
            tree,
            sessions,
            test,
            list,
            digit,
            advice,
            saved,
            gpu,
            search,
            log,
        } = now;
        Self {
            phase: changed(&had.phase, phase),
            run: (!same(had.run.as_ref(), run.as_ref())).then(|| run.as_deref().map(FarRun::from)),
            settings: changed(&had.settings, settings).map(|settings| FarSettings::from(&settings)),
            progress: changed(&had.progress, progress),
            goal: changed(&had.goal, goal),
            history: (!Arc::ptr_eq(&had.history, history)).then(|| Growth::between(&had.history, history)),
            validating: changed(&had.validating, validating),
            training: changed(&had.training, training),
            validation: changed(&had.validation, validation),
            tree: (!Arc::ptr_eq(&had.tree, tree)).then(|| FarTree::from(&**tree)),
            sessions: (!Arc::ptr_eq(&had.sessions, sessions)).then(|| sessions.iter().map(FarOverlay::from).collect()),
            test: (!same(had.test.as_ref().map(|t| &t.evaluation), test.as_ref().map(|t| &t.evaluation)))
                .then(|| test.clone()),
            list: changed(&had.list, list),
            digit: (!same(had.digit.as_ref(), digit.as_ref())).then(|| digit.clone()),
            advice: (!Arc::ptr_eq(&had.advice, advice)).then(|| advice.clone()),
            saved: changed(&had.saved, saved),
            gpu: (!Arc::ptr_eq(&had.gpu, gpu)).then(|| FarGpu::between(&had.gpu, gpu)),
            search: (!same(had.search.as_ref(), search.as_ref())).then(|| search.clone()),
            log: (!Arc::ptr_eq(&had.log, log)).then(|| log.clone()),
        }
    }

    /// Brings `state` to where the lab was.
    ///
    /// # Errors
    /// If it does not belong to this state.
    pub fn apply(self, state: &mut LabState) -> Result<(), FrameError> {
        set(&mut state.phase, self.phase);
        if let Some(run) = self.run {
            state.run = run.map(|run| run.near().map(Arc::new)).transpose()?;
        }
        if let Some(settings) = self.settings {
            state.settings = settings.near()?;
        }
        set(&mut state.progress, self.progress);
        set(&mut state.goal, self.goal);
        if let Some(growth) = self.history {
            growth.apply(Arc::make_mut(&mut state.history))?;
        }
        set(&mut state.validating, self.validating);
        set(&mut state.training, self.training);
        set(&mut state.validation, self.validation);
        if let Some(tree) = self.tree {
            state.tree = Arc::new(tree.near(state.run.as_deref())?);
        }
        if let Some(sessions) = self.sessions {
            state.sessions = Arc::new(sessions.into_iter().map(FarOverlay::near).collect());
        }
        set(&mut state.test, self.test);
        set(&mut state.list, self.list);
        set(&mut state.digit, self.digit);
        set(&mut state.advice, self.advice);
        set(&mut state.saved, self.saved);
        if let Some(gpu) = self.gpu {
            state.gpu = Arc::new(gpu.near(&state.gpu)?);
        }
        set(&mut state.search, self.search);
        set(&mut state.log, self.log);
        Ok(())
    }
}

impl Growth {
    fn between(had: &History, now: &History) -> Self {
        let steps = had.steps.common(&now.steps);
        let epochs = had.epochs.common(&now.epochs);
        let edits = common(&had.edits, &now.edits);
        let norms = had.norms.common(&now.norms);
        Self {
            kept: [steps, epochs, edits, norms],
            steps: (steps..now.steps.len()).filter_map(|at| now.steps.get(at).copied()).collect(),
            epochs: now.epochs.iter().skip(epochs).copied().collect(),
            edits: now.edits[edits..].to_vec(),
            norms: (norms..now.norms.len()).filter_map(|at| now.norms.get(at).cloned()).collect(),
        }
    }

    fn apply(self, history: &mut History) -> Result<(), FrameError> {
        let [steps, epochs, edits] = history.lengths();
        if self.kept.iter().zip([steps, epochs, edits, history.norms.len()]).any(|(kept, have)| *kept > have) {
            return Err(FrameError::Damaged("it goes on from what is not there"));
        }
        let [steps, epochs, edits, norms] = self.kept;
        history.steps.truncate(steps);
        history.epochs.truncate(epochs);
        history.edits.truncate(edits);
        history.norms.truncate(norms);
        history.steps.extend(self.steps);
        history.epochs.extend(self.epochs);
        history.edits.extend(self.edits);
        history.norms.extend(self.norms);
        Ok(())
    }
}

fn changed<T: Clone + PartialEq>(had: &T, now: &T) -> Option<T> {
    (had != now).then(|| now.clone())
}

/// Whether both are the same value in memory, or neither is there.
fn same<T>(had: Option<&Arc<T>>, now: Option<&Arc<T>>) -> bool {
    match (had, now) {
        (Some(had), Some(now)) => Arc::ptr_eq(had, now),
        (None, None) => true,
        _ => false,
    }
}

fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn set<T>(part: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *part = value;
    }
}
