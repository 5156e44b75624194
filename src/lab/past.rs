//! What the network said of each test digit after the epochs that are kept: measured with their weights when it is asked for,
//! and remembered as long as they are kept. Training itself pays nothing for it.

use std::sync::{Arc, Weak};

use super::engine::Engine;
use crate::error::Error;
use crate::state::DigitList;
use crate::train::RunState;

/// The kept epochs that were measured.
#[derive(Default)]
pub struct Past {
    epochs: Vec<Measured>,
}

struct Measured {
    state: Weak<RunState>,
    /// The class of each test digit.
    predictions: Vec<u8>,
}

impl Engine<'_> {
    /// The test digits that were right after one kept epoch and wrong after the next (forgetting events: Toneva et al. 2018,
    /// arXiv:1812.05159), the most often forgotten first.
    pub(super) fn forgotten(&mut self) -> Result<DigitList, Error> {
        self.measure_past()?;
        let test = self.trainer.dataset().test.clone();
        let epochs = self.past();
        if epochs.len() < 2 {
            let sentence = "nothing is known of what was forgotten: two epochs must be kept; `train 2` makes them, `set keep N` keeps N";
            return Err(Error::Usage(sentence.into()));
        }
        let events = |index: usize| {
            let right = |epoch: &(u32, &[u8])| epoch.1[index] == test.label(index);
            epochs.windows(2).filter(|pair| right(&pair[0]) && !right(&pair[1])).count()
        };
        let mut digits: Vec<(usize, u32)> = (0..test.len()).map(|index| (events(index), index as u32)).collect();
        digits.retain(|(events, _)| *events > 0);
        digits.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let indices = Arc::new(digits.into_iter().map(|(_, index)| index).collect());
        Ok(DigitList { title: "forgotten".into(), indices, position: None, ..DigitList::default() })
    }

    /// What test digit `index` was taken for after each kept epoch that was measured: epoch and class.
    pub(super) fn past_of(&self, index: u32) -> Vec<(u32, u8)> {
        let epochs = self.past();
        epochs.iter().filter_map(|(epoch, classes)| Some((*epoch, *classes.get(index as usize)?))).collect()
    }

    /// Measures the kept epochs that were not measured yet, and forgets those that are no longer kept.
    fn measure_past(&mut self) -> Result<(), Error> {
        let kept = self.tree.branch().kept.clone();
        self.past.epochs.retain(|measured| measured.state.strong_count() > 0);
        for state in kept.iter().filter(|state| state.progress.epoch > 0) {
            let weak = Arc::downgrade(state);
            if self.past.epochs.iter().all(|measured| !measured.state.ptr_eq(&weak)) {
                let predictions = self.trainer.predictions_of(&state.network)?;
                self.past.epochs.push(Measured { state: weak, predictions });
            }
        }
        Ok(())
    }

    /// The measured epochs of the branch that the run is on. Before the first nothing was learnt that could be forgotten.
    fn past(&self) -> Vec<(u32, &[u8])> {
        let kept = self.tree.branch().kept.iter();
        let measured = |state: &Arc<RunState>| {
            let weak = Arc::downgrade(state);
            let measured = self.past.epochs.iter().find(|measured| measured.state.ptr_eq(&weak))?;
            Some((state.progress.epoch, measured.predictions.as_slice()))
        };
        kept.filter_map(measured).collect()
    }
}
