//! One answer of several networks, or to several views of a sample: the mean of the probabilities.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use super::{CHUNK, Trainer};
use crate::data::augment::Augment;
use crate::data::{Batch, CLASSES, Images};
use crate::metrics::{Evaluation, Outcome, softmax};
use crate::nn::NetworkError;

/// How the views of a sample differ: less than what training draws, so that a digit stays one that the network is at home with.
const VIEW: Augment =
    Augment { rotate: 5.0, shift: 0.03, zoom: 0.05, shear: 0.0, elastic: 0.0, noise: 0.0, erase: 0.0 };

impl Trainer {
    /// Measures the samples `range` of `images` with the present weights of this run and of `others`, each of which sees each
    /// sample `views` times, first as it is. The views of a sample are always the same.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate_together(
        &mut self,
        others: &mut [Self],
        views: u16,
        images: &Arc<Images>,
        range: Range<usize>,
    ) -> Result<Evaluation, NetworkError> {
        let answers = f64::from(views) * (1 + others.len()) as f64;
        let mut evaluation = Evaluation::default();
        for start in range.clone().step_by(CHUNK) {
            let indices: Vec<u32> = (start..range.end.min(start + CHUNK)).map(|index| index as u32).collect();
            let batch = Batch::new(images.clone(), indices.clone());
            let mut sums = vec![[0.0; CLASSES]; indices.len()];
            for trainer in iter::once(&mut *self).chain(others.iter_mut()) {
                for view in 0..views {
                    let augment = if view == 0 { Augment::default() } else { VIEW };
                    let logits = trainer.network.logits(&batch.clone().augmented(augment, 0, u64::from(view)))?;
                    sums.iter_mut().zip(&logits).for_each(|(sums, logits)| add(sums, &softmax(logits)));
                }
            }
            for (index, sums) in indices.into_iter().zip(sums) {
                let logits = sums.map(|sum| logit(sum / answers));
                evaluation.add(Outcome::new(index, images.label(index as usize), &logits));
            }
        }
        Ok(evaluation)
    }
}

fn add(sums: &mut [f64; CLASSES], probabilities: &[f32; CLASSES]) {
    sums.iter_mut().zip(probabilities).for_each(|(sum, &probability)| *sum += f64::from(probability));
}

/// A logit of this probability: its logarithm. Of one that is too small for a number, the smallest; NaN stays it.
fn logit(probability: f64) -> f32 {
    let smallest = f64::from(f32::MIN_POSITIVE);
    if probability < smallest { smallest.ln() as f32 } else { probability.ln() as f32 }
}
