//! All that is drawn of some runs, laid out before any of it is.

use super::Run;
use super::axis::Axis;
use super::curve::{Clock, Curve, curve, edits};
use crate::train::history::History;

/// Pixels of a unit in which everything is drawn; all sizes below are in units.
pub const SCALE: i32 = 4;
/// Of the picture, in units.
pub const WIDTH: i32 = 1000;
/// Height of the title and the legend.
pub const HEADER: i32 = 44;
/// A line of the header with the names of other runs.
pub const NAMES: i32 = 20;
/// Other runs that are named on one line.
pub const NAMED: usize = 6;
/// Height of the charts.
pub const CHARTS: i32 = 350;
/// Height of a line below them.
pub const FOOTER_LINE: i32 = 17;
/// Changes of settings that are spelled out below the charts.
pub const FOOTER_LINES: usize = 12;

/// The share of the run at whose start the accuracy may lie below the chart.
const WARM_UP: f64 = 0.04;

/// How the strokes of a line meet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Joints {
    /// As one path, whose corners the viewer makes.
    Mitred,
    /// Each stroke for itself: the corners of the bitmap backend shoot far out where a line turns sharply.
    Plain,
}

/// All that is drawn, before anything is.
pub struct Scene {
    /// The run's name.
    pub title: String,
    /// What the horizontal axis counts.
    pub unit: &'static str,
    /// How lines are drawn.
    pub joints: Joints,
    /// Where the horizontal axis ends.
    pub end: f64,
    /// Loss and accuracy.
    pub charts: [Panel; 2],
    /// Names of other runs.
    pub others: Vec<String>,
    /// Where settings were changed, and how.
    pub edits: Vec<(f64, String)>,
}

/// One chart.
pub struct Panel {
    /// The vertical axis.
    pub axis: Axis,
    /// The run's own curve.
    pub curve: Curve,
    /// Of other runs, behind.
    pub others: Vec<Curve>,
}

impl Scene {
    /// All that is drawn of these runs, the first in front.
    pub fn new(runs: &[Run], joints: Joints) -> Self {
        let (nothing, others) = (History::default(), runs.get(1..).unwrap_or_default());
        let own = runs.first().copied().unwrap_or(Run { name: "", history: &nothing });
        let clock = Clock::beside(own.history, others.iter().map(|run| run.history));
        let beside = |run: &Run| Clock::beside(run.history, runs.iter().map(|run| run.history));
        let clocks: Vec<Clock> = others.iter().map(beside).collect();
        let ends = others.iter().zip(&clocks).map(|(run, clock)| clock.end(run.history));
        let loss = |history: &History, clock: &Clock| {
            curve(history, clock, |step| step.loss, |epoch| Some(epoch.validation?.loss))
        };
        let accuracy = |history: &History, clock: &Clock| {
            curve(history, clock, |step| step.accuracy, |epoch| Some(epoch.validation?.accuracy))
        };
        let behind = |draw: &dyn Fn(&History, &Clock) -> Curve| -> Vec<Curve> {
            others.iter().zip(&clocks).map(|(run, clock)| draw(run.history, clock)).collect()
        };
        let warm = clock.end(own.history) * WARM_UP;
        let losses = Panel::new(loss(own.history, &clock), behind(&loss), 0.0, |values| Axis::loss(values));
        let accuracies =
            Panel::new(accuracy(own.history, &clock), behind(&accuracy), warm, |values| Axis::accuracy(values));
        Self {
            title: own.name.into(),
            unit: clock.unit(),
            joints,
            end: ends.fold(clock.end(own.history), f64::max),
            charts: [losses, accuracies],
            others: others.iter().map(|run| run.name.to_owned()).collect(),
            edits: edits(own.history, &clock),
        }
    }

    /// Height of the header, in units.
    pub fn header(&self) -> i32 {
        HEADER + self.others.len().div_ceil(NAMED) as i32 * NAMES
    }

    /// In pixels.
    pub fn size(&self) -> (u32, u32) {
        let lines = self.footer().len() as i32;
        let footer = if lines > 0 { lines * FOOTER_LINE + 10 } else { 0 };
        ((WIDTH * SCALE) as u32, ((self.header() + CHARTS + footer) * SCALE) as u32)
    }

    /// Lines below the charts.
    pub fn footer(&self) -> Vec<String> {
        let spelled_out = self.edits.iter().zip(1..).take(FOOTER_LINES);
        let mut lines: Vec<String> =
            spelled_out.map(|((at, text), number)| format!("{number}   {} {at:.2}: {text}", self.unit)).collect();
        if self.edits.len() > FOOTER_LINES {
            lines.push(format!("… and {} more changes", self.edits.len() - FOOTER_LINES));
        }
        lines
    }
}

impl Panel {
    /// The axis shows all curves, their values before `warm` left out.
    fn new(
        curve: Curve,
        others: Vec<Curve>,
        warm: f64,
        axis: impl FnOnce(&mut dyn Iterator<Item = f64>) -> Axis,
    ) -> Self {
        let behind = others.iter().flat_map(|other| other.foreground().iter().flatten());
        let behind = behind.filter(|point| point.0 >= warm).map(|point| point.1);
        let axis = axis(&mut curve.values_after(warm).chain(behind));
        Self { axis, curve, others }
    }
}
