//! The network from dfdx's stable operations alone: any device, `f32` or `f64`; the reference that fused kernels are tested by.
//!
//! Activations are `[feature, sample]` with the features in the order channel, row, column: a convolution is then a gather of
//! rows (im2col) and one product of matrices, whose result is in the same order again.

mod compile;
mod layers;

use dfdx::dtypes::Dtype;
use dfdx::shapes::{Axis, HasShape};
use dfdx::tensor::{Gradients, NoneTape, OwnedTape, Tensor, Trace};
use dfdx::tensor_ops::{Backward, SumTo, TryMul};
use rayon::prelude::*;

use super::backend::{Backend, Values};
use super::param::{Parameters, from_f32, number, to_f32};
use super::plan::{Outcome, Plan, normalise, target};
use super::{NetworkError, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES, PIXELS};
use compile::Node;
use layers::{Context, Mode};

/// Samples that are evaluated together: bounds the memory.
const CHUNK: usize = 128;
/// Batch sizes whose buffers dfdx keeps before it lets all of them go.
const CACHED_SIZES: usize = 4;

/// Features by samples.
type Matrix<E, D, T = NoneTape> = Tensor<(usize, usize), E, D, T>;

/// The layers of an architecture as dfdx operations.
#[derive(Debug)]
pub struct Composed<E: Dtype, D: Backend<E>> {
    nodes: Vec<Node<E, D>>,
    sizes: Vec<usize>,
}

impl<E: Dtype, D: Backend<E>> Composed<E, D> {
    /// Makes `arch` ready for `device`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(arch: &Arch, device: &D) -> Result<Self, NetworkError> {
        device.try_enable_cache().map_err(NetworkError::device)?;
        Ok(Self { nodes: compile::nodes(arch, device)?, sizes: Vec::new() })
    }

    /// dfdx keeps freed buffers by their size: forget them once they are of too many batch sizes.
    fn bound_cache(&mut self, device: &D, size: usize) -> Result<(), NetworkError> {
        if !self.sizes.contains(&size) {
            if self.sizes.len() == CACHED_SIZES {
                device.try_empty_cache().map_err(NetworkError::device)?;
                self.sizes.clear();
            }
            self.sizes.push(size);
        }
        Ok(())
    }
}

impl<E: Dtype, D: Backend<E>> Plan<E, D> for Composed<E, D> {
    fn gradients(
        &mut self,
        parameters: &Parameters<E, D>,
        batch: &Batch,
        step: &Step,
        gradients: &mut [Values<E, D>],
    ) -> Result<Outcome, NetworkError> {
        let device = &parameters.device;
        self.bound_cache(device, batch.len())?;
        let tensors = tensors(parameters)?;
        let mut context = Context { device, parameters: &tensors, mode: Mode::Train(step), statistics: Vec::new() };
        let input = images(device, batch, 0..batch.len())?.traced(Gradients::leaky());
        let logits = layers::forward(&self.nodes, input, &mut context).map_err(NetworkError::device)?;
        let statistics = context.statistics;
        let on_host = by_sample(&to_f32(&logits.as_vec()));
        let targets = targets(device, batch, step.label_smoothing)?;
        let (loss, mut traced) = backward(logits, targets).map_err(NetworkError::device)?;
        for ((spec, tensor), gradient) in parameters.specs.iter().zip(&tensors).zip(gradients) {
            if spec.kind.is_trained() {
                std::mem::swap(gradient, traced.get_or_alloc_mut(tensor).map_err(NetworkError::device)?);
            }
        }
        Ok(Outcome { loss, logits: on_host, statistics })
    }

    fn logits(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        let device = &parameters.device;
        let tensors = tensors(parameters)?;
        let mut context = Context { device, parameters: &tensors, mode: Mode::Evaluate, statistics: Vec::new() };
        let mut all = Vec::with_capacity(batch.len());
        for start in (0..batch.len()).step_by(CHUNK) {
            let chunk = start..batch.len().min(start + CHUNK);
            self.bound_cache(device, chunk.len())?;
            let input = images(device, batch, chunk)?;
            let logits = layers::forward(&self.nodes, input, &mut context).map_err(NetworkError::device)?;
            all.extend(by_sample(&to_f32(&logits.as_vec())));
        }
        Ok(all)
    }
}

fn tensors<E: Dtype, D: Backend<E>>(
    parameters: &Parameters<E, D>,
) -> Result<Vec<Tensor<(usize,), E, D>>, NetworkError> {
    (0..parameters.specs.len()).map(|index| parameters.tensor(index)).collect()
}

/// The mean cross-entropy of `[class, sample]` logits against targets of the same shape, and the gradients of it.
fn backward<E: Dtype, D: Backend<E>>(
    logits: Matrix<E, D, OwnedTape<E, D>>,
    targets: Matrix<E, D>,
) -> Result<(f64, Gradients<E, D>), D::Err> {
    let samples = targets.shape().1;
    let sum = logits.try_log_softmax::<Axis<0>>()?.try_mul(targets)?.try_sum::<(), _>()?;
    let loss = sum.try_mul(number::<E>(-1.0 / samples as f64))?;
    let value = loss.as_vec()[0].to_f64().expect("networks compute in f32 or f64");
    Ok((value, loss.try_backward()?))
}

/// The samples `range` of `batch`, normalised, as `[pixel, sample]`.
fn images<E: Dtype, D: Backend<E>>(
    device: &D,
    batch: &Batch,
    range: std::ops::Range<usize>,
) -> Result<Matrix<E, D>, NetworkError> {
    let samples = range.len();
    let mut pixels = vec![[0; PIXELS]; samples];
    pixels.par_iter_mut().enumerate().for_each(|(sample, image)| batch.write(range.start + sample, image));
    let mut values = vec![E::default(); PIXELS * samples];
    for (sample, image) in pixels.iter().enumerate() {
        for (pixel, &grey) in image.iter().enumerate() {
            values[pixel * samples + sample] = number(f64::from(normalise(grey)));
        }
    }
    device.try_tensor_from_vec(values, (PIXELS, samples)).map_err(NetworkError::device)
}

/// The smoothed targets as `[class, sample]`.
fn targets<E: Dtype, D: Backend<E>>(device: &D, batch: &Batch, smoothing: f32) -> Result<Matrix<E, D>, NetworkError> {
    let samples = batch.len();
    let at = |index: usize| target(batch.label(index % samples), index / samples, smoothing);
    let values: Vec<f32> = (0..CLASSES * samples).map(at).collect();
    device.try_tensor_from_vec(from_f32::<E>(&values), (CLASSES, samples)).map_err(NetworkError::device)
}

/// `[class, sample]` as one array for each sample.
fn by_sample(logits: &[f32]) -> Vec<[f32; CLASSES]> {
    let samples = logits.len() / CLASSES;
    (0..samples).map(|sample| std::array::from_fn(|class| logits[class * samples + sample])).collect()
}
