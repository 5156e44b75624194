//! What a search has to do with sessions: its folder lies beside them, and trials are kept as some of them.

use std::path::{Path, PathBuf};

use super::SearchState;
use crate::error::Error;
use crate::session::{Session, SessionError, Store};
use crate::tune::TuneError;
use crate::tune::journal::Journal;
use crate::tune::trial::Trial;

/// The ending of a search's folder beside the sessions.
const ENDING: &str = "tune";

/// The folder of the search that is called `name`, beside the sessions.
///
/// # Errors
/// If that is no name.
pub fn folder(store: &Store, name: &str) -> Result<PathBuf, SessionError> {
    Store::check_name(name)?;
    Ok(store.folder().join(format!("{name}.{ENDING}")))
}

/// The first of `search-1`, `search-2`, … that is not taken.
pub fn free_name(store: &Store) -> String {
    let taken = |name: &String| store.has(name) || store.folder().join(format!("{name}.{ENDING}")).exists();
    (1..=u32::MAX).map(|n| format!("search-{n}")).find(|name| !taken(name)).unwrap_or_default()
}

/// Refuses to begin a search in `folder` whose best trial would have the name of a session that is there.
///
/// # Errors
/// If it would.
pub fn check_free(folder: &Path, store: &Store, name: &str) -> Result<(), Error> {
    if store.is_taken(name) && matches!(Journal::open(folder), Err(TuneError::Missing(_))) {
        return Err(Error::Usage(format!(
            "there is a session `{name}` already: give the search another name, --save NAME, or delete that session with \
             `mnist-lab sessions rm {name}`"
        )));
    }
    Ok(())
}

/// The best trial of a search that is done.
///
/// # Errors
/// If none is any good.
pub fn best(state: &SearchState) -> Result<&Trial, Error> {
    let diverged = "no trial gave a network that is worth anything: all diverged; search smaller learning rates";
    state.best().ok_or_else(|| Error::Failed(diverged.into()))
}

/// Saves the run of a trial as the session `name`, or, where that is open or of another run, as `name-number`; gives its name.
///
/// # Errors
/// If the trial has none, neither name is free, or the file system refuses.
pub fn keep_as_session(folder: &Path, number: u32, store: &Store, name: &str) -> Result<String, Error> {
    let (mut journal, _) = Journal::open(folder)?;
    journal.refresh()?;
    let Some(session) = journal.run(number)? else {
        return Err(Error::Failed(format!(
            "trial {number} has no run that could be opened: its first epoch was not done"
        )));
    };
    let is_ours = |there: Session| {
        let numbers = journal.trials().iter().map(|trial| trial.number);
        numbers.filter_map(|number| journal.run(number).ok()?).any(|run| run == there)
    };
    let own = format!("{name}-{number}");
    for name in [name, &own] {
        let _claim = match store.claim(name) {
            Err(SessionError::Taken { .. }) => continue,
            claim => claim?,
        };
        if !store.is_taken(name) || store.load(name).is_ok_and(is_ours) {
            store.save(name, &session)?;
            return Ok(name.into());
        }
    }
    Err(Error::Usage(format!("trial {number} is not saved: `{name}` and `{own}` are sessions of other runs, or open")))
}

/// The session in which a trial of search `name` can be trained on, which is made if it is not there.
///
/// # Errors
/// As [`keep_as_session`] has them, or if the session that is there is of another run.
pub fn open_as_session(folder: &Path, number: u32, store: &Store, name: &str) -> Result<String, Error> {
    let own = format!("{name}-{number}");
    if !store.is_taken(&own) {
        return keep_as_session(folder, number, store, &own);
    }
    let there = store.load(&own)?.run;
    let is_of = |trial: Session| {
        // No two runs take the same time.
        let (there_epochs, epochs) = (&there.history.epochs, &trial.run.history.epochs);
        there.config == trial.run.config && there_epochs.common(epochs) == there_epochs.len().min(epochs.len())
    };
    if Journal::open(folder)?.0.run(number)?.is_some_and(is_of) {
        return Ok(own);
    }
    Err(Error::Usage(format!("session `{own}` is of another run than trial {number}: rename or remove it first")))
}
