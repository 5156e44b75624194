//! Smoothing: a moving average of the steps, and how much of the past it keeps.

use super::window::round_up;
use crate::metrics::average::MovingAverage;

/// How much of the past the average keeps at each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Smoothing {
    /// As suits the length of the run.
    #[default]
    Suited,
    /// A little: 0.9.
    Light,
    /// 0.97.
    Medium,
    /// Much: 0.99.
    Strong,
    /// Nothing: the steps as they were.
    Off,
}

impl Smoothing {
    /// The next one.
    pub const fn next(self) -> Self {
        match self {
            Self::Suited => Self::Light,
            Self::Light => Self::Medium,
            Self::Medium => Self::Strong,
            Self::Strong => Self::Off,
            Self::Off => Self::Suited,
        }
    }

    /// What stands on the frame; nothing for the usual.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Suited => "",
            Self::Light => "smoothing 0.9",
            Self::Medium => "smoothing 0.97",
            Self::Strong => "smoothing 0.99",
            Self::Off => "not smoothed",
        }
    }

    /// What the average keeps at each of a run's `steps` steps.
    pub fn keeps(self, steps: u64) -> f64 {
        match self {
            Self::Suited => 1.0 - (50.0 / round_up(steps) as f64).clamp(0.02, 1.0),
            Self::Light => 0.9,
            Self::Medium => 0.97,
            Self::Strong => 0.99,
            Self::Off => 0.0,
        }
    }
}

/// Points `(place, value)`, each the [`MovingAverage`] of the values up to it. What is no number is left out.
pub fn smooth(points: &[(f64, f64)], keep: f64) -> Vec<(f64, f64)> {
    let mut average = MovingAverage::new(keep);
    points.iter().filter(|point| point.1.is_finite()).map(|&(place, value)| (place, average.add(value))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{Smoothing, smooth};

    #[test]
    fn smoothing_keeps_a_level_and_leaves_out_what_is_no_number() {
        let mut points: Vec<(f64, f64)> = (0..1000).map(|step| (f64::from(step), 0.5)).collect();
        points[3].1 = f64::NAN;
        let smoothed = smooth(&points, 0.95);
        assert_eq!(smoothed.len(), 999);
        assert!(smoothed.iter().all(|point| (point.1 - 0.5).abs() < 1e-12));
    }

    #[test]
    fn turned_on_it_comes_back() {
        let mut all = vec![Smoothing::default()];
        while all.len() == 1 || all[all.len() - 1] != all[0] {
            let next = all[all.len() - 1].next();
            assert!((0.0..1.0).contains(&next.keeps(7500)));
            all.push(next);
        }
        assert_eq!(all.len(), 6);
        assert!((Smoothing::Suited.keeps(7500) - 0.98).abs() < 1e-12 && Smoothing::Suited.keeps(3).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn it_is_what_its_definition_says(values in prop::collection::vec(-9.0..9.0f64, 1..60), keep in 0.0..0.999f64) {
            let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(at, &value)| (at as f64, value)).collect();
            let smoothed = smooth(&points, keep);
            prop_assert_eq!(smoothed.len(), values.len());
            for (at, &(place, value)) in smoothed.iter().enumerate() {
                let weights: Vec<f64> = (0..=at).map(|back| keep.powi((at - back) as i32)).collect();
                let sum: f64 = weights.iter().zip(&values).map(|(weight, value)| weight * value).sum();
                let expected = sum / weights.iter().sum::<f64>();
                prop_assert!((value - expected).abs() < 1e-9 && place.to_bits() == (at as f64).to_bits());
            }
        }

        #[test]
        fn without_it_the_steps_are_as_they_were(values in prop::collection::vec(-9.0..9.0f64, 1..60)) {
            let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(at, &value)| (at as f64, value)).collect();
            prop_assert_eq!(smooth(&points, Smoothing::Off.keeps(60)), points);
        }
    }
}
