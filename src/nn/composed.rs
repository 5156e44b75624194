//! The network from dfdx's stable operations alone: any device, `f32` or `f64`; the reference that fused kernels are tested by.
//!
//! Activations are `[feature, sample]` with the features in the order channel, row, column: a convolution is then a gather of
//! rows (im2col) and one product of matrices, whose result is in the same order again.

mod compile;
mod layers;

use std::ops::Range;

use dfdx::dtypes::Dtype;
use dfdx::tensor::{Gradients, Trace};
use rayon::prelude::*;

use super::NetworkError;
use super::backend::Backend;
use super::param::{Parameters, number, to_f32};
use super::plan::{Forward, Leaf, Matrix, Part, Plan, before_features, by_sample, normalise};
use crate::arch::{Arch, Shape};
use crate::data::{Batch, CLASSES, PIXELS};
use compile::Node;
use layers::{Context, Mode};

/// Samples that are evaluated together: bounds the memory.
const CHUNK: usize = 128;
/// Batch sizes whose buffers dfdx keeps before it lets all of them go.
const CACHED_SIZES: usize = 4;

/// The layers of an architecture as dfdx operations.
#[derive(Debug)]
pub struct Composed<E: Dtype, D: Backend<E>> {
    device: D,
    nodes: Vec<Node<E, D>>,
    /// How many of the nodes come before the features, and the shape of these.
    features: (usize, Shape),
    sizes: Vec<usize>,
}

impl<E: Dtype, D: Backend<E>> Composed<E, D> {
    /// Makes `arch` ready for `device`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(arch: &Arch, device: &D) -> Result<Self, NetworkError> {
        device.try_enable_cache().map_err(NetworkError::device)?;
        let before = before_features(arch.layers());
        let shape = arch.shapes()[..before].last().copied().unwrap_or(Shape::INPUT);
        Ok(Self {
            device: device.clone(),
            nodes: compile::nodes(arch, device).map_err(NetworkError::device)?,
            features: (before, shape),
            sizes: Vec::new(),
        })
    }

    /// dfdx keeps freed buffers by their size: forget them once they are of too many batch sizes.
    fn bound_cache(&mut self, size: usize) -> Result<(), NetworkError> {
        if !self.sizes.contains(&size) {
            if self.sizes.len() == CACHED_SIZES {
                self.device.try_empty_cache().map_err(NetworkError::device)?;
                self.sizes.clear();
            }
            self.sizes.push(size);
        }
        Ok(())
    }
}

impl<E: Dtype, D: Backend<E>> Composed<E, D> {
    /// Runs `batch` through the first `nodes` layers, some samples at a time, and gives what comes out, `[value, sample]`, with the
    /// number of samples.
    fn evaluate(
        &mut self,
        nodes: usize,
        parameters: &Parameters<E, D>,
        batch: &Batch,
        mut take: impl FnMut(&[f32], usize),
    ) -> Result<(), NetworkError> {
        let device = &parameters.device;
        let tensors = parameters.tensors()?;
        let mut context = Context { device, parameters: &tensors, mode: Mode::Evaluate, statistics: Vec::new() };
        for start in (0..batch.len()).step_by(CHUNK) {
            let chunk = start..batch.len().min(start + CHUNK);
            let samples = chunk.len();
            self.bound_cache(samples)?;
            let input = images(device, batch, chunk).map_err(NetworkError::device)?;
            let values = layers::forward(&self.nodes[..nodes], input, &mut context).map_err(NetworkError::device)?;
            take(&to_f32(&values.as_vec()), samples);
        }
        Ok(())
    }
}

impl<E: Dtype, D: Backend<E>> Drop for Composed<E, D> {
    /// dfdx's cache outlives its device: without this its buffers would stay until the program ends.
    fn drop(&mut self) {
        // A device that fails now has lost its memory anyway.
        let _ = self.device.try_disable_cache();
    }
}

impl<E: Dtype, D: Backend<E>> Plan<E, D> for Composed<E, D> {
    fn leaves(&mut self, parameters: &Parameters<E, D>) -> Result<Vec<Leaf<E, D>>, NetworkError> {
        parameters.tensors()
    }

    fn forward(
        &mut self,
        leaves: &[Leaf<E, D>],
        part: &Part<D>,
        gradients: Gradients<E, D>,
    ) -> Result<Forward<E, D>, NetworkError> {
        self.bound_cache(part.samples.len())?;
        let Part { device, batch, ref samples, step } = *part;
        let mode = Mode::Train { step, first: samples.start };
        let mut context = Context { device, parameters: leaves, mode, statistics: Vec::new() };
        let input = images(device, batch, samples.clone()).map_err(NetworkError::device)?.traced(gradients);
        let logits = layers::forward(&self.nodes, input, &mut context).map_err(NetworkError::device)?;
        Ok(Forward { logits, statistics: context.statistics })
    }

    fn logits(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        let mut all = Vec::with_capacity(batch.len());
        self.evaluate(self.nodes.len(), parameters, batch, |logits, _| all.extend(by_sample(logits)))?;
        Ok(all)
    }

    fn features(&mut self, parameters: &Parameters<E, D>, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        let (before, shape) = self.features;
        let rows = compile::channels_last(shape);
        let mut all = Vec::with_capacity(batch.len());
        self.evaluate(before, parameters, batch, |values, samples| {
            all.extend((0..samples).map(|sample| rows.iter().map(|row| values[row * samples + sample]).collect()));
        })?;
        Ok(all)
    }
}

/// The samples `range` of `batch`, normalised, as `[pixel, sample]`.
fn images<E: Dtype, D: Backend<E>>(device: &D, batch: &Batch, range: Range<usize>) -> Result<Matrix<E, D>, D::Err> {
    let samples = range.len();
    let mut pixels = vec![[0; PIXELS]; samples];
    pixels.par_iter_mut().enumerate().for_each(|(sample, image)| batch.write(range.start + sample, image));
    let mut values = vec![E::default(); PIXELS * samples];
    for (sample, image) in pixels.iter().enumerate() {
        for (pixel, &grey) in image.iter().enumerate() {
            values[pixel * samples + sample] = number(f64::from(normalise(grey)));
        }
    }
    device.tensor(&values, (PIXELS, samples))
}
