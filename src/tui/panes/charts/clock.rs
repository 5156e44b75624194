//! What the horizontal axis counts: epochs, steps or seconds of training, and where each step of a run lies on it.

use crate::state::LabState;
use crate::train::history::History;

/// Places of the axis that an epoch takes.
const EPOCH: f64 = 10_000.0;
/// Places that a second takes.
const SECOND: f64 = 1000.0;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// Epochs: runs with batches of another size lie on each other.
    #[default]
    Epochs,
    /// Training steps.
    Steps,
    /// Seconds of training as they were recorded, pauses and validation left out.
    Time,
}

impl Across {
    /// The next one.
    pub const fn next(self) -> Self {
        match self {
            Self::Epochs => Self::Steps,
            Self::Steps => Self::Time,
            Self::Time => Self::Epochs,
        }
    }

    /// What stands on the frame.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Epochs => "by epoch",
            Self::Steps => "by step",
            Self::Time => "by time",
        }
    }

    /// The word beside the numbers of an axis over so many places, and the places that one counts.
    pub fn unit(self, places: u64) -> (&'static str, f64) {
        match self {
            Self::Epochs => ("epoch", EPOCH),
            Self::Steps => ("step", 1.0),
            Self::Time if places as f64 > 600.0 * SECOND => ("min", 60.0 * SECOND),
            Self::Time => ("s", SECOND),
        }
    }
}

/// Lays the steps of one run on the axis.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Steps and their places, both rising: the ends of epochs.
    knots: Vec<(u64, f64)>,
    /// Places of a step after the last of them.
    pace: f64,
}

impl Clock {
    /// The clock of the run that is shown. How long its running epoch takes is known before it has ended.
    pub fn of(across: Across, lab: &LabState) -> Self {
        let history = lab.whole_history();
        let batch = lab.settings.batch_size.max(1);
        let epoch = lab.run.as_ref().map(|run| run.split.train.len().div_ceil(batch)).filter(|steps| *steps > 0);
        let since = lab.progress.step.saturating_sub(lab.history.epochs.last().map_or(0, |epoch| epoch.step));
        let pace = match across {
            Across::Epochs => epoch.map(|steps| EPOCH / steps as f64),
            Across::Steps => None,
            Across::Time => Some(lab.progress.epoch_seconds * SECOND / since.max(1) as f64),
        };
        Self::new(across, history, pace.filter(|pace| *pace > 0.0 && pace.is_finite()))
    }

    /// The clock of `history`; after its last epoch it goes on by `pace` places a step, or as in that epoch.
    pub fn new(across: Across, history: &History, pace: Option<f64>) -> Self {
        let mut knots: Vec<(u64, f64)> = Vec::new();
        let mut seconds = 0.0;
        for epoch in history.epochs.iter().filter(|_| across != Across::Steps) {
            seconds += if epoch.seconds.is_finite() { epoch.seconds.max(0.0) } else { 0.0 };
            let place = if across == Across::Time { seconds * SECOND } else { f64::from(epoch.epoch) * EPOCH };
            // Whatever a file says, steps and places rise together.
            let (before, at) = knots.last().copied().unwrap_or_default();
            if epoch.step > before && place > at {
                knots.push((epoch.step, place));
            }
        }
        let last = knots.last().map(|&(step, place)| {
            let (before, at) = knots.len().checked_sub(2).map_or((0, 0.0), |index| knots[index]);
            (place - at) / (step - before) as f64
        });
        Self { knots, pace: pace.or(last).unwrap_or(1.0) }
    }

    /// Where `step` lies.
    pub fn at(&self, step: u64) -> f64 {
        let next = self.knots.partition_point(|knot| knot.0 < step);
        let (before, at) = self.before(next);
        let pace = self.knots.get(next).map_or(self.pace, |&(end, place)| (place - at) / (end - before) as f64);
        at + (step - before) as f64 * pace
    }

    /// The step that lies nearest to `place`.
    pub fn step(&self, place: f64) -> u64 {
        let next = self.knots.partition_point(|knot| knot.1 < place);
        let (before, at) = self.before(next);
        let pace = self.knots.get(next).map_or(self.pace, |&(end, to)| (to - at) / (end - before) as f64);
        before.saturating_add(((place - at) / pace).max(0.0).round() as u64)
    }

    /// Places of a step after the last epoch.
    pub const fn pace(&self) -> f64 {
        self.pace
    }

    /// The places that so many steps take, of the last ones.
    pub fn places(&self, steps: u64) -> u64 {
        (self.pace * steps as f64).ceil().max(1.0) as u64
    }

    /// The knot before number `next`: the beginning, if there is none.
    fn before(&self, next: usize) -> (u64, f64) {
        next.checked_sub(1).map_or((0, 0.0), |index| self.knots[index])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop;
    use proptest::{prop_assert, proptest};

    use super::{Across, Clock};
    use crate::train::history::{EpochRecord, History};

    fn history(epochs: &[(u64, f64)]) -> History {
        let epoch = |(&(step, seconds), epoch): (&(u64, f64), u32)| EpochRecord {
            epoch,
            step,
            train_loss: 0.1,
            train_accuracy: 0.9,
            validation: None,
            learning_rate: 1e-3,
            seconds,
            samples: 10,
        };
        History { epochs: epochs.iter().zip(1..).map(epoch).collect(), ..History::default() }
    }

    #[track_caller]
    fn check(across: Across, epochs: &[(u64, f64)], step: u64, expected: f64) {
        let place = Clock::new(across, &history(epochs), None).at(step);
        assert!((place - expected).abs() < 1e-6, "{across:?} {step}: {place}");
    }

    #[test]
    fn each_axis_has_its_places() {
        let epochs = [(10, 2.0), (15, 4.0)];
        check(Across::Steps, &epochs, 12, 12.0);
        check(Across::Epochs, &epochs, 12, 14_000.0);
        check(Across::Epochs, &epochs, 20, 30_000.0);
        check(Across::Time, &epochs, 5, 1000.0);
        check(Across::Time, &epochs, 15, 6000.0);
        check(Across::Time, &epochs, 16, 6800.0);
        check(Across::Time, &[], 16, 16.0);
    }

    proptest! {
        /// Whatever the epochs were: later steps lie further right, and each is found again where it lies.
        #[test]
        fn steps_and_places_rise_together(
            epochs in prop::collection::vec((0..5000u64, -1.0..9.0f64), 0..8),
            step in 0..9000u64,
        ) {
            for across in [Across::Epochs, Across::Steps, Across::Time] {
                let clock = Clock::new(across, &history(&epochs), None);
                prop_assert!(clock.at(step) < clock.at(step + 1));
                prop_assert!(clock.step(clock.at(step)) == step, "{across:?} {step}");
            }
        }
    }
}
