//! Trials as they are told: objects for programs, sentences for people, each once.

use serde_json::{Map, Value, json};

use crate::cli::output::Output;
use crate::search::{SearchPhase, SearchState};
use crate::state::LabState;
use crate::tune::study::Study;
use crate::tune::trial::{Trial, Trials};

/// Writes what came of a trial.
pub fn trial(state: &SearchState, trial: &Trial, output: Output) {
    if output.is_json() {
        output.data(&trial_json(state, trial), "");
    } else {
        output.note(&state.study.sentence(trial));
    }
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

    /// Writes results that came, and the best at the end.
    pub fn tell(&mut self, lab: &LabState, output: Output) {
        let Some(search) = &lab.search else { return };
        let goes_on = search.phase == SearchPhase::Searching;
        if self.name != search.name || goes_on && self.end == End::Told {
            *self = Self { name: search.name.clone(), ..Self::default() };
        }
        for result in search.trials.iter().filter(|result| self.trials.learn((*result).clone())) {
            trial(search, result, output);
        }
        if goes_on || self.end == End::Told {
            return;
        }
        self.end = End::Told;
        if let (SearchPhase::Done, Some(best)) = (&search.phase, search.best()) {
            output.data(&best_json(search, best, &search.name), &super::table::text(search, best, &search.name));
        }
    }
}
