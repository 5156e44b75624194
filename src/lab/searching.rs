//! A search beside the run: begun, looked at, left, and its trials opened as sessions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::command::{OfSearch, TuneArgs};
use crate::error::Error;
use crate::reply::Reply;
use crate::search::request::Request;
use crate::search::{self, Search, SearchOptions, SearchPhase, SearchState};
use crate::state::{LabEvent, Level};
use crate::tune::study;

/// How often a search is looked at.
pub const GLANCE: Duration = Duration::from_millis(100);

/// A search that goes on.
pub struct Searching {
    search: Search,
    folder: PathBuf,
    /// When it was last shown.
    shown: Instant,
}

impl Engine<'_> {
    /// Begins a search or goes on with one; or ends it, or opens one of its trials.
    pub(super) fn tune(
        &mut self,
        what: Option<OfSearch>,
        epochs: Option<u32>,
        args: &TuneArgs,
    ) -> Result<Reply, Error> {
        match what {
            None => self.begin_search(epochs, args),
            Some(OfSearch::Off) => match &self.searching {
                None => Err(Error::Usage("nothing is searched: `tune` begins a search".into())),
                Some(searching) => {
                    searching.search.end();
                    Ok(Reply::Done("the search is left where it is, saved: `tune` goes on with it".into()))
                }
            },
            Some(OfSearch::Open(number)) => self.open_trial(number),
        }
    }

    fn begin_search(&mut self, epochs: Option<u32>, args: &TuneArgs) -> Result<Reply, Error> {
        if self.searching.is_some() {
            return Err(Error::Usage("a search goes on: `tune off` ends it".into()));
        }
        let store = &self.options.store;
        let left = self.publisher.state().search.as_ref().filter(|search| search.phase == SearchPhase::Stopped);
        let defines = args.defines() || epochs.is_some();
        let name = match (&args.save, left) {
            (Some(name), _) => name.clone(),
            (None, Some(left)) if !defines => left.name.clone(),
            (None, _) => search::free_name(store),
        };
        if name == self.name.as_str() {
            return Err(Error::Usage(format!(
                "`{name}` is this run's session, which the best trial would replace: give the search another name, --save NAME"
            )));
        }
        let folder = search::folder(store, &name)?;
        search::check_free(&folder, store, &name)?;
        let (config, dataset) = (self.trainer.config(), self.trainer.dataset().clone());
        let settings = self.trainer.settings().clone();
        let (seed, validation_split) = (config.seed, config.validation_split);
        let request = Request { args, epochs, arch: None, said: Vec::new(), settings, seed, validation_split };
        let study = request.study(&folder, defines, &dataset)?;
        let search = Search::start(&SearchOptions {
            folder: folder.clone(),
            study: Some(study),
            dataset,
            device: self.options.device,
            kernels: self.options.kernels,
            threads: self.options.threads,
            jobs: args.jobs.map(usize::from),
        })?;
        let study = search.state().study.clone();
        self.publisher.emit(LabEvent::Search(search.state().clone()));
        self.searching = Some(Searching { search, folder, shown: Instant::now() });
        let alone = if self.trainer.config().teacher.is_some() { "; the trials learn from labels alone" } else { "" };
        Ok(Reply::Done(format!(
            "search `{name}`: {} trials of {} at most, by {}, for {}{alone}",
            study.trials(),
            study::epochs(study.epochs as usize),
            study.algorithm,
            study.objective
        )))
    }

    /// Takes in what the search has done.
    pub(super) fn read_search(&mut self) {
        let Some(searching) = &mut self.searching else { return };
        let results = searching.search.next(Duration::ZERO);
        let goes_on = searching.search.goes_on();
        if results.is_empty() && goes_on && searching.shown.elapsed() < GLANCE {
            return;
        }
        searching.shown = Instant::now();
        let mut state = searching.search.state().clone();
        for trial in &results {
            self.publisher.log(Level::Info, state.study.sentence(trial));
        }
        if !goes_on && let Some(searching) = self.searching.take() {
            let kept = self.keep_best(&searching, &state).unwrap_or_else(|error| {
                state.phase = SearchPhase::Failed(error.failure());
                None
            });
            self.tell_end(&state, kept.as_deref());
        }
        self.publisher.emit(LabEvent::Search(state));
    }

    /// Saves the best trial of a search that is done as a session; its name.
    fn keep_best(&self, searching: &Searching, state: &SearchState) -> Result<Option<String>, Error> {
        if state.phase != SearchPhase::Done {
            return Ok(None);
        }
        let number = search::best(state)?.number;
        search::keep_as_session(&searching.folder, number, &self.options.store, &state.name).map(Some)
    }

    /// Tells how a search ended, whose best trial was `kept` under that name.
    fn tell_end(&mut self, state: &SearchState, kept: Option<&str>) {
        let (level, text) = match (&state.phase, state.best().zip(kept)) {
            (SearchPhase::Failed(failure), _) => (Level::Error, failure.sentence.clone()),
            (SearchPhase::Done, Some((best, name))) => {
                let best = best.number;
                (Level::Info, format!("the search is done: trial {best} is the best, saved as `{name}`: `load {name}`"))
            }
            _ => (Level::Info, format!("search `{}` is left where it is, saved", state.name)),
        };
        self.publisher.log(level, text);
    }

    /// Loads a trial of the search in the place of the run, which is saved first: under a name of its own, since it may train on.
    fn open_trial(&mut self, number: u32) -> Result<Reply, Error> {
        let Some(search) = self.publisher.state().search.clone() else {
            return Err(Error::Usage("there is no search with trials: `tune` begins one".into()));
        };
        let store = &self.options.store;
        let name = search::open_as_session(&search::folder(store, &search.name)?, number, store, &search.name)?;
        self.load(&name)
    }

    /// Leaves the search, with all that is half done saved.
    pub(super) fn leave_search(&mut self) {
        if let Some(searching) = self.searching.take() {
            drop(searching.search);
        }
    }
}
