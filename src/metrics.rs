//! What is measured of predictions: loss, accuracy, confusion, precision and recall, calibration; and averages of them over time.

pub mod average;
pub mod calibration;

use crate::data::CLASSES;
use calibration::Calibration;

/// Probabilities of the classes from their logits: `exp(zᵢ) / Σ exp(zⱼ)`.
pub fn softmax(logits: &[f32; CLASSES]) -> [f32; CLASSES] {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps = logits.map(|logit| (logit - largest).exp());
    let sum: f32 = exps.iter().sum();
    exps.map(|exp| exp / sum)
}

/// Cross-entropy in nats of one sample: `ln Σ exp(zⱼ) − z_label`, finite even where the probability underflows.
pub fn cross_entropy(logits: &[f32; CLASSES], label: u8) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    sum.ln() + largest - logits[usize::from(label)]
}

/// The class with the largest value, the first of equals; NaN never wins.
pub fn argmax(values: &[f32; CLASSES]) -> u8 {
    let mut best = 0;
    for class in 1..CLASSES {
        if values[class] > values[best] || values[best].is_nan() {
            best = class;
        }
    }
    best as u8
}

/// How often each class was taken for each: `counts[true][predicted]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Confusion {
    /// Rows are the labels, columns the predictions.
    pub counts: [[u32; CLASSES]; CLASSES],
}

impl Confusion {
    /// Counts one prediction.
    pub fn add(&mut self, label: u8, predicted: u8) {
        self.counts[usize::from(label)][usize::from(predicted)] += 1;
    }

    /// Samples counted.
    pub fn total(&self) -> u32 {
        self.counts.iter().flatten().sum()
    }

    /// Samples whose prediction was their label.
    pub fn correct(&self) -> u32 {
        (0..CLASSES).map(|class| self.counts[class][class]).sum()
    }

    /// Top-1 accuracy, 0 without samples.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// Precision, recall and F1 of each class.
    pub fn per_class(&self) -> [ClassReport; CLASSES] {
        std::array::from_fn(|class| {
            let hits = self.counts[class][class];
            let support = self.counts[class].iter().sum();
            let predicted = self.counts.iter().map(|row| row[class]).sum();
            let (precision, recall) = (ratio(hits, predicted), ratio(hits, support));
            let f1 = if hits == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
            ClassReport { class: class as u8, precision, recall, f1, support }
        })
    }
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// How one class fares.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassReport {
    /// The class.
    pub class: u8,
    /// Of the samples taken for this class, the share that is; 0 if none was.
    pub precision: f64,
    /// Of the samples of this class, the share that was found; 0 if there is none.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Samples of this class.
    pub support: u32,
}

/// What the network says of one sample.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// Index in its split's images.
    pub index: u32,
    /// The given label.
    pub label: u8,
    /// The class with the largest logit.
    pub predicted: u8,
    /// Probability of the predicted class.
    pub confidence: f32,
    /// Cross-entropy in nats.
    pub loss: f32,
}

impl Outcome {
    /// The outcome of sample `index` with these logits.
    pub fn new(index: u32, label: u8, logits: &[f32; CLASSES]) -> Self {
        let predicted = argmax(logits);
        let confidence = softmax(logits)[usize::from(predicted)];
        Self { index, label, predicted, confidence, loss: cross_entropy(logits, label) }
    }

    /// Whether the prediction is not the label.
    pub fn is_wrong(&self) -> bool {
        self.label != self.predicted
    }
}

/// The outcomes of a whole split.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// One for each sample, in order.
    pub outcomes: Vec<Outcome>,
    /// Their confusion matrix.
    pub confusion: Confusion,
    /// Sum of the losses, in f64 so that the order of magnitude of the split doesn't matter.
    loss_sum: f64,
}

impl Evaluation {
    /// Adds one sample.
    pub fn add(&mut self, outcome: Outcome) {
        self.confusion.add(outcome.label, outcome.predicted);
        self.loss_sum += f64::from(outcome.loss);
        self.outcomes.push(outcome);
    }

    /// Mean cross-entropy in nats; NaN without samples.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.outcomes.len() as f64
    }

    /// Top-1 accuracy without the samples that `leave_out` names.
    pub fn accuracy_without(&self, leave_out: impl Fn(u32) -> bool) -> f64 {
        let mut confusion = Confusion::default();
        for outcome in self.outcomes.iter().filter(|outcome| !leave_out(outcome.index)) {
            confusion.add(outcome.label, outcome.predicted);
        }
        confusion.accuracy()
    }

    /// Whether the confidences are what they say.
    pub fn calibration(&self) -> Calibration {
        Calibration::new(&self.outcomes)
    }

    /// The misclassified samples, largest loss first.
    pub fn wrong(&self) -> Vec<Outcome> {
        let mut wrong: Vec<Outcome> = self.outcomes.iter().copied().filter(Outcome::is_wrong).collect();
        wrong.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, Confusion, Evaluation, Outcome, argmax, cross_entropy, softmax};

    #[test]
    fn softmax_and_cross_entropy_survive_huge_logits() {
        let mut logits = [0.0; CLASSES];
        logits[3] = 1000.0;
        assert!((softmax(&logits)[3] - 1.0).abs() < 1e-6);
        assert!((cross_entropy(&logits, 4) - 1000.0).abs() < 1e-3);
        assert!((cross_entropy(&[0.0; CLASSES], 4) - 10f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_never_nan() {
        let mut values = [1.0; CLASSES];
        assert_eq!(argmax(&values), 0);
        values[0] = f32::NAN;
        assert_eq!(argmax(&values), 1);
    }

    #[test]
    fn precision_recall_and_f1_by_hand() {
        let mut confusion = Confusion::default();
        for (label, predicted, times) in [(4, 4, 6), (4, 9, 2), (9, 9, 3), (9, 4, 1)] {
            (0..times).for_each(|_| confusion.add(label, predicted));
        }
        let four = confusion.per_class()[4];
        assert!((four.precision - 6.0 / 7.0).abs() < 1e-12);
        assert!((four.recall - 6.0 / 8.0).abs() < 1e-12);
        assert!((four.f1 - 2.0 * 6.0 / (7.0 + 8.0)).abs() < 1e-12);
        assert_eq!(four.support, 8);
        assert!((confusion.accuracy() - 9.0 / 12.0).abs() < 1e-12);
        assert_eq!(confusion.per_class()[0].f1.to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn wrong_samples_come_with_the_largest_loss_first() {
        let mut evaluation = Evaluation::default();
        for (index, margin) in [(0, 1.0), (1, 3.0), (2, -2.0)] {
            let mut logits = [0.0; CLASSES];
            logits[1] = margin;
            evaluation.add(Outcome::new(index, 0, &logits));
        }
        let order: Vec<u32> = evaluation.wrong().iter().map(|outcome| outcome.index).collect();
        assert_eq!(order, [1, 0]);
        assert!((evaluation.accuracy_without(|index| index == 0) - 0.5).abs() < 1e-12);
    }
}
