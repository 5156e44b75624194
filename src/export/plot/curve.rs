//! A run's history as lines to draw: steps laid on epochs, raw values thinned, smoothed, and broken where there is no number.

use crate::metrics::average::MovingAverage;
use crate::train::history::{Edit, EpochRecord, History, StepRecord};

/// Columns that the raw values of a chart are thinned to; each keeps its least and largest.
const COLUMNS: f64 = 450.0;
/// The smoothing reaches over this share of the run.
const SMOOTHED_SHARE: usize = 60;

/// A point: progress and value.
pub type Point = (f64, f64);
/// A line without a gap.
pub type Segment = Vec<Point>;

/// The lines of one chart.
#[derive(Debug, Default, PartialEq)]
pub struct Curve {
    /// Every step's value.
    pub raw: Vec<Segment>,
    /// An exponential moving average of them.
    pub smooth: Vec<Segment>,
    /// One point an epoch.
    pub validation: Vec<Segment>,
    /// Where a value was no number.
    pub breaks: Vec<f64>,
}

impl Curve {
    /// What stands for the whole where it lies behind another: the validation, or else the steps, smoothed.
    pub fn foreground(&self) -> &[Segment] {
        if self.validation.is_empty() { &self.smooth } else { &self.validation }
    }

    /// The values of the foreground from `progress` on: those that the axis must show.
    pub fn values_after(&self, progress: f64) -> impl Iterator<Item = f64> {
        let points = self.smooth.iter().chain(&self.validation).flatten();
        points.filter(move |point| point.0 >= progress).map(|point| point.1)
    }
}

/// Lays steps on epochs; before the first epoch has ended nobody knows how long one is, and steps stay steps.
pub struct Clock {
    ends: Vec<u64>,
}

impl Clock {
    /// The clock of `history`.
    pub fn new(history: &History) -> Self {
        Self { ends: history.epochs.iter().map(|epoch| epoch.step).collect() }
    }

    /// The clock of `history`, or if no epoch of it has ended, of the first of `others` that has one.
    pub fn beside<'a>(history: &'a History, others: impl Iterator<Item = &'a History>) -> Self {
        let mut clocks = std::iter::once(history).chain(others).map(Self::new);
        clocks.find(|clock| !clock.ends.is_empty()).unwrap_or(Self { ends: Vec::new() })
    }

    /// What it counts.
    pub fn unit(&self) -> &'static str {
        if self.ends.is_empty() { "step" } else { "epoch" }
    }

    /// Epochs done after `step` steps.
    pub fn at(&self, step: u64) -> f64 {
        let epoch = self.ends.partition_point(|&end| end < step);
        let start_of = |epoch: usize| if epoch == 0 { 0 } else { self.ends[epoch - 1] };
        // The running epoch is taken to be as long as the last one.
        let length_of = |epoch: usize| self.ends[epoch].saturating_sub(start_of(epoch)).max(1);
        let length = match self.ends.len() {
            0 => 1,
            epochs => length_of(epoch.min(epochs - 1)),
        };
        epoch as f64 + step.saturating_sub(start_of(epoch)) as f64 / length as f64
    }

    /// Where the chart ends: at the last step, and not at once.
    pub fn end(&self, history: &History) -> f64 {
        let last = history.steps.last().map_or(0, |step| step.step).max(self.ends.last().copied().unwrap_or(0));
        self.at(last.max(1))
    }
}

/// The curve of a value: `step` reads it from a step, `validation` from an epoch.
pub fn curve(
    history: &History,
    clock: &Clock,
    step: impl Fn(&StepRecord) -> f32,
    validation: impl Fn(&EpochRecord) -> Option<f64>,
) -> Curve {
    let points: Vec<Point> = history.steps.iter().map(|s| (clock.at(s.step), f64::from(step(s)))).collect();
    let column = clock.end(history) / COLUMNS;
    let span = (points.len() / SMOOTHED_SHARE).clamp(1, 300);
    let thinned = |segments: Vec<Segment>| segments.iter().map(|segment| thin(segment, column)).collect();
    let smooth = thinned(split(&moving_average(&points, span)));
    let raw = thinned(split(&points));
    let epochs = history.epochs.iter();
    let validation = epochs.filter_map(|epoch| Some((clock.at(epoch.step), validation(epoch)?))).collect::<Vec<_>>();
    let breaks = points.iter().chain(&validation).filter(|point| !point.1.is_finite()).map(|point| point.0).collect();
    Curve { raw, smooth, validation: split(&validation), breaks }
}

/// Changes of settings with where they were made; those of one moment stand together.
pub fn edits(history: &History, clock: &Clock) -> Vec<(f64, String)> {
    history
        .edits
        .chunk_by(|a, b| a.step == b.step)
        .map(|edits| {
            let words: Vec<String> =
                edits.iter().map(|Edit { setting, from, to, .. }| format!("{setting} {from} → {to}")).collect();
            (clock.at(edits[0].step), words.join(", "))
        })
        .collect()
}

/// The stretches of finite values.
fn split(points: &[Point]) -> Vec<Segment> {
    let stretches = points.split(|point| !point.1.is_finite());
    stretches.filter(|stretch| !stretch.is_empty()).map(<[Point]>::to_vec).collect()
}

/// A moving average as of a window of `span` values; what is no number stays none and does not count.
fn moving_average(points: &[Point], span: usize) -> Segment {
    let mut average = MovingAverage::new(1.0 - 2.0 / (span as f64 + 1.0));
    points.iter().map(|&(x, y)| (x, if y.is_finite() { average.add(y) } else { y })).collect()
}

/// At most the first, least, largest and last point of each column of this width, in their order.
fn thin(points: &[Point], column: f64) -> Segment {
    let mut thinned = Vec::new();
    for points in points.chunk_by(|a, b| (a.0 / column) as i64 == (b.0 / column) as i64) {
        let by_value = |&a: &usize, &b: &usize| points[a].1.total_cmp(&points[b].1);
        let indices = 0..points.len();
        let least = indices.clone().min_by(by_value).unwrap_or(0);
        let largest = indices.max_by(by_value).unwrap_or(0);
        let mut kept = [0, least, largest, points.len() - 1];
        kept.sort_unstable();
        for (position, &index) in kept.iter().enumerate() {
            if position == 0 || kept[position - 1] != index {
                thinned.push(points[index]);
            }
        }
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::{Clock, curve, edits, moving_average, thin};
    use crate::train::history::{Edit, EpochRecord, History, StepRecord};

    fn history(losses: &[f32], epoch_ends: &[u64]) -> History {
        let steps = losses.iter().zip(1..);
        let steps = steps.map(|(&loss, step)| StepRecord { step, loss, accuracy: 0.5, learning_rate: 1e-3 });
        let epochs = epoch_ends.iter().zip(1..).map(|(&step, epoch)| EpochRecord {
            epoch,
            step,
            train_loss: 0.1,
            train_accuracy: 0.9,
            validation: None,
            learning_rate: 1e-3,
            seconds: 1.0,
            samples: 10,
        });
        History { steps: steps.collect(), epochs: epochs.collect(), ..History::default() }
    }

    #[test]
    fn the_clock_counts_epochs_of_any_length() {
        let clock = Clock::new(&history(&[], &[10, 15]));
        for (step, epochs) in [(0, 0.0), (5, 0.5), (10, 1.0), (11, 1.2), (15, 2.0), (20, 3.0)] {
            assert!((clock.at(step) - epochs).abs() < 1e-12, "step {step}: {}", clock.at(step));
        }
        assert!((Clock::new(&history(&[], &[])).at(7) - 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_value_that_is_no_number_breaks_the_line() {
        let history = history(&[1.0, 0.5, f32::NAN, 0.25, f32::INFINITY], &[]);
        let curve = curve(&history, &Clock::new(&history), |step| step.loss, |_| None);
        assert_eq!(curve.raw, [vec![(1.0, 1.0), (2.0, 0.5)], vec![(4.0, 0.25)]]);
        assert_eq!(curve.breaks, [3.0, 5.0]);
        assert!(curve.validation.is_empty());
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let points: Vec<(f64, f64)> = (0..1000u32).map(|n| (f64::from(n), f64::from(n * 37 % 101))).collect();
        let thinned = thin(&points, 100.0);
        assert!(thinned.len() <= 40 && thinned.is_sorted_by(|a, b| a.0 < b.0));
        assert!(thinned.iter().any(|point| point.1 > 99.5) && thinned.iter().any(|point| point.1 < 0.5));
        assert_eq!(thin(&points, 0.5), points);
    }

    #[test]
    fn the_average_of_a_constant_is_the_constant() {
        let mut points: Vec<(f64, f64)> = (0..50).map(|n| (f64::from(n), 0.7)).collect();
        assert!(moving_average(&points, 9).iter().all(|point| (point.1 - 0.7).abs() < 1e-12));
        points[20].1 = f64::NAN;
        let broken = moving_average(&points, 9);
        assert!(broken[20].1.is_nan() && (broken[21].1 - 0.7).abs() < 1e-12);
    }

    #[test]
    fn edits_of_one_moment_stand_together() {
        let mut history = history(&[], &[10]);
        for (step, setting) in [(5, "lr"), (5, "dropout"), (10, "lr")] {
            history.edits.push(Edit { step, setting: setting.into(), from: "1".into(), to: "2".into() });
        }
        let clock = Clock::new(&history);
        assert_eq!(
            edits(&history, &clock),
            [(0.5, "lr 1 → 2, dropout 1 → 2".to_owned()), (1.0, "lr 1 → 2".to_owned())]
        );
    }
}
