//! The tour's panel: in that corner of the screen where it hides least of the pane that it speaks of.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Widget};

use crate::tui::format::wrap;
use crate::tui::layout::Parts;
use crate::tui::model::Model;
use crate::tui::tour::Tour;

/// Columns of the text.
pub const COLUMNS: u16 = 52;

/// Draws the panel over the panes.
pub fn render(model: &Model, tour: &Tour, parts: &Parts, buffer: &mut Buffer) {
    let theme = &model.theme;
    let stop = tour.stop();
    let [keys, does] = stop.task;
    let mut lines: Vec<Line> = wrap(stop.text, usize::from(COLUMNS)).into_iter().map(Line::from).collect();
    lines.push(Line::default());
    lines.push(Line::from(vec![Span::styled(keys, theme.key), Span::styled(format!("  {does}"), theme.text)]));
    let size = (COLUMNS + 4, lines.len() as u16 + 2);
    let Some(around) = corner(parts, stop.pane, size) else { return };
    let (number, of) = tour.place();
    let block = Block::bordered()
        .border_set(theme.symbols().border)
        .border_style(theme.accent)
        .title_top(Line::styled(format!(" {} ", stop.title), theme.accent.add_modifier(Modifier::BOLD)))
        .title_top(Line::styled(format!(" {number}/{of} "), theme.dim).right_aligned())
        .title_bottom(Line::styled(" N next, Esc leaves the tour ", theme.dim).right_aligned())
        .padding(Padding::horizontal(1));
    Clear.render(around, buffer);
    let inside = block.inner(around);
    block.render(around, buffer);
    for (row, line) in inside.rows().zip(lines) {
        line.render(row, buffer);
    }
}

/// The corner in which a box of this size hides least of pane `about`; `None` without panes.
fn corner(parts: &Parts, about: crate::tui::panes::PaneId, (width, height): (u16, u16)) -> Option<Rect> {
    let whole = parts.panes.iter().map(|(_, area)| *area).reduce(Rect::union)?;
    let pane = parts.panes.iter().find(|(id, _)| *id == about).map_or(whole, |(_, area)| *area);
    let (width, height) = (width.min(whole.width), height.min(whole.height));
    let corners = [(1, 1), (1, 0), (0, 1), (0, 0)].map(|(right, down)| Rect {
        x: whole.x + right * (whole.width - width),
        y: whole.y + down * (whole.height - height),
        width,
        height,
    });
    corners.into_iter().min_by_key(|corner| corner.intersection(pane).area())
}
