//! What the panes have in common: the numbers to name them, what they are given to draw, what they answer.

pub mod charts;
pub mod command_line;
pub mod confusion;
pub mod digits;
pub mod log;
pub mod settings;

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::graphics::Graphics;
use super::keymap::{Action, Scope};
use super::message::Effect;
use super::theme::Theme;
use crate::state::LabState;

/// Names a pane; the order is that of Tab and of the number keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PaneId {
    /// Loss and accuracy.
    #[default]
    Charts,
    /// The confusion matrix.
    Confusion,
    /// The hyperparameters.
    Settings,
    /// Digits and what the network says of them.
    Digits,
    /// The command line and its answers.
    CommandLine,
    /// What happened.
    Log,
}

impl PaneId {
    /// All panes in order.
    pub const ALL: [Self; 6] =
        [Self::Charts, Self::Confusion, Self::Settings, Self::Digits, Self::CommandLine, Self::Log];

    /// The word on its tab.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charts => "curves",
            Self::Confusion => "confusion",
            Self::Settings => "settings",
            Self::Digits => "digits",
            Self::CommandLine => "command",
            Self::Log => "log",
        }
    }
}

/// What a pane is given to draw.
pub struct Context<'a> {
    /// What there is to show.
    pub lab: &'a LabState,
    /// How it is to look.
    pub theme: &'a Theme,
    /// How images reach the terminal.
    pub graphics: &'a Graphics,
    /// Whether keys go to this pane.
    pub focused: bool,
}

impl Context<'_> {
    /// What a class is called; its number without data.
    pub fn class_name(&self, class: u8) -> String {
        self.lab.dataset.as_ref().map_or_else(|| class.to_string(), |dataset| dataset.class_name(class))
    }
}

/// A part of the screen with a state of its own, which drawing never changes.
///
/// The frame around it, with its number and title, is drawn for it: `area` is the inside, possibly empty.
pub trait Pane {
    /// What stands on the frame besides the pane's name: `validation, epoch 3`. Empty for nothing.
    fn title(&self, lab: &LabState) -> String;

    /// What the pane shows and how to read it, in a few sentences: the help's first paragraph.
    fn help(&self) -> &'static str;

    /// Draws the pane into `area`.
    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer);

    /// A key of the table was pressed while the pane had the focus; `None` if it means nothing here.
    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>>;

    /// A key before the table is asked, for panes in which text is typed; `None` if it means nothing here.
    fn key(&mut self, _key: KeyEvent, _lab: &LabState) -> Option<Vec<Effect>> {
        None
    }

    /// The scope whose keys hold before the pane's own, and are shown in their place, while it is in a mode of its own.
    fn mode(&self, _lab: &LabState) -> Option<Scope> {
        None
    }

    /// What stands on the lower frame while the pane has the focus, before its keys.
    fn footnote(&self, _lab: &LabState) -> String {
        String::new()
    }

    /// Text was pasted.
    fn paste(&mut self, _text: &str) {}

    /// Where the terminal's cursor stands, if text is typed; `area` is where the pane is drawn.
    fn cursor(&self, _area: Rect) -> Option<Position> {
        None
    }

    /// A click at `position` on the screen, inside of `area`, which is where the pane was drawn.
    fn click(&mut self, _position: Position, _area: Rect, _lab: &LabState) -> Vec<Effect> {
        Vec::new()
    }

    /// A button was pressed inside of `area`, moved while held, or let go, both wherever the mouse was. Whether that was more than
    /// a click.
    fn drag(&mut self, _event: MouseEvent, _area: Rect, _lab: &LabState) -> bool {
        false
    }

    /// The wheel was turned by `lines`, up being negative.
    fn scroll(&mut self, lines: i32, lab: &LabState) -> Vec<Effect> {
        self.handle(if lines < 0 { Action::Up } else { Action::Down }, lab).unwrap_or_default()
    }

    /// The lab published a state: what the pane has selected may be gone.
    fn changed(&mut self, _lab: &LabState) {}
}
