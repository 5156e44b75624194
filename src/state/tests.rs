//! What follows from events.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{LabEvent, LabState, Level, LogLine, Phase, lines_since};
use crate::metrics::Evaluation;
use crate::train::Progress;
use crate::train::event::{Reason, TrainEvent};

/// Checks whether the test set as it was measured after `tested` steps is still known when a run of `steps` steps has ended.
#[track_caller]
fn check(tested: u64, steps: u64, reason: Reason, stays: bool) {
    let mut state = LabState::default();
    let evaluation = Arc::new(Evaluation::default());
    state.apply(LabEvent::Train(TrainEvent::Tested { step: tested, evaluation }));
    state.apply(LabEvent::Progress(Progress { step: steps, ..Progress::default() }));
    state.apply(LabEvent::Phase(Phase::Finished(reason)));
    assert_eq!(state.test.is_some(), stays, "measured after {tested} of {steps} steps: {:?}", state.phase);
}

#[test]
fn what_was_measured_with_weights_that_are_gone_is_forgotten() {
    let early_stop = || Reason::EarlyStop { best_epoch: 1 };
    check(20, 20, early_stop(), false);
    check(10, 20, early_stop(), true);
    let diverged = || Reason::Diverged { step: 25, kept_epoch: 2, kept_step: 20 };
    check(24, 20, diverged(), false);
    check(20, 20, diverged(), true);
    check(20, 20, Reason::Completed, true);
}

#[test]
fn each_line_of_a_log_is_new_once_also_when_the_oldest_are_dropped() {
    let lines = |numbers: std::ops::Range<u32>| -> VecDeque<LogLine> {
        numbers.map(|number| LogLine { level: Level::Warning, text: format!("line {number}") }).collect()
    };
    for (before, now, new) in [
        (0..0, 0..0, 0),
        (0..0, 0..3, 3),
        (0..3, 0..3, 0),
        (0..3, 0..5, 2),
        (0..5, 1..6, 1),
        (0..5, 4..9, 4),
        (0..5, 7..12, 5),
    ] {
        assert_eq!(lines_since(&lines(before.clone()), &lines(now.clone())), new, "{before:?} {now:?}");
    }
}
