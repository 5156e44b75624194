//! What the steps tell: whether anything is learnt at all.

use super::{Advice, Evidence, Finding, advice};
use crate::explain::DeadRelus;
use crate::train::history::StepRecord;

/// The loss of a guess among ten classes, ln 10.
const CHANCE: f64 = std::f64::consts::LN_10;
/// Fewer steps say nothing.
const ENOUGH: usize = 200;
/// A network that learns at all is right more often than this after its first epoch.
const LEARNS: f64 = 0.5;
/// And this often where it learns at a good pace.
const LEARNS_WELL: f64 = 0.9;
/// A step that changes a layer's weights by more than this is a large one, by less than that a small one: a thousandth is usual.
const LARGE: f32 = 0.02;
const SMALL: f32 = 1e-4;
/// Less of the last layer's gradient than this reaches the first one where it vanishes.
const VANISHES: f32 = 1e-3;

/// The training loss went up from one epoch to a later one.
pub fn diverging(evidence: &Evidence) -> Option<Advice> {
    let (last, before) = evidence.epochs.split_last()?;
    let best = before.iter().min_by(|a, b| a.train_loss.total_cmp(&b.train_loss))?;
    let rises = last.train_loss > 1.5 * best.train_loss && last.train_loss > 0.05;
    let shown = || {
        format!(
            "the training loss rose from {:.4} (epoch {}) to {:.4} (epoch {})",
            best.train_loss, best.epoch, last.train_loss, last.epoch
        ) + &large(evidence)
    };
    rises.then(shown).and_then(|shown| advice(Finding::Diverging, shown, [evidence.rate(0.1)]))
}

/// Hardly anything is learnt, and the loss does not fall, or is worse than a guess's.
pub fn too_high(evidence: &Evidence) -> Option<Advice> {
    let last = evidence.epochs.last()?;
    let [first, second] = halves(&evidence.steps)?;
    let falls = second < 0.98 * first;
    // With so small steps a loss that stands still has another reason.
    let could_be = evidence.settings.learning_rate > 1e-4;
    let is_stuck = last.train_accuracy < LEARNS && (!falls || last.train_loss > 1.1 * CHANCE) && could_be;
    let shown = || {
        let stands = if falls { "" } else { ", and it does not fall" };
        format!(
            "after epoch {} the training loss is {:.3} (a guess has {CHANCE:.2}), accuracy {:.1} %{stands}",
            last.epoch,
            last.train_loss,
            last.train_accuracy * 100.0
        ) + &large(evidence)
    };
    // What was broken by large steps does not mend with small ones: it begins anew.
    is_stuck.then(shown).and_then(|shown| {
        let rate = evidence.rate(0.1)?;
        advice(Finding::RateTooHigh, shown, [Some(rate), Some("new".into())])
    })
}

/// The loss falls steadily, but slowly.
pub fn too_low(evidence: &Evidence) -> Option<Advice> {
    let last = evidence.epochs.last()?;
    let [first, second] = halves(&evidence.steps)?;
    let is_slow = last.train_accuracy < LEARNS_WELL && second < first && evidence.settings.learning_rate <= 3e-4;
    let shown = || {
        format!(
            "after epoch {} accuracy is {:.1} %, and the loss falls steadily but slowly: {first:.3}, then {second:.3}",
            last.epoch,
            last.train_accuracy * 100.0
        ) + &small(evidence)
    };
    is_slow.then(shown).and_then(|shown| advice(Finding::RateTooLow, shown, [evidence.rate(10.0)]))
}

/// Nothing is learnt, and the first layer gets next to nothing of the gradient that the last one gets.
pub fn vanishing(evidence: &Evidence) -> Option<Advice> {
    let last = evidence.epochs.last()?;
    let [(first, from), .., (end, to)] = evidence.layers.as_slice() else { return None };
    let is_so = last.train_accuracy < LEARNS && to.gradient > 0.0 && from.gradient < VANISHES * to.gradient;
    let shown = || {
        format!(
            "after epoch {} accuracy is {:.1} %, and the gradient of layer {first} is {:.1e} beside {:.1e} of layer {end}",
            last.epoch,
            last.train_accuracy * 100.0,
            from.gradient,
            to.gradient
        )
    };
    // Batch norm and shortcuts lead it back.
    let other = (evidence.preset != Some("resnet")).then(|| "new resnet".to_owned());
    is_so.then(shown).and_then(|shown| advice(Finding::VanishingGradient, shown, [other]))
}

/// What the layers add where steps are large, if they are.
fn large(evidence: &Evidence) -> String {
    let step = evidence.largest_step().filter(|(_, ratio)| *ratio > LARGE);
    step.map_or_else(String::new, |(layer, ratio)| {
        format!("; a step changes layer {layer} by {:.1} % of its weights", ratio * 100.0)
    })
}

/// The same where they are small.
fn small(evidence: &Evidence) -> String {
    let step = evidence.largest_step().filter(|(_, ratio)| *ratio < SMALL);
    step.map_or_else(String::new, |(_, ratio)| {
        format!("; a step changes no layer by more than {ratio:.1e} of its weights")
    })
}

/// Units that never fire learn nothing any more.
pub fn dead(evidence: &Evidence, dead: &[DeadRelus]) -> Option<Advice> {
    let worst = dead.iter().max_by(|a, b| a.share().total_cmp(&b.share())).filter(|worst| worst.share() > 0.4)?;
    let DeadRelus { layer, dead, units } = worst;
    let shown = format!("{dead} of the {units} units of layer {layer} are 0 for every digit that was tried");
    advice(Finding::DeadRelus, shown, [evidence.rate(0.1), Some("new".into())])
}

/// The mean losses of the first and the second half of the steps.
fn halves(steps: &[&StepRecord]) -> Option<[f64; 2]> {
    if steps.len() < ENOUGH {
        return None;
    }
    let (first, second) = steps.split_at(steps.len() / 2);
    let mean = |part: &[&StepRecord]| part.iter().map(|step| f64::from(step.loss)).sum::<f64>() / part.len() as f64;
    Some([mean(first), mean(second)])
}
