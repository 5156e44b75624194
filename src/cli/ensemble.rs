//! `train --members N`: several networks of one kind, one after another, that answer together.

use std::process::ExitCode;

use super::args::{EvalArgs, TrainArgs};
use super::options::Options;
use super::output::Output;
use super::{ask, train};
use crate::command::{SplitName, Together};
use crate::error::Error;
use crate::lab::{Autosave, LabOptions, Start};
use crate::session::{SessionError, Store};
use crate::signals::Signals;
use crate::train::{RunState, Target};

/// Trains what is missing of NAME-1 to NAME-`members` and tests them as one.
///
/// # Errors
/// As [`train::run`] has them; or if a session of such a name is of another run.
pub async fn run(args: &TrainArgs, members: u16, options: &Options, output: &Output) -> Result<ExitCode, Error> {
    let name = args.save.clone().unwrap_or_else(|| free_name(&options.store, members));
    let names: Vec<String> = (1..=members).map(|number| format!("{name}-{number}")).collect();
    // All of them before hours of training.
    for (seed, session) in (0..).zip(&names) {
        Store::check_name(session)?;
        member(args, session, seed, options)?;
    }
    match train_all(args, &names, options, output).await {
        Ok(code) if code == ExitCode::SUCCESS => {}
        Err(Error::Interrupted) => {
            let save = if args.save.is_none() { format!(" with `--save {name}`") } else { String::new() };
            output.note(&format!("the same command{save} goes on from here"));
            return Ok(ExitCode::from(Error::Interrupted.exit_code()));
        }
        ended => return ended,
    }
    let together = EvalArgs {
        names: names.clone(),
        split: SplitName::Test,
        corrupt: None,
        ensemble: true,
        together: Together::default(),
    };
    ask::evaluate(together, options, output).await?;
    output.note(&format!("`mnist-lab eval {} --ensemble` measures them again", names.join(" ")));
    Ok(ExitCode::SUCCESS)
}

/// Trains those that are not trained, until one does not end well.
///
/// # Errors
/// [`Error::Interrupted`] also where a signal comes between two of them, or while a trained one is saved.
async fn train_all(args: &TrainArgs, names: &[String], options: &Options, output: &Output) -> Result<ExitCode, Error> {
    let mut signals = Signals::new()?;
    for (seed, session) in (0..).zip(names) {
        signals.check().await?;
        let Some(start) = member(args, session, seed, options)? else {
            output.note(&format!("`{session}` is trained already"));
            continue;
        };
        output.note(&format!("`{session}`, network {} of {}", seed + 1, names.len()));
        let lab =
            LabOptions { name: Some(session.clone()), target: train::target(args), ..options.lab(start, Autosave::On) };
        let code = train::one(args, lab, options, output).await?;
        if code == ExitCode::from(Error::Interrupted.exit_code()) {
            return Err(Error::Interrupted);
        }
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    signals.check().await?;
    Ok(ExitCode::SUCCESS)
}

/// How to come by the network whose seed is so many after the first: afresh, from its session, or not at all as it is there.
fn member(args: &TrainArgs, name: &str, seed: u64, options: &Options) -> Result<Option<Start>, Error> {
    let (mut config, settings) = options.run(&args.run)?;
    config.seed = config.seed.wrapping_add(seed);
    let teachers = args.run.teacher.clone();
    let run = match options.store.load(name) {
        Ok(session) => session.run,
        Err(SessionError::Missing { .. }) => return Ok(Some(Start::fresh(config, settings, teachers))),
        Err(error) => return Err(error.into()),
    };
    // What they said then is what it learns.
    config.teacher.clone_from(&run.config.teacher);
    if run.config != config || run.settings != settings || config.teachers() != teachers {
        return Err(Error::Usage(format!(
            "session `{name}` is of another network or of other settings than these: save under another name, or \
             `mnist-lab sessions rm {name}`"
        )));
    }
    let is_done = run.is_done() || has_reached(&run, train::target(args));
    Ok((!is_done).then(|| Start::Session(name.to_owned())))
}

/// Whether an epoch of the run came to the accuracy that ends it. What the test set made of an epoch is not kept.
fn has_reached(run: &RunState, target: Option<Target>) -> bool {
    let Some(Target::Validation(accuracy)) = target else { return false };
    run.history.epochs.iter().any(|epoch| epoch.validation.is_some_and(|measured| measured.accuracy >= accuracy))
}

/// The first free name whose members are free too.
fn free_name(store: &Store, members: u16) -> String {
    let taken = |name: &str| (1..=members).any(|number| store.entry(&format!("{name}-{number}")).is_ok());
    (1..=u32::MAX).map(|number| format!("ensemble-{number}")).find(|name| !taken(name)).unwrap_or_default()
}
