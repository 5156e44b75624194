//! The engine driven by hand, where all depends on a moment that is too short to be met from outside.

use std::path::Path;

use super::{Autosave, Command, Engine, Error, Goal, LabOptions, Publisher, Start};
use crate::nn::{DeviceChoice, Kernels};
use crate::session::Store;
use crate::train::settings::Settings;
use crate::train::{Progress, RunConfig};

/// Does this with an engine whose run, of 47 steps an epoch, has just begun and is kept in `folder`.
fn drive(folder: &Path, work: impl FnOnce(&mut Engine<'_>)) {
    let config = RunConfig { arch: "flatten dense10".parse().unwrap(), seed: 1, validation_split: 0.2, teacher: None };
    let settings = Settings { epochs: 3, batch_size: 1024, ..Settings::default() };
    let options = LabOptions {
        data: None,
        store: Store::new(folder),
        device: DeviceChoice::Cpu,
        kernels: Kernels::Auto,
        threads: Some(1),
        start: Start::fresh(config, settings, Vec::new()),
        name: None,
        autosave: Autosave::On,
        target: None,
        exporter: |_, _| Err(Error::Interrupted),
        plotter: |_, _| Err(Error::Interrupted),
        meter: |_| None,
    };
    let (mut publisher, _states) = Publisher::new();
    work(&mut Engine::open(options, &mut publisher).unwrap());
}

/// Trains until `is_there`, while the first epoch is being saved.
fn train_until(engine: &mut Engine<'_>, is_there: impl Fn(Progress) -> bool) {
    let goal = Goal::Epoch(3);
    engine.start(goal).unwrap();
    while !is_there(engine.trainer.progress()) {
        engine.advance(goal);
    }
    assert!(engine.saver.is_busy(), "what became of the save of the first epoch is not looked at yet");
}

/// What is being saved is the run as it was, and not what it went back from.
#[test]
fn a_run_that_goes_back_to_an_epoch_that_is_being_saved_is_saved_again() {
    let folder = tempfile::tempdir().unwrap();
    drive(folder.path(), |engine| {
        train_until(engine, |progress| progress.step == 50);
        engine.execute(Command::Rewind { epoch: 1 }).unwrap();
        engine.finish_saving();
        assert!(engine.publisher.state().is_unsaved());
        engine.execute(Command::Quit).unwrap();
    });
    let saved = Store::new(folder.path()).load("run-1").unwrap();
    assert_eq!((saved.run.progress.step, saved.tree.ahead().unwrap().progress.step), (47, 50));
}

#[test]
fn a_setting_changed_while_an_epoch_is_being_saved_is_saved_too() {
    let folder = tempfile::tempdir().unwrap();
    drive(folder.path(), |engine| {
        train_until(engine, |progress| progress.epoch == 1);
        engine.execute(Command::Set { name: Some("lr".into()), value: Some("0.5".into()) }).unwrap();
        engine.execute(Command::Stop).unwrap();
        engine.execute(Command::Quit).unwrap();
    });
    let saved = Store::new(folder.path()).load("run-1").unwrap().run;
    assert_eq!((saved.progress.step, saved.settings.learning_rate), (47, 0.5));
}
