//! The vertical axis: its scale, its range, and the round numbers that stand beside it.

/// What a logarithmic axis of losses shows of all that is smaller, zero included.
const FLOOR: f64 = 1e-4;
/// The same of one for all magnitudes.
const LOWEST: f64 = 1e-9;
/// Labels of an axis, besides the lowest, at most; and lines from one to the next, at least.
const LABELS: u16 = 6;
const APART: u16 = 2;

/// How values lie on the axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    #[default]
    Logarithmic,
    /// Logarithmic without the floor of losses, for gradients and updates.
    Magnitudes,
    Linear,
}

impl Scale {
    /// Where `value` lies.
    pub fn of(self, value: f64) -> f64 {
        match self {
            Self::Logarithmic => value.max(FLOOR).log10(),
            Self::Magnitudes => value.max(LOWEST).log10(),
            Self::Linear => value,
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Self::Logarithmic | Self::Magnitudes => 10f64.powf(place),
            Self::Linear => place,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Logarithmic | Self::Magnitudes => Self::Linear,
            Self::Linear => Self::Logarithmic,
        }
    }

    /// The range of an axis over the places from `low` to `high`: a little wider, so that it seldom changes while the run
    /// goes on.
    pub fn around(self, [low, high]: [f64; 2]) -> [f64; 2] {
        if high <= low {
            return match self {
                Self::Logarithmic | Self::Magnitudes => [low - 0.5, low + 0.5],
                Self::Linear => [(low - 0.5).max(0.0), low + 0.5],
            };
        }
        let unit = match self {
            Self::Logarithmic | Self::Magnitudes => 0.1,
            Self::Linear => 10f64.powf((high - low).log10().floor()) / 10.0,
        };
        [(low / unit).floor() * unit, (high / unit).ceil() * unit]
    }

    /// What stands beside the `rows` lines of an axis over `range`: the line, from the top, and a number that lies on it.
    pub fn labels(self, [low, high]: [f64; 2], rows: u16) -> Vec<(u16, String)> {
        let last = rows.saturating_sub(1);
        let parts = (last / APART).clamp(1, LABELS);
        // The lines of dots are spread so that the first and the last lie on the ends of the range.
        let place = |row: f64| high - (high - low) * (row / f64::from(last)).clamp(0.0, 1.0);
        let number = |row: u16| {
            let (above, below) = (place(f64::from(row) - 0.5), place(f64::from(row) + 0.5));
            roundest(self.value(below), self.value(above))
        };
        (0..=parts).map(|part| part * last / parts).map(|row| (row, number(row))).collect()
    }
}

/// The number from `low` to `high` that is written with the fewest digits.
fn roundest(low: f64, high: f64) -> String {
    if low <= 0.0 {
        return "0".into();
    }
    let magnitude = high.log10().floor() as i32;
    let multiple = |(factor, digits): (f64, i32)| {
        let unit = factor * 10f64.powi(magnitude + 1 - digits);
        let number = (low / unit - 1e-9).ceil() * unit;
        let decimals = (digits - 1 - magnitude).max(0) as usize;
        let written = || {
            let behind = digits as usize - 1;
            if magnitude < -4 { format!("{number:.behind$e}") } else { format!("{number:.decimals$}") }
        };
        (number <= high * (1.0 + 1e-9)).then(written)
    };
    let units = [(1.0, 1), (5.0, 2), (1.0, 2), (5.0, 3), (1.0, 3), (1.0, 4)];
    units.into_iter().find_map(multiple).unwrap_or_else(|| format!("{low:.4}"))
}

#[cfg(test)]
mod tests {
    use super::{Scale, roundest};

    #[test]
    fn the_roundest_number_is_taken() {
        for (low, high, expected) in [
            (0.24, 0.27, "0.25"),
            (0.18, 0.22, "0.2"),
            (1.45, 1.62, "1.5"),
            (0.0401, 0.0424, "0.041"),
            (0.95, 1.1, "1"),
            (8.0, 11.0, "10"),
            (0.0, 0.03, "0"),
            (1.9e-6, 2.1e-6, "2e-6"),
            (1.41e-6, 1.52e-6, "1.5e-6"),
            (0.123_451, 0.123_459, "0.1235"),
        ] {
            assert_eq!(roundest(low, high), expected, "{low} to {high}");
        }
    }

    #[test]
    fn labels_stand_at_both_ends_and_apart() {
        let labels = Scale::Logarithmic.labels([-2.0, 0.0], 9);
        let expected = [(0, "1"), (2, "0.3"), (4, "0.1"), (6, "0.03"), (8, "0.01")];
        assert_eq!(labels, expected.map(|(row, label)| (row, label.to_owned())));
        assert_eq!(Scale::Linear.labels([0.0, 0.5], 1).len(), 2);
        assert!(Scale::Linear.labels([0.0, 0.5], 0).iter().all(|(row, _)| *row == 0));
    }

    #[test]
    fn a_range_is_never_empty() {
        for scale in [Scale::Linear, Scale::Logarithmic, Scale::Magnitudes] {
            for value in [0.0, 1e-4, 0.3, 2.3, 1e6] {
                let place = scale.of(value);
                let [low, high] = scale.around([place, place]);
                assert!(low < high && (low..=high).contains(&place), "{scale:?} {value}");
            }
        }
        let [low, high] = Scale::Logarithmic.around([-1.01, 0.02]);
        assert!((low + 1.1).abs() < 1e-9 && (high - 0.1).abs() < 1e-9, "{low} {high}");
    }
}
