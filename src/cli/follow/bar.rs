//! The bar between two epochs.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::state::{GpuFigure, LabState};
use crate::train::Goal;

/// A bar that stands at the beginning.
pub fn new() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3} %  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The epoch that is trained, and thousandths of it that are done: all of them while it is validated.
fn place(state: &LabState) -> (String, u64) {
    let epoch = state.progress.epoch;
    let total = match state.goal {
        Some(Goal::Epoch(epoch)) => format!("/{epoch}"),
        _ => String::new(),
    };
    (format!("epoch {}{total}", epoch + 1), ((state.epochs_done() - f64::from(epoch)) * 1000.0) as u64)
}

/// Shows how far the epoch is, and what there is to know of it.
pub fn advance(bar: &ProgressBar, state: &LabState) {
    let (epoch, done) = place(state);
    bar.set_prefix(epoch);
    bar.set_position(done);
    let mut message = match (state.validating, state.history.steps.last()) {
        (Some((done, total)), _) => format!("validating {done}/{total}"),
        (None, Some(step)) => format!("loss {:.4}", step.loss),
        (None, None) => String::new(),
    };
    if let Some(rate) = state.samples_per_second() {
        message += &format!(", {:.1} k samples/s", rate / 1000.0);
    }
    if let Some(seconds) = state.eta() {
        message += &format!(", {seconds:.0} s left");
    }
    if let Some(busy) = state.gpu.newest().and_then(|reading| GpuFigure::Utilisation.text(reading)) {
        message += &format!(", gpu {busy}");
    }
    bar.set_message(message);
}

#[cfg(test)]
mod tests {
    use super::place;
    use crate::state::LabState;
    use crate::train::{Goal, Progress};

    #[test]
    fn an_epoch_that_is_validated_is_not_yet_the_next() {
        let goal = Some(Goal::Epoch(2));
        // Without a run an epoch counts as one sample.
        let at = |epoch, sample| {
            let progress = Progress { epoch, sample, ..Progress::default() };
            place(&LabState { progress, goal, ..LabState::default() })
        };
        assert_eq!(at(0, 0), ("epoch 1/2".into(), 0));
        assert_eq!(at(0, 1), ("epoch 1/2".into(), 1000));
        assert_eq!(at(1, 0), ("epoch 2/2".into(), 0));
        assert_eq!(at(1, 1), ("epoch 2/2".into(), 1000));
    }
}
