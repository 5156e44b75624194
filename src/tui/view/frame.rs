//! The frame around a pane: its number, its name, what it has to add, and its keys while it has the focus.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::tui::format::{shorten, width};
use crate::tui::keymap::{BINDINGS, Scope};
use crate::tui::model::Model;
use crate::tui::panes::PaneId;

/// The inside of a frame: one column of air on each side.
pub fn inside(area: Rect) -> Rect {
    let inner = area.inner(Margin::new(1, 1));
    Rect { x: inner.x + u16::from(inner.width > 1), width: inner.width.saturating_sub(2), ..inner }
}

/// Draws the frame of `pane`.
pub fn render(model: &Model, pane: PaneId, focused: bool, area: Rect, buffer: &mut Buffer) {
    let (theme, symbols) = (&model.theme, model.theme.symbols());
    let (border, set) = if focused { (theme.focus, symbols.focused_border) } else { (theme.border, symbols.border) };
    let name = if focused { theme.focus } else { theme.title };
    let number = PaneId::ALL.iter().position(|id| *id == pane).map_or(0, |at| at + 1);
    let mut title =
        vec![Span::styled(format!(" {number} "), theme.key), Span::styled(format!("{} ", pane.name()), name)];
    let addition = model.panes.get(pane).title(&model.lab);
    let used: usize = title.iter().map(Span::width).sum();
    let room = usize::from(area.width).saturating_sub(used + 5 + width(symbols.dot));
    if !addition.is_empty() && room > 3 {
        let addition = shorten(&addition, room, symbols.ellipsis);
        title.push(Span::styled(format!("{} {addition} ", symbols.dot), theme.dim));
    }
    let mut block = Block::bordered().border_set(set).border_style(border).title_top(Line::from(title));
    if focused {
        let mut room = usize::from(area.width.saturating_sub(4));
        let footnote = model.panes.get(pane).footnote(&model.lab);
        if !footnote.is_empty() {
            let footnote = format!(" {} ", shorten(&footnote, room.saturating_sub(2), symbols.ellipsis));
            room = room.saturating_sub(width(&footnote) + 1);
            block = block.title_bottom(Line::styled(footnote, theme.dim));
        }
        if let Some(keys) = keys(model, pane, room) {
            block = block.title_bottom(keys.right_aligned());
        }
    }
    block.render(area, buffer);
}

/// The keys of the pane alone, as many as fit.
fn keys(model: &Model, pane: PaneId, columns: usize) -> Option<Line<'static>> {
    let theme = &model.theme;
    let mut spans = vec![Span::raw(" ")];
    let mut used = 1;
    let scope = model.panes.get(pane).mode(&model.lab).unwrap_or(Scope::Pane(pane));
    for binding in BINDINGS.iter().filter(|binding| binding.scope == scope) {
        let Some(hint) = binding.hint else { continue };
        let columns_needed = width(binding.keys[0]) + width(hint) + 3;
        if used + columns_needed > columns {
            break;
        }
        used += columns_needed;
        spans.push(Span::styled(binding.keys[0], theme.key));
        spans.push(Span::styled(format!(" {hint}  "), theme.dim));
    }
    if spans.len() == 1 {
        return None;
    }
    let last = spans.pop()?;
    spans.push(Span::styled(format!("{} ", last.content.trim_end()), last.style));
    Some(Line::from(spans))
}
