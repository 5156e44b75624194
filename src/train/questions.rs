//! What is asked of the network between two batches, with the weights as they are.

use std::ops::Range;
use std::sync::Arc;

use super::event::TrainEvent;
use super::{CHUNK, Trainer};
use crate::data::{Batch, CLASSES, Image, Images};
use crate::explain::{self, DeadRelus, Explanation, Map, Neighbour, Reading};
use crate::metrics::{Evaluation, Outcome};
use crate::nn::{NetworkError, NetworkState};

impl Trainer {
    /// Measures the test set with the present weights.
    ///
    /// # Errors
    /// If the device fails.
    pub fn test(&mut self, report: &mut impl FnMut(TrainEvent)) -> Result<Arc<Evaluation>, NetworkError> {
        let test = self.dataset.test.clone();
        let evaluation = Arc::new(self.evaluate(&test, 0..test.len())?);
        report(TrainEvent::Tested { step: self.progress.step, evaluation: evaluation.clone() });
        Ok(evaluation)
    }

    /// The class that each test digit is taken for with the weights of `state`, an earlier one of this run. The network is
    /// afterwards what it was before.
    ///
    /// # Errors
    /// If the state is of another architecture, or the device fails.
    pub fn predictions_of(&mut self, state: &NetworkState) -> Result<Vec<u8>, NetworkError> {
        let now = self.network.state()?;
        self.network.restore(state)?;
        let test = self.dataset.test.clone();
        let evaluation = self.evaluate(&test, 0..test.len());
        self.network.restore(&now)?;
        Ok(evaluation?.outcomes.iter().map(|outcome| outcome.predicted).collect())
    }

    /// Measures the samples `range` of `images` with the present weights.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&mut self, images: &Arc<Images>, range: Range<usize>) -> Result<Evaluation, NetworkError> {
        let mut evaluation = Evaluation::default();
        for start in range.clone().step_by(CHUNK) {
            self.evaluate_chunk(images, start..(start + CHUNK).min(range.end), &mut evaluation)?;
        }
        Ok(evaluation)
    }

    /// Adds the samples `range` of `images` to an evaluation.
    pub(super) fn evaluate_chunk(
        &mut self,
        images: &Arc<Images>,
        range: Range<usize>,
        evaluation: &mut Evaluation,
    ) -> Result<(), NetworkError> {
        if range.is_empty() {
            return Ok(());
        }
        let indices: Vec<u32> = range.map(|index| index as u32).collect();
        let logits = self.network.logits(&Batch::new(images.clone(), indices.clone()))?;
        for (index, logits) in indices.into_iter().zip(&logits) {
            evaluation.add(Outcome::new(index, images.label(index as usize), logits));
        }
        Ok(())
    }

    /// Explains with the present weights why `image` is given to `class`, or to what is predicted.
    ///
    /// # Errors
    /// If the device fails.
    pub fn explain(&mut self, image: &Image, class: Option<u8>) -> Result<Explanation, NetworkError> {
        explain::explain(&mut *self.network, &self.config.arch, image, class)
    }

    /// The `count` digits that it trains on which the network, with the present weights, sees as most like `image`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn nearest(&mut self, image: &Image, count: usize) -> Result<Vec<Neighbour>, NetworkError> {
        explain::nearest(&mut *self.network, image, &self.dataset.train, self.split.train.clone(), count)
    }

    /// The layers of which units are 0 for each of the first `count` training digits.
    ///
    /// # Errors
    /// If the device fails.
    pub fn dead_relus(&self, count: usize) -> Result<Vec<DeadRelus>, NetworkError> {
        let images = &self.dataset.train;
        let some = (0..count.min(images.len())).map(|index| images.image(index));
        explain::dead_relus(&*self.network, &self.config.arch, some)
    }

    /// Which pixels of each image speak for the class that is predicted with the present weights, and which against it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn saliency(&self, images: &[Image]) -> Result<Vec<Map>, NetworkError> {
        let state = self.network.state()?;
        let reading = Reading::new(&self.config.arch, &state)?;
        Ok(images.iter().map(|image| explain::saliency(&reading, image)).collect())
    }

    /// Logits `[sample, class]` of these samples of the training set, as they are, with the present weights.
    ///
    /// # Errors
    /// If the device fails.
    pub fn answers(&mut self, samples: Range<usize>) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        let indices = samples.map(|index| index as u32).collect();
        self.network.logits(&Batch::new(self.dataset.train.clone(), indices))
    }

    /// Logits of each image with the present weights.
    ///
    /// # Errors
    /// If the device fails.
    pub fn logits(&mut self, images: &[Image]) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        let all = (0..images.len() as u32).collect();
        let images = Arc::new(Images::new(images.concat(), vec![0; images.len()]));
        self.network.logits(&Batch::new(images, all))
    }
}
