//! The gradient of what is minimised against finite differences of its formula, in plain `f64`.

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
