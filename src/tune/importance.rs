//! How much each parameter matters: the share of the trials' variance that it explains.

use super::study::Study;
use super::trial::{Trial, Trials};

/// Groups that numbers are divided into.
const GROUPS: usize = 4;
/// Trials before anything can be said.
const ENOUGH: usize = 6;

/// The share of the variance of the objective that each parameter explains by itself, 0 to 1, in the order of the space: ε² of a one-way
/// analysis of variance (Kelley 1935), which takes off what chance alone would explain. Numbers are divided into four groups by rank.
/// All trials are compared after the same epoch, the last that each of them reached; one that diverged counts as the worst of
/// the others. `None` while there are too few trials.
pub fn importance(study: &Study, trials: &Trials) -> Option<Vec<f64>> {
    let scored: Vec<_> = trials.iter().filter(|trial| !trial.scores.is_empty()).collect();
    let common = scored.iter().filter(|trial| trial.score().is_some()).map(|trial| trial.scores.len()).min()?;
    let cost = |trial: &&Trial| match trial.score() {
        Some(_) => trial.cost_after(study.objective, common as u32),
        None => f64::INFINITY,
    };
    let mut costs: Vec<f64> = scored.iter().map(cost).collect();
    let worst = costs.iter().copied().filter(|cost| cost.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    costs.iter_mut().filter(|cost| !cost.is_finite()).for_each(|cost| *cost = worst);
    if costs.len() < ENOUGH {
        return None;
    }
    let places: Vec<Vec<f64>> = scored.iter().map(|trial| study.space.places(&trial.values)).collect();
    let explained = |index: usize| {
        let column: Vec<f64> = places.iter().map(|row| row[index]).collect();
        epsilon_squared(&groups(&column), &costs)
    };
    Some((0..study.space.parameters.len()).map(explained).collect())
}

/// The group of each place: one for each value where there are few, else by rank.
fn groups(column: &[f64]) -> Vec<usize> {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut kinds = sorted.clone();
    kinds.dedup();
    let group = |place: &f64| {
        if kinds.len() <= GROUPS + 2 {
            kinds.partition_point(|kind| kind < place)
        } else {
            sorted.partition_point(|other| other < place) * GROUPS / sorted.len()
        }
    };
    column.iter().map(group).collect()
}

/// ε² = (SS between − df between · MS within) / SS total, and 0 where that is less.
fn epsilon_squared(groups: &[usize], costs: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let total_mean = mean(costs);
    let total: f64 = costs.iter().map(|cost| (cost - total_mean).powi(2)).sum();
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let members = (0..count).map(|group| {
        let of_group = groups.iter().zip(costs).filter(move |(other, _)| **other == group);
        of_group.map(|(_, cost)| *cost).collect::<Vec<f64>>()
    });
    let members: Vec<Vec<f64>> = members.filter(|members| !members.is_empty()).collect();
    let between: f64 = members.iter().map(|members| members.len() as f64 * (mean(members) - total_mean).powi(2)).sum();
    let within_freedom = costs.len().saturating_sub(members.len()) as f64;
    if total <= 0.0 || within_freedom <= 0.0 {
        return 0.0;
    }
    let by_chance = (members.len() - 1) as f64 * (total - between) / within_freedom;
    ((between - by_chance) / total).clamp(0.0, 1.0)
}
