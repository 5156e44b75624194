//! The boundary between a network and the way it is computed: a plan turns parameters and a batch into gradients or logits.

use dfdx::dtypes::Dtype;

use super::backend::{Backend, Values};
use super::param::Parameters;
use super::{NetworkError, Step};
use crate::data::{Batch, CLASSES};
use crate::random::{Purpose, Stream, unit};

/// Batch norm's ε, as in Keras.
pub const BATCH_NORM_EPSILON: f64 = 1e-3;
/// What batch norm keeps of its running statistics at each step, as in Keras.
pub const BATCH_NORM_MOMENTUM: f64 = 0.99;

/// An architecture made ready for a device. The parameters stay outside, so that one network can be computed by several plans.
pub trait Plan<E: Dtype, D: Backend<E>> {
    /// Forward, loss and backward of a training step: overwrites `gradients`, which are in the order of the parameters, by
    /// the gradient of the mean loss over the batch. Those of running statistics are left alone.
    ///
    /// # Errors
    /// If the device fails.
    fn gradients(
        &mut self,
        parameters: &Parameters<E, D>,
        batch: &Batch,
        step: &Step,
        gradients: &mut [Values<E, D>],
    ) -> Result<Outcome, NetworkError>;

    /// Logits `[sample, class]`, with dropout off and the running statistics of batch norm.
    ///
    /// # Errors
    /// If the device fails.
    fn logits(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError>;
}

/// What a plan computes beside the gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Mean cross-entropy in nats against the smoothed targets.
    pub loss: f64,
    /// `[sample, class]`.
    pub logits: Vec<[f32; CLASSES]>,
    /// The batch's own mean or (biased) variance of each channel, with the index of the running statistic it moves.
    pub statistics: Vec<(usize, Vec<f32>)>,
}

/// What goes into the network for a grey value: 0 to 1.
pub const fn normalise(pixel: u8) -> f32 {
    pixel as f32 / 255.0
}

/// The target for `class` when the label is `label`: `smoothing` of it is spread evenly over all classes (Szegedy et al. 2016).
pub fn target(label: u8, class: usize, smoothing: f32) -> f32 {
    let spread = smoothing / CLASSES as f32;
    if usize::from(label) == class { 1.0 - smoothing + spread } else { spread }
}

/// The class with the largest logit, the first one of equals.
pub fn predict(logits: &[f32; CLASSES]) -> u8 {
    let mut best = 0;
    for class in 1..CLASSES {
        if logits[class] > logits[best] {
            best = class;
        }
    }
    best as u8
}

/// The dropout mask of one layer in one step: a pure function of sample and value, so that it does not depend on how a plan
/// cuts the batch.
#[derive(Clone, Debug)]
pub struct DropoutMask {
    stream: Stream,
    rate: f32,
    values: usize,
}

impl DropoutMask {
    /// For the layer at index `place` of [`Arch::places`](crate::arch::Arch::places), which has `values` values a sample.
    pub const fn new(step: &Step, place: usize, rate: f32, values: usize) -> Self {
        let stream = Stream::new(step.seed, Purpose::Dropout, [step.number, place as u64]);
        Self { stream, rate, values }
    }

    /// What the value at `value` (in the order height, width, channel) of the batch's sample `sample` is multiplied by: 0, or
    /// 1 / (1 − rate), which keeps the mean.
    pub fn factor(&self, sample: usize, value: usize) -> f32 {
        let index = sample * self.values + value;
        if unit(self.stream.at(index as u64)) < self.rate { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }
}
