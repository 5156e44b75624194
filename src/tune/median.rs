//! The median rule: a trial that is worse than the median of those before it, after as many epochs, is given up.

use super::study::Study;
use super::trial::{Trials, best};
use crate::train::history::Measured;

/// As many must have come as far before one is given up.
const COMPARED: usize = 4;

/// Whether trial `number` of `study`, with these scores so far, is to be given up. A trial has a quarter of its epochs at least, since
/// early ones say little.
pub fn is_bad(study: &Study, number: u32, scores: &[Measured], trials: &Trials) -> bool {
    let epochs = scores.len();
    let early = epochs < (study.epochs as usize).div_ceil(4) || epochs >= study.epochs as usize;
    if !study.stops_bad_trials() || early {
        return false;
    }
    let as_far = trials.before(number, study).filter(|trial| trial.scores.len() >= epochs);
    let mut others: Vec<f64> = as_far.map(|trial| trial.best_within(study.objective, epochs)).collect();
    if others.len() < COMPARED {
        return false;
    }
    others.sort_by(f64::total_cmp);
    best(study.objective, scores) > others[(others.len() - 1) / 2]
}
