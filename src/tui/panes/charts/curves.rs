//! The curves of one chart: what is drawn of a run's figures, in the scale of the axis.

use super::axis::Scale;
use super::window::{Window, round_up};

/// What one chart shows, all in the axis's scale.
pub struct Curves {
    /// Of other runs, behind this one: where its colour comes from, and its points.
    pub others: Vec<(isize, Vec<(f64, f64)>)>,
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
        let fade = 50.0 / round_up(steps.last().map_or(0, |point| point.0)) as f64;
        Self {
            others: Vec::new(),
            raw: envelope(&shown(&mut steps.iter().copied()), window, columns),
            train: envelope(&shown(&mut smooth(steps, fade).into_iter()), window, columns),
            validation: shown(&mut { measured }),
        }
    }

    /// Adds the curve of another run behind these: what was measured after each of its epochs, or else its steps, smoothed.
    pub fn behind(
        &mut self,
        slot: isize,
        steps: &[(u64, f64)],
        measured: Vec<(u64, f64)>,
        scale: Scale,
        window: Window,
        columns: u16,
    ) {
        let other = Self::new(steps, measured.into_iter(), scale, window, columns);
        self.others.push((slot, if other.validation.is_empty() { other.train } else { other.validation }));
    }

    /// The range of what is to be read, without the highest hundredth, which the first steps take; `None` without a value.
    pub fn range(&self) -> Option<[f64; 2]> {
        let mut values: Vec<f64> = self.foreground().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.get((values.len() - 1) * 99 / 100)?);
        Some([low, high])
    }

    fn foreground(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.train.iter().chain(&self.validation).chain(self.others.iter().flat_map(|(_, points)| points))
    }
}

/// At most two points for each half of a column, the least and the largest value there, so that no spike is lost.
fn envelope(points: &[(f64, f64)], window: Window, columns: u16) -> Vec<(f64, f64)> {
    let ends = |part: &[(f64, f64)]| {
        let low = part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|high| Some(*high) != low);
        let mut ends: Vec<_> = low.into_iter().chain(high).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    };
    let dot = |point: &(f64, f64)| window.column(point.0 as u64, columns * 2, 1);
    points.chunk_by(|a, b| dot(a) == dot(b)).flat_map(ends).collect()
}

/// Points `(step, value)`, each the mean of what came before, in which the newest value counts `fade`.
fn smooth(points: &[(u64, f64)], fade: f64) -> Vec<(u64, f64)> {
    let fade = fade.clamp(0.02, 1.0);
    let mut mean = None;
    let mut follow = |value: f64| {
        let next = mean.map_or(value, |mean: f64| mean + fade * (value - mean));
        mean = Some(next);
        next
    };
    points.iter().filter(|point| point.1.is_finite()).map(|&(step, value)| (step, follow(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Window, envelope, smooth};

    #[test]
    fn no_spike_is_lost_between_few_columns() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), if x == 777 { 9.0 } else { 1.0 })).collect();
        let shown = envelope(&points, Window { first: 0, last: 10_000 }, 40);
        assert!(shown.len() <= 160, "{}", shown.len());
        assert!(shown.contains(&(777.0, 9.0)));
        assert!(shown.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn smoothing_keeps_a_level_and_leaves_out_what_is_no_number() {
        let mut points: Vec<(u64, f64)> = (0..1000).map(|step| (step, 0.5)).collect();
        points[3].1 = f64::NAN;
        let smoothed = smooth(&points, 0.05);
        assert_eq!(smoothed.len(), 999);
        assert!(smoothed.iter().all(|point| (point.1 - 0.5).abs() < 1e-12));
    }
}
