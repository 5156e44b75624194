//! What is to be done next, as far as the results that are there say it.

use super::brackets::{Bracket, brackets};
use super::study::Study;
use super::trial::{Task, Trials};

/// The tasks that can be done now, each beside the others, the most urgent first; none when the search is done. One that somebody does
/// already is among them until its result is there.
pub fn open_tasks(study: &Study, trials: &Trials) -> Vec<Task> {
    if study.has_brackets() {
        return brackets(study).iter().flat_map(|bracket| tasks_of(bracket, study, trials)).collect();
    }
    let count = study.trials();
    let finished = |number: u32| trials.get(number).is_some_and(|trial| trial.has(study.epochs));
    let first = (0..count).find(|number| !finished(*number)).unwrap_or(count);
    // A trial knows of all that began `lag` before it: they must have ended.
    let end = if study.learns() { (first + study.lag).min(count) } else { count };
    (first..end).filter(|number| !finished(*number)).map(|trial| Task { trial, epochs: study.epochs }).collect()
}

/// The open tasks of a bracket: of its lowest rung that has one.
fn tasks_of(bracket: &Bracket, study: &Study, trials: &Trials) -> Vec<Task> {
    let mut members: Vec<u32> = (bracket.first..).take(bracket.rungs[0].trials as usize).collect();
    for (rung, above) in bracket.rungs.iter().zip(bracket.rungs.iter().skip(1).map(Some).chain([None])) {
        let unfinished = |number: &&u32| trials.get(**number).is_none_or(|trial| !trial.has(rung.epochs));
        let open: Vec<u32> = members.iter().filter(unfinished).copied().collect();
        if !open.is_empty() {
            return open.into_iter().map(|trial| Task { trial, epochs: rung.epochs }).collect();
        }
        let Some(above) = above else { break };
        let cost =
            |number: u32| trials.get(number).map_or(f64::INFINITY, |t| t.cost_after(study.objective, rung.epochs));
        members.sort_by(|&a, &b| cost(a).total_cmp(&cost(b)).then(a.cmp(&b)));
        members.truncate(above.trials as usize);
        members.sort_unstable();
    }
    Vec::new()
}
