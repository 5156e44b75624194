//! The curves of one chart: what is drawn of a run's figures, in the scale of the axis.

use super::axis::Scale;
use super::reach::Reach;
use super::smoothing::smooth;
use super::window::Window;

/// How all curves of a chart are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    /// The vertical axis.
    pub scale: Scale,
    /// The horizontal one.
    pub window: Window,
    /// How many columns the chart has.
    pub columns: u16,
}

/// What one chart shows, all in the axis's scale.
#[derive(Default)]
pub struct Curves {
    /// Of other runs behind this one, or of its layers: where the colour comes from, and the points.
    pub others: Vec<(isize, Vec<(f64, f64)>)>,
    /// Of each step, as measured.
    pub raw: Vec<(f64, f64)>,
    /// The same, smoothed.
    pub train: Vec<(f64, f64)>,
    /// After each epoch.
    pub validation: Vec<(f64, f64)>,
}

impl Curves {
    /// The curves of the figures `(place, value)` of each step, of which the average keeps `keep`, and of each validation.
    pub fn new(steps: &[(f64, f64)], measured: &[(f64, f64)], keep: f64, drawing: Drawing) -> Self {
        let train = drawing.line(&smooth(steps, keep));
        // Without smoothing both would be the same line.
        let raw = if keep > 0.0 { drawing.line(steps) } else { Vec::new() };
        Self { others: Vec::new(), raw, train, validation: drawing.shown(measured) }
    }

    /// Adds the curve of another run behind these: what was measured after each of its epochs, or else its steps, smoothed.
    pub fn behind(&mut self, slot: isize, steps: &[(f64, f64)], measured: &[(f64, f64)], keep: f64, drawing: Drawing) {
        let other = Self::new(steps, measured, keep, drawing);
        self.others.push((slot, if other.validation.is_empty() { other.train } else { other.validation }));
    }

    /// Adds a line as it is, such as that of a layer.
    pub fn beside(&mut self, slot: isize, points: &[(f64, f64)], drawing: Drawing) {
        self.others.push((slot, drawing.line(points)));
    }

    /// The range of what is to be read; `None` without a value.
    pub fn range(&self, reach: Reach) -> Option<[f64; 2]> {
        let others = self.others.iter().flat_map(|(_, points)| points);
        reach.of(self.train.iter().chain(&self.validation).chain(others).map(|point| point.1).collect())
    }
}

impl Drawing {
    /// The numbers that lie in the window, in the axis's scale.
    fn shown(self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let is_shown = |point: &&(f64, f64)| point.1.is_finite() && self.window.contains(point.0 as u64);
        points.iter().filter(is_shown).map(|&(place, value)| (place, self.scale.of(value))).collect()
    }

    /// The same, at most two points for each half of a column, the least and the largest value there, so that no spike is lost.
    fn line(self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let ends = |part: &[(f64, f64)]| {
            let low = part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
            let high = part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|high| Some(*high) != low);
            let mut ends: Vec<_> = low.into_iter().chain(high).collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            ends
        };
        let dot = |point: &(f64, f64)| self.window.column(point.0 as u64, self.columns.saturating_mul(2), 1);
        self.shown(points).chunk_by(|a, b| dot(a) == dot(b)).flat_map(ends).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Drawing, Scale, Window};

    #[test]
    fn no_spike_is_lost_between_few_columns() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), if x == 777 { 9.0 } else { 1.0 })).collect();
        let window = Window { first: 0, last: 10_000 };
        let shown = Drawing { scale: Scale::Linear, window, columns: 40 }.line(&points);
        assert!(shown.len() <= 160, "{}", shown.len());
        assert!(shown.contains(&(777.0, 9.0)));
        assert!(shown.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
