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
mod tests {
    use std::sync::Arc;

    use dfdx::tensor::{Cpu, Gradients, Trace};

    use super::backward;
    use crate::data::teacher::Teacher;
    use crate::data::{Batch, CLASSES, Images, PIXELS};
    use crate::nn::Step;
    use crate::nn::backend::Backend;
    use crate::nn::plan::Part;
    use crate::random::{Purpose, Stream};

    const SAMPLES: usize = 3;

    /// Logits in the order `[class, sample]`, or of a teacher.
    fn noise(seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Augment, [0, 0]);
        (0..CLASSES * SAMPLES).map(|_| stream.uniform(-5.0, 5.0)).collect()
    }

    /// The labels are 3, 1 and 9; of the last sample the teacher says nothing.
    fn batch(is_taught: bool) -> Batch {
        let images = Arc::new(Images::new(vec![0; SAMPLES * PIXELS], vec![3, 1, 9]));
        let logits = noise(1).as_chunks::<CLASSES>().0[..SAMPLES - 1].to_vec();
        let teacher = is_taught.then(|| Arc::new(Teacher { sessions: vec!["a".into()], logits }));
        Batch::new(images, (0..SAMPLES as u32).collect()).taught(teacher)
    }

    /// The loss that is told, and the gradient `[class, sample]`, of the batch cut into parts of these sizes.
    fn run(batch: &Batch, step: &Step, logits: &[f64], sizes: &[usize]) -> (f64, Vec<f64>) {
        let device = Cpu::default();
        let (mut loss, mut gradient, mut first) = (0.0, vec![0.0; logits.len()], 0);
        for size in sizes {
            let samples = first..first + size;
            let columns: Vec<f64> =
                (0..CLASSES).flat_map(|class| logits[class * SAMPLES..][samples.clone()].to_vec()).collect();
            let input = device.tensor(&columns, (CLASSES, *size)).expect("the CPU does not fail");
            let part = Part { device: &device, batch, samples: samples.clone(), step };
            let (value, gradients) =
                backward(input.clone().traced(Gradients::leaky()), &part).expect("the CPU does not fail");
            for (class, row) in gradients.get(&input).as_vec().chunks(*size).enumerate() {
                gradient[class * SAMPLES..][samples.clone()].copy_from_slice(row);
            }
            loss += value;
            first += size;
        }
        (loss, gradient)
    }

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    }

    /// What is minimised, by the formula: its part of the labels, and the whole.
    fn minimised(batch: &Batch, step: &Step, logits: &[f64]) -> (f64, f64) {
        let temperature = f64::from(step.temperature);
        let share = if batch.is_taught() { f64::from(step.distill) } else { 0.0 };
        let smoothing = f64::from(step.label_smoothing);
        let (mut by_labels, mut whole) = (0.0, 0.0);
        for sample in 0..SAMPLES {
            let own: Vec<f64> = (0..CLASSES).map(|class| logits[class * SAMPLES + sample]).collect();
            let mut target = vec![smoothing / CLASSES as f64; CLASSES];
            target[usize::from(batch.label(sample))] += 1.0 - smoothing;
            let lesson = batch
                .lesson(sample)
                .map_or_else(|| target.clone(), |said| softmax(&said.map(|logit| f64::from(logit) / temperature)));
            let against = |targets: &[f64], probabilities: Vec<f64>| -> f64 {
                targets.iter().zip(probabilities).map(|(target, probability)| -target * probability.ln()).sum()
            };
            let softened: Vec<f64> = own.iter().map(|logit| logit / temperature).collect();
            let labels = against(&target, softmax(&own)) / SAMPLES as f64;
            let teacher = against(&lesson, softmax(&softened)) / SAMPLES as f64;
            by_labels += labels;
            whole += (1.0 - share) * labels + share * temperature * temperature * teacher;
        }
        (by_labels, whole)
    }

    #[test]
    fn the_gradient_is_that_of_what_is_minimised() {
        const H: f64 = 1e-5;
        let logits: Vec<f64> = noise(2).into_iter().map(f64::from).collect();
        for (is_taught, distill, temperature) in
            [(false, 0.9, 4.0), (true, 0.0, 4.0), (true, 0.9, 4.0), (true, 0.5, 1.0), (true, 1.0, 20.0)]
        {
            let (batch, label_smoothing) = (batch(is_taught), 0.1);
            let step = Step { label_smoothing, distill, temperature, ..Step::default() };
            let (loss, gradient) = run(&batch, &step, &logits, &[SAMPLES]);
            assert!((loss - minimised(&batch, &step, &logits).0).abs() < 1e-6, "the labels' part is told: {loss}");
            for (at, gradient) in gradient.iter().enumerate() {
                let moved = |offset: f64| {
                    let mut logits = logits.clone();
                    logits[at] += offset;
                    minimised(&batch, &step, &logits).1
                };
                let difference = (moved(H) - moved(-H)) / (2.0 * H);
                assert!((gradient - difference).abs() < 1e-6, "{is_taught} {step:?}: {gradient} {difference}");
            }
            let (in_parts, parts) = run(&batch, &step, &logits, &[1, 2]);
            assert!((in_parts - loss).abs() < 1e-12);
            assert!(parts.iter().zip(&gradient).all(|(part, whole)| (part - whole).abs() < 1e-12));
        }
    }
}
