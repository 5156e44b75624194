//! A worker: takes a task that is open, trains it, writes what came of it, until the search is done.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use super::TuneError;
use super::journal::Journal;
use super::journal::claim::{Beat, Claim, Worker};
use super::median::is_bad;
use super::plan::open_tasks;
use super::propose::propose;
use super::study::Study;
use super::trial::{Ending, Task, Trial};
use crate::arch::Arch;
use crate::data::Dataset;
use crate::nn::{Network, NetworkError};
use crate::session::Session;
use crate::train::event::{Reason, TrainEvent};
use crate::train::history::Measured;
use crate::train::tree::Tree;
use crate::train::{Advance, Goal, RunConfig, RunState, Trainer};

/// How long a worker that finds nothing to do waits before it looks again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often others are told that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// What a worker tells while it works.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It begins a task, or goes on with it.
    Begun {
        /// Which.
        task: Task,
        /// What it tries.
        values: Vec<String>,
        /// Epochs that are done already.
        epochs: u32,
    },
    /// So many epochs of a trial are done, the running one as a fraction.
    Step {
        /// Which trial.
        trial: u32,
        /// How many.
        epochs: f64,
    },
    /// An epoch of a trial is done: what came of it so far.
    Epoch(Trial),
    /// A result is in the journal, this worker's own or another's.
    Learned(Trial),
    /// A task is left to whoever takes it up: somebody wants to end.
    Left(Task),
    /// What workers of other processes do now: tasks, what they try, and epochs that are done.
    Elsewhere(Vec<(Task, Vec<String>, f64)>),
    /// There is nothing to do before others are done.
    Waiting,
}

/// How a worker came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The search is done.
    Done,
    /// It was told to end.
    Told,
}

/// Builds a network of this architecture, on the worker's own thread.
pub type Build<'a> = dyn Fn(&Arch) -> Result<Box<dyn Network>, NetworkError> + 'a;

/// Is told what happens; breaks if the worker is to end.
pub type Tell<'a> = dyn FnMut(Event) -> ControlFlow<()> + 'a;

/// Works until the search is done, or `tell` breaks.
///
/// # Errors
/// If the journal can't be read or written, or the device fails.
pub fn work(
    study: &Study,
    journal: &mut Journal,
    dataset: &Dataset,
    build: &Build,
    tell: &mut Tell,
) -> Result<Rest, TuneError> {
    let mut shift =
        Shift { study, journal, dataset, build, worker: Worker::here(), beat: Beat::default(), beaten: None };
    loop {
        for trial in shift.journal.refresh()? {
            if tell(Event::Learned(trial)).is_break() {
                return Ok(Rest::Told);
            }
        }
        let open = open_tasks(study, shift.journal.trials());
        if open.is_empty() {
            return Ok(Rest::Done);
        }
        let rest = match shift.take(&open, tell)? {
            Some(claim) => shift.train(&claim, tell)?,
            None => wait(tell),
        };
        if rest.is_break() {
            return Ok(Rest::Told);
        }
    }
}

/// What a worker works with.
struct Shift<'a> {
    study: &'a Study,
    journal: &'a mut Journal,
    dataset: &'a Dataset,
    build: &'a Build<'a>,
    worker: Worker,
    beat: Beat,
    /// When others were last told that it lives.
    beaten: Option<Instant>,
}

impl Shift<'_> {
    /// Claims the first task that nobody else does.
    fn take(&mut self, open: &[Task], tell: &mut Tell) -> Result<Option<Claim>, TuneError> {
        // A claim is worth what is known of its maker.
        self.live(None, 0.0, tell)?;
        for task in open {
            if let Some(claim) = self.journal.claim(*task, &self.worker)? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    /// Tells others now and then that this worker lives, and looks what they do.
    fn live(&mut self, task: Option<Task>, epochs: f64, tell: &mut Tell) -> Result<(), TuneError> {
        if self.beaten.is_some_and(|beaten| beaten.elapsed() < BEAT) {
            return Ok(());
        }
        self.beat = Beat { count: self.beat.count + 1, task, epochs };
        self.beaten = Some(Instant::now());
        self.journal.beat(&self.worker, &self.beat)?;
        let beats = self.journal.elsewhere(&self.worker)?;
        let trials = self.journal.trials();
        let values = |task: Task| propose(self.study, task.trial, trials);
        let all = beats.into_iter().filter_map(|beat| Some((beat.task?, values(beat.task?), beat.epochs)));
        // Whether to go on is asked again at once.
        let _ = tell(Event::Elsewhere(all.collect()));
        Ok(())
    }

    /// Does a task, from where it was left if somebody began it.
    fn train(&mut self, claim: &Claim, tell: &mut Tell) -> Result<ControlFlow<()>, TuneError> {
        let task = claim.task;
        let values = propose(self.study, task.trial, self.journal.trials());
        let mut trainer = self.trainer(task.trial, &values)?;
        let begun = Event::Begun { task, values: values.clone(), epochs: trainer.progress().epoch };
        let mut told = tell(begun);
        let mut ending = self.ending(&trainer, task);
        while ending.is_none() {
            if told.is_break() {
                return self.leave(claim, &trainer, tell);
            }
            let mut ended = false;
            let advance = trainer.advance(Goal::Epoch(task.epochs), &mut |event| {
                ended |= matches!(event, TrainEvent::Epoch { .. });
            })?;
            let epochs = epochs_done(&trainer);
            told = tell(Event::Step { trial: task.trial, epochs });
            self.live(Some(task), epochs, tell)?;
            if let Advance::Finished(Reason::Diverged { .. }) = advance {
                ending = Some(Ending::Diverged);
            } else if ended {
                ending = self.ending(&trainer, task);
                if !self.keep(claim, &trainer)? {
                    // Somebody took it over, and does the same.
                    return Ok(told);
                }
                told = tell(Event::Epoch(self.trial(task.trial, &values, &trainer, Ending::Reached)));
            }
        }
        let trial = self.trial(task.trial, &values, &trainer, ending.unwrap_or(Ending::Reached));
        self.journal.finish(task, &trial)?;
        Ok(tell(Event::Learned(trial)))
    }

    /// The trial's run: as it was left, or fresh.
    fn trainer(&self, number: u32, values: &[String]) -> Result<Trainer, TuneError> {
        let arch = self.study.space.arch(values).map_err(TuneError::Study)?;
        let mut settings = self.study.space.settings(&self.study.settings, values).map_err(TuneError::Study)?;
        settings.epochs = self.study.epochs;
        let network = (self.build)(&arch)?;
        let config =
            RunConfig { arch, seed: self.study.seed, validation_split: self.study.validation_split, teacher: None };
        let left = self.journal.run(number)?.map(|session| session.run);
        let fits = |run: &RunState| run.config == config && run.settings == settings;
        Ok(match left.filter(fits) {
            Some(run) => Trainer::resume(&run, self.dataset.clone(), network)?,
            None => Trainer::new(config, settings, self.dataset.clone(), network)?,
        })
    }

    /// How the run has come to rest at the end of an epoch, if it has. It is read off the run, so that one that was saved at its
    /// rest does not go on when it is loaded.
    fn ending(&self, trainer: &Trainer, task: Task) -> Option<Ending> {
        let progress = trainer.progress();
        if progress.sample > 0 || progress.epoch == 0 {
            return None;
        }
        let best = trainer.last_checkpoint().and_then(|state| state.best.as_ref().map(|best| best.epoch));
        if let (Some(patience), Some(best_epoch)) = (trainer.settings().early_stop, best)
            && progress.epoch - best_epoch >= patience
        {
            return Some(Ending::EarlyStop { best_epoch });
        }
        if is_bad(self.study, task.trial, &scores(trainer), self.journal.trials()) {
            return Some(Ending::Stopped);
        }
        (progress.epoch >= task.epochs).then_some(Ending::Reached)
    }

    /// Saves the run at the end of an epoch; whether the task is still this worker's.
    fn keep(&self, claim: &Claim, trainer: &Trainer) -> Result<bool, TuneError> {
        let holds = self.journal.holds(claim)?;
        if let (true, Some(run)) = (holds, trainer.last_checkpoint()) {
            self.journal.save_run(claim.task.trial, &self.session(RunState::clone(&run)))?;
        }
        Ok(holds)
    }

    /// Leaves the task to whoever takes it up, in the middle of an epoch.
    fn leave(&self, claim: &Claim, trainer: &Trainer, tell: &mut Tell) -> Result<ControlFlow<()>, TuneError> {
        if self.journal.holds(claim)? {
            self.journal.save_run(claim.task.trial, &self.session(trainer.state()?))?;
            self.journal.release(claim)?;
        }
        let _ = tell(Event::Left(claim.task));
        Ok(ControlFlow::Break(()))
    }

    fn session(&self, run: RunState) -> Session {
        Session { run, tree: Tree::default(), data: self.study.data.clone() }
    }

    fn trial(&self, number: u32, values: &[String], trainer: &Trainer, ending: Ending) -> Trial {
        Trial {
            number,
            values: values.to_vec(),
            scores: scores(trainer),
            ending,
            seconds: trainer.progress().seconds,
            worker: self.worker.id.clone(),
        }
    }
}

/// Gives others time to come to an end.
fn wait(tell: &mut Tell) -> ControlFlow<()> {
    thread::sleep(PAUSE);
    tell(Event::Waiting)
}

/// The validation split after each epoch.
fn scores(trainer: &Trainer) -> Vec<Measured> {
    trainer.history().epochs.iter().filter_map(|epoch| epoch.validation).collect()
}

fn epochs_done(trainer: &Trainer) -> f64 {
    let progress = trainer.progress();
    f64::from(progress.epoch) + progress.sample as f64 / trainer.split().train.len().max(1) as f64
}
