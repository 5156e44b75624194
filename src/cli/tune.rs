//! `tune`: a search without the dashboard.

mod table;
pub mod told;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::{JoinHandle, spawn_blocking};

use super::args::TuneVerb;
use super::options::Options;
use super::output::Output;
use crate::data::Dataset;
use crate::error::Error;
use crate::search::request::Request;
use crate::search::{self, Search, SearchOptions, SearchPhase, SearchState};
use crate::session::Store;
use crate::signals::Signals;
use crate::train::settings::Setting;
use crate::tune::TuneError;
use crate::tune::journal::Journal;
use crate::tune::study::{Study, epochs};
use crate::tune::trial::Trial;

/// How often progress is shown.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a worker waits for the search that it is to work on.
const PATIENCE: Duration = Duration::from_mins(1);

/// Searches, and says what was best.
///
/// # Errors
/// If the space or the search that is there says something else, or a trial can't be trained.
pub async fn run(verb: TuneVerb, options: &Options, output: Output) -> Result<ExitCode, Error> {
    let (name, folder) = place(&verb, &options.store)?;
    let dataset = Dataset::open(options.data().as_deref())?;
    let study = if verb.worker {
        await_search(&folder, output).await?;
        None
    } else {
        search::check_free(&folder, &options.store, &name)?;
        Some(study(&verb, &folder, options, &dataset)?)
    };
    let search = Search::start(&SearchOptions {
        folder: folder.clone(),
        study,
        dataset,
        device: options.device(),
        kernels: options.kernels(),
        threads: options.threads(),
        jobs: verb.tune.jobs.map(usize::from),
    })?;
    tell_start(search.state(), &folder, output);
    let (state, read) = follow(search, output).await?;
    match state.phase {
        SearchPhase::Failed(failure) => Err(Error::Lab(failure)),
        // Who reads with `| head` has what was wanted.
        SearchPhase::Stopped if !read => Ok(ExitCode::SUCCESS),
        SearchPhase::Stopped | SearchPhase::Searching => {
            let (done, all) = (state.trials.len(), state.study.trials());
            let begun_anew = verb.tune.save.is_none() && verb.folder.is_none();
            let save = if begun_anew { format!(" with `--save {name}`") } else { String::new() };
            output.note(&format!("stopped: {done} of {all} trials are known; the same command{save} goes on"));
            Ok(ExitCode::from(130))
        }
        SearchPhase::Done if verb.worker => {
            output.note("the search is done");
            Ok(ExitCode::SUCCESS)
        }
        SearchPhase::Done => tell_end(&state, &folder, &name, &options.store, output).map(|()| ExitCode::SUCCESS),
    }
}

/// The name of the session that the best trial becomes, and the search's folder.
fn place(verb: &TuneVerb, store: &Store) -> Result<(String, PathBuf), Error> {
    if let Some(name) = &verb.tune.save {
        Store::check_name(name)?;
    }
    let stem = |folder: &Path| folder.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match (&verb.tune.save, &verb.folder) {
        (Some(name), Some(folder)) => Ok((name.clone(), folder.clone())),
        (Some(name), None) => Ok((name.clone(), search::folder(store, name)?)),
        (None, Some(folder)) => {
            let name = stem(folder).filter(|name| Store::check_name(name).is_ok());
            Ok((name.unwrap_or_else(|| search::free_name(store)), folder.clone()))
        }
        (None, None) if verb.worker => {
            Err(Error::Usage("a worker needs the search that it works on: give --folder DIR, or --save NAME".into()))
        }
        (None, None) => {
            let name = search::free_name(store);
            let folder = search::folder(store, &name)?;
            Ok((name, folder))
        }
    }
}

/// Waits until somebody has begun the search: workers of a cluster start in any order.
async fn await_search(folder: &Path, output: Output) -> Result<(), Error> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        match Journal::open(folder) {
            Ok(_) => return Ok(()),
            Err(TuneError::Missing(_)) if begun.elapsed() < PATIENCE => {
                if !told {
                    output.note(&format!("waiting for a search in {}", folder.display()));
                    told = true;
                }
                tokio::time::sleep(GLANCE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn study(verb: &TuneVerb, folder: &Path, options: &Options, dataset: &Dataset) -> Result<Study, Error> {
    let mut run = verb.run.clone();
    // It may have gaps, which a run has not.
    let arch = run.arch.take();
    let about_teacher = run.settings.given().iter().any(|(setting, _)| setting.needs_teacher());
    if !run.teacher.is_empty() || run.recipe()?.is_taught || about_teacher {
        let refused = "the trials of a search learn from labels alone: leave out --teacher and what needs one";
        return Err(Error::Usage(refused.into()));
    }
    let (config, settings) = options.run(&run)?;
    let given = run.settings.given();
    let said: Vec<_> = given.iter().map(|(setting, _)| *setting).collect();
    let epochs_are_given = said.contains(&Setting::Epochs) || run.recipe.is_some();
    // Of a recipe it takes the settings: the layers are the space's.
    let defines = verb.tune.defines()
        || arch.is_some()
        || run.recipe.is_some()
        || !said.is_empty()
        || run.validation_split.is_some()
        || options.seed_is_given();
    let request = Request {
        args: &verb.tune,
        epochs: epochs_are_given.then_some(settings.epochs),
        arch: arch.as_deref(),
        said,
        settings,
        seed: options.seed(),
        validation_split: config.validation_split,
    };
    request.study(folder, defines, dataset)
}

/// Waits until the search rests; results are told as they come. Whether they were read to the end: a search whose reader is
/// gone is left where it is, saved.
async fn follow(search: Search, output: Output) -> Result<(SearchState, bool), Error> {
    let mut signals = Signals::new()?;
    let ender = search.ender();
    let bar = output.shows_progress().then(|| new_bar(search.state()));
    let mut turn = turn(search);
    let mut told_to_end = false;
    let mut read = true;
    let state = loop {
        tokio::select! {
            done = &mut turn => {
                let (search, results) = done.map_err(|error| Error::Failed(format!("the search broke: {error}")))?;
                let write = || results.iter().all(|trial| told::trial(search.state(), trial, output));
                if !bar.as_ref().map_or_else(write, |bar| bar.suspend(write)) {
                    read = false;
                    ender.end();
                }
                if let Some(bar) = &bar {
                    advance(bar, search.state());
                }
                if !search.goes_on() {
                    break search.state().clone();
                }
                turn = self::turn(search);
            }
            _ = signals.next() => {
                if told_to_end {
                    return Err(Error::Interrupted);
                }
                told_to_end = true;
                output.note("leaving the trials where they are, saved; once more to leave at once");
                ender.end();
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok((state, read))
}

/// A glance at the search, from a thread that may wait.
fn turn(mut search: Search) -> JoinHandle<(Search, Vec<Trial>)> {
    spawn_blocking(move || {
        let results = search.next(GLANCE);
        (search, results)
    })
}

fn tell_start(state: &SearchState, folder: &Path, output: Output) {
    let study = &state.study;
    let names: Vec<&str> = study.space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    output.note(&format!(
        "{}: {} search of {} in {} trials of {} at most, {} at a time, for {}",
        folder.display(),
        study.algorithm,
        names.join(", "),
        study.trials(),
        epochs(study.epochs as usize),
        state.jobs,
        study.objective,
    ));
}

/// Saves the best trial and shows all.
fn tell_end(state: &SearchState, folder: &Path, name: &str, store: &Store, output: Output) -> Result<(), Error> {
    let best = search::best(state)?;
    let name = search::keep_as_session(folder, best.number, store, name)?;
    let object = told::best_json(state, best, &name);
    output.data(&object, &table::text(state, best, &name));
    Ok(())
}

fn new_bar(state: &SearchState) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(u64::from(state.study.trials())), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{pos}/{len} trials {bar:30} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn advance(bar: &ProgressBar, state: &SearchState) {
    let running = |(number, running): (&u32, &search::Running)| {
        format!("{number}: {:.1}/{}", running.epochs, running.task.epochs)
    };
    let mut message = state.running.iter().map(running).collect::<Vec<_>>().join(", ");
    if let Some(score) = state.best().and_then(Trial::score) {
        message += &format!("; best {:.2} %", score.accuracy * 100.0);
    }
    bar.set_position(state.trials.iter().filter(|trial| !state.running.contains_key(&trial.number)).count() as u64);
    bar.set_message(message);
}
