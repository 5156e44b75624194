//! Whole splits measured, as they are or corrupted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::engine::Engine;
use super::opening::load;
use crate::command::{Corrupt, SplitName, Together};
use crate::data::Images;
use crate::data::corrupt::Corruption;
use crate::error::Error;
use crate::metrics::Evaluation;
use crate::nn::NetworkError;
use crate::reply::{CorruptedReport, EvaluationReport, Reply};
use crate::train::Trainer;

impl Engine<'_> {
    /// Measures the test set, which all screens then show.
    pub(super) fn test(&mut self) -> Result<Arc<Evaluation>, Error> {
        let publisher = &mut *self.publisher;
        Ok(self.trainer.test(&mut |event| publisher.report(event))?)
    }

    /// Measures a whole split, as it is or corrupted, with this run's network or several.
    pub(super) fn evaluate(
        &mut self,
        split: SplitName,
        corrupt: Option<Corrupt>,
        together: &Together,
    ) -> Result<Reply, Error> {
        let started = Instant::now();
        let mut panel = self.panel(together)?;
        let corruption = match corrupt {
            Some(Corrupt::All(severity)) => return self.evaluate_each(split, severity, &mut panel),
            Some(Corrupt::One(corruption)) => Some(corruption),
            None => None,
        };
        let (images, range) = self.samples(split)?;
        let evaluation = match corruption {
            None if split == SplitName::Test && panel.is_plain() => self.test()?,
            None => Arc::new(panel.measure(&mut self.trainer, &images, range)?),
            Some(corruption) => Arc::new(self.corrupted(&images, range, corruption, &mut panel)?),
        };
        let dataset = self.trainer.dataset();
        let knows_doubts = split == SplitName::Test && dataset.is_mnist();
        Ok(Reply::Evaluated(Box::new(EvaluationReport {
            split: split.word(),
            corruption,
            networks: 1 + panel.others.len(),
            views: panel.views,
            loss: evaluation.loss(),
            accuracy_without_label_errors: knows_doubts
                .then(|| evaluation.accuracy_without(|index| dataset.doubtful(index as usize))),
            calibration: evaluation.calibration(),
            confusion: evaluation.confusion,
            seconds: started.elapsed().as_secs_f64(),
        })))
    }

    /// Measures a split corrupted in each way.
    fn evaluate_each(&mut self, split: SplitName, severity: u8, panel: &mut Panel) -> Result<Reply, Error> {
        let started = Instant::now();
        let (images, range) = self.samples(split)?;
        let clean = panel.measure(&mut self.trainer, &images, range.clone())?.confusion.accuracy();
        let mut rows = Vec::new();
        for corruption in Corruption::each(severity).map_err(Error::Usage)? {
            let evaluation = self.corrupted(&images, range.clone(), corruption, panel)?;
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

    fn corrupted(
        &mut self,
        images: &Images,
        range: Range<usize>,
        corruption: Corruption,
        panel: &mut Panel,
    ) -> Result<Evaluation, Error> {
        let corrupted = corruption.apply_to(images, range);
        Ok(panel.measure(&mut self.trainer, &corrupted, 0..corrupted.len())?)
    }

    /// Those who answer together with this run.
    fn panel(&self, together: &Together) -> Result<Panel, Error> {
        let other =
            |name: &String| load(&self.options, name, self.trainer.dataset().clone()).map(|(trainer, ..)| trainer);
        Ok(Panel { others: together.with.iter().map(other).collect::<Result<_, _>>()?, views: together.views })
    }
}

/// Who answers together with a run, and how often each looks at a digit.
struct Panel {
    others: Vec<Trainer>,
    views: u16,
}

impl Panel {
    /// Whether the run answers by itself, as ever.
    const fn is_plain(&self) -> bool {
        self.others.is_empty() && self.views == 1
    }

    fn measure(
        &mut self,
        trainer: &mut Trainer,
        images: &Arc<Images>,
        range: Range<usize>,
    ) -> Result<Evaluation, NetworkError> {
        if self.is_plain() {
            return trainer.evaluate(images, range);
        }
        trainer.evaluate_together(&mut self.others, self.views, images, range)
    }
}
