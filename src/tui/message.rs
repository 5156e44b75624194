//! What reaches the screen's model, and what the model wants done.

use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Size;

use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::LabState;
use crate::train::settings::Setting;

/// Everything that can happen to the screen.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was clicked, moved with a button held, or its wheel turned.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(Size),
    /// The lab published a state.
    State(Arc<LabState>),
    /// A command was answered.
    Answer {
        /// Who asked.
        origin: Origin,
        /// What came of it.
        result: Result<Reply, Error>,
    },
    /// The sessions there are.
    Sessions(Vec<String>),
    /// A second passed: something that is only shown for a while may go.
    Tick,
    /// The system wants the program to end.
    Terminate,
    /// The program was suspended and goes on.
    Continued,
}

/// Who asked a command: that is where its answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A key: the answer stands on the last line for a while.
    Key,
    /// This entry of the command line's transcript.
    CommandLine(usize),
    /// This line of the settings; errors alone are shown.
    Setting(Setting),
    /// The page of corruptions, which waits for it.
    Corruptions,
    /// The drawing in the digits pane.
    Drawing,
    /// The key of the gallery, which goes if there is no list for it.
    Gallery,
    /// The offer to resume.
    Offer,
    /// The wish to leave.
    Quit,
}

/// What the model wants done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send this to the lab.
    Ask(Command, Origin),
    /// Find out which sessions there are.
    ListSessions,
    /// Put this into the command line and go there.
    Prompt(String),
    /// Run this as if it had been typed into the command line, and go there.
    Run(String),
    /// Give the focus to this pane.
    Focus(super::panes::PaneId),
    /// Explain the pane, the keys and the commands.
    Help,
    /// Show around.
    Tour,
    /// Save and leave.
    Quit,
    /// Leave: the screen is closed.
    Leave,
    /// Give the terminal back and stop until `fg`.
    Suspend,
    /// Take the terminal over again and draw every cell anew.
    Retake,
    /// Draw every cell anew.
    Redraw,
}

impl Effect {
    /// A command that a key stands for.
    pub fn ask(command: Command) -> Vec<Self> {
        vec![Self::Ask(command, Origin::Key)]
    }
}
