//! What reaches the screen's model, and what the model wants done.

use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Size;

use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::LabState;

/// Everything that can happen to the screen.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was clicked or its wheel turned.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(Size),
    /// The lab published a state.
    State(Arc<LabState>),
    /// A command was answered.
    Answer {
        /// Which one, as [`Effect::Ask`] numbered it.
        ticket: Ticket,
        /// What came of it.
        result: Result<Reply, Error>,
    },
    /// An image was encoded for the terminal: draw again.
    Encoded,
    /// Time passed: something that is only shown for a while may go.
    Tick,
    /// The system wants the program to end.
    Terminate,
    /// The program was suspended and goes on.
    Continued,
}

/// Names a command that was asked, so that its answer finds the pane that waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// Where the answer to a command is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the command line's transcript.
    CommandLine,
    /// Below the setting that was changed; errors alone.
    Settings,
    /// On the footer, if it is an error: a key asked.
    Key,
}

/// What the model wants done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send this to the lab.
    Ask(Command, Origin),
    /// Put this into the command line and go there.
    Prompt(String),
    /// Give the focus to this pane.
    Focus(super::panes::PaneId),
    /// Save and leave.
    Quit,
    /// Leave at once.
    Leave,
    /// Give the terminal back and stop until `fg`.
    Suspend,
    /// Draw every cell anew.
    Redraw,
}

impl Effect {
    /// A command that a key stands for.
    pub fn ask(command: Command) -> Vec<Self> {
        vec![Self::Ask(command, Origin::Key)]
    }
}
