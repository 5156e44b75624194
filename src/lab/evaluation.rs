//! Whole splits measured, as they are or corrupted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::engine::Engine;
use crate::command::{Corrupt, SplitName};
use crate::data::Images;
use crate::data::corrupt::Corruption;
use crate::error::Error;
use crate::metrics::Evaluation;
use crate::reply::{CorruptedReport, EvaluationReport, Reply};

impl Engine<'_> {
    /// Measures the test set, which all screens then show.
    pub(super) fn test(&mut self) -> Result<Arc<Evaluation>, Error> {
        let publisher = &mut *self.publisher;
        Ok(self.trainer.test(&mut |event| publisher.report(event))?)
    }

    /// Measures a whole split, as it is or corrupted.
    pub(super) fn evaluate(&mut self, split: SplitName, corrupt: Option<Corrupt>) -> Result<Reply, Error> {
        let started = Instant::now();
        let corruption = match corrupt {
            Some(Corrupt::All(severity)) => return self.evaluate_each(split, severity),
            Some(Corrupt::One(corruption)) => Some(corruption),
            None => None,
        };
        let (images, range) = self.samples(split)?;
        let evaluation = match corruption {
            None if split == SplitName::Test => self.test()?,
            None => Arc::new(self.trainer.evaluate(&images, range)?),
            Some(corruption) => Arc::new(self.corrupted(&images, range, corruption)?),
        };
        let dataset = self.trainer.dataset();
        let knows_doubts = split == SplitName::Test && dataset.is_mnist();
        Ok(Reply::Evaluated(Box::new(EvaluationReport {
            split: split.word(),
            corruption,
            loss: evaluation.loss(),
            accuracy_without_label_errors: knows_doubts
                .then(|| evaluation.accuracy_without(|index| dataset.doubtful(index as usize))),
            calibration: evaluation.calibration(),
            confusion: evaluation.confusion,
            seconds: started.elapsed().as_secs_f64(),
        })))
    }

    /// Measures a split corrupted in each way.
    fn evaluate_each(&mut self, split: SplitName, severity: u8) -> Result<Reply, Error> {
        let started = Instant::now();
        let (images, range) = self.samples(split)?;
        let clean = self.trainer.evaluate(&images, range.clone())?.confusion.accuracy();
        let mut rows = Vec::new();
        for corruption in Corruption::each(severity).map_err(Error::Usage)? {
            let evaluation = self.corrupted(&images, range.clone(), corruption)?;
            rows.push((corruption, evaluation.confusion.accuracy(), evaluation.loss()));
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(Reply::Corrupted(Box::new(CorruptedReport { split: split.word(), clean, rows, seconds })))
    }

    /// The images of a split, and which of them.
    fn samples(&mut self, split: SplitName) -> Result<(Arc<Images>, Range<usize>), Error> {
        let (dataset, parts) = (self.trainer.dataset(), self.trainer.split());
        match split {
            SplitName::Test => Ok((dataset.test.clone(), 0..dataset.test.len())),
            SplitName::Train => Ok((dataset.train.clone(), parts.train.clone())),
            SplitName::Drawings => self.drawn_images().map(|drawn| (drawn.clone(), 0..drawn.len())),
            SplitName::Validation if parts.validation.is_empty() => {
                Err(Error::Usage("this run has no validation split".into()))
            }
            SplitName::Validation => Ok((dataset.train.clone(), parts.validation.clone())),
        }
    }

    fn corrupted(&mut self, images: &Images, range: Range<usize>, corruption: Corruption) -> Result<Evaluation, Error> {
        let corrupted = corruption.apply_to(images, range);
        Ok(self.trainer.evaluate(&corrupted, 0..corrupted.len())?)
    }
}
