//! The line with the panes' names, for screens that show one at a time, and the loss as a sparkline beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::state::LabState;
use crate::tui::format;
use crate::tui::model::Model;
use crate::tui::panes::PaneId;
use crate::tui::theme::Symbols;

/// Columns of the widest sparkline.
const SPARKS: usize = 40;

/// The tab of each pane and where it begins.
fn tabs() -> impl Iterator<Item = (PaneId, u16, String)> {
    PaneId::ALL.into_iter().enumerate().scan(0, |left, (number, pane)| {
        let label = format!(" {} {} ", number + 1, pane.name());
        let at = *left;
        *left += format::width(&label) as u16;
        Some((pane, at, label))
    })
}

/// The pane whose tab is at `position`.
pub fn at(area: Rect, position: Position) -> Option<PaneId> {
    let column = position.x.checked_sub(area.x).filter(|_| area.contains(position))?;
    tabs().find(|(_, at, label)| (*at..at + format::width(label) as u16).contains(&column)).map(|(pane, ..)| pane)
}

/// Draws the tabs, and the sparkline where there is room.
pub fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let mut end = area.x;
    for (pane, at, label) in tabs() {
        let chosen = pane == model.focus;
        let number = Span::styled(label[..3].to_owned(), theme.key);
        let name = Span::styled(label[3..].to_owned(), if chosen { theme.focus } else { theme.dim });
        let style = if chosen { theme.selection } else { theme.text };
        let columns = format::width(&label) as u16;
        let tab = Rect { x: area.x + at, width: columns, ..area }.intersection(area);
        Line::from(vec![number, name]).style(style).render(tab, buffer);
        end = tab.right();
    }
    let room = Rect { x: end, width: area.right().saturating_sub(end), ..area };
    loss(model, usize::from(room.width)).right_aligned().render(room, buffer);
}

/// The loss of late, as far as `columns` go.
fn loss(model: &Model, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let Some(last) = model.lab.history.steps.last() else { return Line::default() };
    let value = format!(" {} ", format::loss(f64::from(last.loss)));
    let room = columns.saturating_sub(format::width(&value) + 2).min(SPARKS);
    if room < 4 {
        return Line::default();
    }
    let sparks = sparks(&model.lab, room, theme.symbols());
    Line::from(vec![Span::styled(sparks, theme.train), Span::styled(value, theme.dim)])
}

/// The loss of the whole run in `columns` cells: means over equal parts, on a log scale.
fn sparks(lab: &LabState, columns: usize, symbols: &Symbols) -> String {
    let losses: Vec<f64> = lab.history.steps.iter().map(|step| f64::from(step.loss)).collect();
    let columns = columns.min(losses.len());
    let mean = |part: usize| {
        let part = &losses[part * losses.len() / columns..(part + 1) * losses.len() / columns];
        (part.iter().sum::<f64>() / part.len() as f64).clamp(1e-9, f64::INFINITY).ln()
    };
    let values: Vec<f64> = (0..columns).map(mean).collect();
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let top = symbols.levels.len() - 1;
    let cell = |value: &f64| match value {
        value if !value.is_finite() => symbols.nan,
        value => symbols.levels[((value - low) / (high - low).max(1e-9) * top as f64).round() as usize],
    };
    values.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::sparks;
    use crate::tui::samples;
    use crate::tui::theme::Glyphs;

    #[test]
    fn a_loss_that_is_no_number_is_marked_and_leaves_the_others_their_height() {
        let symbols = Glyphs::Unicode.symbols();
        let sparks = sparks(&samples::diverged(), 40, symbols);
        assert!(sparks.starts_with('█') && sparks.ends_with(symbols.nan), "{sparks}");
        assert!(sparks.contains('▁') && sparks.matches(symbols.nan).count() == 1, "{sparks}");
    }
}
