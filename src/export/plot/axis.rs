//! Axes: which part of the numbers is shown, where the ticks are and what stands at them.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Losses below this are drawn here: a logarithmic axis has no zero.
const LOSS_FLOOR: f64 = 1e-6;

/// A vertical axis: what is laid on it, and how.
pub struct Axis {
    /// What is measured.
    pub title: &'static str,
    /// The coordinates that are shown.
    pub shown: Ticked,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    Log,
    Percent { decimals: usize },
}

impl Axis {
    /// A logarithmic axis over these losses.
    pub fn loss(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values.filter(|loss| loss.is_finite()).map(log_loss)).unwrap_or((-2.0, 0.0));
        let widen = (0.5 - (high - low)).max(0.0) / 2.0 + 0.08;
        let range = low - widen..high + widen;
        Self { title: "loss", shown: Ticked { ticks: decades(&range), range }, scale: Scale::Log }
    }

    /// A linear axis up to 100 % over these accuracies.
    pub fn accuracy(values: impl Iterator<Item = f64>) -> Self {
        let lowest = span(values).map_or(0.0, |(low, _)| low).clamp(0.0, 0.995);
        let step = nice_step(1.0 - lowest, 5);
        let low = (lowest / step).floor() * step;
        let range = low..1.0 + (1.0 - low) * 0.02;
        let decimals = usize::from(step < 0.0099);
        let shown = Ticked { ticks: multiples(&range, step), range };
        Self { title: "accuracy", shown, scale: Scale::Percent { decimals } }
    }

    /// Where `value` lies, held inside the range.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Log => log_loss(value),
            Scale::Percent { .. } => value,
        };
        place.clamp(self.shown.range.start, self.shown.range.end)
    }

    /// What stands at the tick `place`.
    pub fn label(&self, place: f64) -> String {
        match self.scale {
            Scale::Percent { decimals } => format!("{:.decimals$} %", place * 100.0),
            Scale::Log if !(-4.5..5.0).contains(&place) => format!("{:.0e}", 10f64.powf(place)),
            Scale::Log => {
                let decimals = (-(place + 1e-9).floor()).max(0.0) as usize;
                format!("{:.decimals$}", 10f64.powf(place))
            }
        }
    }
}

/// The horizontal axis from 0 to `end`, with ticks at whole numbers if there is room for them.
pub fn progress(end: f64) -> Ticked {
    let range = 0.0..end;
    Ticked { ticks: multiples(&range, nice_step(end, 8)), range }
}

fn log_loss(loss: f64) -> f64 {
    loss.max(LOSS_FLOOR).log10()
}

/// Least and largest of the finite values.
fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |span, value| match span {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// The least of 1, 2 and 5 times a power of ten that splits `length` into at most `count` parts.
fn nice_step(length: f64, count: u32) -> f64 {
    let wanted = (length / f64::from(count)).max(1e-9);
    let power = 10f64.powf(wanted.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    power * factors.into_iter().find(|factor| factor * power >= wanted * 0.999).unwrap_or(10.0)
}

fn multiples(range: &Range<f64>, step: f64) -> Vec<f64> {
    let first = (range.start / step - 1e-6).ceil() as i64;
    let last = (range.end / step + 1e-6).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// 1, 2 and 5 of each power of ten in the range; of many powers, only some and no 2 and 5.
fn decades(range: &Range<f64>) -> Vec<f64> {
    let (first, last) = (range.start.floor() as i32, range.end.ceil() as i32);
    let every = ((last - first) / 8 + 1) as usize;
    let factors: &[f64] = if range.end - range.start > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let ticks = (first..=last).step_by(every);
    let ticks = ticks.flat_map(|power| factors.iter().map(move |factor| f64::from(power) + factor.log10()));
    ticks.filter(|tick| range.contains(tick)).collect()
}

/// A range with its ticks, as the drawing library wants them.
#[derive(Clone)]
pub struct Ticked {
    /// From the lowest to the highest coordinate.
    pub range: Range<f64>,
    /// Coordinates with a line and a label.
    pub ticks: Vec<f64>,
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, progress};

    fn labels(axis: &Axis) -> Vec<String> {
        axis.shown.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn losses_are_labelled_with_round_numbers() {
        assert_eq!(labels(&Axis::loss([0.04, 2.3].into_iter())), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&Axis::loss([0.0003, 2.3].into_iter())), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(&Axis::loss([f64::NAN].into_iter())), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
    }

    #[test]
    fn accuracies_are_labelled_in_percent() {
        assert_eq!(labels(&Axis::accuracy([0.3].into_iter())), ["20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(labels(&Axis::accuracy([0.985].into_iter())), ["98.5 %", "99.0 %", "99.5 %", "100.0 %"]);
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_border() {
        let axis = Axis::accuracy([0.9].into_iter());
        assert!((axis.place(0.1) - axis.shown.range.start).abs() < 1e-12);
        let axis = Axis::loss([0.1].into_iter());
        assert!((axis.place(0.0) - axis.shown.range.start).abs() < 1e-12);
    }

    #[test]
    fn progress_counts_in_whole_epochs_where_there_is_room() {
        assert_eq!(progress(5.0).ticks, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(progress(20.0).ticks, [0.0, 5.0, 10.0, 15.0, 20.0]);
    }
}
