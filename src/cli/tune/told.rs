//! Trials as they are told: objects for programs, sentences for people, each once.

use serde_json::{Map, Value, json};

use crate::cli::output::Output;
use crate::error::Failure;
use crate::search::{SearchPhase, SearchState};
use crate::state::LabState;
use crate::tune::study::Study;
use crate::tune::trial::{Trial, Trials};

/// Writes what came of a trial; whether anybody reads it.
pub fn trial(state: &SearchState, trial: &Trial, output: Output) -> bool {
    if output.is_json() {
        return output.offer(&trial_json(state, trial), "");
    }
    output.note(&state.study.sentence(trial));
    true
}

/// The `trial` object.
fn trial_json(state: &SearchState, trial: &Trial) -> Value {
    let score = trial.score();
    json!({
        "event": "trial",
        "trial": trial.number,
        "settings": settings_json(&state.study, trial),
        "arch": state.study.space.arch(&trial.values).ok().map(|arch| arch.to_string()),
        "status": state.study.ending(trial),
        "epochs": trial.scores.len(),
        "val_loss": score.map(|score| score.loss),
        "val_accuracy": score.map(|score| score.accuracy),
        "seconds": trial.seconds,
        "worker": trial.worker,
    })
}

fn settings_json(study: &Study, trial: &Trial) -> Map<String, Value> {
    let names = study.space.parameters.iter().map(|parameter| parameter.name.clone());
    names.zip(trial.values.iter().map(|value| json!(value))).collect()
}

/// The `best` object.
pub fn best_json(state: &SearchState, best: &Trial, session: &str) -> Value {
    let score = best.score();
    json!({
        "event": "best",
        "trial": best.number,
        "settings": settings_json(&state.study, best),
        "val_accuracy": score.map(|score| score.accuracy),
        "val_loss": score.map(|score| score.loss),
        "epochs": best.scores.len(),
        "session": session,
    })
}

/// Whether a search goes on beside the run.
pub fn is_searching(state: &LabState) -> bool {
    state.search.as_ref().is_some_and(|search| search.phase == SearchPhase::Searching)
}

/// What became of the search beside the run, where it can't go on.
pub fn failed_search(state: &LabState) -> Option<Failure> {
    match &state.search.as_ref()?.phase {
        SearchPhase::Failed(failure) => Some(failure.clone()),
        _ => None,
    }
}

/// What was told of a lab's search.
#[derive(Debug, Default)]
pub struct ToldSearch {
    name: String,
    trials: Trials,
    end: End,
}

/// Whether the end was told.
#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Untold,
    Told,
}

impl ToldSearch {
    /// What is there already needs not be told.
    pub fn catch_up(&mut self, lab: &LabState) {
        let Some(search) = &lab.search else { return };
        let end = if search.phase == SearchPhase::Searching { End::Untold } else { End::Told };
        *self = Self { name: search.name.clone(), trials: Trials::clone(&search.trials), end };
    }

    /// Writes results that came, and at the end the best, which is saved by then; whether anybody reads them.
    pub fn tell(&mut self, lab: &LabState, output: Output) -> bool {
        let Some(search) = &lab.search else { return true };
        let goes_on = search.phase == SearchPhase::Searching;
        if self.name != search.name || goes_on && self.end == End::Told {
            *self = Self { name: search.name.clone(), ..Self::default() };
        }
        let mut results = search.trials.iter().filter(|result| self.trials.learn((*result).clone()));
        let read = results.all(|result| trial(search, result, output));
        if !read || goes_on || self.end == End::Told {
            return read;
        }
        self.end = End::Told;
        match (&search.phase, search.best()) {
            (SearchPhase::Done, Some(best)) => {
                let text = super::table::text(search, best, &search.name);
                output.offer(&best_json(search, best, &search.name), &text)
            }
            _ => true,
        }
    }
}
