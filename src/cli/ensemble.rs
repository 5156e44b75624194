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
    // Also one that comes between two networks, or while a trained one is saved, ends all.
    let mut signals = Signals::new()?;
    for (seed, session) in (0..).zip(&names) {
        if signals.has_come().await {
            return Ok(interrupted(args, &name, *output));
        }
        let Some(start) = member(args, session, seed, options)? else {
            output.note(&format!("`{session}` is trained already"));
            continue;
        };
        output.note(&format!("`{session}`, network {} of {members}", seed + 1));
        let lab =
            LabOptions { name: Some(session.clone()), target: train::target(args), ..options.lab(start, Autosave::On) };
        match train::one(args, lab, options, output).await {
            Ok(code) if code == ExitCode::SUCCESS => {}
            Ok(code) if code != of_interrupted() => return Ok(code),
            Ok(_) | Err(Error::Interrupted) => return Ok(interrupted(args, &name, *output)),
            Err(error) => return Err(error),
        }
    }
    if signals.has_come().await {
        return Ok(interrupted(args, &name, *output));
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

/// Says how to go on later.
fn interrupted(args: &TrainArgs, name: &str, output: Output) -> ExitCode {
    let save = if args.save.is_none() { format!(" with `--save {name}`") } else { String::new() };
    output.note(&format!("the same command{save} goes on from here"));
    of_interrupted()
}

fn of_interrupted() -> ExitCode {
    ExitCode::from(Error::Interrupted.exit_code())
}

/// How to come by the network whose seed is so many after the first: afresh, from its session, or not at all as it is there.
fn member(args: &TrainArgs, name: &str, seed: u64, options: &Options) -> Result<Option<Start>, Error> {
    let (mut config, settings) = options.run(&args.run)?;
    config.seed = config.seed.wrapping_add(seed);
    let run = match options.store.load(name) {
        Ok(session) => session.run,
        Err(SessionError::Missing { .. }) => return Ok(Some(Start::Fresh(Box::new(config), Box::new(settings)))),
        Err(error) => return Err(error.into()),
    };
    if run.config != config || run.settings != settings {
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
