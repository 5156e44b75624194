//! `train`: a run from start to end without the dashboard.

use std::path::Path;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use super::args::TrainArgs;
use super::ensemble;
use super::follow::{Follower, Waited};
use super::options::Options;
use super::output::Output;
use super::serve::porter;
use crate::attach::{self, Server};
use crate::command::{Command, SplitName, Together};
use crate::error::Error;
use crate::export::plot::{self, Format};
use crate::lab::{Autosave, Lab, LabOptions, Start};
use crate::reply::{EvaluationReport, Reply};
use crate::session::Store;
use crate::state::{LabState, Phase};
use crate::train::Target;
use crate::train::event::Reason;

/// Trains and says how it went.
///
/// # Errors
/// If something that was asked for is not there or can't be.
pub async fn run(args: TrainArgs, options: &Options, output: &Output) -> Result<ExitCode, Error> {
    if let Some(path) = &args.plot {
        check_plot(path)?;
    }
    if let Some(name) = &args.save {
        Store::check_name(name)?;
    }
    if args.target_accuracy.is_some() {
        check_validated(&args, options)?;
    }
    match members(&args)? {
        1 => {
            check_free(&args, &options.store)?;
            one(&args, lab_options(&args, options)?, options, output).await
        }
        members => ensemble::run(&args, members, options, output).await,
    }
}

/// Refuses to write over a run that is not the one that goes on.
fn check_free(args: &TrainArgs, store: &Store) -> Result<(), Error> {
    match &args.save {
        Some(name) if args.resume.as_ref() != Some(name) && store.is_taken(name) => Err(Error::Usage(format!(
            "there is a session `{name}` already: `--resume {name}` goes on with it; save this run under another name, or \
             delete that one with `mnist-lab sessions rm {name}`"
        ))),
        _ => Ok(()),
    }
}

/// Refuses a target that nothing is measured for.
fn check_validated(args: &TrainArgs, options: &Options) -> Result<(), Error> {
    let share = match &args.resume {
        Some(session) => options.store.load(session)?.run.config.validation_split,
        None => options.run(&args.run)?.0.validation_split,
    };
    if share > 0.0 {
        return Ok(());
    }
    let missing = "--target-accuracy is measured on the validation split, and this run has none: begin one with \
                   --validation-split 0.2";
    Err(Error::Usage(missing.into()))
}

/// How many networks are wanted. A session that is gone on with is one, whatever the recipe says.
fn members(args: &TrainArgs) -> Result<u16, Error> {
    let members = match (args.members, &args.resume) {
        (Some(members), _) => members,
        (None, Some(_)) => 1,
        (None, None) => args.run.recipe()?.members,
    };
    let refused = [
        ("--resume", args.resume.is_some()),
        ("--no-save", args.no_save),
        ("--plot", args.plot.is_some()),
        ("--listen", args.listen.is_some()),
        // What the test set made of an epoch is not kept, so nobody would know which of them are done.
        ("--target-test-accuracy", args.target_test_accuracy.is_some()),
    ];
    match refused.iter().find(|(_, given)| members > 1 && *given) {
        Some((flag, _)) => Err(Error::Usage(format!(
            "{flag} is for one network, and {members} are to be trained: leave it out, or add `--members 1`"
        ))),
        None => Ok(members),
    }
}

/// Trains one network.
pub(super) async fn one(
    args: &TrainArgs,
    lab: LabOptions,
    options: &Options,
    output: &Output,
) -> Result<ExitCode, Error> {
    let started = Instant::now();
    if let Start::Fresh { teachers, .. } = &lab.start
        && !teachers.is_empty()
    {
        output.note("asking the teacher about the training digits");
    }
    let (lab, thread) = Lab::start(lab)?;
    let lab = if args.listen.is_some() { lab.with_porter(porter()) } else { lab };
    let mut follower = Follower::new(lab.clone(), *output).await?;
    if args.resume.is_some() {
        for (setting, value) in args.run.settings.given() {
            lab.ask(set(setting.name(), value)).await?;
        }
    }
    tell_start(args, &follower.state(), *output);
    let Some(place) = &args.listen else {
        return finish(args, thread, follower, started, *output).await.map(|(code, _)| code);
    };
    let server = listen(place.as_deref(), &lab, options, *output)?;
    let ended = finish(args, thread, follower.detached(), started, *output).await;
    server.farewell(match &ended {
        Ok((_, sentence)) => sentence.clone(),
        Err(error) => error.to_string(),
    });
    ended.map(|(code, _)| code)
}

/// Opens the run to `mnist-lab attach`.
fn listen(place: Option<&Path>, lab: &Lab, options: &Options, output: Output) -> Result<Server, Error> {
    let place = place.map_or_else(attach::default_socket, Path::to_owned);
    let server = Server::start(lab.clone(), &place, options.data(), options.store.folder())?;
    let shown = place.display().to_string();
    let text = format!("listening on {shown}: `mnist-lab attach {shown}` opens the dashboard");
    output.offer(&json!({"event": "listening", "socket": shown}), &text);
    Ok(server)
}

/// Trains to the end, tests, saves and tells; the exit code, and what became of the run in a sentence.
async fn finish(
    args: &TrainArgs,
    thread: JoinHandle<()>,
    mut follower: Follower,
    started: Instant,
    output: Output,
) -> Result<(ExitCode, String), Error> {
    let (reason, test) = match train_and_test(&mut follower).await {
        Ok(reached) => reached,
        Err(error) => return follower.leave(thread, Err(error)).await,
    };
    let renamed = rename(args, &mut follower).await;
    let left = follower.leave(thread, renamed).await;
    if matches!(left, Err(Error::Interrupted)) {
        return Err(Error::Interrupted);
    }
    // Also a run that could not be saved is told and drawn.
    let state = follower.state();
    let drawn = args.plot.as_ref().map_or(Ok(()), |path| draw(path, &state));
    tell_end(args, &reason, test.as_ref(), &state, started.elapsed().as_secs_f64(), output);
    left.and(drawn)?;
    let code = match reason {
        Reason::Interrupted => 130,
        Reason::Diverged { .. } => 1,
        Reason::Completed | Reason::EarlyStop { .. } | Reason::Target => 0,
    };
    let sentence = format!("the run has ended: {}{}", reason.sentence(&state.settings), kept(&state));
    Ok((ExitCode::from(code), sentence))
}

/// Saves a run that was gone on with, and had nothing left to train, under its new name.
async fn rename(args: &TrainArgs, follower: &mut Follower) -> Result<(), Error> {
    let state = follower.state();
    let saved = state.saved.as_ref().map(|saved| &saved.name);
    let is_elsewhere = args.resume.is_some() && args.save.is_some() && saved != args.save.as_ref();
    if is_elsewhere && let Ok(saved) = follower.ask(Command::Save { name: args.save.clone() }).await {
        saved?;
    }
    Ok(())
}

/// The session that holds the run as it is.
fn session(state: &LabState) -> Option<&str> {
    state.saved.as_ref().filter(|_| !state.is_unsaved()).map(|saved| saved.name.as_str())
}

/// Where the run is kept, if it is.
fn kept(state: &LabState) -> String {
    session(state)
        .map_or_else(String::new, |name| format!("\nsaved as `{name}`: `mnist-lab lab --load {name}` opens it"))
}

fn lab_options(args: &TrainArgs, options: &Options) -> Result<LabOptions, Error> {
    let start = match &args.resume {
        Some(session) => Start::Session(session.clone()),
        None => options.fresh(&args.run)?,
    };
    let autosave = if args.no_save { Autosave::Off } else { Autosave::On };
    // Two processes that go on with one run would both make the same steps.
    let name = args.save.clone().or_else(|| args.resume.clone());
    Ok(LabOptions { name, target: target(args), ..options.lab(start, autosave) })
}

/// The accuracy at which training ends.
pub(super) fn target(args: &TrainArgs) -> Option<Target> {
    let validation = args.target_accuracy.map(Target::Validation);
    validation.or(args.target_test_accuracy.map(Target::Test))
}

fn set(name: &str, value: &str) -> Command {
    Command::Set { name: Some(name.into()), value: Some(value.into()) }
}

/// Why the run has ended, and what it makes of the test set: nothing if it was interrupted.
async fn train_and_test(follower: &mut Follower) -> Result<(Reason, Option<EvaluationReport>), Error> {
    let reason = train(follower).await?;
    if reason == Reason::Interrupted {
        return Ok((reason, None));
    }
    let test = Command::Eval { split: SplitName::Test, corrupt: None, together: Together::default() };
    match follower.ask(test).await {
        Ok(Ok(Reply::Evaluated(report))) => Ok((reason, Some(*report))),
        Ok(Ok(other)) => Err(Error::Failed(format!("the test set was not measured: {other}"))),
        Ok(Err(error)) => Err(error),
        Err(_) => follower.interrupt().await.map(|()| (Reason::Interrupted, None)),
    }
}

async fn train(follower: &mut Follower) -> Result<Reason, Error> {
    let state = follower.state();
    if state.progress.epoch >= state.settings.epochs {
        return Ok(Reason::Completed);
    }
    match follower.ask(Command::Train { epochs: None }).await {
        Ok(begun) => begun.map(drop)?,
        Err(_) => return follower.interrupt().await.map(|()| Reason::Interrupted),
    }
    match follower.rest().await? {
        Waited::Interrupted(_) | Waited::Unread => Ok(Reason::Interrupted),
        Waited::Rested(Phase::Finished(reason)) => Ok(reason),
        Waited::Rested(phase) => Err(Error::Failed(format!("training came to rest without an end: {phase:?}"))),
    }
}

/// Tells of the run. One that others may hold goes on, and says farewell to them, also when whoever began it reads no more.
fn tell(args: &TrainArgs, object: &Value, text: &str, output: Output) {
    if args.listen.is_some() {
        output.offer(object, text);
    } else {
        output.offer_or_end(object, text);
    }
}

fn tell_start(args: &TrainArgs, state: &LabState, output: Output) {
    let Some(run) = &state.run else { return };
    let object = json!({
        "event": "started",
        "device": run.device.device,
        "device_name": run.device.name,
        "threads": run.device.threads,
        "parameters": run.parameters,
        "train_samples": run.split.train.len(),
        "validation_samples": run.split.validation.len(),
        "arch": run.arch().to_string(),
        "teacher": run.config.teachers(),
        "seed": run.config.seed,
        "epochs_done": state.progress.epoch,
    });
    let taught = run.config.taught_by().map_or_else(String::new, |taught| format!("; {taught}"));
    let text = format!(
        "{}, {} parameters, on {} ({}, {} threads): {} samples to train on, {} to validate{taught}",
        run.arch(),
        run.parameters,
        run.device.device,
        run.device.name,
        run.device.threads,
        run.split.train.len(),
        run.split.validation.len(),
    );
    tell(args, &object, &text, output);
}

fn tell_end(
    args: &TrainArgs,
    reason: &Reason,
    test: Option<&EvaluationReport>,
    state: &LabState,
    seconds: f64,
    output: Output,
) {
    let object = json!({
        "event": "finished",
        "reason": reason.word(),
        "epochs": state.progress.epoch,
        "test_loss": test.map(|report| report.loss),
        "test_accuracy": test.map(|report| report.confusion.accuracy()),
        "test_accuracy_without_label_errors": test.and_then(|report| report.accuracy_without_label_errors),
        "seconds": state.progress.seconds,
        "process_seconds": seconds,
        "session": session(state),
    });
    let mut text = reason.sentence(&state.settings);
    if let Some(report) = test {
        text += &format!("\n{report}");
    }
    text += &kept(state);
    tell(args, &object, &text, output);
    if let (true, Reason::Diverged { .. }) = (output.is_json(), reason) {
        output.error(&reason.sentence(&state.settings));
    }
}

/// Refuses an ending before hours of training rather than after.
fn check_plot(path: &Path) -> Result<(), Error> {
    Format::of(path).map(drop).map_err(|error| Error::Usage(error.to_string()))
}

fn draw(path: &Path, state: &LabState) -> Result<(), Error> {
    plot::state(state, path).map(drop)
}
