//! Advice on the run: asked for when an epoch has ended, the run came to an end, or a setting was changed.

use super::engine::Engine;
use crate::advice::{Advice, advise};
use crate::error::Error;
use crate::reply::Reply;
use crate::state::{LabEvent, Level};

/// Below this training accuracy units that never fire may be the reason; finding them takes a moment.
const STRUGGLES: f64 = 0.9;
/// Digits that a unit must be 0 for to be called dead.
const DIGITS: usize = 32;

impl Engine<'_> {
    /// Looks at the curves and says what is new, in the log too.
    pub(super) fn advise(&mut self) -> Result<(), Error> {
        let advice = self.advice()?;
        let known = self.publisher.state().advice.clone();
        for new in advice.iter().filter(|new| known.iter().all(|old| old.finding != new.finding)) {
            self.publisher.log(Level::Warning, new.to_string());
        }
        if *known != advice {
            self.publisher.emit(LabEvent::Advice(advice));
        }
        Ok(())
    }

    /// What is wrong at the moment.
    pub(super) fn tell_advice(&mut self) -> Result<Reply, Error> {
        Ok(Reply::Advice(self.advice()?))
    }

    fn advice(&self) -> Result<Vec<Advice>, Error> {
        let last = self.trainer.history().epochs.last();
        let dead = match last {
            Some(epoch) if epoch.train_accuracy < STRUGGLES => self.trainer.dead_relus(DIGITS)?,
            _ => Vec::new(),
        };
        Ok(advise(self.publisher.state(), &dead))
    }
}
