//! What the epochs tell: how training and validation go together.

use super::{Advice, Evidence, Finding, advice};
use crate::train::history::{EpochRecord, Measured};
use crate::train::settings::Setting;

/// Below this accuracy on its own training digits a network has not learnt them.
const LEARNT: f64 = 0.97;

/// The validation loss has risen for epochs while the training loss is far below it.
pub fn overfitting(evidence: &Evidence) -> Option<Advice> {
    let last = evidence.epochs.last()?;
    let now = last.validation?;
    let (best_epoch, best) = best(&evidence.epochs)?;
    let rose = last.epoch >= best_epoch + 2 && now.loss > 1.1 * best.loss;
    let is_apart = last.train_loss < 0.6 * now.loss;
    let shown = || {
        format!(
            "the validation loss rose from {:.4} (epoch {best_epoch}) to {:.4} while the training loss fell to {:.4}",
            best.loss, now.loss, last.train_loss
        )
    };
    (rose && is_apart).then(shown).and_then(|shown| advice(Finding::Overfitting, shown, [brake(evidence)]))
}

/// The first brake that is not on yet.
fn brake(evidence: &Evidence) -> Option<String> {
    let settings = evidence.settings;
    if evidence.has_dropout && settings.dropout == 0.0 {
        return evidence.set(Setting::Dropout, "0.3");
    }
    if settings.augment == crate::data::augment::Augment::default() {
        return evidence.set(Setting::Augment, "tutorial");
    }
    if settings.weight_decay == 0.0 {
        return evidence.set(Setting::WeightDecay, "1e-4");
    }
    settings.early_stop.is_none().then(|| evidence.set(Setting::EarlyStop, "3")).flatten()
}

/// The training digits themselves are not learnt, and it goes on no further.
pub fn underfitting(evidence: &Evidence) -> Option<Advice> {
    let [.., before, last] = &evidence.epochs[..] else { return None };
    let slows = last.train_loss > 0.95 * before.train_loss;
    let together = last.validation.is_none_or(|validation| validation.loss <= 1.1 * last.train_loss);
    let is_so = evidence.epochs.len() >= 3 && last.train_accuracy < LEARNT && slows && together;
    let shown = || {
        format!(
            "after epoch {} only {:.1} % of the training digits are right, and the loss still is {:.3} after {:.3}",
            last.epoch,
            last.train_accuracy * 100.0,
            last.train_loss,
            before.train_loss
        )
    };
    is_so.then(shown).and_then(|shown| advice(Finding::Underfitting, shown, [release(evidence)]))
}

/// The strongest brake off; without one, a larger network.
fn release(evidence: &Evidence) -> Option<String> {
    let settings = evidence.settings;
    if settings.dropout > 0.3 && evidence.has_dropout {
        return evidence.set(Setting::Dropout, "0.1");
    }
    if settings.weight_decay >= 1e-3 {
        return evidence.set(Setting::WeightDecay, "0");
    }
    if settings.label_smoothing > 0.1 {
        return evidence.set(Setting::LabelSmoothing, "0");
    }
    match evidence.preset {
        Some("wide" | "resnet" | "strided") => None,
        Some("tutorial") => Some("new wide".into()),
        _ => Some("new tutorial".into()),
    }
}

/// Neither loss has got better for epochs: smaller steps may find a way on.
pub fn plateau(evidence: &Evidence) -> Option<Advice> {
    let (before, late) = evidence.epochs.split_at_checked(evidence.epochs.len().checked_sub(3)?)?;
    let (_, best_before) = best(before)?;
    let (_, best_late) = best(late)?;
    let (from, to) = (before.last()?, late.last()?);
    let stands = best_late.loss > 0.99 * best_before.loss && to.train_loss > 0.97 * from.train_loss;
    let shown = || {
        format!(
            "for 3 epochs the validation loss is no better than {:.4} and the training loss stays at {:.4}",
            best_before.loss, to.train_loss
        )
    };
    (stands && to.train_accuracy < 0.9995)
        .then(shown)
        .and_then(|shown| advice(Finding::Plateau, shown, [evidence.rate(0.3)]))
}

/// The epoch with the least validation loss.
fn best(epochs: &[&EpochRecord]) -> Option<(u32, Measured)> {
    let measured = epochs.iter().filter_map(|epoch| Some((epoch.epoch, epoch.validation?)));
    measured.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss))
}
