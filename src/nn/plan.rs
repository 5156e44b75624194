//! The boundary between a network and the way it is computed: a plan turns parameters and a batch into gradients or logits.

use std::ops::Range;

use dfdx::dtypes::Dtype;
use dfdx::tensor::{Gradients, NoneTape, OwnedTape, Tensor};

use super::backend::{Backend, Values};
use super::optim::{Rule, Update};
use super::param::{Parameters, to_f32};
use super::{NetworkError, Step, loss};
use crate::arch::Layer;
use crate::data::{Batch, CLASSES};
use crate::random::{Purpose, Stream, unit};

/// Batch norm's ε, as in Keras.
pub const BATCH_NORM_EPSILON: f64 = 1e-3;
/// What batch norm keeps of its running statistics at each step, as in Keras.
pub const BATCH_NORM_MOMENTUM: f64 = 0.99;

/// Features by samples.
pub type Matrix<E, D, T = NoneTape> = Tensor<(usize, usize), E, D, T>;

/// A parameter as a flat tensor, after which dfdx names its gradient.
pub type Leaf<E, D> = Tensor<(usize,), E, D>;

/// An architecture made ready for a device. The parameters stay outside, so that one network can be computed by several plans.
pub trait Plan<E: Dtype, D: Backend<E>> {
    /// The most samples that one forward pass of a training step may have; the gradients of the parts add up.
    fn most_samples(&self) -> usize {
        usize::MAX
    }

    /// Makes ready for a training step: the tensors that stand for `parameters` on its tapes.
    ///
    /// # Errors
    /// If the device fails.
    fn leaves(&mut self, parameters: &Parameters<E, D>) -> Result<Vec<Leaf<E, D>>, NetworkError>;

    /// The forward pass of a part of a training step, on a tape that starts with `gradients`. The backward pass must follow
    /// before the next forward pass.
    ///
    /// # Errors
    /// If the device fails.
    fn forward(
        &mut self,
        leaves: &[Leaf<E, D>],
        part: &Part<D>,
        gradients: Gradients<E, D>,
    ) -> Result<Forward<E, D>, NetworkError>;

    /// Logits `[sample, class]`, with dropout off and the running statistics of batch norm.
    ///
    /// # Errors
    /// If the device fails.
    fn logits(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError>;

    /// The features of each sample, computed as the logits are: `[sample][feature]`. See [`before_features`].
    ///
    /// # Errors
    /// If the device fails.
    fn features(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError>;

    /// Updates the parameters, if the plan has kernels of its own for that, and says whether it did.
    fn update(&mut self, _rule: Rule, _updates: &mut [Update<E, D>]) -> bool {
        false
    }

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
    ) -> Result<Outcome, NetworkError> {
        let leaves = self.leaves(parameters)?;
        let mut outcome = Outcome { loss: 0.0, logits: Vec::with_capacity(batch.len()), statistics: Vec::new() };
        let mut sums = Gradients::leaky();
        let size = self.most_samples().min(batch.len()).max(1);
        for start in (0..batch.len()).step_by(size) {
            let samples = start..batch.len().min(start + size);
            let part = Part { device: &parameters.device, batch, samples, step };
            let Forward { logits, statistics } = self.forward(&leaves, &part, sums)?;
            outcome.logits.extend(by_sample(&to_f32(&logits.as_vec())));
            outcome.statistics.extend(statistics);
            let loss;
            (loss, sums) = loss::backward(logits, &part).map_err(NetworkError::device)?;
            outcome.loss += loss;
        }
        for ((spec, leaf), gradient) in parameters.specs.iter().zip(&leaves).zip(gradients) {
            if spec.kind.is_trained() {
                std::mem::swap(gradient, sums.get_or_alloc_mut(leaf).map_err(NetworkError::device)?);
            }
        }
        Ok(outcome)
    }
}

/// The samples of one forward pass of a training step.
#[derive(Clone, Debug)]
pub struct Part<'a, D> {
    /// Where to compute.
    pub device: &'a D,
    /// The whole batch.
    pub batch: &'a Batch,
    /// Which of its samples.
    pub samples: Range<usize>,
    /// The step.
    pub step: &'a Step,
}

/// What comes out of a forward pass in training.
#[derive(Debug)]
pub struct Forward<E: Dtype, D: Backend<E>> {
    /// `[class, sample]`, with the tape that leads back to the parameters.
    pub logits: Matrix<E, D, OwnedTape<E, D>>,
    /// As in [`Outcome`].
    pub statistics: Statistics,
}

/// A batch's own mean or (biased) variance of each channel, with the index of the running statistic it moves.
pub type Statistics = Vec<(usize, Vec<f32>)>;

/// What a plan computes beside the gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Mean cross-entropy in nats against the smoothed targets.
    pub loss: f64,
    /// `[sample, class]`.
    pub logits: Vec<[f32; CLASSES]>,
    /// Of all batch norms.
    pub statistics: Statistics,
}

/// How many of `layers` come before the features, which are what the last dense or convolution layer gets, or the residual block
/// that holds it, in the order height, width, channel.
pub fn before_features(layers: &[Layer]) -> usize {
    layers.iter().rposition(multiplies).unwrap_or_default()
}

/// Whether it is a dense or convolution layer, or holds one.
fn multiplies(layer: &Layer) -> bool {
    match layer {
        Layer::Dense { .. } | Layer::Conv { .. } => true,
        Layer::Residual { body, shortcut } => body.iter().chain(shortcut).any(multiplies),
        _ => false,
    }
}

/// `[class, sample]` as one array for each sample.
pub fn by_sample(values: &[f32]) -> Vec<[f32; CLASSES]> {
    let samples = values.len() / CLASSES;
    (0..samples).map(|sample| std::array::from_fn(|class| values[class * samples + sample])).collect()
}

/// One array for each sample as `[class, sample]`.
pub fn by_class(values: &[[f32; CLASSES]]) -> Vec<f32> {
    (0..CLASSES).flat_map(|class| values.iter().map(move |sample| sample[class])).collect()
}

/// What goes into the network for a grey value: 0 to 1.
pub const fn normalise(pixel: u8) -> f32 {
    pixel as f32 / 255.0
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
