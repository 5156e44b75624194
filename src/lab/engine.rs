//! The engine: owns the trainer, answers one request at a time, trains between them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::UNIX_EPOCH;

use super::publisher::Publisher;
use super::saver::{Outcome, Saver};
use super::{Autosave, LabOptions, Request, Start};
use crate::arch::Arch;
use crate::command::Command;
use crate::data::Dataset;
use crate::error::Error;
use crate::nn::{self, DeviceInfo, Network};
use crate::reply::{Reply, SessionContent, SessionRow};
use crate::session::{DataMark, Session, Store};
use crate::state::{LabEvent, Level, Phase, RunBegun, RunInfo, Saved};
use crate::train::event::{Reason, TrainEvent};
use crate::train::settings::{Setting, Settings};
use crate::train::{Advance, Goal, RunConfig, RunState, Trainer};

/// Runs the lab until it is asked to quit or nobody can ask any more.
pub fn run(options: LabOptions, inbox: &Receiver<Request>, mut publisher: Publisher) {
    let mut engine = match Engine::open(options, &mut publisher) {
        Ok(engine) => engine,
        Err(error) => return refuse_all(&error, inbox, &mut publisher),
    };
    engine.publisher.show();
    while let Some(work) = engine.next_work(inbox) {
        match work {
            Work::Answer(request) => {
                let quits = request.command == Command::Quit;
                let result = engine.execute(request.command);
                let closes = quits && result.is_ok();
                engine.publisher.show();
                // Whoever asked may be gone; the deed is done all the same.
                let _ = request.answer.send(result);
                if closes {
                    return;
                }
            }
            Work::Train(goal) => engine.advance(goal),
        }
    }
    // Nobody is left to be told of an error: the log is all there is.
    let _ = engine.execute(Command::Quit);
}

/// The lab could not be opened: says so to everyone who asks, until they leave.
fn refuse_all(error: &Error, inbox: &Receiver<Request>, publisher: &mut Publisher) {
    publisher.log(Level::Error, error.to_string());
    publisher.emit(LabEvent::Phase(Phase::Failed(Arc::new(error.to_string()), error.kind())));
    publisher.show();
    for request in inbox {
        let quits = request.command == Command::Quit;
        let _ = request.answer.send(if quits { Ok(Reply::Closing) } else { Err(Error::Failed(error.to_string())) });
        if quits {
            return;
        }
    }
}

enum Work {
    Answer(Request),
    Train(Goal),
}

/// Whether the engine trains between requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Resting,
    Training(Goal),
}

/// The state of the lab's own thread.
pub struct Engine<'p> {
    options: LabOptions,
    pub(super) publisher: &'p mut Publisher,
    saver: Saver,
    pub(super) trainer: Trainer,
    mode: Mode,
    name: Name,
}
