//! The loss that training minimises: cross-entropy in nats against smoothed labels, in dfdx's operations for every plan.

use dfdx::dtypes::Dtype;
use dfdx::shapes::Axis;
use dfdx::tensor::{Gradients, OwnedTape};
use dfdx::tensor_ops::{Backward, SumTo, TryMul};

use super::backend::Backend;
use super::param::{from_f32, number};
use super::plan::{Matrix, Part};
use crate::data::CLASSES;

/// What the `[class, sample]` logits of `part` add to the mean loss of its batch, and the gradients of that.
///
/// # Errors
/// If the device fails.
pub fn backward<E: Dtype, D: Backend<E>>(
    logits: Matrix<E, D, OwnedTape<E, D>>,
    part: &Part<D>,
) -> Result<(f64, Gradients<E, D>), D::Err> {
    let sum = logits.try_log_softmax::<Axis<0>>()?.try_mul(targets(part)?)?.try_sum::<(), _>()?;
    let loss = sum.try_mul(number::<E>(-1.0 / part.batch.len() as f64))?;
    let value = loss.as_vec()[0].to_f64().expect("networks compute in f32 or f64");
    Ok((value, loss.try_backward()?))
}

/// The smoothed targets as `[class, sample]`.
fn targets<E: Dtype, D: Backend<E>>(part: &Part<D>) -> Result<Matrix<E, D>, D::Err> {
    let smoothing = part.step.label_smoothing;
    let target = |class| move |sample| target(part.batch.label(sample), class, smoothing);
    let values: Vec<f32> = (0..CLASSES).flat_map(|class| part.samples.clone().map(target(class))).collect();
    part.device.tensor(&from_f32::<E>(&values), (CLASSES, part.samples.len()))
}

/// The target for `class` when the label is `label`: `smoothing` of it is spread evenly over all classes (Szegedy et al. 2016).
pub fn target(label: u8, class: usize, smoothing: f32) -> f32 {
    let spread = smoothing / CLASSES as f32;
    if usize::from(label) == class { 1.0 - smoothing + spread } else { spread }
}
