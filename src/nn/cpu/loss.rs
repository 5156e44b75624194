//! Softmax cross-entropy of one sample.

use crate::data::CLASSES;
use crate::nn::plan::target;

/// The cross-entropy in nats of `logits` against `label`, of which `smoothing` is spread over all classes, and its gradient.
pub fn cross_entropy(logits: &[f32; CLASSES], label: u8, smoothing: f32) -> (f64, [f32; CLASSES]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.map(|logit| (logit - largest).exp());
    let sum: f32 = powers.iter().sum();
    let log_sum = sum.ln() + largest;
    let targets: [f32; CLASSES] = std::array::from_fn(|class| target(label, class, smoothing));
    let loss = targets.iter().zip(logits).map(|(target, logit)| f64::from(*target) * f64::from(log_sum - logit)).sum();
    (loss, std::array::from_fn(|class| powers[class] / sum - targets[class]))
}
