//! The screen's state: what the lab published, and what only concerns looking at it.

use std::sync::Arc;

use ratatui::layout::Size;

use super::graphics::Graphics;
use super::layout::{Screen, divide};
use super::panes::charts::Charts;
use super::panes::command_line::CommandLine;
use super::panes::confusion::ConfusionMatrix;
use super::panes::digits::Digits;
use super::panes::log::Log;
use super::panes::settings::Settings;
use super::panes::{Pane, PaneId};
use super::theme::Theme;
use super::tour::Tour;
use super::{Offer, Seat};
use crate::state::LabState;

/// Everything that drawing needs, and nothing that it changes.
pub struct Model {
    /// What the lab published last.
    pub lab: Arc<LabState>,
    /// Whose lab it is.
    pub seat: Seat,
    /// How it looks.
    pub theme: Theme,
    /// How images reach the terminal.
    pub graphics: Graphics,
    /// The terminal's size.
    pub size: Size,
    /// The pane that keys go to.
    pub focus: PaneId,
    /// The pane that had the focus before the command line took it.
    pub previous: PaneId,
    /// How many panes are shown.
    pub view: View,
    /// What lies over the panes.
    pub overlay: Option<Overlay>,
    /// How far somebody is on the tour.
    pub tour: Option<Tour>,
    /// A sentence on the last line for a while.
    pub notice: Option<Notice>,
    /// What keys asked and was not answered yet.
    pub waiting: Waiting,
    /// Whether the screen stays.
    pub leaving: Leaving,
    /// Why the run was not saved when the screen was to be left: the shell is told if it is left nevertheless.
    pub unsaved: Option<String>,
    /// The panes.
    pub panes: Panes,
}

/// How many panes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// All that fit.
    #[default]
    All,
    /// The one with the focus.
    Zoomed,
}

/// What lies over the panes and takes the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// What a pane shows, the keys and the commands, from this line on.
    Help {
        /// Lines scrolled.
        top: usize,
    },
    /// The last session can be resumed.
    Offer(Offer),
    /// A guest asked for the end of a run that is not only theirs: really?
    EndRun,
    /// The run couldn't be saved: leave nevertheless?
    Unsaved(String),
    /// Saving takes long: leave before it has ended?
    Saving,
    /// The lab can't go on.
    Failed(String),
}

/// A sentence that is shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Whether it is about a failure.
    pub tone: Tone,
    /// Seconds that it stays.
    pub seconds: u8,
}

/// How a notice is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something was done.
    Good,
    /// Something was not done.
    Bad,
}

/// Answers that are waited for. Shown only after a while, so that quick ones don't flicker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub answers: u32,
    /// For how many seconds.
    pub seconds: u8,
}

/// Whether the screen stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// A person asked to leave, or to wait on, so many seconds ago; the lab saves.
    Saving(u8),
    /// The system asked; nobody can be asked back.
    Terminated(u8),
}

/// All panes.
#[derive(Default)]
pub struct Panes {
    /// Loss and accuracy.
    pub charts: Charts,
    /// The confusion matrix.
    pub confusion: ConfusionMatrix,
    /// The hyperparameters.
    pub settings: Settings,
    /// Digits.
    pub digits: Digits,
    /// The command line.
    pub command_line: CommandLine,
    /// The log.
    pub log: Log,
}

impl Panes {
    /// The pane of this name.
    pub fn get(&self, id: PaneId) -> &dyn Pane {
        match id {
            PaneId::Charts => &self.charts,
            PaneId::Confusion => &self.confusion,
            PaneId::Settings => &self.settings,
            PaneId::Digits => &self.digits,
            PaneId::CommandLine => &self.command_line,
            PaneId::Log => &self.log,
        }
    }

    /// The pane of this name, to change.
    pub fn get_mut(&mut self, id: PaneId) -> &mut dyn Pane {
        match id {
            PaneId::Charts => &mut self.charts,
            PaneId::Confusion => &mut self.confusion,
            PaneId::Settings => &mut self.settings,
            PaneId::Digits => &mut self.digits,
            PaneId::CommandLine => &mut self.command_line,
            PaneId::Log => &mut self.log,
        }
    }
}

impl Model {
    /// A screen on which nothing has happened yet.
    pub fn new(theme: Theme, graphics: Graphics, size: Size, offer: Option<Offer>) -> Self {
        Self {
            lab: Arc::default(),
            seat: Seat::default(),
            theme,
            graphics,
            size,
            focus: PaneId::default(),
            previous: PaneId::default(),
            view: View::default(),
            overlay: offer.map(Overlay::Offer),
            tour: None,
            notice: None,
            waiting: Waiting::default(),
            leaving: Leaving::No,
            unsaved: None,
            panes: Panes::default(),
        }
    }

    /// Where everything is.
    pub fn screen(&self) -> Screen {
        self.screen_of(self.size)
    }

    /// Where everything would be on a screen of this size.
    pub fn screen_of(&self, size: Size) -> Screen {
        divide(size, self.focus, self.view == View::Zoomed)
    }
}
