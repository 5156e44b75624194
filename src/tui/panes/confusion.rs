//! The matrix pane.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Context, Pane};
use crate::state::LabState;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;

/// The matrix pane.
#[derive(Debug, Default)]
pub struct ConfusionMatrix {}

impl Pane for ConfusionMatrix {
    fn title(&self, _lab: &LabState) -> String {
        String::new()
    }

    fn help(&self) -> &'static str {
        ""
    }

    fn render(&self, _context: &Context, _area: Rect, _buffer: &mut Buffer) {}

    fn handle(&mut self, _action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        None
    }
}
