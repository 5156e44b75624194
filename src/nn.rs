//! Networks: built from an [`Arch`] on a device, trained and asked through one object-safe boundary.

mod average;
pub mod backend;
pub mod check;
pub mod composed;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
pub mod fused;
pub mod layout;
pub mod loss;
mod names;
pub mod network;
pub mod norms;
pub mod optim;
pub mod param;
pub mod plan;
pub mod schedule;

use crate::arch::Arch;
use crate::data::{Batch, CLASSES};
use norms::LayerNorm;
use optim::{OptimizerKind, OptimizerState};

/// Where a network is to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if this program and this machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
}

/// Which implementation computes the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The fastest that the device has.
    #[default]
    Auto,
    /// Composed of dfdx's own operations: runs anywhere, and is what the others are checked against.
    Composed,
    /// The project's own kernels.
    Fused,
}

/// How exact the products of matrices are, where the device gives a choice: the fused kernels of a GPU do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Operands rounded to TF32 (10 bits of mantissa), sums in `f32`: as `PyTorch` does it in convolutions.
    #[default]
    Tf32,
    /// Nearly that of `f32`, for comparisons.
    Float,
}

/// Where a network lives.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceInfo {
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// What the hardware calls itself, or the instruction set in use: `AVX-512`.
    pub name: String,
    /// Threads that compute.
    pub threads: usize,
    /// The PCI address of a GPU, `0000:3b:00.0`, which is the same whatever `CUDA_VISIBLE_DEVICES` makes of its number.
    pub pci: Option<String>,
}

/// What the trainer needs of a network, whatever device it lives on. Not `Send`: built and used on the training thread.
pub trait Network {
    /// One step of training on `batch`: forward, loss, backward, update.
    ///
    /// # Errors
    /// If the device fails. A loss that is not finite is no error: the caller looks at it; the weights are then left as
    /// they were before the step. It is NaN also when a gradient is not finite.
    fn train(&mut self, batch: &Batch, step: &Step) -> Result<BatchResult, NetworkError>;

    /// How many steps are best given at once, because the device then need not wait for the host between them.
    fn burst(&self) -> usize {
        1
    }

    /// The same as [`Network::train`] for each of `steps`, until the first whose loss is not finite: it is the last that has a
    /// result. All of them must be of the same optimizer.
    ///
    /// # Errors
    /// As in [`Network::train`].
    fn train_burst(&mut self, steps: &[(Batch, Step)]) -> Result<Vec<BatchResult>, NetworkError> {
        let mut results = Vec::with_capacity(steps.len());
        for (batch, step) in steps {
            results.push(self.train(batch, step)?);
            if results.last().is_some_and(|result| !result.loss.is_finite()) {
                break;
            }
        }
        Ok(results)
    }

    /// The same step, and how large it was for each of [`norms::layers`]; for none where the weights were left as they were.
    ///
    /// # Errors
    /// As in [`Network::train`].
    fn train_measured(&mut self, batch: &Batch, step: &Step) -> Result<(BatchResult, Vec<LayerNorm>), NetworkError>;

    /// Logits `[sample, class]` of `batch`, with dropout off and the running statistics of batch norm, of the moving average of
    /// the weights if there is one.
    ///
    /// # Errors
    /// If the device fails.
    fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError>;

    /// The features of each sample of `batch`, computed as the logits are: `[sample][feature]`. They are what the last dense or
    /// convolution layer gets, or the residual block that holds it, in the order height, width, channel.
    ///
    /// # Errors
    /// If the device fails.
    fn features(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError>;

    /// A copy of all that training changes.
    ///
    /// # Errors
    /// If the device fails.
    fn state(&self) -> Result<NetworkState, NetworkError>;

    /// Takes over `state`.
    ///
    /// # Errors
    /// If it belongs to another architecture, or the device fails; the network is then as it was.
    fn restore(&mut self, state: &NetworkState) -> Result<(), NetworkError>;
}

/// Where and how a network is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Setup {
    /// The device to compute on.
    pub device: DeviceChoice,
    /// The way to compute.
    pub kernels: Kernels,
    /// Of the products.
    pub precision: Precision,
    /// Threads on the CPU, 0 for as many as it has.
    pub threads: usize,
    /// Names the initial weights.
    pub seed: u64,
}

/// Builds the network of `arch` before training, and says where.
///
/// # Errors
/// If the device or the kernels that were asked for are not there, or fail.
pub fn build(arch: &Arch, setup: &Setup) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    device::build(arch, setup)
}

/// The hyperparameters of one training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The run's seed and the step's number name the dropout masks.
    pub seed: u64,
    /// Steps before this one.
    pub number: u64,
    /// After the schedule.
    pub learning_rate: f64,
    /// Another kind drops the optimizer's state, and so does a momentum after a time without; another momentum keeps it.
    pub optimizer: OptimizerKind,
    /// L2 in the gradient, decoupled for `AdamW`; weights alone, no biases, no batch norm.
    pub weight_decay: f64,
    /// Rate of the dropout layers that have none of their own.
    pub dropout: f32,
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// Share of the loss that is the teacher's, of batches that have one: see [`loss`].
    pub distill: f32,
    /// What the logits are divided by there.
    pub temperature: f32,
    /// How much of the moving average of the weights is kept, 0 to below 1; `None` for no average. While there is one, it
    /// answers in place of the weights.
    pub ema: Option<f64>,
}

/// Adam with Keras's learning rate, and nothing that a network can do without.
impl Default for Step {
    fn default() -> Self {
        Self {
            seed: 0,
            number: 0,
            learning_rate: 1e-3,
            optimizer: OptimizerKind::Adam,
            weight_decay: 0.0,
            dropout: 0.0,
            label_smoothing: 0.0,
            distill: 0.0,
            temperature: 1.0,
            ema: None,
        }
    }
}

/// What came out of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchResult {
    /// Mean cross-entropy in nats against the smoothed targets, before the update, weight decay and what a teacher says left out.
    pub loss: f32,
    /// The class with the largest logit of each sample.
    pub predictions: Vec<u8>,
}

/// All that training changes in a network, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkState {
    /// Weights, biases, and the running statistics of batch norm, in the order of the layers, as they answer.
    pub tensors: Vec<NamedTensor>,
    /// The same tensors as training goes on from them, where those that answer are their moving average.
    pub trained: Option<Vec<NamedTensor>>,
    /// The optimizer's state.
    pub optimizer: OptimizerState,
}

/// A tensor with its name, `4.weight` for the weight of the fourth layer.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The layer's name in [`Arch::places`] and the kind: `weight`, `bias`, `scale`, `shift`, `mean`, `variance`.
    pub name: String,
    /// Dimensions; see [`param`] for their order.
    pub shape: Vec<usize>,
    /// Values, the last dimension running fastest.
    pub values: Vec<f32>,
}

/// What can go wrong in a network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The device failed, by its own words.
    #[error("the device failed: {0}")]
    Device(String),
    /// A state of another architecture.
    #[error("the saved weights don't fit this architecture: {0}")]
    Mismatch(String),
    /// The build or the machine lacks what was asked for.
    #[error("{0}")]
    Unavailable(String),
}

impl NetworkError {
    /// From a device's own error.
    pub(crate) fn device(error: impl std::fmt::Display) -> Self {
        Self::Device(error.to_string())
    }
}
