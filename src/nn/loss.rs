//! The loss that training minimises, in dfdx's operations for every plan: cross-entropy in nats against smoothed labels, and where
//! the batch has a teacher, also what its answers say (Hinton et al. 2015, arXiv:1503.02531).
//!
//! With the share `a` of the teacher, its logits `t` and the temperature `T`, the mean over the samples of
//!
//! ```text
//! (1 − a) · cross-entropy(softmax(z), smoothed label) + a · T² · cross-entropy(softmax(z / T), softmax(t / T))
//! ```
//!
//! is minimised, where `z` are the network's logits; `T²` keeps the gradients of the two terms of one size. What is told as the loss
//! is the first cross-entropy alone, which can be compared with that of validation.

use dfdx::dtypes::Dtype;
use dfdx::shapes::Axis;
use dfdx::tensor::{Gradients, OwnedTape, PutTape, SplitTape, Tape, Tensor};
use dfdx::tensor_ops::{Backward, SumTo, TryAdd, TryMul};

use super::Step;
use super::backend::Backend;
use super::param::{from_f32, number};
use super::plan::{Matrix, Part, by_class};
use crate::data::{Batch, CLASSES};
use crate::metrics::softmax;

/// What the `[class, sample]` logits of `part` add to the mean loss of its batch, and the gradients of what is minimised.
///
/// # Errors
/// If the device fails.
pub fn backward<E: Dtype, D: Backend<E>>(
    logits: Matrix<E, D, OwnedTape<E, D>>,
    part: &Part<D>,
) -> Result<(f64, Gradients<E, D>), D::Err> {
    let (logits, tape) = logits.split_tape();
    let labels = cross_entropy(logits.clone().put_tape(tape), targets(part)?, part)?;
    let value = labels.as_vec()[0].to_f64().expect("networks compute in f32 or f64");
    let (share, temperature) = (f64::from(part.step.distill), f64::from(part.step.temperature));
    if share == 0.0 || !part.batch.is_taught() {
        return Ok((value, labels.try_backward()?));
    }
    let softened = logits.put_tape(OwnedTape::default()).try_mul(number::<E>(1.0 / temperature))?;
    let teacher = cross_entropy(softened, lessons(part)?, part)?;
    let labels = labels.try_mul(number::<E>(1.0 - share))?;
    Ok((value, labels.try_add(teacher.try_mul(number::<E>(share * temperature * temperature))?)?.try_backward()?))
}

/// What the samples of `part` add to the mean over the batch of the cross-entropy against `targets`.
fn cross_entropy<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    logits: Matrix<E, D, T>,
    targets: Matrix<E, D>,
    part: &Part<D>,
) -> Result<Tensor<(), E, D, T>, D::Err> {
    let sum = logits.try_log_softmax::<Axis<0>>()?.try_mul(targets)?.try_sum::<(), _>()?;
    sum.try_mul(number::<E>(-1.0 / part.batch.len() as f64))
}

/// The smoothed targets as `[class, sample]`.
fn targets<E: Dtype, D: Backend<E>>(part: &Part<D>) -> Result<Matrix<E, D>, D::Err> {
    let target = |sample| smoothed(part.batch.label(sample), part.step.label_smoothing);
    matrix(part, target)
}

/// What the teacher says, as `[class, sample]`.
fn lessons<E: Dtype, D: Backend<E>>(part: &Part<D>) -> Result<Matrix<E, D>, D::Err> {
    let Step { temperature, label_smoothing, .. } = *part.step;
    matrix(part, |sample| lesson(part.batch, sample, temperature, label_smoothing))
}

fn matrix<E: Dtype, D: Backend<E>>(
    part: &Part<D>,
    of_sample: impl Fn(usize) -> [f32; CLASSES],
) -> Result<Matrix<E, D>, D::Err> {
    let values: Vec<[f32; CLASSES]> = part.samples.clone().map(of_sample).collect();
    part.device.tensor(&from_f32::<E>(&by_class(&values)), (CLASSES, values.len()))
}

/// The target for each class when the label is `label`: `smoothing` of it is spread evenly over all classes (Szegedy et al. 2016).
pub fn smoothed(label: u8, smoothing: f32) -> [f32; CLASSES] {
    let spread = smoothing / CLASSES as f32;
    std::array::from_fn(|class| if usize::from(label) == class { 1.0 - smoothing + spread } else { spread })
}

/// The probability that the teacher of `batch` gives each class of its sample `sample` at this temperature. Of one that it does not
/// know it says what the label does.
pub fn lesson(batch: &Batch, sample: usize, temperature: f32, smoothing: f32) -> [f32; CLASSES] {
    let softened = |logits: &[f32; CLASSES]| softmax(&logits.map(|logit| logit / temperature));
    batch.lesson(sample).map_or_else(|| smoothed(batch.label(sample), smoothing), softened)
}

#[cfg(test)]
mod tests;
