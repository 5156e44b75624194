//! Which values a vertical axis must reach, and which may lie outside.

/// The share of the values that an axis reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All but the highest hundredth, which the first steps take.
    #[default]
    Usual,
    /// From the 2nd to the 98th percentile, so that outliers on either side don't matter.
    Middle,
    /// All.
    Whole,
}

impl Reach {
    /// The next one.
    pub const fn next(self) -> Self {
        match self {
            Self::Usual => Self::Middle,
            Self::Middle => Self::Whole,
            Self::Whole => Self::Usual,
        }
    }

    /// What stands on the frame; nothing for the usual.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Middle => "percentiles 2-98",
            Self::Whole => "whole range",
        }
    }

    /// The least and the largest value that must be reached; `None` without a value.
    pub fn of(self, mut values: Vec<f64>) -> Option<[f64; 2]> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let [low, high] = match self {
            Self::Usual => [0, last * 99 / 100],
            Self::Middle => [last * 2 / 100, last - last * 2 / 100],
            Self::Whole => [0, last],
        };
        Some([values[low], values[high]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::Reach;

    #[test]
    fn an_outlier_is_out_of_reach() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        values.extend([-1e9, 1e9, f64::NAN]);
        assert_eq!(Reach::Middle.of(values.clone()), Some([1.0, 98.0]));
        assert_eq!(Reach::Whole.of(values), Some([-1e9, 1e9]));
        assert_eq!(Reach::Middle.of(vec![f64::NAN]), None);
    }

    proptest! {
        #[test]
        fn the_stated_share_is_reached(values in prop::collection::vec(-1e3..1e3f64, 1..400)) {
            let within = |reach: Reach| {
                let [low, high] = reach.of(values.clone()).unwrap_or_default();
                values.iter().filter(|value| (low..=high).contains(value)).count() as f64 / values.len() as f64
            };
            prop_assert_eq!(within(Reach::Whole).to_bits(), 1.0f64.to_bits());
            prop_assert!(within(Reach::Usual) >= 0.99 - 1.0 / values.len() as f64);
            prop_assert!(within(Reach::Middle) >= 0.96);
            let sure_outside = (values.len() as f64 * 0.02).floor() as usize;
            let [low, high] = Reach::Middle.of(values.clone()).unwrap_or_default();
            let below = values.iter().filter(|value| **value < low).count();
            let above = values.iter().filter(|value| **value > high).count();
            prop_assert!(below <= sure_outside && above <= sure_outside);
        }
    }
}
