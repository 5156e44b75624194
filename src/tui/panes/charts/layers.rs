//! How large the steps are, layer by layer: the lines of the charts, and the names beside them.

use super::clock::Clock;
use crate::nn::norms::{self, LayerNorm};
use crate::state::LabState;
use crate::train::history::{History, NormRecord};

/// What is drawn of each layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// L2 norm of the gradient.
    Gradient,
    /// L2 norm of the weights.
    Weight,
    /// L2 norm of the update beside that of the weights.
    Ratio,
}

impl Figure {
    /// What stands on the chart.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient norm",
            Self::Weight => "weight norm",
            Self::Ratio => "update ratio",
        }
    }

    /// The figure of one layer.
    pub fn of(self, norm: &LayerNorm) -> f32 {
        match self {
            Self::Gradient => norm.gradient,
            Self::Weight => norm.weight,
            Self::Ratio => norm.ratio(),
        }
    }
}

/// How many layers were measured.
pub fn count(history: &History) -> usize {
    history.norms.last().map_or(0, |record| record.layers.len())
}

/// The points of one layer's line.
pub fn line(history: &History, clock: &Clock, layer: usize, figure: Figure) -> Vec<(f64, f64)> {
    let of_layer = |record: &NormRecord| Some((clock.at(record.step), f64::from(figure.of(record.layers.get(layer)?))));
    history.norms.iter().filter_map(of_layer).collect()
}

/// A number for each layer, which names its colour, and what it is: `3 conv64:3x3`.
pub fn legend(lab: &LabState) -> Vec<(isize, String)> {
    let layers = lab.run.as_ref().map(|run| norms::layers(run.arch())).unwrap_or_default();
    let entry = |(slot, (name, text)): (usize, (String, String))| (slot as isize, format!("{name} {text}"));
    layers.into_iter().enumerate().map(entry).collect()
}
