//! The engine: owns the trainer, answers one request at a time, trains between them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};

use super::gauge::{self, Gauge};
use super::name::Name;
use super::opening::{begun, fresh, load, session_rows};
use super::past::Past;
use super::publisher::Publisher;
use super::saver::Saver;
use super::saving::{Checkpoints, RETRY};
use super::searching::{self, Searching};
use super::{Autosave, LabOptions, Request, Start};
use crate::command::Command;
use crate::data::Dataset;
use crate::error::Error;
use crate::nn::DeviceInfo;
use crate::reply::Reply;
use crate::state::{LabEvent, Level, Phase, RunBegun, RunInfo, Saved};
use crate::train::event::{Reason, TrainEvent};
use crate::train::settings::Setting;
use crate::train::tree::Tree;
use crate::train::{Advance, Goal, Trainer};

/// Runs the lab until it is asked to quit or nobody can ask any more.
pub fn run(options: LabOptions, inbox: &Receiver<Request>, mut publisher: Publisher) {
    let mut engine = match Engine::open(options, &mut publisher) {
        Ok(engine) => engine,
        Err(error) => return refuse_all(&error, inbox, &mut publisher),
    };
    engine.publisher.show();
    while let Some(work) = engine.next_work(inbox) {
        match work {
            Work::Answer(request) if matches!(request.command, Command::Classify { .. }) => {
                engine.waiting = engine.answer_visitors(request, inbox);
            }
            Work::Answer(request) => {
                let quits = request.command == Command::Quit;
                let result = engine.execute(request.command);
                if quits && result.is_ok() {
                    // Who hears or sees that the lab is closed may end the process: no GPU may be in use then, nor a name held.
                    drop(engine);
                    publisher.show();
                    let _ = request.answer.send(result);
                    return;
                }
                engine.publisher.show();
                // Whoever asked may be gone; the deed is done all the same.
                let _ = request.answer.send(result);
            }
            Work::Train(goal) => engine.advance(goal),
        }
    }
    // Nobody is left to be told of an error: the log is all there is. Where a run was rescued to has been told before.
    if !engine.is_rescued() {
        let _ = engine.execute(Command::Quit);
    }
}

/// The lab could not be opened: says so to everyone who asks, until they leave.
fn refuse_all(error: &Error, inbox: &Receiver<Request>, publisher: &mut Publisher) {
    let failure = error.failure();
    publisher.log(Level::Error, failure.sentence.clone());
    publisher.emit(LabEvent::Phase(Phase::Failed(failure.clone())));
    publisher.show();
    for request in inbox {
        let quits = request.command == Command::Quit;
        let _ = request.answer.send(if quits { Ok(Reply::Closing) } else { Err(Error::Lab(failure.clone())) });
        if quits {
            return;
        }
    }
}

enum Work {
    Answer(Request),
    Train(Goal),
}

/// Whether the engine trains between requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Resting,
    Training(Goal),
}

/// The state of the lab's own thread.
pub(super) struct Engine<'p> {
    pub(super) options: LabOptions,
    pub(super) publisher: &'p mut Publisher,
    pub(super) saver: Saver,
    pub(super) trainer: Trainer,
    /// The epochs and branches of the trainer's run.
    pub(super) tree: Tree,
    /// What the kept epochs said of the test digits.
    pub(super) past: Past,
    /// What looks at the GPU, if the run is on one.
    pub(super) gauge: Option<Gauge>,
    /// The search that goes on beside the run.
    pub(super) searching: Option<Searching>,
    mode: Mode,
    pub(super) name: Name,
    pub(super) checkpoints: Checkpoints,
    /// A request that was taken from the inbox and is the next to be answered.
    waiting: Option<Request>,
}

impl<'p> Engine<'p> {
    fn open(options: LabOptions, publisher: &'p mut Publisher) -> Result<Self, Error> {
        let saver = Saver::start(options.store.clone())
            .map_err(|error| Error::Failed(format!("can't start the saving thread: {error}")))?;
        let dataset = Dataset::open(options.data.as_deref())?;
        publisher.emit(LabEvent::Loaded(dataset.clone()));
        publisher.show();
        let (trainer, tree, info, name, saved) = match &options.start {
            Start::Fresh { config, settings, teachers } => {
                let (config, settings) = ((**config).clone(), (**settings).clone());
                let (trainer, device) = fresh(&options, config, settings, teachers, dataset, publisher)?;
                let name = Name::of_begun(&options)?;
                let tree = begun(&trainer);
                (trainer, tree, device, name, None)
            }
            Start::Session(session) => {
                // Before it is read: nobody saves under the name any more then.
                let (name, warning) = match &options.name {
                    Some(_) => (Name::of_begun(&options)?, None),
                    None => Name::of_loaded(&options, session),
                };
                let (trainer, tree, device, saved) = load(&options, session, dataset)?;
                if let Some(warning) = warning {
                    publisher.log(Level::Warning, warning);
                }
                (trainer, tree, device, name, Some(saved))
            }
        };
        let past = Past::default();
        let mut engine = Self {
            options,
            publisher,
            saver,
            trainer,
            tree,
            past,
            gauge: None,
            searching: None,
            mode: Mode::Resting,
            name,
            checkpoints: Checkpoints::default(),
            waiting: None,
        };
        engine.trainer.set_target(engine.options.target);
        engine.present(info, saved);
        Ok(engine)
    }

    /// Whether it trains when nobody asks.
    pub(super) fn is_training(&self) -> bool {
        self.mode != Mode::Resting
    }

    /// Tells the state of the run that took the stage.
    pub(super) fn present(&mut self, device: DeviceInfo, saved: Option<Saved>) {
        self.watch_device(&device);
        let config = self.trainer.config().clone();
        let info = RunInfo {
            name: self.name.as_str().into(),
            device,
            parameters: config.arch.parameters(),
            config,
            split: self.trainer.split().clone(),
        };
        self.publisher.emit(LabEvent::Run(Box::new(RunBegun {
            info,
            settings: self.trainer.settings().clone(),
            progress: self.trainer.progress(),
            history: self.trainer.history().clone(),
            tree: self.tree.clone(),
            saved,
        })));
    }

    /// The next thing to do: a request if there is one, else training; at rest it waits. `None` when nobody can ask any more.
    fn next_work(&mut self, inbox: &Receiver<Request>) -> Option<Work> {
        while let Some(outcome) = self.saver.outcome() {
            self.tell_saved(outcome);
        }
        self.save_what_is_owed();
        self.read_gauge();
        self.read_search();
        if let Some(request) = self.waiting.take() {
            return Some(Work::Answer(request));
        }
        match self.mode {
            Mode::Training(goal) => match inbox.try_recv() {
                Ok(request) => Some(Work::Answer(request)),
                Err(TryRecvError::Empty) => Some(Work::Train(goal)),
                Err(TryRecvError::Disconnected) => None,
            },
            Mode::Resting => {
                self.finish_saving();
                self.wait(inbox).map(Work::Answer)
            }
        }
    }

    /// Waits for a request; with a search or a gauge it looks up now and then, without one it sleeps.
    fn wait(&mut self, inbox: &Receiver<Request>) -> Option<Request> {
        loop {
            self.publisher.show();
            let patience = match (&self.searching, &self.gauge) {
                (Some(_), _) => searching::GLANCE,
                (None, Some(_)) => gauge::INTERVAL,
                (None, None) if self.owes_a_save() => RETRY,
                (None, None) => return inbox.recv().ok(),
            };
            match inbox.recv_timeout(patience) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.save_what_is_owed();
                    self.finish_saving();
                    self.read_gauge();
                    self.read_search();
                }
            }
        }
    }

    /// Trains for one batch, or validates for one chunk.
    fn advance(&mut self, goal: Goal) {
        let publisher = &mut *self.publisher;
        let mut epoch_ended = false;
        let advance = self.trainer.advance(goal, &mut |event| {
            epoch_ended |= matches!(event, TrainEvent::Epoch { .. });
            publisher.report(event);
        });
        self.publisher.emit(LabEvent::Progress(self.trainer.progress()));
        if epoch_ended {
            self.keep_epoch();
        }
        if epoch_ended && self.options.autosave == Autosave::On {
            self.save_checkpoint();
        }
        let advance = if epoch_ended {
            advance.map_err(Error::from).and_then(|way| self.advise().map(|()| way))
        } else {
            advance.map_err(Error::from)
        };
        match advance {
            Ok(Advance::More) => {}
            Ok(Advance::Resting) => self.rest(Phase::Paused),
            Ok(Advance::Finished(reason)) => {
                self.finish(reason);
                // The curves were looked at when the epoch ended; only a divergence comes without one.
                if let Err(error) = self.advise() {
                    self.publisher.log(Level::Error, error.to_string());
                }
            }
            Err(error) => {
                self.publisher.log(Level::Error, error.to_string());
                self.rest(Phase::Failed(error.failure()));
            }
        }
        self.publisher.show_if_due();
    }

    pub(super) fn rest(&mut self, phase: Phase) {
        self.mode = Mode::Resting;
        self.publisher.emit(LabEvent::Phase(phase));
    }

    fn finish(&mut self, reason: Reason) {
        let level = if matches!(reason, Reason::Diverged { .. }) { Level::Error } else { Level::Info };
        self.publisher.log(level, reason.sentence(self.trainer.settings()));
        self.publisher.emit(LabEvent::Settings(self.trainer.settings().clone()));
        self.rest(Phase::Finished(reason));
    }

    /// Does what `command` says.
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        match command {
            Command::Train { epochs } => self.train(epochs),
            Command::Step { batches } => self.start(Goal::Step(self.trainer.progress().step.saturating_add(batches))),
            Command::Pause => self.pause(),
            Command::Resume => self.train(None),
            Command::Stop => self.stop(),
            Command::Set { name, value } => self.set(name.as_deref(), value.as_deref()),
            Command::Predict { inputs } => self.predict(&inputs),
            Command::Explain { input, class } => self.explain(input, class),
            Command::Nearest { input } => self.nearest(input),
            Command::Next { list } => self.walk(list, true),
            Command::Prev { list } => self.walk(list, false),
            Command::Find { filters } => self.find(&filters),
            Command::Eval { split, corrupt, together } => self.evaluate(split, corrupt, &together),
            Command::Draw { keep, name, image } => self.keep_drawing(keep, &name, image.as_deref()),
            Command::Advice => self.tell_advice(),
            Command::Export(args) => self.export(&args),
            Command::Plot { file } => self.plot(&file),
            Command::Save { name } => self.save(name),
            Command::Load { name } => self.load(&name),
            Command::New { arch, seed, teacher } => self.begin_anew(arch.as_deref(), seed, &teacher),
            Command::Rewind { epoch } => self.rewind(epoch),
            Command::Branch { name } => self.branch(name),
            Command::Overlay { names } => self.overlay(&names),
            Command::Serve { .. } | Command::Classify { .. } => {
                Err(Error::Usage("this lab has no door to the outside".into()))
            }
            Command::Tune { what, epochs, args } => self.tune(what, epochs, &args),
            Command::Tour => Err(Error::Usage("the tour is for the dashboard: `mnist-lab lab --tour`".into())),
            Command::Sessions => Ok(Reply::Sessions(session_rows(&self.options.store)?)),
            Command::Help { command } => Ok(Reply::Help(Command::help(command.as_deref())?)),
            // Where the run was rescued to stands in the log too: whoever asked may be gone.
            Command::Quit => self.quit().inspect_err(|error| self.publisher.log(Level::Error, error.to_string())),
        }
    }

    fn train(&mut self, more: Option<u32>) -> Result<Reply, Error> {
        let progress = self.trainer.progress();
        let epochs = self.trainer.settings().epochs;
        let until = more.map_or(epochs, |more| progress.epoch.saturating_add(more));
        if until <= progress.epoch {
            let done = Reason::Completed.sentence(self.trainer.settings());
            return Err(Error::Usage(format!("{done}: `train 5` trains 5 more")));
        }
        if until > epochs {
            self.change(Setting::Epochs, &until.to_string())?;
        }
        self.start(Goal::Epoch(until))
    }

    fn start(&mut self, goal: Goal) -> Result<Reply, Error> {
        self.branch_off()?;
        self.trainer.renew_patience();
        self.aim(goal);
        self.publisher.emit(LabEvent::Phase(Phase::Training));
        Ok(Reply::Started(goal))
    }

    /// Trains on until this goal.
    fn aim(&mut self, goal: Goal) {
        self.mode = Mode::Training(goal);
        self.publisher.emit(LabEvent::Goal(goal));
    }

    fn pause(&mut self) -> Result<Reply, Error> {
        if self.mode == Mode::Resting {
            return Err(Error::Usage("nothing is training: `train` starts".into()));
        }
        self.rest(Phase::Paused);
        Ok(Reply::Done(format!("paused after step {}", self.trainer.progress().step)))
    }

    fn stop(&mut self) -> Result<Reply, Error> {
        self.finish(Reason::Interrupted);
        if self.options.autosave == Autosave::On {
            self.save_or_owe()?;
        }
        Ok(Reply::Done(format!("stopped after step {}", self.trainer.progress().step)))
    }

    fn set(&mut self, name: Option<&str>, value: Option<&str>) -> Result<Reply, Error> {
        let row = |setting: Setting| {
            (setting.name().to_owned(), setting.get(self.trainer.settings()), setting.about().to_owned())
        };
        let Some(name) = name else {
            let followed = Setting::followed(self.trainer.config().teacher.is_some());
            return Ok(Reply::Settings(followed.into_iter().map(row).collect()));
        };
        let setting: Setting = name.parse()?;
        let Some(value) = value else {
            return Ok(Reply::Settings(vec![row(setting)]));
        };
        if setting.needs_teacher() && self.trainer.config().teacher.is_none() {
            return Err(Error::Usage(format!(
                "this run has no teacher, whom `{}` is about: `new --teacher SESSION` begins one that has",
                setting.name()
            )));
        }
        let (before, epochs) = (setting.get(self.trainer.settings()), self.trainer.settings().epochs);
        self.change(setting, value)?;
        self.follow_end(epochs);
        self.advise()?;
        let after = setting.get(self.trainer.settings());
        let hint = match setting {
            Setting::Dropout if !self.trainer.config().arch.has_live_dropout() => {
                "; but this architecture has no `dropout` layer that would follow it"
            }
            _ => "",
        };
        Ok(Reply::Done(format!("{} {before} → {after}{hint}", setting.name())))
    }

    /// The run's end, which was after `before` epochs, is elsewhere: what trains to there, or beyond the end as it is now, trains to
    /// that. An epoch that has begun is trained to its own end.
    fn follow_end(&mut self, before: u32) {
        let Mode::Training(Goal::Epoch(until)) = self.mode else { return };
        let epochs = self.trainer.settings().epochs;
        if epochs != before && until >= before.min(epochs) {
            let progress = self.trainer.progress();
            let begun = progress.epoch + u32::from(progress.sample > 0);
            self.aim(Goal::Epoch(epochs.max(begun)));
        }
    }

    fn change(&mut self, setting: Setting, value: &str) -> Result<(), Error> {
        let publisher = &mut *self.publisher;
        self.trainer.set(setting, value, &mut |event| publisher.report(event))?;
        self.publisher.emit(LabEvent::Settings(self.trainer.settings().clone()));
        Ok(())
    }

    pub(super) fn load(&mut self, name: &str) -> Result<Reply, Error> {
        self.save_if_needed()?;
        let dataset = self.trainer.dataset().clone();
        // Before it is read: nobody saves under the name any more then.
        let other = (!self.name.holds(name)).then(|| Name::of_loaded(&self.options, name));
        let (trainer, tree, device, saved) = load(&self.options, name, dataset)?;
        if let Some((name, warning)) = other {
            self.name = name;
            if let Some(warning) = warning {
                self.publisher.log(Level::Warning, warning);
            }
        }
        self.take_stage(trainer, tree, device, Some(saved));
        let progress = self.trainer.progress();
        Ok(Reply::Done(format!("loaded `{name}`: epoch {}, step {}", progress.epoch, progress.step)))
    }

    fn begin_anew(&mut self, arch: Option<&str>, seed: Option<u64>, teachers: &[String]) -> Result<Reply, Error> {
        let mut config = self.trainer.config().clone();
        if let Some(arch) = arch {
            config.arch = arch.parse()?;
        }
        config.seed = seed.unwrap_or(config.seed);
        let teachers = if teachers == ["none"] {
            config.teacher = None;
            &[]
        } else {
            teachers
        };
        self.save_if_needed()?;
        let (settings, dataset) = (self.trainer.settings().clone(), self.trainer.dataset().clone());
        let (trainer, device) = fresh(&self.options, config, settings, teachers, dataset, self.publisher)?;
        let tree = begun(&trainer);
        self.name = Name::Free(self.options.store.free_name());
        self.take_stage(trainer, tree, device, None);
        let config = self.trainer.config();
        let parameters = config.arch.parameters();
        let taught = config.taught_by().map_or_else(String::new, |taught| format!(", {taught}"));
        Ok(Reply::Done(format!("new run: {}, {parameters} parameters, seed {}{taught}", config.arch, config.seed)))
    }

    fn take_stage(&mut self, trainer: Trainer, tree: Tree, device: DeviceInfo, saved: Option<Saved>) {
        self.trainer = trainer;
        self.tree = tree;
        self.mode = Mode::Resting;
        self.present(device, saved);
    }

    fn quit(&mut self) -> Result<Reply, Error> {
        if self.options.autosave == Autosave::On {
            self.save_at_the_end()?;
        }
        self.leave_search();
        self.finish_saving();
        self.rest(Phase::Closed);
        Ok(Reply::Closing)
    }
}

#[cfg(test)]
mod tests;
