//! The words that may come next, to choose from with Tab.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use crate::tui::format::width;
use crate::tui::theme::Theme;

/// Whole lines that what was typed may become, at least one.
#[derive(Debug)]
pub struct Completion {
    candidates: Vec<String>,
    selected: usize,
}

impl Completion {
    /// A choice of these, if there are any.
    pub fn of(candidates: Vec<String>) -> Option<Self> {
        (!candidates.is_empty()).then_some(Self { candidates, selected: 0 })
    }

    /// Whether there is nothing to choose.
    pub fn is_unique(&self) -> bool {
        self.candidates.len() == 1
    }

    /// The line that is chosen.
    pub fn line(&self) -> &str {
        &self.candidates[self.selected]
    }

    /// Chooses the next, or the one before.
    pub fn next(&mut self, back: bool) {
        let count = self.candidates.len();
        self.selected = (self.selected + if back { count - 1 } else { 1 }) % count;
    }

    /// Draws the words above or below the line `prompt` of `area`, where there is more room.
    pub fn render(&self, theme: &Theme, area: Rect, prompt: u16, buffer: &mut Buffer) {
        let (above, below) = (prompt - area.y, area.bottom().saturating_sub(prompt + 1));
        let wanted = self.candidates.len() as u16;
        let (top, height) = if below >= wanted.min(above.max(1)) {
            (prompt + 1, wanted.min(below))
        } else {
            (prompt - wanted.min(above), wanted.min(above))
        };
        let word = |line: &str| line.rsplit(' ').next().unwrap_or(line).to_owned();
        let columns = self.candidates.iter().map(|line| width(&word(line))).max().unwrap_or(0) + 2;
        // Under the word that is being completed.
        let lead = self.line().rfind(' ').map_or(0, |at| width(&self.line()[..=at]));
        let left = (lead as u16 + 1).min(area.width.saturating_sub(columns as u16));
        let popup = Rect { x: area.x + left, y: top, width: columns as u16, height }.intersection(area);
        Clear.render(popup, buffer);
        let first = (self.selected + 1).saturating_sub(usize::from(height));
        for (row, number) in popup.rows().zip(first..) {
            let style = if number == self.selected { theme.popup_selection } else { theme.popup };
            let text = format!(" {:<1$}", word(&self.candidates[number]), columns - 1);
            Line::styled(text, style).render(row, buffer);
        }
    }
}
