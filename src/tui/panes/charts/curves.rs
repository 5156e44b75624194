//! The curves of one chart: what is drawn of a run's figures, in the scale of the axis.

use super::axis::Scale;
use super::window::Window;

/// What one chart shows, all in the axis's scale.
pub struct Curves {
    /// Of each step, as measured.
    pub raw: Vec<(f64, f64)>,
    /// The same, smoothed.
    pub train: Vec<(f64, f64)>,
    /// After each epoch.
    pub validation: Vec<(f64, f64)>,
}

impl Curves {
    /// The curves of the figures `(step, value)` of each step and of each validation, as far as `window` shows them in
    /// `columns`.
    pub fn new(
        steps: &[(u64, f64)],
        measured: impl Iterator<Item = (u64, f64)>,
        scale: Scale,
        window: Window,
        columns: u16,
    ) -> Self {
        let shown = |points: &mut dyn Iterator<Item = (u64, f64)>| -> Vec<(f64, f64)> {
            let finite = points.filter(|point| point.1.is_finite() && window.contains(point.0));
            finite.map(|(step, value)| (step as f64, scale.of(value))).collect()
        };
        let columns = usize::from(columns);
        Self {
            raw: envelope(&shown(&mut steps.iter().copied()), columns),
            train: envelope(&shown(&mut smooth(steps).into_iter()), columns),
            validation: shown(&mut { measured }),
        }
    }

    /// The range of what is to be read, without the highest hundredth, which the first steps take; `None` without a value.
    pub fn range(&self) -> Option<[f64; 2]> {
        let mut values: Vec<f64> = self.train.iter().chain(&self.validation).map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.get((values.len() - 1) * 99 / 100)?);
        Some([low, high])
    }
}

/// At most two points for each of `buckets`, its least and its largest value, so that no spike is lost.
fn envelope(points: &[(f64, f64)], buckets: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * buckets {
        return points.to_vec();
    }
    let size = points.len().div_ceil(buckets.max(1));
    let ends = |bucket: &[(f64, f64)]| {
        let low = bucket.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = bucket.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut ends: Vec<_> = low.into_iter().chain(high).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    };
    points.chunks(size).flat_map(ends).collect()
}

/// Points `(step, value)`, each the mean of what came before with weights that fade over a fiftieth of the run.
fn smooth(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let share = (50.0 / points.len() as f64).clamp(0.02, 1.0);
    let mut mean = None;
    let mut follow = |value: f64| {
        let next = mean.map_or(value, |mean: f64| mean + share * (value - mean));
        mean = Some(next);
        next
    };
    points.iter().filter(|point| point.1.is_finite()).map(|&(step, value)| (step, follow(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::{envelope, smooth};

    #[test]
    fn no_spike_is_lost_between_few_columns() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), if x == 777 { 9.0 } else { 1.0 })).collect();
        let shown = envelope(&points, 40);
        assert!(shown.len() <= 80, "{}", shown.len());
        assert!(shown.contains(&(777.0, 9.0)));
        assert!(shown.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn smoothing_keeps_a_level_and_leaves_out_what_is_no_number() {
        let mut points: Vec<(u64, f64)> = (0..1000).map(|step| (step, 0.5)).collect();
        points[3].1 = f64::NAN;
        let smoothed = smooth(&points);
        assert_eq!(smoothed.len(), 999);
        assert!(smoothed.iter().all(|point| (point.1 - 0.5).abs() < 1e-12));
    }
}
