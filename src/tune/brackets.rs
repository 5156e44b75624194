//! Successive halving: many trials with few epochs, of which the best third goes on with three times as many; Hyperband: brackets of it.

use super::study::{Algorithm, Study};

/// One in so many trials goes on, with as many times the epochs.
const RATE: u32 = 3;

/// Trials that are compared with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// The number of its first trial.
    pub first: u32,
    /// From all of its trials with few epochs to few trials with all epochs.
    pub rungs: Vec<Rung>,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// How many trials come to it: the best of the rung below.
    pub trials: u32,
    /// Epochs that they have at its end.
    pub epochs: u32,
}

/// The brackets of `study`.
pub fn brackets(study: &Study) -> Vec<Bracket> {
    let (all, epochs) = (study.trials(), study.epochs);
    let rungs = epochs.max(1).ilog(RATE);
    if study.algorithm == Algorithm::Halving {
        return vec![bracket(0, all, epochs, rungs)];
    }
    let mut brackets = Vec::new();
    let mut first = 0;
    for above in (0..=rungs).rev().cycle() {
        if first >= all {
            break;
        }
        // The table of Li et al. (2018): each bracket costs about the same.
        let size = ((rungs + 1) * RATE.pow(above)).div_ceil(above + 1).min(all - first);
        brackets.push(bracket(first, size, epochs, above));
        first += size;
    }
    brackets
}

/// A bracket of `size` trials with `above` rungs above the lowest.
fn bracket(first: u32, size: u32, epochs: u32, above: u32) -> Bracket {
    let rung = |number: u32| Rung {
        trials: (size / RATE.pow(number)).max(1),
        epochs: (epochs / RATE.pow(above - number)).max(1),
    };
    Bracket { first, rungs: (0..=above).map(rung).collect() }
}
