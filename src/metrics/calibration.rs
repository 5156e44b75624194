//! Whether the network is as often right as it says.

use super::Outcome;

/// Parts that the confidences are divided into.
pub const BINS: usize = 10;

/// The predictions of one part of the confidences.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Bin {
    /// Where the part begins; it ends where the next one does.
    pub from: f64,
    /// Predictions in it.
    pub count: u32,
    /// Their mean confidence; 0 without any.
    pub confidence: f64,
    /// The share that is right; 0 without any.
    pub accuracy: f64,
}

/// Confidence against accuracy (Guo et al. 2017, arXiv:1706.04599).
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Calibration {
    /// Mean distance of confidence and accuracy over all predictions, 0 to 1.
    pub expected_calibration_error: f64,
    /// Mean confidence minus accuracy: above 0 the network is too sure of itself.
    pub overconfidence: f64,
    /// The reliability diagram: equal parts of the confidences from 0 to 1.
    pub bins: [Bin; BINS],
}

impl Calibration {
    /// The calibration of these predictions.
    pub fn new(outcomes: &[Outcome]) -> Self {
        let mut sums = [(0u32, 0.0, 0u32); BINS];
        for outcome in outcomes {
            let confidence = f64::from(outcome.confidence);
            // NaN lands in the first bin.
            let sum = &mut sums[((confidence * BINS as f64) as usize).min(BINS - 1)];
            sum.0 += 1;
            sum.1 += confidence;
            sum.2 += u32::from(!outcome.is_wrong());
        }
        let total = outcomes.len().max(1) as f64;
        let bins = std::array::from_fn(|bin| {
            let (count, confidence, right) = sums[bin];
            let share = |sum: f64| if count == 0 { 0.0 } else { sum / f64::from(count) };
            let from = bin as f64 / BINS as f64;
            Bin { from, count, confidence: share(confidence), accuracy: share(f64::from(right)) }
        });
        let weighed = |distance: fn(&Bin) -> f64| {
            bins.iter().map(|bin| distance(bin) * f64::from(bin.count)).sum::<f64>() / total
        };
        Self {
            expected_calibration_error: weighed(|bin| (bin.confidence - bin.accuracy).abs()),
            overconfidence: weighed(|bin| bin.confidence - bin.accuracy),
            bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Calibration, Outcome};

    fn outcomes(parts: &[(usize, usize, f32)]) -> Vec<Outcome> {
        let outcome =
            |confidence, right| Outcome { index: 0, label: 1, predicted: u8::from(right), confidence, loss: 0.1 };
        let part = |&(count, right, confidence)| (0..count).map(move |at| outcome(confidence, at < right));
        parts.iter().flat_map(part).collect()
    }

    #[test]
    fn who_is_right_as_often_as_said_has_no_error() {
        let calibration = Calibration::new(&outcomes(&[(4, 3, 0.75), (10, 9, 0.9)]));
        assert!(calibration.expected_calibration_error < 1e-6, "{calibration:?}");
    }

    #[test]
    fn the_error_is_the_mean_distance() {
        // 8 at 95 % of which 6 are right, 2 at 55 % both of which are: |.95 − .75| · .8 + |.55 − 1| · .2.
        let calibration = Calibration::new(&outcomes(&[(8, 6, 0.95), (2, 2, 0.55)]));
        assert!((calibration.expected_calibration_error - 0.25).abs() < 1e-6, "{calibration:?}");
        assert!((calibration.overconfidence - 0.07).abs() < 1e-6, "{calibration:?}");
        assert_eq!((calibration.bins[9].count, calibration.bins[5].count, calibration.bins[0].count), (8, 2, 0));
    }

    #[test]
    fn certainty_and_nothing_have_their_place() {
        assert_eq!(Calibration::new(&outcomes(&[(3, 3, 1.0)])).bins[9].count, 3);
        assert!(Calibration::new(&[]).expected_calibration_error.abs() < 1e-12);
    }
}
