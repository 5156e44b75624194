//! The tour: a walk through a first run, one small panel after the other; each goes when what it asks for was done.

use super::message::Effect;
use super::model::{Model, View};
use super::panes::PaneId;
use crate::command::Command;
use crate::state::{LabState, Phase};

/// One panel.
pub struct Stop {
    /// A few words.
    pub title: &'static str,
    /// What to know, in two or three sentences.
    pub text: &'static str,
    /// What to do: keys, and what they do.
    pub task: [&'static str; 2],
    /// The pane that it speaks of, which the panel leaves free.
    pub pane: PaneId,
    /// Whether that was done.
    done: Done,
}

/// What a stop waits for.
enum Done {
    /// That the lab and the screen are so; the lab when the stop began is there to compare with.
    Shown(fn(&Model, &Then) -> bool),
    /// That this is asked of the lab.
    Asked(fn(&Command) -> bool),
    /// Nothing: the last one stays until it is closed.
    Never,
}

const STOPS: &[Stop] = &[
    Stop {
        title: "A network that knows nothing",
        text: "This network is to read handwritten digits. Its weights are random numbers now, so that it guesses: one digit in \
               ten is right by chance. Training shows it digits, 64 at a time, and after each batch moves every weight a little \
               to where the answer would have been better.",
        task: ["Space", "begin training"],
        pane: PaneId::Charts,
        done: Done::Shown(|model, _| model.lab.phase == Phase::Training || model.lab.progress.step > 0),
    },
    Stop {
        title: "The loss falls",
        text: "The loss says how wrong the answers are: 2.3 is guessing, 0 is sure and right. Beside it stands the error rate, the \
               share of digits taken for another. Both fall fast at first, then slower and slower.",
        task: ["1 z", "see the curves alone"],
        pane: PaneId::Charts,
        done: Done::Shown(|model, _| model.view == View::Zoomed),
    },
    Stop {
        title: "Why validation matters",
        text: "An epoch is once through all training digits. After each, the network is tried on digits that it never trains on: \
               that is the validation curve. Where it turns up while the training curve goes on down, the network learns by heart \
               what it has seen, and that helps nobody.",
        task: ["z 2", "after an epoch: back, then to the matrix"],
        pane: PaneId::Charts,
        done: Done::Shown(|model, _| model.focus == PaneId::Confusion && !model.lab.history.epochs.is_empty()),
    },
    Stop {
        title: "Who is taken for whom",
        text: "A confusion matrix counts answers: each row holds the digits of one class, each column what they were taken for. \
               What lies on the diagonal is right. A bright cell beside it is a mistake that is made often, such as 4 taken for 9.",
        task: ["arrows Enter", "to a cell off the diagonal"],
        pane: PaneId::Confusion,
        done: Done::Shown(|model, then| {
            let list = model.lab.list.as_ref().map(|list| &list.title);
            list.is_some() && list != then.list.as_ref()
        }),
    },
    Stop {
        title: "Why it errs",
        text: "These are digits of the test set with the probability of each class; `n` shows the next. Would you have known? \
               The lab can show which pixels spoke for the answer and which against it, and what the layers saw.",
        task: ["4 x", "explain the digit"],
        pane: PaneId::Digits,
        done: Done::Shown(|model, _| model.lab.digit.as_ref().is_some_and(|digit| digit.explanation.is_some())),
    },
    Stop {
        title: "The learning rate",
        text: "It is the length of each step. Too long, and the loss jumps about or ends as no number; too short, and it hardly \
               falls. Often it pays to begin with long steps and to end with short ones. A change holds from the next batch, \
               while it trains, and the curves mark it.",
        task: ["3 Left", "take a third of it"],
        pane: PaneId::Settings,
        done: Done::Shown(|model, then| model.lab.history.edits.len() > then.edits),
    },
    Stop {
        title: "Back in time",
        text: "The end of each epoch is kept with all that belongs to it. Put the cursor on one that lies behind, and go back \
               there: the run is then what it was, to the last bit.",
        task: ["1 [ [ r", "rewind to an epoch before"],
        pane: PaneId::Charts,
        done: Done::Shown(|model, then| model.lab.progress.epoch < then.epoch || model.lab.tree.ahead().is_some()),
    },
    Stop {
        title: "What if",
        text: "What is trained from here becomes a branch of its own, and what lay ahead stays, drawn behind it. So a setting can \
               be tried twice from the same place and compared. Change one, if you like, and train on.",
        task: ["Space", "train on as a branch"],
        pane: PaneId::Charts,
        done: Done::Shown(|model, then| model.lab.tree.branches().len() > then.branches),
    },
    Stop {
        title: "Nothing is lost",
        text: "The run is saved at each epoch's end, when you leave, and when you say so: with its branches, its curves, and the \
               order of the digits to come. What is resumed goes on as if it had never stopped.",
        task: ["S", "save the run"],
        pane: PaneId::Charts,
        done: Done::Asked(|command| matches!(command, Command::Save { .. })),
    },
    Stop {
        title: "That was the tour",
        text: "`?` explains every pane and its keys, `:` takes commands, and `advice` says what the curves show. Try `new lenet5`, \
               `set augment tutorial`, or `serve`, a page to draw your own digits on.",
        task: ["Esc", "look around"],
        pane: PaneId::CommandLine,
        done: Done::Never,
    },
];

/// How far somebody is on the tour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tour {
    stop: usize,
    then: Then,
}

/// What the lab was when a stop began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Then {
    epoch: u32,
    edits: usize,
    branches: usize,
    list: Option<String>,
}

impl Then {
    fn of(lab: &LabState) -> Self {
        Self {
            epoch: lab.progress.epoch,
            edits: lab.history.edits.len(),
            branches: lab.tree.branches().len(),
            list: lab.list.as_ref().map(|list| list.title.clone()),
        }
    }
}

impl Tour {
    /// At the first stop.
    pub fn begin(lab: &LabState) -> Self {
        Self { stop: 0, then: Then::of(lab) }
    }

    /// What is shown.
    pub fn stop(&self) -> &'static Stop {
        &STOPS[self.stop.min(STOPS.len() - 1)]
    }

    /// Its number from 1, and how many there are.
    pub fn place(&self) -> (usize, usize) {
        (self.stop + 1, STOPS.len())
    }

    /// The next stop; `None` after the last.
    pub fn skip(&self, lab: &LabState) -> Option<Self> {
        (self.stop + 1 < STOPS.len()).then(|| Self { stop: self.stop + 1, then: Then::of(lab) })
    }

    /// The tour after `effects` followed from a message: one stop on if that was what this one waited for.
    pub fn after(&self, model: &Model, effects: &[Effect]) -> Option<Self> {
        let done = match self.stop().done {
            Done::Shown(shown) => shown(model, &self.then),
            Done::Asked(asked) => {
                effects.iter().any(|effect| matches!(effect, Effect::Ask(command, _) if asked(command)))
            }
            Done::Never => false,
        };
        if done { self.skip(&model.lab) } else { Some(self.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::STOPS;
    use crate::tui::format::{width, wrap};
    use crate::tui::view::tour::COLUMNS;

    #[test]
    fn panels_are_small_and_their_tasks_fit() {
        for stop in STOPS {
            let [keys, does] = stop.task;
            assert!(width(keys) + 2 + width(does) <= usize::from(COLUMNS), "{does}");
            assert!(width(stop.title) + 10 <= usize::from(COLUMNS), "{}", stop.title);
            assert!(wrap(stop.text, usize::from(COLUMNS)).len() <= 7, "{}", stop.title);
        }
    }
}
