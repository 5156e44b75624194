//! The network on an NVIDIA GPU with kernels of its own, compiled at start for its architecture.
//!
//! - **Program** ([`program`]): the architecture as steps; a convolution or dense layer with its bias, rectifier, dropout and 2×2
//!   pooling is one of them.
//! - **Blocks** ([`blocks`]): which samples, rows and columns a block of threads does.
//! - **Source** ([`source`]): the steps as CUDA C++ over the templates of `kernels.cu`, with all shapes in it.
//! - **Driver** ([`driver`]): compilation, memory, launches, graphs; the only part that talks to CUDA.
//! - **Memory** ([`memory`]): what lies on the GPU, and the structures that the kernels read.
//! - **Engine** ([`engine`]): the data set stays on the device, and a *burst* of steps runs there without the CPU: recorded graphs of
//!   launches read from memory which samples to take and what the hyperparameters are, and the results come back once a burst.
//!
//! Parameters, moments and gradients are dfdx's storage, so that a network made of dfdx's operations can take over at any time.

#![expect(unsafe_code, reason = "launches of kernels; each block says why it is sound")]

mod blocks;
mod driver;
mod engine;
mod memory;
mod program;
mod source;

use std::time::{Duration, Instant};

use dfdx::tensor::Cuda;

use super::average::{self, Average};
use super::backend::Values;
use super::network;
use super::norms::{self, LayerNorm};
use super::optim::{BETAS, Optimizer, OptimizerKind};
use super::param::Parameters;
use super::{BatchResult, Network, NetworkError, NetworkState, Precision, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};
use crate::random::{Purpose, Stream};
use driver::address;
pub use driver::{count, identity};
use engine::{DeviceResult, Engine};
use memory::{BURST, DeviceStep};

/// How long a burst should take: a key is answered after it.
const BURST_TIME: Duration = Duration::from_millis(8);

/// A network on a GPU.
pub struct CudaNetwork {
    engine: Engine,
    parameters: Parameters<f32, Cuda>,
    gradients: Vec<Values<f32, Cuda>>,
    optimizer: Optimizer<f32, Cuda>,
    /// What answers in place of the parameters, if there is one.
    average: Option<Average<f32, Cuda>>,
    /// Steps that take about [`BURST_TIME`].
    burst: usize,
}

impl CudaNetwork {
    /// The network of `arch` before training.
    ///
    /// # Errors
    /// If the device fails, or NVIDIA's compiler is not there.
    pub fn new(arch: &Arch, device: Cuda, seed: u64, precision: Precision) -> Result<Self, NetworkError> {
        let parameters = Parameters::new(arch, device, seed)?;
        let gradients = parameters.zeros()?;
        let engine = Engine::new(arch, &parameters.specs, gradients[0].device(), precision)?;
        Ok(Self { engine, parameters, gradients, optimizer: Optimizer::default(), average: None, burst: 1 })
    }

    /// Tells the engine where everything is.
    fn place(&mut self) -> Result<(), NetworkError> {
        let Self { engine, parameters, gradients, optimizer, average, .. } = self;
        // Moments are there for the trained parameters alone.
        let trained = |index: usize| parameters.specs[..index].iter().filter(|spec| spec.kind.is_trained()).count();
        engine.place(|index, tensor| {
            tensor.value = address(&parameters.values[index]);
            tensor.gradient = address(&gradients[index]);
            tensor.average = average.as_ref().map_or(0, |average| address(&average.parameters().values[index]));
            let slots = optimizer.moments();
            tensor.moments = [0, 1].map(|slot| {
                slots
                    .get(slot)
                    .filter(|_| parameters.specs[index].kind.is_trained())
                    .map_or(0, |slot| address(&slot[trained(index)]))
            });
        })
    }

    /// Makes ready for `steps`, has `train` do them, and counts in what came of it.
    fn run<T>(
        &mut self,
        steps: &[(&Batch, &Step)],
        train: impl FnOnce(&mut Engine, &[&Batch], Vec<DeviceStep>) -> Result<(Vec<DeviceResult>, T), NetworkError>,
    ) -> Result<(Vec<BatchResult>, T), NetworkError> {
        let ema = steps[0].1.ema;
        self.optimizer.prepare(steps[0].1.optimizer, &self.parameters)?;
        let begins = ema.is_some() && self.average.is_none();
        if begins {
            // The first step overwrites it.
            self.average = Some(Average::new(self.parameters.copy()?));
        } else if ema.is_none() {
            self.average = None;
        }
        self.place()?;
        let made = self.optimizer.updates();
        let mut on_device: Vec<DeviceStep> =
            steps.iter().zip(1..).map(|((_, step), update)| device_step(step, made + update)).collect();
        if begins {
            on_device[0].keep = 0.0;
        }
        let batches: Vec<&Batch> = steps.iter().map(|(batch, _)| *batch).collect();
        let (results, more) = train(&mut self.engine, &batches, on_device)?;
        let finite = results.iter().filter(|result| result.loss.is_finite()).count();
        self.optimizer.count(finite as u64);
        if begins && finite == 0 {
            self.average = None;
        }
        let result = |DeviceResult { loss, predictions }| BatchResult { loss, predictions };
        Ok((results.into_iter().map(result).collect(), more))
    }
}

/// What an empty batch comes to.
const NOTHING: BatchResult = BatchResult { loss: 0.0, predictions: Vec::new() };

impl Network for CudaNetwork {
    fn burst(&self) -> usize {
        self.burst
    }

    fn train(&mut self, batch: &Batch, step: &Step) -> Result<BatchResult, NetworkError> {
        if batch.is_empty() {
            return Ok(NOTHING);
        }
        let train = |engine: &mut Engine, batches: &[&Batch], steps| Ok((engine.train(batches, steps)?, ()));
        let (mut results, ()) = self.run(&[(batch, step)], train)?;
        results.pop().ok_or_else(silent)
    }

    fn train_burst(&mut self, steps: &[(Batch, Step)]) -> Result<Vec<BatchResult>, NetworkError> {
        let started = Instant::now();
        let train = |engine: &mut Engine, batches: &[&Batch], steps| Ok((engine.train(batches, steps)?, ()));
        let mut results = Vec::with_capacity(steps.len());
        for steps in steps.chunks(BURST) {
            let steps: Vec<(&Batch, &Step)> = steps.iter().map(|(batch, step)| (batch, step)).collect();
            results.append(&mut self.run(&steps, train)?.0);
            if results.last().is_some_and(|result| !result.loss.is_finite()) {
                return Ok(results);
            }
        }
        let each = started.elapsed() / steps.len().max(1) as u32;
        // From one to the next by a factor of two at most: the first burst of a kind is slow.
        let fitting = (BURST_TIME.as_nanos() / each.as_nanos().max(1)) as usize;
        self.burst = fitting.clamp(1, BURST).min(2 * self.burst);
        Ok(results)
    }

    fn train_measured(&mut self, batch: &Batch, step: &Step) -> Result<(BatchResult, Vec<LayerNorm>), NetworkError> {
        if batch.is_empty() {
            return Ok((NOTHING, Vec::new()));
        }
        let train = |engine: &mut Engine, batches: &[&Batch], steps: Vec<DeviceStep>| {
            let (result, squares) = engine.train_measured(batches[0], steps[0])?;
            Ok((result.into_iter().collect(), squares))
        };
        let (mut results, squares) = self.run(&[(batch, step)], train)?;
        let result = results.pop().ok_or_else(silent)?;
        let norms = if result.loss.is_finite() { norms::of(&self.parameters.specs, &squares) } else { Vec::new() };
        Ok((result, norms))
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.place()?;
        self.engine.logits(batch)
    }

    fn features(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.place()?;
        self.engine.features(batch)
    }

    fn state(&self) -> Result<NetworkState, NetworkError> {
        network::state(&self.parameters, self.average.as_ref(), &self.optimizer)
    }

    fn restore(&mut self, state: &NetworkState) -> Result<(), NetworkError> {
        (self.parameters, self.average, self.optimizer) = network::restored(&self.parameters, state)?;
        Ok(())
    }
}

fn silent() -> NetworkError {
    NetworkError::Device("it gave no result".into())
}

/// `step` for the kernels; `update` counts the optimizer's updates, this one included.
fn device_step(step: &Step, update: u64) -> DeviceStep {
    let update = i32::try_from(update).unwrap_or(i32::MAX);
    let (optimizer, momentum, nesterov) = match step.optimizer {
        OptimizerKind::Adam => (0, 0.0, false),
        OptimizerKind::AdamW => (1, 0.0, false),
        OptimizerKind::Sgd { momentum, nesterov } => (2, momentum, nesterov),
        OptimizerKind::RmsProp => (3, 0.0, false),
    };
    DeviceStep {
        // What is left to mix in is the layer's number.
        dropout: Stream::prefix(step.seed, Purpose::Dropout, step.number),
        training: 1,
        dropout_rate: step.dropout,
        smoothing: step.label_smoothing,
        distill: step.distill,
        temperature: step.temperature,
        rate: step.learning_rate as f32,
        decay: step.weight_decay as f32,
        corrections: BETAS.map(|beta| (1.0 - (beta as f32).powi(update)).recip()),
        momentum: momentum as f32,
        keep: step.ema.map_or(0.0, |decay| average::kept(decay, step.number) as f32),
        optimizer,
        nesterov: u32::from(nesterov),
        ..DeviceStep::default()
    }
}

#[cfg(test)]
mod tests;
